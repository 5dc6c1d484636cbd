"""PNG files are 1,200 px wide, opaque, and show what the SVG says."""

from __future__ import annotations

from functools import cache

import pytest

from adapters.drawing.colours import COLOURS, Theme
from adapters.drawing.layout import lay_out
from adapters.drawing.png import render_png
from fsm.drawing import Machine, drawing_of
from tests.adapters.drawing.pixels import Pixel, Pixels, decoded

PICTURE = drawing_of(Machine.JOINT).picture


@cache
def drawn(theme: Theme) -> Pixels:
    return decoded(render_png(PICTURE, theme))


def rgba(colour: str) -> Pixel:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16), 255


@pytest.mark.parametrize("theme", Theme)
def test_a_png_is_1200_px_wide_on_an_opaque_ground(theme: Theme) -> None:
    """It looks the same on any page: its ground is its own, up to the corners."""
    pixels = drawn(theme)
    assert pixels.width == 1200
    corners = {pixels.at(x, y) for x in (0, pixels.width - 1) for y in (0, pixels.height - 1)}
    assert corners == {rgba(COLOURS[theme].ground)}


def test_boxes_and_text_are_drawn() -> None:
    """Within a node's box there is its colour, and text in the colour of ink."""
    pixels = drawn(Theme.LIGHT)
    colours = {pixels.at(x, y) for y in range(0, pixels.height, 2) for x in range(pixels.width)}
    light = COLOURS[Theme.LIGHT]
    assert {rgba(light.state), rgba(light.effect), rgba(light.label), rgba(light.border)} <= colours
    ink = rgba(light.ink)
    assert any(sum(abs(a - b) for a, b in zip(colour, ink, strict=True)) < 12 for colour in colours)


def test_the_text_is_set_in_the_pinned_font() -> None:
    """With no other font at hand there still is text: some dark pixels lie where the title is."""
    pixels = drawn(Theme.LIGHT)
    scale = pixels.width / (lay_out(PICTURE).width + 32)
    title = [pixels.at(x, y)[0] < 100 for y in range(int(36 * scale)) for x in range(int(150 * scale))]
    assert sum(title) > 200
