"""Where everything goes: Graphviz places boxes of given sizes, and routes the edges around them.

Graphviz gets no text: every node and every label is an empty box as large as its text in the pinned font, so that the
same picture is laid out alike wherever the same Graphviz runs. A label lies on its edge, as a box that the edge enters
and leaves: so no label covers anything, and nobody has to guess which edge it belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, TypedDict, cast

from adapters.drawing.font import widths
from adapters.drawing.missing import missing
from fsm.drawing.label import Chunk, Ink, wrapped
from fsm.drawing.picture import Node, Picture, Shape

TEXT_PX = 14.0
"""The size of all text but the title."""
LINE_PX = 17.0
"""From one line of text to the next."""
WIDTH_PX = 1200.0
"""The width at which a picture is read; a wider one is made smaller, and its text with it."""
BOLD = frozenset({Ink.EVENT, Ink.TAKEN})
"""What is set in bold type in a label."""
_LABEL_WIDTHS_PX = range(130, 270, 20)
"""The widths to which labels are broken, each in turn: the best picture is taken."""
ARROW_PX = 8.0
"""The length of an arrow's head."""
_ARROW_PX_OF_GRAPHVIZ = 10.0
"""What Graphviz keeps free for a head of size 1."""
_START_PX = 12.0
"""The diameter of the point before a first state."""
_NODE_PADDING_PX = 9.0
_LABEL_PADDING_PX = 5.0
_POINTS_PER_INCH = 72.0
"""Graphviz has lengths in inches and positions in points; a point is drawn as a px."""

Point = tuple[float, float]
"""In px, from the left and from the top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle by its centre and its size, in px."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line of cubic curves: a first point, then three control points a curve; and its arrow's tip, if it has one."""

    points: tuple[Point, ...]
    tip: Point | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedLabel:
    """An edge: its label in lines, where that lies, and the curves to it and from it."""

    lines: tuple[Chunk, ...]
    box: Box
    curves: tuple[Curve, Curve]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A picture whose every part has its place: `edges` in its order, `starts` for each of its first states."""

    width: float
    height: float
    nodes: Mapping[str, Box]
    edges: tuple[PlacedLabel, ...]
    starts: tuple[tuple[Box, Curve], ...]


def width_px(text: str, *, bold: bool = False, size_px: float = TEXT_PX) -> float:
    """How wide a text is in the pinned font.

    Raises:
        ConfigurationError: the font is not installed.
    """
    return widths(bold=bold).em(text) * size_px


def line_px(line: Chunk) -> float:
    """How wide a line of a label is."""
    spaces = width_px(" ") * (len(line) - 1)
    return spaces + sum(width_px(piece.text, bold=piece.ink in BOLD) for piece in line)


def node_lines(node: Node) -> tuple[str, ...]:
    """What stands in a node, line by line; the first line is bold."""
    return (*node.lines, node.remark) if node.remark else node.lines


@cache
def lay_out(picture: Picture) -> Layout:
    """The lowest layout that is narrow enough, or the narrowest.

    Raises:
        ConfigurationError: Graphviz or the font is not installed.
    """
    tried = [_placed(picture, direction, label_px) for direction in ("TB", "LR") for label_px in _LABEL_WIDTHS_PX]
    narrow = [layout for layout in tried if layout.width <= WIDTH_PX]
    return min(narrow, key=lambda layout: layout.height) if narrow else min(tried, key=lambda layout: layout.width)


def _placed(picture: Picture, direction: str, label_px: float) -> Layout:
    """One layout: in this direction, with labels of at most this width where their pieces allow it."""
    labels = [wrapped(edge.label, label_px, line_px) for edge in picture.edges]
    out = _graphviz("\n".join(["digraph {", *_statements(picture, direction, labels), "}"]))
    _, _, width, height = map(float, out["bb"].split(","))
    boxes = {found["name"]: _box(found, height) for found in out["objects"]}
    curves = {found["id"]: _curve(found, height) for found in out["edges"]}
    return Layout(
        width=width,
        height=height,
        nodes={node.name: boxes[node.name] for node in picture.nodes},
        edges=tuple(
            PlacedLabel(
                lines=lines, box=boxes[f"label {place}"], curves=(curves[f"to {place}"], curves[f"from {place}"])
            )
            for place, lines in enumerate(labels)
        ),
        starts=tuple(
            (boxes[f"start {node.name}"], curves[f"start {node.name}"]) for node in picture.nodes if node.initial
        ),
    )


# -- into Graphviz -------------------------------------------------------------------------------------------------


def _statements(picture: Picture, direction: str, labels: Sequence[tuple[Chunk, ...]]) -> Iterator[str]:
    """The picture's boxes and the edges between them, in DOT."""
    yield f'rankdir={direction}; nodesep=0.15; ranksep=0.3; node [shape=box, fixedsize=true, label=""]'
    yield f"edge [arrowsize={ARROW_PX / _ARROW_PX_OF_GRAPHVIZ}]"
    for node in picture.nodes:
        if node.initial:
            yield f'"start {node.name}" [{_size(_START_PX, _START_PX)}, shape=circle]'
            yield f'"start {node.name}" -> "{node.name}" [id="start {node.name}"]'
        yield f'"{node.name}" [{_size(*_node_size(node))}]'
    for place, (edge, lines) in enumerate(zip(picture.edges, labels, strict=True)):
        yield f'"label {place}" [{_size(*_label_size(lines))}]'
        yield f'"{edge.source}" -> "label {place}" [id="to {place}", dir=none]'
        yield f'"label {place}" -> "{edge.dest}" [id="from {place}"]'


