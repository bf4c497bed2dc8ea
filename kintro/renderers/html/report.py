"""A report as a page to read: what was claimed, tried and seen, with pictures, and no script at all."""

from __future__ import annotations

from kintro.renderers.html.graph import MARGIN
from kintro.renderers.html.page import page
from kintro.renderers.html.pictures import picture
from kintro.renderers.html.timeline import COLOURS
from kintro.renderers.kinds import KINDS, SHARES
from kintro.renderers.text import duration
from kintro.shapes import Report

ROWS_MAX = 2000  # of a picture's table; a browser takes some seconds for 20 000
SIGNS = {"holds": "✓", "holds-with-nuance": "✓", "refuted": "✗", "not-observed": "–"}


def report(shape: Report) -> str:
    """The page, in the report's language."""
    accounts = [account for chapter in shape.chapters for account in chapter.accounts]
    pictures = {
        account.id: [picture(figure, shape.words) for figure in account.figures] for account in accounts
    }
    graphs = [drawn.graph for found in pictures.values() for drawn in found if drawn.graph is not None]
    fills = [(key, f"k-{key}", kind.weave) for key, kind in KINDS.items()]
    fills += [(key, f"k-{key}", share.weave) for key, share in SHARES.items()]
    fills += [(str(task), f"t-{task}", weave) for task, weave in enumerate(COLOURS)]
    return page(
        "report",
        (),
        styles=("along.css", "kinds.css", "tasks.css", "groups.css"),
        shape=shape,
        words=shape.words,
        accounts=accounts,
        pictures=pictures,
        fills=[*fills, ("unseen", "t-unseen", "crossed")],
        tips=sorted({group for graph in graphs for group, _ in graph.groups}),
        signs=SIGNS,
        took={account.id: duration(account.duration_ns) for account in accounts},
        rows_max=ROWS_MAX,
        margin=MARGIN,
    )
