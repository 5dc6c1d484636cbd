"""Pictures as PNG, by resvg, with the pinned font and no font of the system."""

from __future__ import annotations

from adapters.drawing.colours import COLOURS, Theme
from adapters.drawing.font import FAMILY, font_file
from adapters.drawing.missing import missing
from adapters.drawing.svg import render_svg
from fsm.drawing.picture import Picture

WIDTH_PX = 1200


def render_png(picture: Picture, theme: Theme) -> bytes:
    """A picture as PNG, 1200 px wide.

    Raises:
        ConfigurationError: the extra `draw` is not installed.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError as exc:
        raise missing("resvg-py") from exc
    files = [str(font_file(bold=bold)) for bold in (False, True)]
    return svg_to_bytes(
        svg_string=render_svg(picture, theme),
        width=WIDTH_PX,
        background=COLOURS[theme].ground,  # the last row and column are only in part within the picture
        skip_system_fonts=True,
        font_files=files,
        font_family=FAMILY,
        sans_serif_family=FAMILY,
    )
