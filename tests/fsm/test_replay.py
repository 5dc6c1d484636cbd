"""Replay: what workers wrote is legal; what was tampered with is named, at the right line and by the right promise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsm.application import APPLICATION
from fsm.handler import Job, Json
from fsm.job import JOB
from fsm.journal import Line, parse_line
from fsm.journal_kinds import Kind
from fsm.ports import JsonScalar
from fsm.promises import Promise
from fsm.record import Status
from fsm.replay import CHECKS, post_mortems, replay
from fsm.runner import WorkerSettings
from fsm.table import FactT, StateT, Table, TriggerT
from tests.fsm.runner.world import World, state_of, until, virtually

ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
LASTING = WorkerSettings(idle_poll_s_max=1.0, retry_pause_s=1.0)
ENDING = WorkerSettings(idle_poll_s_max=1.0, retry_pause_s=1.0, until_empty=True)


def eventful_world() -> World:
    """Three processes: one drained, recalled and then killed; one that fails, poisons and is stopped; one that ends."""

    async def handler(job: Job) -> Json:
        for step in range(int(str(job.progress or 0)), 4):
            await asyncio.sleep(1.0)
            if job.text == "bad":
                raise ValueError("always")
            await job.checkpoint(step + 1)
        return "done"

    async def main() -> World:
        world = World()
        world.enqueue(12)
        world.enqueue(1, text="bad")
        first = world.start(handler, settings=LASTING)
        await asyncio.sleep(2.5)
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=30))
        await until(lambda: bool(world.rows("A26")))
        await asyncio.sleep(90)
        world.vm.withdraw("e1")
        await until(lambda: len(world.rows("J28")) > 3 and len(world.rows("A13")) > 1)
        await asyncio.sleep(1.5)
        await first.kill()
        world.reboot(world.vm)
        second = world.start(handler, settings=LASTING)
        await asyncio.sleep(2.5)
        second.signals.send("SIGTERM")
        await second.finish()
        await world.start(handler, settings=ENDING).finish()
        return world

    return virtually(main)


def _lines(world: World) -> list[Line]:
    numbers: dict[str, int] = {}
    lines = []
    for entry in world.entries:
        numbers[entry.process] = numbers.get(entry.process, 0) + 1
        at = ORIGIN + timedelta(seconds=entry.at_s)
        lines.append(Line(source=entry.process, n=numbers[entry.process], at=at, kind=entry.kind, fields=entry.fields))
    return lines


@pytest.fixture(scope="module")
def journal() -> Sequence[Line]:
    return _lines(eventful_world())


def test_what_workers_write_is_legal(journal: Sequence[Line]) -> None:
    """A journal of notices, a withdrawal, a kill, failures, a poison and a stop breaks no promise."""
    result = replay(journal)
    assert result.faults == ()
    assert (result.completed, result.poisoned, result.unfinished) == (12, 1, 0)
    assert result.processes == 3


def test_every_promise_is_judged() -> None:
    """No promise is left out of the replay."""
    assert set(CHECKS) == set(Promise)


@pytest.mark.parametrize("share", [0.1, 0.35, 0.6, 0.85])
def test_a_cut_off_journal_is_legal(journal: Sequence[Line], share: float) -> None:
    """What is missing at either end proves nothing."""
    cut = int(len(journal) * share)
    assert replay(journal[:cut]).faults == ()
    assert replay(journal[cut:]).faults == ()


@pytest.mark.parametrize("source", ["p1", "p2", "p3"])
def test_one_workers_journal_is_legal_by_itself(journal: Sequence[Line], source: str) -> None:
    """Not having the other workers' journals proves nothing."""
    assert replay([line for line in journal if line.source == source]).faults == ()


def test_merged_in_any_order_the_verdict_is_the_same(journal: Sequence[Line]) -> None:
    """Processes are told apart by their source, and jobs ordered by their epochs: files may come in any order."""
    by_file = sorted(journal, key=lambda line: (line.source != "p2", line.source))
    assert replay(by_file).faults == ()


