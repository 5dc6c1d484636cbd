"""The application's paths, played to what a worker decides with: its `Situation`.

A path's facts are brought as they come to a worker: a notice in a Scheduled Events document, a stop by a signal. Both
stand until they are withdrawn, and a worker shuts down as soon as it learns of one. So not every path can be played,
and not every row is taken; which rows are not, and why, is listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from fsm.application import APPLICATION, AppFact, AppState, AppTrigger
from fsm.notices import EventsDocument, ScheduledEvent
from fsm.paths import Step, path_name, paths_covering_pairs, paths_covering_rows
from fsm.ports import Clock, Journal, JsonScalar
from fsm.runner.situation import Situation
from fsm.runner.tally import Tally
from tests.fsm.machines import every_subset

AppStep = Step[AppState, AppTrigger, AppFact]
Path = tuple[AppStep, ...]

VM = "vm-1"
PREEMPT = ScheduledEvent(event_id="1", event_type="Preempt", resources=(VM,), started=False, not_before=None)
STANDING = frozenset({AppFact.NOTICE_PENDING, AppFact.STOP_REQUESTED})
"""The facts that a worker keeps; all others come with their event."""

NEVER_TAKEN = {
    "A2": "a worker is a process on a running VM: its VM runs whenever it recovers",
    "A33": "a notice is put to the machine as withdrawn when the last one has gone, not while another stands",
    "A35": "a notice that goes before a drain has begun takes a fact away and puts no event",
    "A39": "a process that is killed with its VM takes no row any more; its successor begins in Offline",
    "A40": "as A39",
}
"""The rows that no worker takes, each with the reason; they are for whoever sees a worker from outside."""


class StoppedClock(Clock):
    """The first moment of a year, for ever."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return 0.0


class RowJournal(Journal):
    """Keeps the ids of rows."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def write(self, kind: str, fields: Mapping[str, JsonScalar]) -> None:
        if kind == "row":
            self.rows.append(str(fields["row"]))

    def close(self) -> None:
        """Keep everything."""


class Player:
    """Plays a path to one worker's situation, which may know of a notice or of a stop before it recovers."""

    def __init__(self, known: frozenset[AppFact]) -> None:
        self._journal = RowJournal()
        self._situation = Situation(journal=self._journal, clock=StoppedClock(), tally=Tally())
        self._learn(known)

    def play(self, path: Path) -> int:
        """How many steps of the path the worker took, one after the other and nothing in between."""
        for taken, step in enumerate(path):
            assert self._situation.state is step.state
            assert self._journal.rows == [done.row.id for done in path[:taken]]
            standing = self._standing()
            gone = {AppFact.NOTICE_PENDING} if step.trigger is AppTrigger.WITHDRAWN else set()
            wanted = (standing - gone | (STANDING & set(step.row.when))) - set(step.row.unless)
            if AppFact.STOP_REQUESTED in standing - wanted:
                return taken
            self._learn(wanted)
            if len(self._journal.rows) == taken:
                self._put(step)
            if self._journal.rows[taken:] != [step.row.id]:
                return taken
        return len(path)

    def _put(self, step: AppStep) -> None:
        """Put an event that a worker puts by itself; answers may come late, so it may be in any state."""
        match step.trigger:
            case AppTrigger.WITHDRAWN | AppTrigger.VM_GONE:
                return
            case AppTrigger.RECOVER:
                self._situation.fire(step.trigger, {AppFact.VM_RUNNING})
            case _:
                self._situation.fire(step.trigger, step.facts - STANDING)

    def _standing(self) -> frozenset[AppFact]:
        pending = {AppFact.NOTICE_PENDING} if self._situation.notices.reclaiming else set()
        stopped = set() if self._situation.stop is None else {AppFact.STOP_REQUESTED}
        return frozenset(pending | stopped)

    def _learn(self, wanted: frozenset[AppFact]) -> None:
        """Bring a notice, withdraw it, or request a stop, until just these facts stand."""
        change = wanted ^ self._standing()
        if AppFact.NOTICE_PENDING in change:
            events = (PREEMPT,) if AppFact.NOTICE_PENDING in wanted else ()
            self._situation.learn_document(EventsDocument(incarnation=1, events=events), vm_name=VM)
        if AppFact.STOP_REQUESTED in change:
            self._situation.request_stop("SIGTERM", grace_s=25.0)


def steps_played(path: Path) -> int:
    """How far a worker goes along a path, if it knows beforehand what helps it most."""
    beginnings = (frozenset(known) for known in every_subset(tuple(STANDING)))
    return max(Player(known).play(path) for known in beginnings)


PATHS = {path_name(path): path for path in (*paths_covering_rows(APPLICATION), *paths_covering_pairs(APPLICATION))}
PLAYED = {name: path[: steps_played(path)] for name, path in PATHS.items()}
"""Each path, as far as it can be played; the player itself compares every row."""


def test_a_worker_takes_every_row_but_those_with_a_reason() -> None:
    """The rows that playing reaches are all rows, without the listed ones."""
    taken = {step.row.id for path in PLAYED.values() for step in path}
    assert taken.isdisjoint(NEVER_TAKEN)
    assert taken | NEVER_TAKEN.keys() == {row.id for row in APPLICATION.rows}


def test_a_path_ends_early_for_a_reason_only() -> None:
    """What does not hang on a notice, on a stop, or on a row that no worker takes can always be played."""
    for name, path in PATHS.items():
        for step in path[len(PLAYED[name]) :][:1]:
            hangs_on_facts = STANDING & {*step.row.when, *step.row.unless}
            assert hangs_on_facts or step.trigger is AppTrigger.WITHDRAWN or step.row.id in NEVER_TAKEN, name
