"""`spotfsm draw`: the drawings are what the tables say, or the check fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsm.drawing import generated_files
from tests.adapters.cli.conftest import Command

ROOT = Path(__file__).resolve().parents[3]
README = "# Mine\n\n<!-- generated: job -->\nan older drawing\n<!-- end generated -->\n\nKept.\n"


@pytest.fixture
def drawn(directory: Path, inside: Command) -> Path:
    (directory / "README.md").write_text(README)
    assert inside("draw").code == 0
    return directory


def test_drawing_writes_every_file_and_the_blocks_of_the_readme(drawn: Path) -> None:
    """What stands outside of the markers is left alone."""
    for path, text in generated_files().items():
        assert (drawn / path).read_text() == text
    readme = (drawn / "README.md").read_text()
    assert readme.startswith("# Mine\n")
    assert readme.endswith("\nKept.\n")
    assert "```mermaid" in readme
    assert "an older drawing" not in readme


def test_drawing_twice_changes_nothing(drawn: Path, inside: Command) -> None:
    """A second run finds everything up to date."""
    before = {path: path.read_bytes() for path in drawn.rglob("*.*") if path.is_file()}
    assert "up to date" in inside("draw").err
    assert {path: path.read_bytes() for path in drawn.rglob("*.*") if path.is_file()} == before
    assert inside("draw", "--check").code == 0


@pytest.mark.parametrize("stale", ["README.md", *generated_files()])
def test_the_check_names_what_is_stale_and_writes_nothing(drawn: Path, inside: Command, stale: str) -> None:
    """A drawing edited by hand fails the check, exit code 1."""
    text = (drawn / stale).read_text().replace("Running", "Walking").replace("Processing", "Resting")
    (drawn / stale).write_text(text)
    ended = inside("draw", "--check")
    assert ended.code == 1
    assert stale in ended.err
    assert (drawn / stale).read_text() == text


def test_missing_and_left_over_drawings_are_found(drawn: Path, inside: Command) -> None:
    """A drawing no table stands behind is as stale as one that is not there."""
    (drawn / "diagrams" / "job.mmd").unlink()
    (drawn / "diagrams" / "gone.mmd").write_text("stateDiagram-v2")
    ended = inside("draw", "--check")
    assert "diagrams/job.mmd" in ended.err
    assert "diagrams/gone.mmd" in ended.err
    assert inside("draw").code == 0
    assert inside("draw", "--check").code == 0
    assert not (drawn / "diagrams" / "gone.mmd").exists()


def test_a_marker_that_names_nothing_is_a_mistake(directory: Path, inside: Command) -> None:
    """A misspelt block would silently never be drawn."""
    (directory / "README.md").write_text("<!-- generated: jop -->\n<!-- end generated -->\n")
    ended = inside("draw")
    assert ended.code == 2
    assert "'jop'" in ended.error_line
    assert not (directory / "diagrams").exists()


def test_the_drawings_of_this_repository_are_fresh(inside: Command) -> None:
    """What a reader sees is what runs."""
    ended = inside("draw", "--check", "--root", ROOT)
    assert ended.code == 0, ended.err
