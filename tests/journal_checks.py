"""Says what in the journals that real workers left breaks a promise: a second opinion beside `fsm.replay`.

A journal is evidence: each line was handed to the operating system before the call it announces. Every check takes
the lines of all processes that worked one queue, and returns one sentence a fault; an empty answer is a clean journal.

* `illegal_lines`: every row line is a row of a table, decided as the table decides, from the state the last one led to.
* `work_after_notice`: no receive and no begin while a notice stands that names this VM, by the order of lines alone.
* `progress_gone_back`: no delivery begins with, or saves, less progress than an earlier one had saved.
* `recorded_again`: no job is recorded twice, or both recorded and poisoned, or begun after it was recorded.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from adapters.host.journal_lines import Line
from fsm.application import APPLICATION, AppState
from fsm.errors import IllegalTransitionError
from fsm.job import JOB, JobState, JobTrigger
from fsm.notices import Severity
from fsm.ports import JsonScalar
from fsm.replay import replay
from fsm.table import FactT, StateT, Table, TriggerT

BEGINS = frozenset({"J6", "J7", "J8"})
"""The rows by which a handler is begun."""
RECORDS = frozenset({"J21"})
"""The row by which a result is recorded."""


def by_source(lines: Iterable[Line]) -> Mapping[str, Sequence[Line]]:
    """The lines of each process."""
    grouped: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        grouped[line.source].append(line)
    return grouped


def faults_in(lines: Sequence[Line], *, stored: bool = True) -> list[str]:
    """Every fault of every check here, and every one that a replay finds.

    Args:
        lines: of all processes that worked one queue.
        stored: whether they had a job store; without one a job may run, and end, more than once.
    """
    faults = [*illegal_lines(lines), *work_after_notice(lines), *map(str, replay(lines).faults)]
    return [*faults, *progress_gone_back(lines), *recorded_again(lines)] if stored else faults


# -- row_by_row ------------------------------------------------------------------------------------------------------


def illegal_lines(lines: Iterable[Line]) -> Iterator[str]:
    """Lines that are missing, rows that the tables do not have or would not have taken, and states out of nowhere."""
    for source, own in by_source(lines).items():
        for before, after in pairwise(own):
            if after.n != before.n + 1:
                yield f"{source}: line {after.n} follows line {before.n}"
        state_of: dict[tuple[str, str, int], str] = {}
        for line in own:
            if line.kind != "row":
                continue
            machine = line.text("machine")
            if machine not in _ROW_FAULT:
                yield f"{line}: there is no machine {machine!r}"
                continue
            yield from _ROW_FAULT[machine](line)
            one = (machine, line.job, line.epoch)
            if line.text("from") != state_of.get(one, _INITIAL[machine]):
                yield f"{line}: its machine was in {state_of.get(one, _INITIAL[machine])}"
            state_of[one] = line.text("to")


def _faults_under(table: Table[StateT, TriggerT, FactT]) -> Callable[[Line], Iterator[str]]:
    """The check of a row line against the table it names."""

    def check(line: Line) -> Iterator[str]:
        try:
            state, trigger = table.states(line.text("from")), table.triggers(line.text("trigger"))
            facts = {table.facts(fact) for fact in line.text("facts").split(", ") if fact}
            row = table.row_for(state, trigger, facts)
        except (ValueError, IllegalTransitionError) as exc:
            yield f"{line}: {exc}"
            return
        if (row.id, row.after(state), row.verdict) != (line.row, line.text("to"), line.text("verdict")):
            yield f"{line}: the table decides {row.id}, to {row.after(state)}, {row.verdict}"

    return check


_ROW_FAULT = {APPLICATION.name: _faults_under(APPLICATION), JOB.name: _faults_under(JOB)}
_INITIAL = {APPLICATION.name: APPLICATION.initial.value, JOB.name: JOB.initial.value}


# -- no_work_after_notice --------------------------------------------------------------------------------------------


def work_after_notice(lines: Iterable[Line]) -> Iterator[str]:
    """Receives and begins between a reclaiming notice and its withdrawal, or outside of Processing at all."""
    for own in by_source(lines).values():
        standing: set[str] = set()
        state = _INITIAL[APPLICATION.name]
        for line in own:
            if line.kind == "notice" and line.text("severity") == Severity.RECLAIM:
                standing.add(line.text("event_id"))
            elif line.kind == "notice_gone":
                standing.discard(line.text("event_id"))
            elif line.machine == APPLICATION.name:
                state = line.text("to")
            elif line.kind == "receive" or line.row in BEGINS:
                if standing:
                    yield f"{line}: while notice {sorted(standing)[0]} stands"
                elif state != AppState.PROCESSING:
                    yield f"{line}: while the worker was {state}"


def notices_seen(lines: Iterable[Line]) -> int:
    """How many notices that reclaim the VM were read."""
    return sum(line.kind == "notice" and line.text("severity") == Severity.RECLAIM for line in lines)


# -- progress_never_back ---------------------------------------------------------------------------------------------


def progress_gone_back(
    lines: Iterable[Line], *, size: Callable[[JsonScalar], float] = lambda progress: float(progress or 0)
) -> Iterator[str]:
    """Progress that is less than what an earlier epoch, or an earlier line of the same, had saved.

    Args:
        lines: of all processes.
        size: how far a progress is; it must be a number by itself where nothing is said.
    """
    saved: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        if line.kind == "row" and line.job and (line.row in BEGINS or line.text("trigger") == JobTrigger.CHECKPOINT):
            progress = json.loads(line.text("progress")) if line.text("progress") else None
            saved[line.job][line.epoch].append(size(progress))
    for job, epochs in saved.items():
        so_far, so_far_in = 0.0, 0
        for epoch in sorted(epochs):
            for progress in epochs[epoch]:
                if progress < so_far:
                    yield f"job {job}: progress {progress:g} in epoch {epoch}, after {so_far:g} in epoch {so_far_in}"
                so_far, so_far_in = max(so_far, progress), epoch


# -- no_effect_twice -------------------------------------------------------------------------------------------------


def recorded_again(lines: Iterable[Line]) -> Iterator[str]:
    """Jobs that ended twice, and jobs that ran again after they had ended."""
    rows: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.row and line.job:
            rows[line.job].append(line)
    for job, own in rows.items():
        recorded = [line.epoch for line in own if line.row in RECORDS]
        poisoned = [
            line.epoch
            for line in own
            if line.text("to") == JobState.POISONED and line.text("from") != JobState.POISONED
        ]
        if len(recorded) > 1:
            yield f"job {job}: recorded in epochs {recorded}"
        if recorded and poisoned:
            yield f"job {job}: recorded in epoch {recorded[0]} and poisoned in epoch {poisoned[0]}"
        if recorded:
            again = [line.epoch for line in own if line.row in BEGINS and line.epoch > recorded[0]]
            if again:
                yield f"job {job}: recorded in epoch {recorded[0]} and begun in epoch {again[0]}"
