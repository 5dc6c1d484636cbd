"""The journal file: whole lines in order, whatever happens to its disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.host.journal import JsonLinesJournal, NoJournal, WatchedJournal
from fsm.errors import ConfigurationError
from fsm.journal_kinds import Kind
from fsm.ports import JsonScalar


def read(path: Path) -> list[dict[str, JsonScalar]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_entries_are_numbered_lines_of_one_source(tmp_path: Path) -> None:
    """A reader can tell a gap, and one process from another."""
    path = tmp_path / "journal"
    journal = JsonLinesJournal(path)
    for count in range(3):
        journal.write(Kind.LOOP_BLOCKED, {"for_s": count})
    journal.close()
    lines = read(path)
    assert [line["n"] for line in lines] == [1, 2, 3, 4]
    assert [line["kind"] for line in lines] == ["journal", "loop_blocked", "loop_blocked", "loop_blocked"]
    assert len({line["source"] for line in lines}) == 1


def test_an_entry_is_in_the_file_as_soon_as_it_is_written(tmp_path: Path) -> None:
    """A process killed in the next instant leaves every line it acted on: nothing waits in a buffer of its own."""
    journal = JsonLinesJournal(tmp_path / "journal")
    journal.write(Kind.IMDS_ANSWERS, {})
    assert read(tmp_path / "journal")[-1]["kind"] == Kind.IMDS_ANSWERS
    journal.close()


def test_processes_share_a_file(tmp_path: Path) -> None:
    """A second process appends: nothing of the first is lost, and the lines can be told apart."""
    first, second = (JsonLinesJournal(tmp_path / "journal") for _ in range(2))
    first.write(Kind.IMDS_ANSWERS, {})
    second.write(Kind.IMDS_ANSWERS, {})
    first.close()
    second.close()
    assert len({line["source"] for line in read(tmp_path / "journal")}) == 2


def test_a_journal_that_cannot_be_opened_names_the_setting(tmp_path: Path) -> None:
    """A missing directory is a mistake in a setting, found at the start."""
    with pytest.raises(ConfigurationError, match=r"--journal: .*No such file"):
        JsonLinesJournal(tmp_path / "missing" / "journal")


def test_a_full_disk_is_said_once_and_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The drain goes on without its journal."""
    journal = JsonLinesJournal(Path("/dev/full"))
    journal.write(Kind.IMDS_ANSWERS, {})
    journal.write(Kind.STOP, {"reason": "SIGTERM", "grace_s": 1.0})
    journal.close()
    assert capsys.readouterr().err.count("No space left") == 1


def test_an_observer_sees_what_the_journal_gets() -> None:
    """Watching needs no file."""
    seen: list[Kind] = []
    journal = WatchedJournal(NoJournal(), lambda kind, _: seen.append(kind))
    journal.write(Kind.IMDS_ANSWERS, {})
    journal.write(Kind.STOP, {"reason": "SIGTERM", "grace_s": 1.0})
    journal.close()
    assert seen == [Kind.IMDS_ANSWERS, Kind.STOP]


def test_a_torn_line_of_another_process_is_ended_first(tmp_path: Path) -> None:
    """A kill tore the last line; the next process's first line stands on a line of its own, and is read."""
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"n": 7, "at": "2026-')
    JsonLinesJournal(path).close()
    torn, first = path.read_text().splitlines()
    assert torn == '{"n": 7, "at": "2026-'
    assert json.loads(first)["n"] == 1
