"""The promises as checks on journals; `row_by_row` is in `fsm.replay.rows`.

A journal is evidence, not a confession: a check uses the order of lines, the tables, and what a line says was in the
store or on the queue. Journals may be cut off at either end (a kill, a rotation) and several workers' may be merged,
so a check only accuses where the lines that stand prove a fault; what is missing proves nothing. Within one process
lines are in the order of their numbers; between processes only the epochs of a job order anything, because clocks
differ.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fsm.application import APPLICATION, AppState
from fsm.job import ENDED, JOB, JobState
from fsm.journal import UNREADABLE, Line
from fsm.journal_kinds import Kind, flaw_in
from fsm.notices import Severity
from fsm.promises import Promise
from fsm.record import DEATHS_MAX, FAILURES_MAX
from fsm.replay.rows import DRAINED, Accusation, by_source, row_by_row

BEGINS = frozenset({"J6", "J7", "J8"})
"""The rows by which a handler is begun."""
SHUTDOWNS = frozenset({"A20", "A21"})
"""The rows by which a drain begins."""
NOTHING_OWED = "C5"
"""The joint rule of a drain that finds no job and no receive."""
RECORDED = "J21"
"""The row by which a result is recorded."""
HANDED_BACK = frozenset({"J1", "J12", "J28"})
"""The rows by which a drain hands a message back, to be visible at once."""
RETURN_S_MAX = 60.0
"""A drained worker that is still writing this long after its last notice vanished has not come back."""
DRAIN_S_MIN = 1.0
"""However late a notice is, a worker may use this long."""
LATE_S_MAX = 0.5
"""What the clock of the journal may add to a deadline."""


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
    sound = [line for line in lines if line.kind != UNREADABLE and flaw_in(line.kind, line.fields) is None]
    found = [
        Fault(promise=promise, line=line, why=why)
        for promise, check in CHECKS.items()
        for line, why in check(lines if promise is Promise.ROW_BY_ROW else sound)
    ]
    found.sort(key=lambda fault: place[id(fault.line)])
    ends: dict[str, set[str]] = defaultdict(set)
    for line in sound:
        if line.machine == JOB.name:
            ends[line.job].add(line.text("to"))
    completed = sum(JobState.COMPLETED in states for states in ends.values())
    poisoned = sum(JobState.POISONED in states and JobState.COMPLETED not in states for states in ends.values())
    return Replay(
        faults=tuple(found),
        lines=len(lines),
        processes=len(by_source(line for line in lines if line.kind != UNREADABLE)),
        completed=completed,
        poisoned=poisoned,
        unfinished=len(ends) - completed - poisoned,
    )


# -- no_work_after_notice, drained_in_time, always_comes_back --------------------------------------------------------


def _reclaims(line: Line) -> bool:
    return line.kind == Kind.NOTICE and line.text("severity") == Severity.RECLAIM


def no_work_after_notice(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Receives and begins between a reclaiming notice and its withdrawal, or outside of Processing at all."""
    for own in by_source(lines).values():
        standing: set[str] = set()
        state = APPLICATION.initial.value if own[0].n == 1 else ""
        for line in own:
            if _reclaims(line):
                standing.add(line.text("event_id"))
            elif line.kind == Kind.NOTICE_GONE:
                standing.discard(line.text("event_id"))
            elif line.machine == APPLICATION.name:
                state = line.text("to")
            elif line.kind == Kind.RECEIVE or line.row in BEGINS:
                what = "a receive is sent" if line.kind == Kind.RECEIVE else "a job begins"
                if standing:
                    yield line, f"{what} while notice {min(standing)} stands"
                elif state and state != AppState.PROCESSING:
                    yield line, f"{what} while the worker is {state}"


def drained_in_time(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Drains that ended after their deadline, and deliveries still begun when they were said to be over.

    Who held nothing when the drain began owes nothing, and may learn late that it is over. Nobody can drain while the
    VM is frozen or a handler blocks the loop: that time is no part of the notice.
    """
    for own in by_source(lines).values():
        blocked = [line for line in own if line.kind == Kind.LOOP_BLOCKED]
        since_s, deadline_s, owing = 0.0, math.inf, True
        begun: dict[tuple[str, int], Line] = {}
        for line in own:
            now_s = line.at.timestamp()
            if _reclaims(line) and line.fields.get("left_s") is not None:
                since_s = now_s if deadline_s == math.inf else since_s
                deadline_s = min(deadline_s, now_s + max(_number(line, "left_s"), DRAIN_S_MIN))
            if line.row in SHUTDOWNS:
                owing = line.text("joint_rule") != NOTHING_OWED
            if line.row in BEGINS:
                begun[line.job, line.epoch] = line
            elif line.machine == JOB.name and line.text("to") in ENDED:
                begun.pop((line.job, line.epoch), None)
            if line.row in DRAINED:
                late_s = now_s - deadline_s
                if line.row == "A26" and owing and late_s > LATE_S_MAX + _blocked_s(blocked, since_s, now_s):
                    yield line, f"drained {late_s:.1f} s after the deadline"
                for job, epoch in begun:
                    yield line, f"job {job} of epoch {epoch} has begun and not ended"
                begun.clear()
                deadline_s = math.inf


def _number(line: Line, name: str) -> float:
    value = line.fields.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _blocked_s(blocked: Sequence[Line], since_s: float, until_s: float) -> float:
    """For how long nothing could be done between two moments, by the longest block that was noted."""
    ends = ((line.at.timestamp(), _number(line, "for_s")) for line in blocked)
    return max((*(min(until_s, end_s) - max(since_s, end_s - for_s) for end_s, for_s in ends), 0.0))


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
            elif line.kind == Kind.NOTICE_GONE:
                standing.discard(line.text("event_id"))
                free_since = None if standing else line.at
            elif line.kind == Kind.STOP:
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
    """Deliveries that begin with less than what an earlier line shows to be saved.

    What a handler saves is its own affair, and it may well begin anew and save what it had saved before. And a delivery
    whose end is not in the lines may have saved more than they tell: only that nothing is left can be held against its
    successor then.
    """
    for own in _by_job(lines).values():
        saved, released = "", 0
        for line in own:
            progress = line.text("progress")
            if line.row == "J7" and saved and not progress:
                yield line, f"job {line.job} begins without progress, after {saved} was saved"
            elif line.row == "J7" and progress != saved and released == line.epoch - 1 > 0:
                yield line, f"job {line.job} begins at {progress or 'nothing'}, and {saved or 'nothing'} was saved"
            if progress:
                saved = progress
            if line.text("to") == JobState.RELEASED and "time up" not in line.text("steps"):
                released = line.epoch


def eviction_is_not_failure(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Jobs poisoned by a budget that their record does not show to be spent."""
    for own in _by_job(lines).values():
        for line in own:
            failures, deaths = line.fields.get("failures"), line.fields.get("fruitless_deaths")
            if line.row not in {"J4", "J26"} or not isinstance(failures, int) or not isinstance(deaths, int):
                continue
            if failures < FAILURES_MAX and deaths < DEATHS_MAX:
                yield line, f"job {line.job} is poisoned after {failures} failures and {deaths} deaths without progress"


def released_at_once(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Messages handed back by a drain that are hidden for a while."""
    for own in by_source(lines).values():
        handed_back: set[tuple[str, int]] = set()
        for line in own:
            if line.row in HANDED_BACK:
                handed_back.add((line.job, line.epoch))
            elif line.kind == Kind.RELEASED and (line.job, line.epoch) in handed_back:
                pause_s = _number(line, "pause_s")
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
