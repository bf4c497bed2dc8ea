"""What the pages for a browser share: one file each, that loads nothing and asks nobody."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from kintro.renderers.text import printable

HERE = Path(__file__).parent


def page(name: str, scripts: tuple[str, ...], styles: tuple[str, ...] = (), **context: Any) -> str:
    """The template `name`.html filled in, with page.css, `styles`, `name`.css and `scripts` in it.

    Values are escaped, and what could hide or reorder text is told as such. A Content-Security-Policy permits
    these styles and scripts.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # 40 ms, only where a page is made
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    parts = ("page.css", *styles, f"{name}.css")
    style = "".join((HERE / part).read_text(encoding="utf-8") for part in parts)
    script = "".join((HERE / part).read_text(encoding="utf-8") for part in scripts)
    return environment.get_template(f"{name}.html").render(
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        **context,
    )


def _hash(text: str) -> str:
    """What a Content-Security-Policy names a permitted script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
