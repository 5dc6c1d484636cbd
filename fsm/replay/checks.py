"""The promises as checks on journals.

A journal is evidence, not a confession: a check uses the order of lines, the tables, and what a line says was in the
store or on the queue. Journals may be cut off at either end (a kill, a rotation) and several workers' may be merged,
so a check only accuses where the lines that stand prove a fault; what is missing proves nothing. Within one process
lines are in the order of their numbers; between processes only the epochs of a job order anything, because clocks
differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fsm.application import APPLICATION, AppState
from fsm.errors import IllegalTransitionError
from fsm.job import ENDED, JOB, JobState, JobTrigger
from fsm.journal import UNREADABLE, Line
from fsm.notices import Severity
from fsm.promises import Promise
from fsm.record import DEATHS_MAX, FAILURES_MAX
from fsm.table import FactT, StateT, Table, TriggerT

BEGINS = frozenset({"J6", "J7", "J8"})
"""The rows by which a handler is begun."""
RECORDED = "J21"
"""The row by which a result is recorded."""
HANDED_BACK = frozenset({"J1", "J12", "J28"})
"""The rows by which a drain hands a message back, to be visible at once."""
RETURN_S_MAX = 60.0
"""A drained worker that is still writing this long after its last notice vanished has not come back."""
LATE_S_MAX = 0.5
"""What the clock of the journal may add to a deadline."""
_PROGRESS_CUT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A line that breaks a promise, and why."""

    promise: Promise
    line: Line
    why: str

    def __str__(self) -> str:
        where = self.line.where or f"{self.line.source}, line {self.line.n}"
        return f"{where}: {self.promise}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay found.

    Attributes:
        faults: in the order of the lines as they were given.
        lines, processes: how much was read.
        completed, poisoned: jobs whose end stands in the journals.
        unfinished: jobs that were seen and whose end does not stand there.
    """

    faults: tuple[Fault, ...]
    lines: int
    processes: int
    completed: int
    poisoned: int
    unfinished: int

    @property
    def legal(self) -> bool:
        return not self.faults

    def verdicts(self) -> Mapping[Promise, int]:
        """How many faults each promise has; only the promises that a journal can show."""
        counted = dict.fromkeys(CHECKS, 0)
        for fault in self.faults:
            counted[fault.promise] += 1
        return counted


def replay(lines: Sequence[Line]) -> Replay:
    """Check every promise a journal can show, over the lines of any number of processes."""
    place = {id(line): number for number, line in enumerate(lines)}
    found = [
        Fault(promise=promise, line=line, why=why) for promise, check in CHECKS.items() for line, why in check(lines)
    ]
    found.sort(key=lambda fault: place[id(fault.line)])
    ends: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        if line.machine == JOB.name:
            ends[line.job].add(line.text("to"))
    completed = sum(JobState.COMPLETED in states for states in ends.values())
    poisoned = sum(JobState.POISONED in states and JobState.COMPLETED not in states for states in ends.values())
    return Replay(
        faults=tuple(found),
        lines=len(lines),
        processes=len(by_source(lines)),
        completed=completed,
        poisoned=poisoned,
        unfinished=len(ends) - completed - poisoned,
    )


Accusation = tuple[Line, str]
"""A line and what is wrong with it."""


def by_source(lines: Iterable[Line]) -> Mapping[str, Sequence[Line]]:
    """The lines of each process, in its own order."""
    grouped: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        grouped[line.source].append(line)
    return grouped


# -- row_by_row -----------------------------------------------------------------------------------------------------


def row_by_row(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Lines that are missing, rows the tables do not have or would not have taken, and states out of nowhere."""
    for own in by_source(lines).values():
        if own[0].kind == UNREADABLE:
            for line in own:
                yield line, "not a line of a journal"
            continue
        for before, after in pairwise(own):
            if after.n != before.n + 1:
                yield after, f"line {after.n} of this process follows its line {before.n}"
        whole = own[0].n == 1
        state_of: dict[tuple[str, str, int], str] = {}
        for line in own:
            if line.kind != "row":
                continue
            check = _DECIDES.get(line.machine)
            if check is None:
                yield line, f"there is no machine {line.machine!r}"
                continue
            why = check(line)
            if why is not None:
                yield line, why
            one = (line.machine, line.job, line.epoch)
            expected = state_of.get(one, _INITIAL[line.machine] if whole else line.text("from"))
            if line.text("from") != expected:
                yield line, f"row {line.row} starts in {line.text('from')}, and its machine was in {expected}"
            state_of[one] = line.text("to")


