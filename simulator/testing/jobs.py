"""A job as a test sees it: what came of it, and how often it had to be run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from fsm.handler import Json
from fsm.record import Counts, Record, Status
from simulator.observing import RunEnd
from simulator.world import World


@dataclass(slots=True, kw_only=True)
class JobRun:
    """One run of the handler; times in virtual seconds since the world began.

    Attributes:
        vm: the name of the VM it ran on.
        progress: what `job.progress` was.
        checkpoints: the progress that it saved, with the time at which it was durable.
        end: how it ended; None while it runs.
        error: what it raised, if it failed.
    """

    vm: str
    began_s: float
    progress: Json
    checkpoints: list[tuple[float, Json]] = field(default_factory=list)
    ended_s: float | None = None
    end: RunEnd | None = None
    error: BaseException | None = None

    @property
    def redone_s(self) -> float:
        """How much of its time had to be done again: what came after its last checkpoint, unless it finished."""
        if self.ended_s is None or self.end is RunEnd.FINISHED:
            return 0.0
        return self.ended_s - (self.checkpoints[-1][0] if self.checkpoints else self.began_s)


@dataclass(slots=True, eq=False, repr=False)
class PutJob:
    """A job that a test has put on the queue.

    Attributes:
        id: the message's id.
        number: from 1, in the order in which they were put.
        text: the message.
        runs: of the handler, in the order in which they began.
        settled: its message is gone from the queue.
        put_aside: it is on the poison queue.
    """

    id: str
    number: int
    text: str
    _world: World
    runs: list[JobRun] = field(default_factory=list)
    settled: bool = False
    put_aside: bool = False

    @property
    def record(self) -> Record | None:
        """What the job store holds; None before the first claim, and in a world without a store."""
        return self._world.store.look(self._world.queue_name, self.id) if self._world.stored else None

    @property
    def completed(self) -> bool:
        """Its result is recorded; in a world without a store, its message is gone and was not poisoned."""
        record = self.record
        if record is None:
            return self.settled and not self.put_aside
        return record.status is Status.DONE

    @property
    def poisoned(self) -> bool:
        """It was given up, and its message lies on the poison queue."""
        return self.put_aside

    @property
    def result(self) -> Json:
        """What was recorded; None if nothing was, or in a world without a store."""
        record = self.record
        return None if record is None or record.result is None else _read(record.result)

    @property
    def progress(self) -> Json:
        """The last checkpoint that is durable."""
        record = self.record
        return None if record is None or record.progress is None else _read(record.progress)

    @property
    def attempts(self) -> int:
        """How often the handler was begun."""
        return len(self.runs)

    @property
    def counts(self) -> Counts:
        """How its deliveries ended, as the job store has it: evictions, failures, deaths, lapses, stops."""
        record = self.record
        return Counts() if record is None else record.counts

    @property
    def evictions(self) -> int:
        """How many of its deliveries are on record as ended by an eviction, as `job.evictions` tells the handler.

        A first delivery that has neither saved nor finished is not on record.
        """
        return self.counts.evictions

    @property
    def checkpoints(self) -> list[Json]:
        """The progress that was saved, in order, over all runs."""
        return [progress for run in self.runs for _, progress in run.checkpoints]

    @property
    def errors(self) -> list[BaseException]:
        """What the handler raised, run by run."""
        return [run.error for run in self.runs if run.error is not None]

    @property
    def redone_s(self) -> float:
        """How much time of the handler had to be done again, over all runs, in virtual seconds."""
        return sum(run.redone_s for run in self.runs)

    def __repr__(self) -> str:
        return f"job {self.number}"


def _read(text: str) -> Json:
    value: Json = json.loads(text)
    return value