# -- tampering -------------------------------------------------------------------------------------------------------

Tampered = tuple[list[Line], int]
"""A journal and the index of the line that a replay must name first."""


def _first(lines: Sequence[Line], wanted: Callable[[Line], bool], *, skip: int = 0) -> int:
    found = [number for number, line in enumerate(lines) if wanted(line)]
    return found[skip]


def _row(row: str, source: str = "") -> Callable[[Line], bool]:
    return lambda line: line.row == row and (not source or line.source == source)


def _with(line: Line, **fields: JsonScalar) -> Line:
    return replace(line, fields={**line.fields, **fields})


def _changed(row_id: str, /, **fields: JsonScalar) -> Callable[[Sequence[Line]], Tampered]:
    def tamper(lines: Sequence[Line]) -> Tampered:
        at = _first(lines, _row(row_id))
        return [*lines[:at], _with(lines[at], **fields), *lines[at + 1 :]], at

    return tamper


def _inserted(after: Callable[[Line], bool], kind: str, **fields: JsonScalar) -> Callable[[Sequence[Line]], Tampered]:
    """Insert a line behind another of the same process, and number that process's later lines anew."""

    def tamper(lines: Sequence[Line]) -> Tampered:
        at = _first(lines, after)
        before = lines[at]
        new = replace(before, n=before.n + 1, kind=kind, fields=fields)
        later = [replace(line, n=line.n + 1) if line.source == before.source else line for line in lines[at + 1 :]]
        return [*lines[: at + 1], new, *later], at + 1

    return tamper


def _copied(
    copied: Callable[[Line], bool], after: Callable[[Line], bool], **changes: JsonScalar
) -> Callable[[Sequence[Line]], Tampered]:
    """Insert a changed copy of one line behind another."""

    def tamper(lines: Sequence[Line]) -> Tampered:
        fields: Mapping[str, JsonScalar] = lines[_first(lines, copied)].fields
        return _inserted(after, "row", **{**fields, **changes})(lines)

    return tamper


def _removed(row: str) -> Callable[[Sequence[Line]], Tampered]:
    def tamper(lines: Sequence[Line]) -> Tampered:
        at = _first(lines, _row(row))
        left = [*lines[:at], *lines[at + 1 :]]
        return left, _first(left, lambda line: line.source == lines[at].source and line.n == lines[at].n + 1)

    return tamper


def _repeated(lines: Sequence[Line]) -> Tampered:
    at = _first(lines, _row("J21"))
    return [*lines[: at + 1], *lines[at:]], at + 1


def _swapped(lines: Sequence[Line]) -> Tampered:
    at = _first(lines, lambda line: line.source == "p1" and line.n == 10)
    other = _first(lines, lambda line: line.source == "p1" and line.n == 11)
    swapped = list(lines)
    swapped[at], swapped[other] = swapped[other], swapped[at]
    return swapped, at


def _garbled(lines: Sequence[Line]) -> Tampered:
    at = _first(lines, _row("J21"))
    junk = Line(source="file", n=at, at=datetime.min.replace(tzinfo=UTC), kind="unreadable", fields={"text": "???"})
    return [*lines[:at], junk, *lines[at:]], at


def _late_drain(lines: Sequence[Line]) -> Tampered:
    at = _first(lines, _row("A26"))
    own = lines[at].source
    moved = [
        replace(line, at=line.at + timedelta(seconds=60)) if line.source == own and number >= at else line
        for number, line in enumerate(lines)
    ]
    return moved, at


