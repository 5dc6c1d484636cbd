"""The checks of journals find what they look for: each sees one lie told to it, and a true journal has no fault."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.host.journal import JsonLinesJournal
from adapters.host.journal_lines import JournalFollower, Line, read_lines
from fsm.ports import JsonScalar
from tests.journal_checks import faults_in

_BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
_UP = (
    ("A1", "recover", "Offline", "Recovering", "VM running"),
    ("A3", "resume", "Recovering", "WarmingUp", "store answered"),
    ("A13", "start", "WarmingUp", "Processing", "healthy"),
)


class Told:
    """A journal told line by line."""

    def __init__(self, source: str = "1-a") -> None:
        self.lines: list[Line] = []
        self._source = source

    def say(self, kind: str, **fields: JsonScalar) -> Told:
        number = len(self.lines) + 1
        at = _BEGAN + timedelta(seconds=number)
        self.lines.append(Line(source=self._source, n=number, at=at, kind=kind, fields=fields))
        return self

    def up(self) -> Told:
        for row, trigger, before, after, facts in _UP:
            self.row("application", row, (trigger, before, after, facts))
        return self

    def row(self, machine: str, row: str, rest: tuple[str, str, str, str]) -> Told:
        trigger, before, after, facts = rest
        told = {"machine": machine, "row": row, "trigger": trigger, "from": before, "to": after, "facts": facts}
        return self.say("row", verdict="taken", **told)

    def job(
        self, row: str, trigger: str, before: str, after: str, facts: str = "", *, epoch: int = 1, progress: str = ""
    ) -> Told:
        told = {"machine": "job", "row": row, "trigger": trigger, "from": before, "to": after, "facts": facts}
        return self.say("row", verdict="taken", job="j", epoch=epoch, progress=progress or None, **told)

    def begun(self, *, epoch: int = 1, progress: str = "") -> Told:
        if epoch == 1:
            return self.job("J8", "begin", "Received", "Running", "first delivery")
        return self.job("J7", "begin", "Received", "Running", "claimed", epoch=epoch, progress=progress)

    def saved(self, progress: str, *, epoch: int = 1) -> Told:
        return self.job("J19", "checkpoint", "Running", "Running", "fence holds", epoch=epoch, progress=progress)

    def done(self, *, epoch: int = 1) -> Told:
        return self.job("J21", "finish", "Running", "Completed", "recorded", epoch=epoch)


def _told() -> Told:
    return Told().up()


def _notice(told: Told, severity: str = "reclaim") -> Told:
    return told.say("notice", event_id="e", severity=severity)


@pytest.mark.parametrize(
    "told",
    [
        _told().say("receive").begun().saved("1").saved("2").done(),
        _notice(_told(), "advisory").say("receive").begun(),
        _told().begun().saved("3").begun(epoch=2, progress="3").saved("4", epoch=2).done(epoch=2),
    ],
)
def test_a_true_journal_has_no_fault(told: Told) -> None:
    """What a worker that keeps its promises writes is found without fault."""
    assert faults_in(told.lines) == []


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (_told().job("J99", "begin", "Received", "Running", "first delivery"), "the table decides J8"),
        (_told().job("J8", "begin", "Received", "Completed", "first delivery"), "the table decides J8"),
        (_told().job("J8", "begin", "Received", "Running", "claimed"), "the table decides J7"),
        (_told().job("J8", "begins", "Received", "Running", "first delivery"), "'begins' is not a valid"),
        (_told().job("J21", "finish", "Running", "Completed", "recorded"), "its machine was in Received"),
        (_told().row("tea", "T1", ("pour", "Empty", "Full", "")), "there is no machine 'tea'"),
        (_notice(_told()).say("receive"), "while notice e stands"),
        (_notice(_told()).begun(), "while notice e stands"),
        (Told().say("receive"), "while the worker was Offline"),
        (_told().begun().saved("3").saved("2"), "progress 2 in epoch 1, after 3 in epoch 1"),
        (_told().begun().saved("3").begun(epoch=2), "progress 0 in epoch 2, after 3 in epoch 1"),
        (_told().begun().done().begun(epoch=2).done(epoch=2), "recorded in epochs [1, 2]"),
        (_told().begun().done().begun(epoch=2), "recorded in epoch 1 and begun in epoch 2"),
        (
            _told().begun().done().job("J3", "begin", "Received", "Poisoned", "record poisoned", epoch=2),
            "recorded in epoch 1 and poisoned in epoch 2",
        ),
    ],
)
def test_a_lie_is_found(told: Told, found: str) -> None:
    """Each broken promise is seen in the journal that shows it."""
    assert any(found in fault for fault in faults_in(told.lines)), faults_in(told.lines)


def test_a_withdrawn_notice_is_over() -> None:
    """After the notice has gone and the worker is at work again, receives are right again."""
    told = _notice(_told()).say("notice_gone", event_id="e").say("receive")
    assert faults_in(told.lines) == []


def test_a_missing_line_is_found() -> None:
    """A line that is gone from the middle is missed."""
    told = _told().begun().saved("1")
    del told.lines[-2]
    assert any("line 5 follows line 3" in fault for fault in faults_in(told.lines))


def test_a_torn_line_is_passed_over_and_the_next_is_kept(tmp_path: Path) -> None:
    """A line that a kill tore hides neither what stood before it nor what another process wrote behind it."""
    journal = tmp_path / "journal.jsonl"
    first = JsonLinesJournal(journal)
    first.write("receive", {"asked": 1})
    first.close()
    with journal.open("ab") as file:
        file.write(b'{"n": 3, "at": "2026-')
    second = JsonLinesJournal(journal)
    second.write("receive", {"asked": 2})
    second.close()
    lines = read_lines(journal)
    assert [line.fields.get("asked") for line in lines if line.kind == "receive"] == [1, 2]
    assert len({line.source for line in lines}) == 2
    assert [line.n for line in lines] == [1, 2, 1, 2]


def test_a_follower_reads_every_line_once_however_it_comes(tmp_path: Path) -> None:
    """A line that is written piece by piece is read once, when it is whole."""
    path = tmp_path / "journal.jsonl"
    text = json.dumps({"n": 1, "at": _BEGAN.isoformat(), "source": "1-a", "kind": "receive"}) + "\n"
    read = []
    with JournalFollower(path) as follower, path.open("a", encoding="utf-8", buffering=1) as file:
        for piece in (text[:10], text[10:40], text[40:] + text[:5], text[5:]):
            file.write(piece)
            file.flush()
            read.append(len(list(follower.new_lines())))
    assert read == [0, 0, 1, 1]
