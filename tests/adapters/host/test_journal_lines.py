"""Journals read back: whole lines, torn ones, and ones that are still growing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.host.journal import JsonLinesJournal
from adapters.host.journal_lines import JournalFollower, read_journals
from fsm.journal import UNREADABLE, LineMaker
from fsm.journal_kinds import Kind

_BEGAN = "2026-11-01T00:00:00+00:00"


@pytest.mark.illegal_journal
def test_a_journal_cut_off_in_the_middle_of_a_line_begins_with_the_next(tmp_path: Path) -> None:
    """What a cut leaves of a line is no line, and no fault; further on, or without a line's end, it is a fault."""
    maker = LineMaker("worker")
    whole = [maker.line(datetime(2026, 1, 1, tzinfo=UTC), Kind.IMDS_ANSWERS, {}) + "\n" for _ in range(3)]
    path = tmp_path / "worker.jsonl"
    for at in range(1, len(whole[0]) - len(', "sum": "00000000"}\n')):
        path.write_text(whole[0][at:] + whole[1])
        assert [(line.n, line.kind) for line in read_journals(path)] == [(2, Kind.IMDS_ANSWERS)]
    endless = whole[0][9:30] + "\n"
    for text in (whole[0] + whole[1][9:] + whole[2], endless + whole[1], "?" + whole[0][:-3] + "\n" + whole[1]):
        path.write_text(text)
        assert UNREADABLE in {line.kind for line in read_journals(path)}


def test_a_torn_line_is_passed_over_and_the_next_is_kept(tmp_path: Path) -> None:
    """A line that a kill tore hides neither what stood before it nor what another process wrote behind it."""
    journal = tmp_path / "journal.jsonl"
    first = JsonLinesJournal(journal)
    first.write(Kind.STOP, {"reason": "SIGTERM", "grace_s": 1})
    first.close()
    with journal.open("ab") as file:
        file.write(b'{"n": 3, "at": "2026-')
    second = JsonLinesJournal(journal)
    second.write(Kind.STOP, {"reason": "SIGTERM", "grace_s": 2})
    second.close()
    lines = read_journals(journal)
    assert [line.fields.get("grace_s") for line in lines if line.kind == Kind.STOP] == [1, 2]
    assert len({line.source for line in lines}) == 2
    assert [line.n for line in lines] == [1, 2, 1, 2]


@pytest.mark.illegal_journal
def test_a_follower_reads_every_line_once_however_it_comes(tmp_path: Path) -> None:
    """A line that is written piece by piece is read once, when it is whole."""
    path = tmp_path / "journal.jsonl"
    text = json.dumps({"n": 1, "at": _BEGAN, "source": "1-a", "kind": "receive"}) + "\n"
    read = []
    with JournalFollower(path) as follower, path.open("a", encoding="utf-8", buffering=1) as file:
        for piece in (text[:10], text[10:40], text[40:] + text[:5], text[5:]):
            file.write(piece)
            file.flush()
            read.append(len(list(follower.new_lines())))
    assert read == [0, 0, 1, 1]
