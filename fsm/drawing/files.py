"""What `spotfsm draw` keeps up to date as text: the files in `diagrams/`, and the README's blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from fsm.drawing.catalogue import Format, Machine, drawing_of
from fsm.drawing.markdown import markdown_table
from fsm.errors import ConfigurationError
from fsm.promises import Promise

DIRECTORY = "diagrams"
_MARKER = "<!-- generated: "
_BLOCK = re.compile(rf"{_MARKER}(?P<name>\S+) -->(?:(?!{_MARKER}).)*?<!-- end generated -->", re.DOTALL)


def file_name(machine: Machine, form: Format) -> str:
    """The name of a drawing's file."""
    return f"{machine.value}.{form.ending}"


@cache
def generated_files() -> Mapping[str, str]:
    """Every generated text file: its path from the repository's root, and its text."""
    return {
        f"{DIRECTORY}/{file_name(machine, form)}": drawing_of(machine).text(form)
        for machine in Machine
        for form in Format
        if form.is_text
    }


def readme_blocks() -> Mapping[str, str]:
    """The README's generated blocks by name, each with its markers: the pictures, and the promises."""
    bodies = {machine.value: drawing_of(machine).fenced for machine in Machine}
    bodies["promises"] = markdown_table(("promise", "in words"), [(f"`{p.value}`", p.sentence) for p in Promise])
    return {name: marked(name, body) for name, body in bodies.items()}


def marked(name: str, body: str) -> str:
    """A generated block of the README, with its markers."""
    return f"{_MARKER}{name} -->\n{body}<!-- end generated -->"


def refreshed(readme: str, others: Mapping[str, str] | None = None) -> str:
    """The README with each of its generated blocks as it should be; a block without a marker is not added.

    Args:
        readme: as it is.
        others: blocks that somebody else generates: their names, and what stands between the markers.

    Raises:
        ConfigurationError: a marker names no block, or has no end.
    """
    blocks = {**readme_blocks(), **{name: marked(name, body) for name, body in (others or {}).items()}}
    names = [found["name"] for found in _BLOCK.finditer(readme)]
    remedy = f"Write <!-- generated: NAME --> and <!-- end generated -->, with one of {', '.join(blocks)}."
    if unknown := [name for name in names if name not in blocks]:
        raise ConfigurationError("README.md", f"no generated block is named {unknown[0]!r}", remedy)
    if len(names) != readme.count(_MARKER):
        raise ConfigurationError("README.md", "a generated block has no end", remedy)
    return _BLOCK.sub(lambda found: blocks[found["name"]], readme)
