"""What all pages share: one file each, that loads nothing and asks nobody."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from kintro.renderers.text import printable

HERE = Path(__file__).parent


def page(template: str, styles: tuple[str, ...], scripts: tuple[str, ...], **values: Any) -> str:
    """The page that a template makes; values are escaped, and what could hide or reorder text is told as
    such.

    The page's Content-Security-Policy permits the styles and scripts named, and nothing else.
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
    style = "".join((HERE / name).read_text() for name in styles)
    script = "".join((HERE / name).read_text() for name in scripts)
    return environment.get_template(template).render(
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        **values,
    )


def _hash(text: str) -> str:
    """What a Content-Security-Policy names a permitted script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
