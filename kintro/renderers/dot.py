"""A graph in Graphviz's language (graphviz.org/doc/info/lang.html)."""

from __future__ import annotations

from collections.abc import Iterator

from kintro.renderers.text import printable
from kintro.shapes import Graph

_COLOURS = {
    "stream": "#2563c9", "socket": "#c9650a", "queue": "#2c8039", "memory": "#a932a9", "sync": "#8f7100",
    "control": "#c9342f",
}  # fmt: skip
_DIRECTIONS = {(True, False): "forward", (False, True): "back", (True, True): "both", (False, False): "none"}


def dot(graph: Graph) -> Iterator[str]:
    """Lines of text; `dot`, `neato` and `sfdp` draw them."""
    yield f"digraph {_quoted(graph.title)} {{"
    yield "  graph [overlap=false, splines=true]"
    yield '  node [shape=box, style=rounded, fontname="sans-serif"]'
    for node in graph.nodes:
        shape = "" if node.group == "process" else f", shape=ellipse, color={_quoted(_COLOURS[node.group])}"
        yield f"  {_quoted(node.id)} [label={_quoted(node.label)}{shape}]"
    for line in graph.lines:
        kinds = dict.fromkeys(graph.table.rows[row][0] for row in line.rows)
        label = ", ".join(kinds) + (f" × {len(line.rows)}" if len(line.rows) > 1 else "")
        direction = _DIRECTIONS[line.forward, line.back]
        yield (
            f"  {_quoted(line.source)} -> {_quoted(line.target)} "
            f"[dir={direction}, label={_quoted(label)}, color={_quoted(_COLOURS[line.group])}]"
        )
    yield "}"


def _quoted(text: str) -> str:
    """A string of the language; Graphviz would read a backslash in a label as one of its own escapes."""
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
