"""The verdict on a hardening campaign: nothing lost, nothing recorded twice, and as many poisoned as had to be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.host.journal_lines import Line
from adapters.sqlite.history import PastRecord
from fsm.job import JOB
from fsm.record import FAILURES_MAX, Status
from fsm.replay import replay
from tests.processes.places import Place
from tests.proxy.faults import Weather
from tests.torture.verdict import Evidence as EvidenceOfDone
from tests.torture.verdict import JobSpec

FAILS_FOR_GOOD = 1_000_000
"""The `fails` of a job that fails however often it is tried."""
RECORDED = "J21"
"""The row by which a result is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a campaign: broken promises, one sentence each; and how much was put to the test."""

    faults: Sequence[str]
    tested: str
    weather: Weather


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a campaign left.

    Attributes:
        jobs: what was enqueued, by message id.
        history: every version of every record.
        lines: every journal.
        effects: the handlers' file.
    """

    place: Place
    jobs: Mapping[str, JobSpec]
    history: Sequence[PastRecord]
    lines: Sequence[Line]
    effects: Path

    def judged(self, weather: Weather) -> Verdict:
        """The verdict, by the store, the queues, the journals and the handlers."""
        healthy = {job: spec for job, spec in self.jobs.items() if spec.fails < FAILS_FOR_GOOD}
        doomed = self.jobs.keys() - healthy.keys()
        poisoned = [str(json.loads(text).get("job_id")) for text in self.place.poisoned()]
        of_done = EvidenceOfDone(
            place=self.place,
            jobs=healthy,
            history=[past for past in self.history if past.message_id not in doomed],
            lines=self.lines,
            effects=self.effects,
        )
        replayed = replay(self.lines)
        faults = [
            *(fault for fault in of_done.faults() if not fault.startswith("poisoned, and should not be")),
            *(f"job {job} is poisoned, and should not be" for job in {*poisoned} - doomed),
            *self._of_doomed(doomed, {*poisoned}),
            *map(str, replayed.faults),
        ]
        recorded = sum(line.machine == JOB.name and line.row == RECORDED for line in self.lines)
        tested = (
            f"{len(self.jobs)} jobs: {replayed.completed} completed, {recorded} recorded, {replayed.poisoned} poisoned "
            f"({len(poisoned) - len({*poisoned})} of them put again); {of_done.summary()}"
        )
        return Verdict(faults=tuple(faults), tested=tested, weather=weather)

    def _of_doomed(self, doomed: set[str], poisoned: set[str]) -> Iterator[str]:
        """A job that always fails is tried as often as its budget says, and then set aside."""
        last = {past.message_id: past.record for past in self.history}
        for job in doomed:
            record = last.get(job)
            if record is None or record.status is not Status.POISONED:
                yield f"job {job} is lost: its record says {'nothing' if record is None else record.status}"
            elif record.counts.failures != FAILURES_MAX:
                yield f"job {job} is poisoned after {record.counts.failures} failures"
            if job not in poisoned:
                yield f"job {job} is lost: it is not in the poison queue"