def _decided_by(table: Table[StateT, TriggerT, FactT]) -> Callable[[Line], str | None]:
    """What is wrong with a row line of this table, or None."""

    def check(line: Line) -> str | None:
        try:
            state, trigger = table.states(line.text("from")), table.triggers(line.text("trigger"))
            facts = {table.facts(fact) for fact in line.text("facts").split(", ") if fact}
            row = table.row_for(state, trigger, facts)
        except (ValueError, IllegalTransitionError) as exc:
            return str(exc)
        if (row.id, row.after(state), row.verdict) == (line.row, line.text("to"), line.text("verdict")):
            return None
        said = f"row {line.row}, {line.text('verdict')}, to {line.text('to')}"
        return f"the table decides row {row.id}, {row.verdict}, to {row.after(state)}, and the line says {said}"

    return check


_DECIDES = {APPLICATION.name: _decided_by(APPLICATION), JOB.name: _decided_by(JOB)}
_INITIAL = {APPLICATION.name: APPLICATION.initial.value, JOB.name: JOB.initial.value}


# -- no_work_after_notice, drained_in_time, always_comes_back --------------------------------------------------------


def _reclaims(line: Line) -> bool:
    return line.kind == "notice" and line.text("severity") == Severity.RECLAIM


def no_work_after_notice(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Receives and begins between a reclaiming notice and its withdrawal, or outside of Processing at all."""
    for own in by_source(lines).values():
        standing: set[str] = set()
        state = _INITIAL[APPLICATION.name] if own[0].n == 1 else ""
        for line in own:
            if _reclaims(line):
                standing.add(line.text("event_id"))
            elif line.kind == "notice_gone":
                standing.discard(line.text("event_id"))
            elif line.machine == APPLICATION.name:
                state = line.text("to")
            elif line.kind == "receive" or line.row in BEGINS:
                what = "a receive is sent" if line.kind == "receive" else "a job begins"
                if standing:
                    yield line, f"{what} while notice {min(standing)} stands"
                elif state and state != AppState.PROCESSING:
                    yield line, f"{what} while the worker is {state}"


def drained_in_time(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Drains that ended after their deadline, and deliveries still begun when they were said to be over."""
    for own in by_source(lines).values():
        deadline_s: float | None = None
        begun: dict[tuple[str, int], Line] = {}
        for line in own:
            if _reclaims(line) and line.fields.get("left_s") is not None:
                until_s = line.at.timestamp() + max(float(line.text("left_s")), 1.0)
                deadline_s = until_s if deadline_s is None else min(deadline_s, until_s)
            if line.row in BEGINS:
                begun[line.job, line.epoch] = line
            elif line.machine == JOB.name and line.text("to") in ENDED:
                begun.pop((line.job, line.epoch), None)
            if line.row in {"A26", "A27", "A28"}:
                if line.row == "A26" and deadline_s is not None and line.at.timestamp() > deadline_s + LATE_S_MAX:
                    yield line, f"drained {line.at.timestamp() - deadline_s:.1f} s after the deadline"
                for job, epoch in begun:
                    yield line, f"job {job} of epoch {epoch} has begun and not ended"
                begun.clear()
                deadline_s = None


def always_comes_back(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Drained workers that go on writing long after their last notice vanished, and are still drained."""
    for own in by_source(lines).values():
        if own[0].n != 1:
            continue
        standing: set[str] = set()
        state, free_since, stopping = "", None, False
        for line in own:
            if _reclaims(line):
                standing.add(line.text("event_id"))
                free_since = None
            elif line.kind == "notice_gone":
                standing.discard(line.text("event_id"))
                free_since = None if standing else line.at
            elif line.kind == "stop":
                stopping = True
            elif line.machine == APPLICATION.name:
                state = line.text("to")
            waited = free_since is not None and (line.at - free_since).total_seconds() > RETURN_S_MAX
            if waited and state == AppState.DRAINED and not stopping:
                yield line, f"still drained, {RETURN_S_MAX:.0f} s after the last notice vanished"
                break


# -- the jobs --------------------------------------------------------------------------------------------------------


def _by_job(lines: Sequence[Line]) -> Mapping[str, Sequence[Line]]:
    """The row lines of each job, by epoch; within an epoch in the order they were written."""
    grouped: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.machine == JOB.name:
            grouped[line.job].append(line)
    for own in grouped.values():
        own.sort(key=lambda line: line.epoch)
    return grouped


def nothing_lost(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Jobs that end as both completed and poisoned: `exactly one of` is broken, and one of the two is lost."""
    for own in _by_job(lines).values():
        recorded = next((line for line in own if line.row == RECORDED), None)
        moved = (line for line in own if line.text("to") == JobState.POISONED != line.text("from"))
        poisoned = next(moved, None)
        if recorded is not None and poisoned is not None:
            yield poisoned, f"job {poisoned.job} was recorded in epoch {recorded.epoch} and is poisoned"


def no_effect_twice(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Jobs recorded twice, and jobs begun by a later delivery than the one that recorded them."""
    for own in _by_job(lines).values():
        recorded: Line | None = None
        for line in own:
            if line.row == RECORDED and recorded is not None:
                yield line, f"job {line.job} is recorded again; epoch {recorded.epoch} had recorded it"
            elif line.row == RECORDED:
                recorded = line
            elif line.row in BEGINS - {"J6"} and recorded is not None and line.epoch > recorded.epoch:
                yield line, f"job {line.job} begins again; epoch {recorded.epoch} had recorded it"


def progress_never_back(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Deliveries that begin with progress which an earlier line shows to have been overtaken."""
    for own in _by_job(lines).values():
        history: list[str] = []
        for line in own:
            progress = line.text("progress")
            if len(progress) >= _PROGRESS_CUT or not (
                line.row in BEGINS or line.text("trigger") == JobTrigger.CHECKPOINT
            ):
                continue
            if not progress and history and line.row == "J7":
                yield line, f"job {line.job} begins without progress, after {history[-1]} was saved"
            elif progress in history and progress != history[-1]:
                yield line, f"job {line.job} is back at {progress}, after {history[-1]} was saved"
            elif progress and progress not in history[-1:]:
                history.append(progress)


def eviction_is_not_failure(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Jobs poisoned by a budget that their record does not show to be spent."""
    for own in _by_job(lines).values():
        for line in own:
            if line.row not in {"J4", "J26"} or "failures" not in line.fields:
                continue
            failures, deaths = int(line.text("failures")), int(line.text("fruitless_deaths"))
            if failures < FAILURES_MAX and deaths < DEATHS_MAX:
                yield line, f"job {line.job} is poisoned after {failures} failures and {deaths} deaths without progress"


def released_at_once(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Messages handed back by a drain that are hidden for a while."""
    for own in by_source(lines).values():
        handed_back: set[tuple[str, int]] = set()
        for line in own:
            if line.row in HANDED_BACK:
                handed_back.add((line.job, line.epoch))
            elif line.kind == "released" and (line.job, line.epoch) in handed_back:
                pause_s = float(line.text("pause_s") or 0.0)
                if pause_s > 0:
                    yield line, f"job {line.job} was interrupted and stays hidden for {pause_s:g} s"


CHECKS: Mapping[Promise, Callable[[Sequence[Line]], Iterator[Accusation]]] = {
    Promise.ROW_BY_ROW: row_by_row,
    Promise.NO_WORK_AFTER_NOTICE: no_work_after_notice,
    Promise.DRAINED_IN_TIME: drained_in_time,
    Promise.ALWAYS_COMES_BACK: always_comes_back,
    Promise.NOTHING_LOST: nothing_lost,
    Promise.NO_EFFECT_TWICE: no_effect_twice,
    Promise.PROGRESS_NEVER_BACK: progress_never_back,
    Promise.EVICTION_IS_NOT_FAILURE: eviction_is_not_failure,
    Promise.RELEASED_AT_ONCE: released_at_once,
}
"""What a journal can show of each promise."""
