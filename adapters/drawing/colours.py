"""The colours of pictures, and the style sheet that has them.

Of text on its ground the contrast is at least 4.5 to 1, light and dark. https://www.w3.org/TR/WCAG22/#contrast-minimum
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Theme(StrEnum):
    """What a reader's screen is like."""

    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    """The colours of one theme.

    Attributes:
        ground, label: what text stands on.
        ink, quiet, row: text: names and outcomes, guards, row ids.
        line: edges.
        state, effect, border: nodes.
        path, here: where a drawn path went, and where it is now.
    """

    ground: str
    label: str
    ink: str
    quiet: str
    row: str
    line: str
    state: str
    effect: str
    border: str
    path: str
    here: str


COLOURS = {
    Theme.LIGHT: Colours(
        ground="#ffffff", label="#f6f8fa", ink="#1b1f24", quiet="#57606a", row="#0a58ad", line="#6e7781",
        state="#eef4fb", effect="#fff4dc", border="#2f6db5", path="#1a7f37", here="#ffe08a",
    ),
    Theme.DARK: Colours(
        ground="#0d1117", label="#161b22", ink="#e6edf3", quiet="#9aa4ae", row="#79b8ff", line="#8b949e",
        state="#16263a", effect="#3a2e12", border="#5ea2ef", path="#3fb950", here="#6b5200",
    ),
}  # fmt: skip


def style(theme: Theme | None) -> str:
    """The style sheet of a theme; for None, of the light one, and of the dark one where the reader prefers that."""
    if theme is not None:
        return _rules(COLOURS[theme])
    dark = _rules(COLOURS[Theme.DARK])
    return f"{_rules(COLOURS[Theme.LIGHT])}\n@media (prefers-color-scheme: dark) {{{dark}}}"


def _rules(colours: Colours) -> str:
    c = colours
    return "".join(
        (
            f".ground{{fill:{c.ground}}}",
            f".name,.event,.outcome{{fill:{c.ink}}}",
            f".reading,.guard{{fill:{c.quiet}}}",
            f".row{{fill:{c.row}}}",
            f".taken{{fill:{c.path}}}",
            f".line{{fill:none;stroke:{c.line};stroke-width:1.3}}",
            ".dotted{stroke-dasharray:5 4}",
            f".tip{{fill:{c.line}}}",
            f".start{{fill:{c.ink}}}",
            f".label{{fill:{c.label};stroke:{c.line};stroke-width:0.5}}",
            f".node{{fill:{c.state};stroke:{c.border};stroke-width:1.5}}",
            f".any{{fill:{c.ground};stroke-dasharray:5 4}}",
            f".effect{{fill:{c.effect}}}",
            ".away{opacity:0.5}",
            f".line.went{{stroke:{c.path};stroke-width:2.5}}",
            f".tip.went{{fill:{c.path}}}",
            f".label.went{{stroke:{c.path};stroke-width:1.5}}",
            f".node.went{{stroke:{c.path};stroke-width:3}}",
            f".node.here{{fill:{c.here}}}",
        )
    )
