"""The verdict on a kill campaign: every promise, checked against evidence that no killed worker could touch up.

Four witnesses are heard: the queue and its poison queue as they are at the end, every version of every record that the
store ever held, the journals, and what the handlers noted of their own runs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from adapters.host.journal_lines import Line
from adapters.sqlite.history import PastRecord
from fsm.job import JobState
from fsm.record import Status
from tests.journal_checks import BEGINS, faults_in, notices_seen
from tests.processes.places import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job of the campaign: its body's numbers."""

    steps: int
    step_s: float
    fails: int

    def body(self) -> str:
        return json.dumps({"steps": self.steps, "step_s": self.step_s, "fails": self.fails})


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

    def faults(self) -> list[str]:
        """One sentence a broken promise."""
        return [*self._at_the_end(), *self._in_the_store(), *faults_in(self.lines), *self._seen_by_handlers()]

    def summary(self) -> str:
        """How much was put to the test."""
        begun = sum(line.row in BEGINS for line in self.lines)
        zombies = sum(line.row == "J16" for line in self.lines)
        released = sum(line.job != "" and line.text("to") == JobState.RELEASED for line in self.lines)
        return (
            f"{len(self.jobs)} jobs in {begun} runs, {len(self.history)} versions of their records, "
            f"{released} releases, {zombies} leases lost, {notices_seen(self.lines)} notices read"
        )

    def _at_the_end(self) -> Iterator[str]:
        if left := self.place.length():
            yield f"{left} messages are left on the queue"
        for text in self.place.poisoned():
            yield f"poisoned, and should not be: {text}"

    def _in_the_store(self) -> Iterator[str]:
        versions: defaultdict[str, list[PastRecord]] = defaultdict(list)
        for past in self.history:
            versions[past.message_id].append(past)
        for job in versions.keys() - self.jobs.keys():
            yield f"job {job} has a record and was never enqueued"
        for job, spec in self.jobs.items():
            own = versions[job]
            if not own or own[-1].record.status is not Status.DONE:
                yield f"job {job} is lost: its record says {own[-1].record.status if own else 'nothing'}"
            yield from _in_its_versions(job, spec, own)

    def _seen_by_handlers(self) -> Iterator[str]:
        """A run never finds less than what an earlier run was told is saved."""
        seen: defaultdict[str, list[tuple[int, str, int]]] = defaultdict(list)
        for text in self.effects.read_text(encoding="utf-8").splitlines():
            effect = json.loads(text)
            seen[effect["job"]].append((effect["attempt"], effect["event"], effect["value"]))
        for job, events in seen.items():
            saved = 0
            for attempt, event, value in sorted(events, key=lambda one: one[0]):
                if event == "began" and value < saved:
                    yield f"job {job}: run {attempt} began at {value}, and {saved} was saved before"
                saved = max(saved, value)


def _in_its_versions(job: str, spec: JobSpec, versions: Sequence[PastRecord]) -> Iterator[str]:
    """What must hold from each version of a record to the next."""
    done = [past for past in versions if past.record.status is Status.DONE]
    if len(done) > 1:
        yield f"job {job} was recorded {len(done)} times"
    if done and done[0] is not versions[-1]:
        yield f"job {job} was written after it was done"
    if done and json.loads(done[0].record.result or "null") != {"steps": spec.steps}:
        yield f"job {job} has the result {done[0].record.result}"
    for before, after in pairwise(past.record for past in versions):
        if after.epoch < before.epoch:
            yield f"job {job}: epoch {after.epoch} wrote over epoch {before.epoch}"
        if after.epoch == before.epoch and after.owner != before.owner:
            yield f"job {job}: two owners wrote in epoch {after.epoch}"
        if _steps_of(after.progress) < _steps_of(before.progress):
            yield f"job {job}: progress {after.progress} over {before.progress}"
    if versions and versions[-1].record.counts.failures > spec.fails:
        yield f"job {job} counts {versions[-1].record.counts.failures} failures, and failed at most {spec.fails} times"


def _steps_of(progress: str | None) -> int:
    return int(progress or 0)