def _recorded_twice(lines: Sequence[Line]) -> Tampered:
    """Another delivery records the same job again, begun before it could know."""
    recorded = lines[_first(lines, _row("J21", "p3"))]
    last = lines[-1]
    begin = lines[_first(lines, lambda line: line.row in {"J7", "J8"} and line.source == "p3")]
    epoch = recorded.epoch + 1
    rows = [
        replace(begin, n=last.n + 1, fields={**begin.fields, "job": recorded.job, "epoch": epoch, "progress": "4"}),
        replace(recorded, n=last.n + 2, fields={**recorded.fields, "epoch": epoch}),
    ]
    rows = [replace(row, source=last.source, at=last.at) for row in rows]
    return [*lines, *rows], len(lines)


def _poisoned_after_recorded(lines: Sequence[Line]) -> Tampered:
    recorded = lines[_first(lines, _row("J21", "p3"))]
    last = lines[-1]
    poisoned = lines[_first(lines, lambda line: line.text("to") == "Poisoned")]
    epoch = recorded.epoch + 1
    fields = {
        **poisoned.fields, "job": recorded.job, "epoch": epoch, "row": "J3", "from": "Received", "to": "Poisoned",
        "trigger": "begin", "verdict": "taken", "facts": "record poisoned",
    }  # fmt: skip
    return [*lines, replace(poisoned, source=last.source, at=last.at, n=last.n + 1, fields=fields)], len(lines)


def _without(lines: Sequence[Line], gone: Callable[[Line], bool]) -> list[Line]:
    """Without some lines, and with the numbers mended."""
    numbers: dict[str, int] = {}
    left = []
    for line in lines:
        if not gone(line):
            numbers[line.source] = numbers.get(line.source, 0) + 1
            left.append(replace(line, n=numbers[line.source]))
    return left


def _left_open(lines: Sequence[Line]) -> Tampered:
    """The end of a delivery is left out of a drain, the numbers are mended, and the process's first line is cut off."""
    ended = lines[_first(lines, _row("J28"))]
    left = _without(
        lines,
        lambda line: (line.job, line.epoch) == (ended.job, ended.epoch) and (line.row == "J28" or line.kind in ENDINGS),
    )
    left = [line for line in left if (line.source, line.n) != (ended.source, 1)]
    return left, _first(left, _row("A26"))


def _resumed(lines: Sequence[Line], **fields: JsonScalar) -> Tampered:
    at = _first(lines, lambda line: line.row == "J7" and bool(line.text("progress")) and line.text("progress") != "1")
    kept = {name: value for name, value in lines[at].fields.items() if name != "progress"}
    return [*lines[:at], replace(lines[at], fields={**kept, **fields}), *lines[at + 1 :]], at


def _hidden(lines: Sequence[Line]) -> Tampered:
    handed_back = {(line.job, line.epoch) for line in lines if line.row == "J28"}
    at = _first(lines, lambda line: line.kind == "released" and (line.job, line.epoch) in handed_back)
    return [*lines[:at], _with(lines[at], pause_s=60.0), *lines[at + 1 :]], at


def _shown_twice(lines: Sequence[Line]) -> Tampered:
    shown = lines[_first(lines, lambda line: line.kind == Kind.RELEASED)]
    return _inserted(lambda line: line is shown, Kind.RELEASED, **shown.fields)(lines)


def _never_back(lines: Sequence[Line]) -> Tampered:
    """The first process stays drained after its notice has vanished."""
    gone = _first(lines, lambda line: line.kind == "notice_gone")
    own = lines[gone].source
    left = [line for number, line in enumerate(lines) if number <= gone or line.source != own]
    later = replace(
        lines[gone], n=lines[gone].n + 1, at=lines[gone].at + timedelta(seconds=61), kind=Kind.IMDS_ANSWERS, fields={}
    )
    return [*left, later], len(left)


