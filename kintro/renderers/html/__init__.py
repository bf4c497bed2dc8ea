"""Shapes as pages for a browser: one file each, that loads nothing and asks nobody."""

from kintro.renderers.html.address_space import address_space
from kintro.renderers.html.comparison import comparison
from kintro.renderers.html.graph import graph
from kintro.renderers.html.report import report
from kintro.renderers.html.sheet import sheet
from kintro.renderers.html.timeline import timeline

__all__ = ["address_space", "comparison", "graph", "report", "sheet", "timeline"]
