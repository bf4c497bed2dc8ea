"""Where to draw the nodes of a graph: boxes that do not overlap, with what belongs together close by.

How: each connected part by springs and repulsion (Fruchterman and Reingold, 1991), from a start that is
always the same; then boxes that overlap are pushed apart, and the parts are set in rows, the largest first.
Cost: 0.3 s for 200 nodes that hang together, 5 s for 1 500; still larger parts are set in a grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

GAP_X, GAP_Y = 26.0, 22.0  # between boxes, pixels
_PART_GAP = 50.0
_SPRINGS_MAX = 1500  # nodes
_WORK = 8_000_000  # pairs of nodes, over all rounds
_SHAPE = 2.2  # how much wider than high a part is to become: boxes are wide


class Place(NamedTuple):
    x: float  # of the middle, pixels
    y: float
    width: float
    height: float


def places(
    sizes: Mapping[str, tuple[float, float]], pairs: Sequence[tuple[str, str]]
) -> tuple[dict[str, Place], float, float]:
    """Node → its place, and width and height of the whole; `sizes`: width and height of each node's box."""
    placed = []
    for names in _parts(sizes, pairs):
        inside = set(names)
        boxes = np.array([sizes[name] for name in names])
        number = {name: index for index, name in enumerate(names)}
        own = [(number[a], number[b]) for a, b in pairs if a in inside]
        middles = _apart(_springs(len(names), own, boxes), boxes)
        low = (middles - boxes / 2).min(axis=0)
        high = (middles + boxes / 2).max(axis=0)
        placed.append((names, middles - low, boxes, high - low))
    placed.sort(key=lambda part: -float(part[3][1]))
    found: dict[str, Place] = {}
    area = sum(float((part[3] + _PART_GAP).prod()) for part in placed)
    widest = max((float(part[3][0]) for part in placed), default=0.0)
    width_wanted = max(widest, math.sqrt(area * 1.6))
    x = y = row_height = width = 0.0
    for names, middles, boxes, size in placed:
        if x and x + float(size[0]) > width_wanted:
            x, y, row_height = 0.0, y + row_height + _PART_GAP, 0.0
        for name, middle, box in zip(names, middles, boxes):
            found[name] = Place(x + float(middle[0]), y + float(middle[1]), float(box[0]), float(box[1]))
        x += float(size[0]) + _PART_GAP
        row_height = max(row_height, float(size[1]))
        width = max(width, x - _PART_GAP)
    return found, width, y + row_height


def _parts(sizes: Mapping[str, object], pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Connected nodes, those with most neighbours first and each before its neighbours."""
    neighbours: dict[str, list[str]] = {name: [] for name in sizes}
    for a, b in pairs:
        neighbours[a].append(b)
        neighbours[b].append(a)
    parts, seen = [], set()
    for start in sorted(sizes, key=lambda name: -len(neighbours[name])):
        if start in seen:
            continue
        part = [start]
        seen.add(start)
        for name in part:  # grows while it is gone through
            for other in neighbours[name]:
                if other not in seen:
                    seen.add(other)
                    part.append(other)
        parts.append(part)
    return parts


def _springs(count: int, pairs: Sequence[tuple[int, int]], boxes: np.ndarray) -> np.ndarray:
    """Middles of the boxes, which may still overlap."""
    angle = np.arange(count) * 2.399963  # the golden angle: a spiral from the node with most neighbours
    radius = np.sqrt(np.arange(count))
    places = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None]
    scale = 0.7 * np.array([boxes[:, 0].mean() + GAP_X, (boxes[:, 1].mean() + GAP_Y) * _SHAPE])
    if 2 < count <= _SPRINGS_MAX and pairs:
        ends = np.array(sorted({(min(a, b), max(a, b)) for a, b in pairs if a != b}))
        rounds = max(20, min(300, _WORK // count**2))
        for number in range(rounds):
            apart = places[:, None, :] - places[None, :, :]
            squares = (apart**2).sum(axis=2) + 1e-3
            move = (apart / squares[:, :, None]).sum(axis=1)
            along = places[ends[:, 0]] - places[ends[:, 1]]
            pull = along * np.sqrt((along**2).sum(axis=1) + 1e-9)[:, None]
            np.add.at(move, ends[:, 0], -pull)
            np.add.at(move, ends[:, 1], pull)
            length = np.sqrt((move**2).sum(axis=1)) + 1e-9
            step = math.sqrt(count) * 0.25 * (1 - number / rounds) + 0.01
            places += move / length[:, None] * np.minimum(length, step)[:, None]
    return places * scale


def _apart(middles: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Moved until no two boxes are closer than the gap."""
    count = len(boxes)
    if count < 2:
        return middles
    if count > _SPRINGS_MAX:
        return _grid(boxes)
    needed = (boxes[:, None, :] + boxes[None, :, :]) / 2 + np.array([GAP_X, GAP_Y])
    upper = np.triu(np.ones((count, count), bool), 1)
    for number in range(400):
        apart = middles[:, None, :] - middles[None, :, :]
        missing = needed - np.abs(apart)
        overlaps = (missing > 0.01).all(axis=2) & upper
        if not overlaps.any():
            break
        first, second = overlaps.nonzero()
        gaps, signs = missing[first, second], np.sign(apart[first, second])
        signs[signs == 0] = 1
        axis = np.argmin(gaps / np.array([_SHAPE, 1.0]), axis=1)
        push = np.zeros_like(gaps)
        chosen = np.arange(len(axis)), axis
        push[chosen] = gaps[chosen] * signs[chosen] * 0.52
        np.add.at(middles, first, push)
        np.add.at(middles, second, -push)
        if number % 20 == 19:
            middles = middles * 1.08
    else:
        return _grid(boxes)
    return middles


def _grid(boxes: np.ndarray) -> np.ndarray:
    """Middles in rows, each box in a cell that the largest fits into."""
    cell = boxes.max(axis=0) + np.array([GAP_X, GAP_Y])
    columns = max(1, math.ceil(math.sqrt(len(boxes) * cell[1] / cell[0] * 1.6)))
    number = np.arange(len(boxes))
    return np.stack([number % columns, number // columns], axis=1) * cell