ENDINGS = (Kind.SETTLED, Kind.RELEASED)
J21 = _row("J21")
TAMPERINGS: dict[str, tuple[Promise, Callable[[Sequence[Line]], Tampered]]] = {
    "a line is missing": (Promise.ROW_BY_ROW, _removed("J8")),
    "a line is doubled": (Promise.ROW_BY_ROW, _repeated),
    "two lines are swapped": (Promise.ROW_BY_ROW, _swapped),
    "a line is garbled": (Promise.ROW_BY_ROW, _garbled),
    "another row id": (Promise.ROW_BY_ROW, _changed("J21", row="J22")),
    "a row id of no table": (Promise.ROW_BY_ROW, _changed("J8", row="J99")),
    "another destination": (Promise.ROW_BY_ROW, _changed("J28", to="Completed")),
    "another source": (Promise.ROW_BY_ROW, _changed("J19", **{"from": "Received"})),
    "another trigger": (Promise.ROW_BY_ROW, _changed("J19", trigger="finish")),
    "facts that decide otherwise": (Promise.ROW_BY_ROW, _changed("J8", facts="record done")),
    "a fact of no table": (Promise.ROW_BY_ROW, _changed("J8", facts="feels lucky")),
    "another verdict": (Promise.ROW_BY_ROW, _changed("A13", verdict="ignored")),
    "a machine of no table": (Promise.ROW_BY_ROW, _changed("A13", machine="toaster")),
    "an unknown state": (Promise.ROW_BY_ROW, _changed("A20", to="Asleep")),
    "a worker that skips its warm-up": (Promise.ROW_BY_ROW, _changed("A3", to="Processing")),
    "a receive after the notice": (
        Promise.NO_WORK_AFTER_NOTICE,
        _inserted(lambda line: line.kind == "notice", "receive", asked=1),
    ),
    "a receive while stopping": (
        Promise.NO_WORK_AFTER_NOTICE,
        _inserted(_row("A21"), "receive", asked=1),
    ),
    "a begin after the notice": (
        Promise.NO_WORK_AFTER_NOTICE,
        _copied(_row("J8"), lambda line: line.kind == "notice", job="new", epoch=1),
    ),
    "a drain that ends late": (Promise.DRAINED_IN_TIME, _late_drain),
    "a drain with a job still open": (Promise.DRAINED_IN_TIME, _left_open),
    "a delivery that nobody received": (
        Promise.ROW_BY_ROW,
        _copied(_row("J8"), lambda line: line.row == "A13", job="new", epoch=1),
    ),
    "a worker left dead by a withdrawn notice": (Promise.ALWAYS_COMES_BACK, _never_back),
    "a job recorded twice": (Promise.NO_EFFECT_TWICE, _recorded_twice),
    "a job poisoned after its record": (Promise.NOTHING_LOST, _poisoned_after_recorded),
    "a job that begins without its progress": (Promise.PROGRESS_NEVER_BACK, _resumed),
    "a job that goes back": (Promise.PROGRESS_NEVER_BACK, lambda lines: _resumed(lines, progress="1")),
    "a job poisoned by an eviction": (Promise.EVICTION_IS_NOT_FAILURE, _changed("J26", failures=1)),
    "a message shown twice by one delivery": (Promise.ROW_BY_ROW, _shown_twice),
    "a job handed back and hidden": (Promise.RELEASED_AT_ONCE, _hidden),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_named(journal: Sequence[Line], name: str) -> None:
    """The first fault is at the line that was tampered with, and names the promise it breaks."""
    promise, tamper = TAMPERINGS[name]
    lines, at = tamper(journal)
    faults = replay(lines).faults
    assert faults, "nothing was found"
    assert faults[0].line is lines[at], faults[0]
    assert promise in {fault.promise for fault in faults if fault.line is lines[at]}


def test_a_handler_may_begin_anew_and_save_less() -> None:
    """A handler that ignores its progress saves what it had saved before: that is its own affair, and no fault."""

    async def handler(job: Job) -> Json:
        await job.checkpoint(1)
        await job.checkpoint(2)
        assert job.attempt > 3, "not yet"
        return None

    async def main() -> World:
        world = World()
        world.enqueue(3)
        await world.start(handler, settings=ENDING).finish()
        return world

    lines = _lines(virtually(main))
    assert [line.text("progress") for line in lines if line.row == "J7"].count("2") == 9
    assert replay(lines).faults == ()


def test_an_eviction_is_told_as_a_timeline(journal: Sequence[Line]) -> None:
    """A post-mortem tells the notice, the drain, what was settled, the way back, and what was left of the notice."""
    told = post_mortems(journal)
    assert [one.source for one in told] == ["p1"]
    words = " / ".join(moment.what for moment in told[0].moments)
    assert "Preempt names this VM" in words
    assert "settled: " in words
    assert "Recovering: the notice vanished" in words
    assert told[0].margin_s is not None
    assert 20 < told[0].margin_s < 30


def test_a_kill_without_notice_is_told_by_what_it_left(journal: Sequence[Line]) -> None:
    """Without a notice the post-mortem names the jobs that were running and where they resumed."""
    without = [line for line in journal if line.kind not in ("notice", "notice_gone")]
    told = post_mortems(without)
    assert [one.title for one in told] == ["p1 ended without a notice"]
    assert "jobs were running" in told[0].moments[0].what
    assert any("resumes at" in moment.what for moment in told[0].moments)


def test_a_torn_line_leaves_the_one_behind_it() -> None:
    """A kill may tear a line, and the next process of the file writes on behind the tear."""
    whole = '{"n": 1, "at": "2026-01-01T00:00:00+00:00", "source": "b", "kind": "journal", "format": 1}'
    found = parse_line('{"n": 17, "at": "2026-01-0' + whole)
    assert found is not None
    assert (found.source, found.kind) == ("b", "journal")


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '{"n": 1}', '{"n": "x", "at": 3}', "\x00\x01"])
def test_what_is_no_line_is_none(text: str) -> None:
    """Whatever stands in a file, reading it raises nothing."""
    assert parse_line(text) is None


