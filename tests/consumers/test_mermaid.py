"""Mermaid's own parser understands every Mermaid text, and sees in it what was drawn."""

from __future__ import annotations

from functools import cache

import pytest

from fsm.application import APPLICATION
from fsm.drawing import Format, Machine, drawing_of, drawing_with_path, readme_blocks
from fsm.drawing.label import LINE_CHARACTERS, text_of, wrapped
from fsm.drawing.machine import picture_of
from fsm.drawing.mermaid import render_mermaid
from fsm.drawing.picture import Picture
from fsm.spot_vm import SPOT_VM
from fsm.table import Verdict
from tests.consumers.node import answers
from tests.fsm.test_drawing_journey import PATHS, path_lines
from tests.fsm.test_drawing_machine import ON_PATH

pytestmark = pytest.mark.node

PICTURES: dict[str, Picture] = {
    **{machine.value: drawing_of(machine).picture for machine in Machine},
    "a path": ON_PATH,
    **{f"path of {machine}": drawing_with_path(machine, path_lines()).picture for machine in PATHS},
    "every verdict": picture_of(SPOT_VM, "All rows", verdicts=tuple(Verdict)),
}
BROKEN = "stateDiagram-v2\n    A --> : nowhere -->"


@cache
def understood() -> dict[str, dict[str, object]]:
    """What Mermaid makes of every text, asked at once."""
    texts = {name: render_mermaid(picture) for name, picture in PICTURES.items()}
    texts |= {f"README {name}": block.split("```mermaid\n")[1].split("```")[0] for name, block in blocks().items()}
    texts["broken"] = BROKEN
    return dict(zip(texts, answers("mermaid.mjs", list(texts.values())), strict=True))


def blocks() -> dict[str, str]:
    return {name: block for name, block in readme_blocks().items() if "```mermaid" in block}


@pytest.mark.parametrize("name", PICTURES)
def test_mermaid_sees_what_was_drawn(name: str) -> None:
    """Every node and every edge with its whole label comes back from the parser, and a first state for a machine."""
    picture, seen = PICTURES[name], understood()[name]
    labels = ["<br>".join(text_of(line) for line in wrapped(edge.label, LINE_CHARACTERS)) for edge in picture.edges]
    edges = [[edge.source, edge.dest, label] for edge, label in zip(picture.edges, labels, strict=True)]
    starts = [["root_start", node.name, ""] for node in picture.nodes if node.initial]
    ends = [[node.name, "root_end", ""] for node in picture.nodes if node.final]
    assert seen.get("error") is None
    assert seen["type"] == ("stateDiagram" if picture.is_machine else "flowchart-v2")
    assert [[a, b, str(label).replace("<br/>", "<br>")] for a, b, label in listed(seen["edges"])] == [
        *starts,
        *edges,
        *ends,
    ]
    extra = {"root_start", *(["root_end"] if ends else [])} if picture.is_machine else set()
    nodes = seen["nodes"]
    assert isinstance(nodes, list)
    assert set(nodes) == {node.name for node in picture.nodes} | extra


def listed(value: object) -> list[list[str]]:
    assert isinstance(value, list)
    return value


@pytest.mark.parametrize("name", blocks())
def test_mermaid_understands_the_readme(name: str) -> None:
    """What GitHub renders from the README is Mermaid."""
    assert understood()[f"README {name}"].get("error") is None


def test_mermaid_would_say_so() -> None:
    """A text that is not Mermaid is refused: the parser looks."""
    assert "Parse error" in str(understood()["broken"]["error"])


def test_a_page_has_the_very_picture() -> None:
    """What is parsed here is what stands in the Markdown pages."""
    picture = picture_of(APPLICATION, "The application")
    assert render_mermaid(picture) in drawing_of(Machine.APPLICATION).text(Format.MARKDOWN)
