"""Drawings of everything that decides: the three tables, the joint rules and the delivery protocol.

All are derived from what runs. A table or a rule becomes a *picture* (`picture`, by `machine`, `joint` and `protocol`),
and a picture becomes text (`mermaid`, `dot`); decision tables (`markdown`) and XState configurations (`xstate`) are
written from the tables themselves. Pure and byte-stable: the order of everything comes from the tables, never from a
set. SVG and PNG need a layout, and with it libraries that the core does without: `adapters.drawing`.
"""

from fsm.drawing.catalogue import Drawing, Format, Machine, drawing_of, drawing_with_path
from fsm.drawing.files import DIRECTORY, file_name, generated_files, readme_blocks, refreshed
from fsm.drawing.journey import Journey, journey_of

__all__ = [
    "DIRECTORY",
    "Drawing",
    "Format",
    "Journey",
    "Machine",
    "drawing_of",
    "drawing_with_path",
    "file_name",
    "generated_files",
    "journey_of",
    "readme_blocks",
    "refreshed",
]