def _after(table: Table[StateT, TriggerT, FactT], state: str, line: Line) -> str:
    """Where the table leads from this state by the event of this line."""
    facts = {table.facts(fact) for fact in line.text("facts").split(", ") if fact}
    before = table.states(state)
    return table.row_for(before, table.triggers(line.text("trigger")), facts).after(before)


@given(moment_s=st.floats(0.1, 12.0), notice_s=st.sampled_from([0.0, 2.0, 30.0]), killed=st.booleans())
@settings(max_examples=25)
def test_replaying_a_journal_rebuilds_the_state(moment_s: float, notice_s: float, killed: bool) -> None:
    """Whenever a worker is stopped or killed, its rows lead every machine to the state it was really in."""

    async def handler(job: Job) -> Json:
        for step in range(int(str(job.progress or 0)), 3):
            await asyncio.sleep(1.0)
            await job.checkpoint(step + 1)
        return None

    async def main() -> None:
        world = World()
        jobs = world.enqueue(20)
        worker = world.start(handler, settings=LASTING)
        await asyncio.sleep(moment_s)
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=notice_s))
        await asyncio.sleep(0.0 if killed else 45.0)
        rebuilt: dict[tuple[str, str, int], str] = {}
        for line in _lines(world):
            one = (line.machine, line.job, line.epoch)
            if line.machine == APPLICATION.name:
                rebuilt[one] = _after(APPLICATION, rebuilt.get(one, APPLICATION.initial), line)
            elif line.machine == JOB.name:
                rebuilt[one] = _after(JOB, rebuilt.get(one, JOB.initial), line)
        assert rebuilt[APPLICATION.name, "", 0] == state_of(worker)
        done = {job for (machine, job, _), state in rebuilt.items() if machine == JOB.name and state == "Completed"}
        recorded = {
            job for job in jobs if (kept := world.store.read("jobs", job)) and kept.record.status is Status.DONE
        }
        assert done == recorded
        await worker.kill()

    virtually(main)
