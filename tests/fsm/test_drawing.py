"""What is drawn is kept up to date: the files in `diagrams/`, the README's blocks, and the same bytes everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm import drawing
from fsm.drawing import (
    Format,
    Machine,
    drawing_of,
    drawing_with_path,
    file_name,
    generated_files,
    readme_blocks,
    refreshed,
)
from fsm.drawing.mermaid import render_mermaid
from fsm.errors import ConfigurationError
from fsm.promises import Promise
from tests.fsm.test_drawing_journey import line

ROOT = Path(drawing.__file__).parents[2]

# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", generated_files())
def test_the_drawings_in_the_repository_are_fresh(path: str) -> None:
    """A change of what decides comes with its drawings: run `spotfsm draw`."""
    assert (ROOT / path).read_text(encoding="utf-8") == generated_files()[path]


def test_every_machine_is_drawn_in_every_format() -> None:
    """Three tables, their joint rules and the delivery protocol, each in each format that is text."""
    assert [machine.value for machine in Machine] == ["spot_vm", "application", "job", "joint", "delivery"]
    assert set(generated_files()) == {
        f"diagrams/{machine}.{ending}" for machine in Machine for ending in ("mmd", "dot", "xstate.json", "md")
    }
    assert [file_name(Machine.JOB, form) for form in Format if not form.is_text] == ["job.svg", "job.png"]


@pytest.mark.parametrize("machine", Machine)
def test_a_page_has_the_picture_and_the_decisions(machine: Machine) -> None:
    """Whoever opens a Markdown file sees the machine, and each of its rows below."""
    made = drawing_of(machine)
    page = made.text(Format.MARKDOWN)
    assert page.startswith(f"# {made.picture.title}\n")
    assert f"```mermaid\n{render_mermaid(made.picture)}```\n" in page
    assert page.endswith(made.decisions)


@pytest.mark.parametrize("form", [form for form in Format if not form.is_text])
def test_pictures_are_not_text(form: Format) -> None:
    """SVG and PNG need a layout, which the core has not."""
    with pytest.raises(AssertionError, match=f"{form} needs a layout"):
        drawing_of(Machine.JOB).text(form)


@pytest.mark.parametrize(("state", "row"), [("Offline", "A99"), ("Drained", "A1"), ("Nowhere", "A1")])
def test_a_path_of_another_table_is_a_mistake(state: str, row: str) -> None:
    """A row that this table does not take in this state was written by another version, and nothing is drawn."""
    with pytest.raises(
        ConfigurationError, match=f"no row '{row}' is taken in state '{state}' of the table application"
    ):
        drawing_with_path(Machine.APPLICATION, [line(row, state, "Recovering")])


def test_drawings_are_the_same_bytes_under_every_hash_seed() -> None:
    """No order comes from a set: processes with different hash seeds draw the same."""
    program = "from fsm.drawing import generated_files, readme_blocks; print(generated_files(), readme_blocks())"
    drawn = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert drawn == {f"{generated_files()} {readme_blocks()}\n".encode()}


def test_a_path_of_the_table_is_drawn_into_it() -> None:
    """The picture has the same states, and tells which of them the path came by."""
    made = drawing_with_path(Machine.APPLICATION, [line("A1", "Offline", "Recovering")])
    assert [node.name for node in made.picture.nodes] == [
        node.name for node in drawing_of(Machine.APPLICATION).picture.nodes
    ]
    assert [node.name for node in made.picture.nodes if node.visits] == ["Offline", "Recovering"]


# -- README ------------------------------------------------------------------------------------------------------------


def marked(name: str, body: str = "old\n") -> str:
    return f"<!-- generated: {name} -->\n{body}<!-- end generated -->"


@given(
    names=st.lists(st.sampled_from(sorted(readme_blocks())), max_size=4), old=st.sampled_from(["", "old\n", "a\n\nb"])
)
def test_a_readme_is_refreshed_between_its_markers_only(names: list[str], old: str) -> None:
    """What a person wrote stays to the letter, each block is replaced, and doing it twice changes nothing."""
    text = "# Title\n" + "".join(f"\nwords <{number}>\n{marked(name, old)}\n" for number, name in enumerate(names))
    fresh = refreshed(text)
    assert fresh == "# Title\n" + "".join(
        f"\nwords <{number}>\n{readme_blocks()[name]}\n" for number, name in enumerate(names)
    )
    assert refreshed(fresh) == fresh


def test_the_promises_are_a_block_of_the_readme() -> None:
    """Each promise is in the README with its condition, word for word."""
    for promise in Promise:
        assert f"| `{promise.value}` | {promise.sentence} |\n" in readme_blocks()["promises"]


def test_an_unknown_block_is_named() -> None:
    """A misspelt marker is an error in one line, with the names there are."""
    with pytest.raises(ConfigurationError, match=r"README\.md: no generated block is named 'spot'\. .*spot_vm"):
        refreshed(marked("spot"))


@pytest.mark.parametrize(
    "text",
    [
        "<!-- generated: job -->\nopen",
        "<!-- generated: job -->\n" + marked("joint"),
        marked("joint") + "\n<!-- generated: job -->",
    ],
)
def test_a_block_without_an_end_is_reported(text: str) -> None:
    """A missing end marker never swallows what a person wrote after it."""
    with pytest.raises(ConfigurationError, match=r"README\.md: a generated block has no end"):
        refreshed(text)