def _size(width: float, height: float) -> str:
    return f"width={width / _POINTS_PER_INCH:.4f}, height={height / _POINTS_PER_INCH:.4f}"


def _node_size(node: Node) -> tuple[float, float]:
    """A node's width and height; a double border and round ends take some more."""
    padding = _NODE_PADDING_PX + (3.0 if node.final or node.shape is Shape.EFFECT else 0.0)
    lines = node_lines(node)
    width = max(width_px(line, bold=place == 0) for place, line in enumerate(lines))
    return width + 2 * padding, len(lines) * LINE_PX + 1.4 * padding


def _label_size(lines: tuple[Chunk, ...]) -> tuple[float, float]:
    return max(map(line_px, lines)) + 2 * _LABEL_PADDING_PX, len(lines) * LINE_PX + 0.8 * _LABEL_PADDING_PX


# -- out of Graphviz -----------------------------------------------------------------------------------------------


class _Placed(TypedDict):
    """A node or an edge in Graphviz's JSON, as far as it is read: https://graphviz.org/docs/outputs/json/ has all."""

    name: str
    id: str
    pos: str
    width: str
    height: str


class _Graph(TypedDict):
    """A picture in Graphviz's JSON."""

    bb: str
    objects: list[_Placed]
    edges: list[_Placed]


class _Graphviz(Protocol):
    """What is used of `pygraphviz.AGraph`, which has no types."""

    def draw(self, *, format: str, prog: str) -> bytes: ...  # noqa: A002 -- the library's name

    def close(self) -> None: ...


def _graphviz(source: str) -> _Graph:
    """The layout of a DOT text, by the library that the pygraphviz wheel bundles."""
    try:
        from pygraphviz import AGraph  # type: ignore[import-untyped]  # it has no types
    except ImportError as exc:
        raise missing("pygraphviz") from exc
    graph = cast("_Graphviz", AGraph(string=source))
    try:
        return cast("_Graph", json.loads(graph.draw(format="json0", prog="dot")))
    finally:
        graph.close()


def _box(found: _Placed, height: float) -> Box:
    x, y = _point(found["pos"], height)
    size_px = {name: float(found[name]) * _POINTS_PER_INCH for name in ("width", "height")}
    return Box(x=x, y=y, width=size_px["width"], height=size_px["height"])


def _curve(found: _Placed, height: float) -> Curve:
    """An edge's line: `e,x,y` is the tip of its arrow, the rest are control points."""
    texts = found["pos"].split()
    tip = _point(texts.pop(0)[2:], height) if texts[0].startswith("e,") else None
    return Curve(points=tuple(_point(text, height) for text in texts), tip=tip)


def _point(text: str, height: float) -> Point:
    """A point from the left and from the top; Graphviz counts from below."""
    x, y = map(float, text.split(","))
    return x, height - y
