"""SVG files hold every word of their pictures, light and dark, whatever font a reader has."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from adapters.drawing.colours import COLOURS, Colours, Theme, style
from adapters.drawing.svg import render_svg
from fsm.drawing import Machine, drawing_of
from tests.fsm.test_drawing_machine import ON_PATH, said

SVG = "{http://www.w3.org/2000/svg}"
DRAWN = {machine: render_svg(drawing_of(machine).picture) for machine in Machine}
READABLE = 4.5
"""The least contrast of text. https://www.w3.org/TR/WCAG22/#contrast-minimum"""


def texts(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(f"{SVG}text"))


@pytest.mark.parametrize("machine", Machine)
def test_every_word_of_a_picture_is_in_it(machine: Machine) -> None:
    """Title, reading, nodes and labels are there as text, in the order they are read."""
    picture = drawing_of(machine).picture
    expected = [picture.title, picture.reading, *(line for node in picture.nodes for line in node.lines)]
    expected += " ".join(said(edge) for edge in picture.edges).split()
    found = [text.text or "" for text in texts(DRAWN[machine])]
    heads = 2 + sum(len(node.lines) for node in picture.nodes)
    assert found[:heads] + " ".join(found[heads:]).split() == expected


@pytest.mark.parametrize("machine", Machine)
def test_every_text_is_held_to_its_width_and_within_the_picture(machine: Machine) -> None:
    """Each text says how wide it is laid out, and ends before the picture does."""
    root = ET.fromstring(DRAWN[machine])
    group = root.find(f"{SVG}g")
    assert group is not None
    shift_x = float(re.findall(r"[\d.]+", group.attrib["transform"])[0])
    for text in group.iter(f"{SVG}text"):
        assert text.attrib["lengthAdjust"] == "spacingAndGlyphs"
        assert shift_x + float(text.attrib["x"]) + float(text.attrib["textLength"]) < float(root.attrib["width"])


@pytest.mark.parametrize("machine", Machine)
def test_every_state_and_every_edge_is_drawn(machine: Machine) -> None:
    """A box for each node and label, an arrow for each edge, a second border for each end."""
    picture = drawing_of(machine).picture
    root = ET.fromstring(DRAWN[machine])
    kinds = [element.attrib.get("class", "") for element in root.iter()]
    starts, finals = sum(node.initial for node in picture.nodes), sum(node.final for node in picture.nodes)
    assert sum(kind.startswith("node ") for kind in kinds) == len(picture.nodes) + finals
    assert sum(kind == "label" for kind in kinds) == len(picture.edges)
    assert sum(kind.startswith("tip") for kind in kinds) == len(picture.edges) + starts
    assert sum(kind == "start" for kind in kinds) == starts


def test_what_xml_would_read_is_escaped() -> None:
    """A title with angle brackets and an ampersand stays a title."""
    svg = render_svg(replace(drawing_of(Machine.SPOT_VM).picture, title="<VM> & co"))
    assert ET.fromstring(svg).findtext(f"{SVG}title") == "<VM> & co"


def test_a_path_stands_out() -> None:
    """What a path passed is marked, where it is now is marked otherwise, and the rest steps back."""
    picture = ON_PATH
    root = ET.fromstring(render_svg(picture))
    kinds = [element.attrib.get("class", "") for element in root.iter()]
    assert sum(kind == "node state went" for kind in kinds) == 1
    assert sum(kind == "node state went here" for kind in kinds) == 2
    assert sum(kind == "node state away" for kind in kinds) == 3
    assert sum(kind == "tip went" for kind in kinds) == sum(edge.taken for edge in picture.edges) == 3
    assert "now here" in " ".join(text.text or "" for text in texts(render_svg(picture)))
    assert not re.search(r'class="[^"]*(went|away|here)', DRAWN[Machine.APPLICATION])


# -- colours -----------------------------------------------------------------------------------------------------------


def test_one_file_is_light_and_dark() -> None:
    """The light colours hold, and the dark ones where the reader prefers those; a theme of its own has no choice."""
    both = style(None)
    light, dark = both.split("@media (prefers-color-scheme: dark) ")
    assert COLOURS[Theme.LIGHT].ground in light
    assert COLOURS[Theme.DARK].ground not in light
    assert dark == f"{{{style(Theme.DARK)}}}"
    assert "@media" not in style(Theme.LIGHT) + style(Theme.DARK)
    assert style(None) in DRAWN[Machine.JOB]


def luminance(colour: str) -> float:
    """Relative luminance, as https://www.w3.org/TR/WCAG22/#dfn-relative-luminance has it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    dark, light = sorted((luminance(one), luminance(two)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", Theme)
def test_text_can_be_told_from_its_ground(theme: Theme) -> None:
    """Each colour of text has enough contrast on each ground that it stands on, light and dark."""
    colours: Colours = COLOURS[theme]
    for ground in (colours.ground, colours.label):
        for ink in (colours.ink, colours.quiet, colours.row, colours.path):
            assert contrast(ink, ground) >= READABLE, (ink, ground)
    for ground in (colours.state, colours.effect, colours.here):
        assert contrast(colours.ink, ground) >= READABLE, ground
