"""Everything has its place, nothing covers anything, and it can be read at 1,200 px."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest

from adapters.drawing.layout import TEXT_PX, WIDTH_PX, Box, Curve, Layout, Point, lay_out, line_px, width_px
from fsm.drawing import Machine, drawing_of, drawing_with_path
from fsm.drawing.label import text_of
from fsm.drawing.picture import Picture
from tests.fsm.test_drawing_journey import PATHS, path_lines
from tests.fsm.test_drawing_machine import ON_PATH, said

PICTURES = {
    **{machine.value: drawing_of(machine).picture for machine in Machine},
    "path": ON_PATH,
    **{f"path of {machine}": drawing_with_path(machine, path_lines()).picture for machine in PATHS},
}
READABLE_PX = 12.0
"""The least size of text, once the picture is 1,200 px wide."""
SAMPLES = 16
"""Points of a curve that are looked at."""


@pytest.fixture(params=PICTURES)
def picture(request: pytest.FixtureRequest) -> Picture:
    return PICTURES[request.param]


@pytest.fixture
def layout(picture: Picture) -> Layout:
    return lay_out(picture)


def boxes(picture: Picture, layout: Layout) -> dict[str, Box]:
    """Every box by a name: nodes by their own, labels by their place."""
    return {**layout.nodes, **{f"label {place}": edge.box for place, edge in enumerate(layout.edges)}}


def points(curve: Curve) -> Iterator[Point]:
    """Points all along a curve."""
    for first in range(0, len(curve.points) - 1, 3):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = curve.points[first : first + 4]
        for step in range(SAMPLES + 1):
            t, u = step / SAMPLES, 1 - step / SAMPLES
            weights = (u**3, 3 * u**2 * t, 3 * u * t**2, t**3)
            yield (
                sum(weight * x for weight, x in zip(weights, (ax, bx, cx, dx), strict=True)),
                sum(weight * y for weight, y in zip(weights, (ay, by, cy, dy), strict=True)),
            )


def distance(point: Point, box: Box) -> float:
    """How far a point is from a box; below 0 within it."""
    return max(abs(point[0] - box.x) - box.width / 2, abs(point[1] - box.y) - box.height / 2)


def test_text_can_be_read_at_1200_px(layout: Layout) -> None:
    """However wide the picture is, its text has 12 px or more once it is shown 1,200 px wide."""
    margins = 32
    assert TEXT_PX * min(1.0, WIDTH_PX / (layout.width + margins)) >= READABLE_PX


def test_no_line_passes_through_a_box_of_another(picture: Picture, layout: Layout) -> None:
    """An edge touches the box it leaves, its label and the box it enters, and no other text."""
    for place, (edge, placed) in enumerate(zip(picture.edges, layout.edges, strict=True)):
        own = {edge.source, edge.dest, f"label {place}"}
        for name, box in boxes(picture, layout).items():
            if name not in own:
                for curve in placed.curves:
                    assert min(distance(point, box) for point in points(curve)) > -1, (said(edge), name)


def test_no_two_boxes_touch(picture: Picture, layout: Layout) -> None:
    """Nodes and labels keep apart."""
    for (one, a), (two, b) in combinations(boxes(picture, layout).items(), 2):
        apart = max(abs(a.x - b.x) - (a.width + b.width) / 2, abs(a.y - b.y) - (a.height + b.height) / 2)
        assert apart > 1, (one, two)


def test_everything_lies_within_the_picture(picture: Picture, layout: Layout) -> None:
    """No box is cut off at a border."""
    for box in boxes(picture, layout).values():
        assert box.width / 2 - 1 <= box.x <= layout.width - box.width / 2 + 1
        assert box.height / 2 - 1 <= box.y <= layout.height - box.height / 2 + 1


def test_every_edge_goes_from_its_source_by_its_label_to_its_destination(picture: Picture, layout: Layout) -> None:
    """The first curve joins source and label, the second label and destination, and its arrow points there."""
    near = 3
    for edge, placed in zip(picture.edges, layout.edges, strict=True):
        to, since = placed.curves
        assert abs(distance(to.points[0], layout.nodes[edge.source])) < near
        assert abs(distance(to.points[-1], placed.box)) < near
        assert abs(distance(since.points[0], placed.box)) < near
        assert to.tip is None
        assert since.tip is not None
        assert abs(distance(since.tip, layout.nodes[edge.dest])) < near


def test_labels_and_nodes_have_room_for_their_text(picture: Picture, layout: Layout) -> None:
    """Every line of text fits its box, and a label has all its words."""
    for edge, placed in zip(picture.edges, layout.edges, strict=True):
        assert max(map(line_px, placed.lines)) <= placed.box.width
        assert " ".join(map(text_of, placed.lines)) == said(edge)
    for node in picture.nodes:
        widest = max(width_px(line, bold=place == 0) for place, line in enumerate(node.lines))
        assert widest < layout.nodes[node.name].width


def test_every_first_state_has_its_point(picture: Picture, layout: Layout) -> None:
    """An arrow leads from a point to each first state, and to no other."""
    initial = [layout.nodes[node.name] for node in picture.nodes if node.initial]
    tips = [curve.tip for _, curve in layout.starts]
    assert len(tips) == len(initial)
    for tip, box in zip(tips, initial, strict=True):
        assert tip is not None
        assert abs(distance(tip, box)) < 3
