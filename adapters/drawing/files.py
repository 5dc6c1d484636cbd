"""The picture files in `diagrams/`: which there are, how to draw them, and whether they are fresh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from adapters.drawing.colours import Theme
from adapters.drawing.png import render_png
from adapters.drawing.stamp import is_fresh, stamped
from adapters.drawing.svg import render_svg
from fsm.drawing import DIRECTORY, Format, Machine, drawing_of, file_name
from fsm.drawing.picture import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFile:
    """One file.

    Attributes:
        draw: makes its bytes; raises ConfigurationError without the extra `draw`.
        is_fresh: whether bytes that are there already were drawn from the same source.
    """

    draw: Callable[[], bytes]
    is_fresh: Callable[[bytes], bool]


def picture_files() -> Mapping[str, PictureFile]:
    """Every picture file by its path from the repository's root: an SVG and two PNG for each machine."""
    files: dict[str, PictureFile] = {}
    for machine in Machine:
        picture = drawing_of(machine).picture
        fresh = partial(is_fresh, picture=picture)
        files[f"{DIRECTORY}/{file_name(machine, Format.SVG)}"] = PictureFile(
            draw=partial(draw_svg, picture), is_fresh=fresh
        )
        for theme in Theme:
            path = f"{DIRECTORY}/{png_name(machine, theme)}"
            files[path] = PictureFile(draw=partial(draw_png, picture, theme), is_fresh=fresh)
    return files


def png_name(machine: Machine, theme: Theme) -> str:
    """The name of a PNG: dark ones say so."""
    name = file_name(machine, Format.PNG)
    return name if theme is Theme.LIGHT else f"{machine.value}-{theme.value}.{Format.PNG.ending}"


def draw_svg(picture: Picture) -> bytes:
    """A picture as SVG, light and dark, with its stamp.

    Raises:
        ConfigurationError: the extra `draw` is not installed.
    """
    return stamped(render_svg(picture).encode(), picture)


def draw_png(picture: Picture, theme: Theme) -> bytes:
    """A picture as PNG, with its stamp.

    Raises:
        ConfigurationError: the extra `draw` is not installed.
    """
    return stamped(render_png(picture, theme), picture)
