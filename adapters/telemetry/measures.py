"""What is measured of a worker, counted from its journal's entries.

The catalogue is the one list of measures: Prometheus, OpenTelemetry and the README's table are made from it. Counters
start at zero with the process. Entries come from the loop's thread and from the pulse's; readers come from any.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fsm.application import APPLICATION, AppState
from fsm.backlog import Backlog
from fsm.job import JOB, JobState, JobTrigger
from fsm.notices import Severity
from fsm.ports import JsonScalar
from fsm.table import Verdict

Fields = Mapping[str, JsonScalar]
LABELS_MAX = 200
"""Different values of a measure's labels; past it the rest is counted together as `other`."""
OTHER = "other"


class Kind(StrEnum):
    """What a number does: a counter only rises, a gauge is how things stand."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure. `name` is without the `_total` that Prometheus adds to a counter's."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()

    @property
    def exposed(self) -> str:
        """The name as Prometheus has it."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A measure's value for one set of labels, in the order of the measure's own."""

    measure: Measure
    labels: tuple[str, ...]
    value: float


def _counter(name: str, text: str, *labels: str) -> Measure:
    return Measure(name=f"spotfsm_{name}", kind=Kind.COUNTER, text=text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> Measure:
    return Measure(name=f"spotfsm_{name}", kind=Kind.GAUGE, text=text, labels=labels)


WORKER = _gauge("worker", "1, with who the worker is", "worker", "vm", "queue")
STATE = _gauge("state", "1 for the state of the application machine that the worker is in, 0 for the others", "state")
RECEIVED = _counter("received", "Messages received")
BEGUN = _counter("begun", "Handlers begun")
RUNNING = _gauge("running", "Deliveries begun and not ended")
ENDED = _counter("ended", "Deliveries by their end: completed, released, poisoned, abandoned", "end")
CHECKPOINTS = _counter("checkpoints", "Checkpoints saved")
FAILURES = _counter("failures", "Deliveries whose handler failed")
RENEWALS = _counter("lease_renewals", "Leases renewed")
LOST = _counter("leases_lost", "Leases lost: to another worker, or because they ran out")
NOTICES = _counter("notices", "Scheduled Events that named this VM", "type")
PENDING = _gauge("notices_pending", "Reclaiming notices that stand")
RECEIVED_S = _gauge("notice_received_seconds", "How long this VM has lived since the last notice was first seen")
DRAINS = _counter("drains", "Drains that were finished, by cause: eviction or stop", "cause")
DRAIN_S = _counter("drain_seconds", "Time from the notice or the stop until every job was settled", "cause")
MARGIN_S = _gauge("drain_margin_seconds", "What the last drain left of its announced time; negative if late", "cause")
REDONE_S = _counter("redone_seconds", "Work of interrupted jobs since their last checkpoint, which is done again")
CALLS_FAILED = _counter("call_failures", "Calls on queue, store or IMDS that failed", "call", "error")
BLOCKED = _counter("loop_blocked", "Times that a handler blocked the event loop")
SILENT_S = _gauge("loop_silent_seconds", "How long ago the event loop last beat; it does so twice a second")
BACKLOG = _gauge(
    "backlog", "Jobs of the whole queue, as `spotfsm status` counts them; only with --queue-metrics", "jobs"
)
BACKLOG_EXACT = _gauge("backlog_waiting_exact", "1 if the number of waiting jobs is exact, 0 if it is an estimate")
BACKLOG_AGE_S = _gauge("backlog_age_seconds", "How long ago the backlog was counted")

CATALOGUE = (
    WORKER, STATE, RECEIVED, BEGUN, RUNNING, ENDED, CHECKPOINTS, FAILURES, RENEWALS, LOST, NOTICES, PENDING, RECEIVED_S,
    DRAINS, DRAIN_S, MARGIN_S, REDONE_S, CALLS_FAILED, BLOCKED, SILENT_S, BACKLOG, BACKLOG_EXACT, BACKLOG_AGE_S,
)  # fmt: skip
_ENDS = (JobState.COMPLETED, JobState.RELEASED, JobState.POISONED, JobState.ABANDONED)
_BACKLOG_KEYS = (
    "queued", "waiting", "leased", "running", "released", "checkpointed", "completed", "poisoned",
)  # fmt: skip


class Measures:
    """The numbers of one worker.

    Args:
        worker: its name on the VM.
        silent_s: how long ago the loop last beat.
        now_s: the monotonic clock.
    """

    def __init__(
        self, worker: str, *, silent_s: Callable[[], float], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._worker = worker
        self._silent_s = silent_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._values: dict[Measure, dict[tuple[str, ...], float]] = defaultdict(dict)
        self._open: set[tuple[str, str]] = set()
        self._pending: dict[str, float] = {}
        self._backlog_s: float | None = None
        self._blocked = False
        self._read = False
        self.state = AppState.OFFLINE.value
        for measure in CATALOGUE:
            if not measure.labels and measure.kind is Kind.COUNTER:
                self._values[measure][()] = 0.0
        for end in _ENDS:
            self._values[ENDED][(end.value.lower(),)] = 0.0
        self._on: dict[str, Callable[[Fields], None]] = {
            "row": self._on_row,
            "worker": self._on_worker,
            "received": lambda fields: self._add(RECEIVED, _number(fields["count"])),
            "renewed": lambda _: self._add(RENEWALS),
            "notice": self._on_notice,
            "notice_gone": lambda fields: self._gone(str(fields["event_id"])),
            "still_here": lambda _: self._note_life(),
            "call_failed": lambda fields: self._add(
                CALLS_FAILED, 1.0, str(fields["call"]), str(fields.get("error") or "PlatformError")
            ),
            "loop_blocked": self._on_blocked,
            "drain": self._on_drain,
        }

    def observe(self, kind: str, fields: Fields) -> None:
        """Take one journal entry in."""
        handle = self._on.get(kind)
        if handle is not None:
            with self._lock:
                handle(fields)

    def count_backlog(self, backlog: Backlog) -> None:
        """Take in how the whole queue stands."""
        with self._lock:
            self._backlog_s = self._now_s()
            for key in _BACKLOG_KEYS:
                value: int | None = getattr(backlog, key)
                if value is not None:
                    self._set(BACKLOG, value, key)
            self._set(BACKLOG_EXACT, backlog.waiting_exact)

    def take_interest(self) -> bool:
        """Whether somebody has read the samples since this was last asked."""
        read, self._read = self._read, False
        return read

    def samples(self) -> Iterator[Sample]:
        """Every value as it stands, in the order of the catalogue."""
        self._read = True
        with self._lock:
            for state in AppState:
                self._set(STATE, state.value == self.state, state.value)
            self._set(RUNNING, len(self._open))
            self._set(PENDING, len(self._pending))
            self._set(SILENT_S, self._silent_s())
            if self._backlog_s is not None:
                self._set(BACKLOG_AGE_S, self._now_s() - self._backlog_s)
            found = [
                Sample(measure=measure, labels=labels, value=value)
                for measure in CATALOGUE
                for labels, value in self._values[measure].items()
            ]
        yield from found

    # -- entries ----------------------------------------------------------------------------------------------------

    def _on_worker(self, fields: Fields) -> None:
        self._set(WORKER, 1, self._worker, str(fields["vm_name"]), str(fields["queue"]))

    def _on_row(self, fields: Fields) -> None:
        before, after, trigger = str(fields["from"]), str(fields["to"]), fields["trigger"]
        if fields["machine"] == APPLICATION.name:
            self.state = after
            return
        if fields["machine"] != JOB.name:
            return
        taken = fields["verdict"] == Verdict.TAKEN
        delivery = str(fields["job"]), str(fields["epoch"])
        if after in _ENDS:
            self._open.discard(delivery)
            if before != after:
                self._add(ENDED, 1.0, after.lower())
        elif after == JobState.RUNNING and before != after:
            self._open.add(delivery)
            self._add(BEGUN)
        if taken and trigger == JobTrigger.CHECKPOINT:
            self._add(CHECKPOINTS)
        elif taken and trigger == JobTrigger.FAIL:
            self._add(FAILURES)
        elif taken and trigger == JobTrigger.LOSE_LEASE:
            self._add(LOST)

    def _on_notice(self, fields: Fields) -> None:
        self._add(NOTICES, 1.0, str(fields["type"]))
        if fields["severity"] == Severity.RECLAIM:
            self._pending[str(fields["event_id"])] = self._now_s()
            self._note_life()

    def _gone(self, event_id: str) -> None:
        self._note_life()
        self._pending.pop(event_id, None)

    def _note_life(self) -> None:
        if self._pending:
            self._set(RECEIVED_S, self._now_s() - min(self._pending.values()))

    def _on_blocked(self, fields: Fields) -> None:
        """Count it once: the pulse tells of a long one while it lasts, the loop of each when it comes to itself."""
        if not self._blocked:
            self._add(BLOCKED)
        self._blocked = bool(fields.get("still"))

    def _on_drain(self, fields: Fields) -> None:
        cause = "eviction" if fields["evicted"] else "stop"
        self._add(DRAINS, 1.0, cause)
        self._add(DRAIN_S, _number(fields["drain_s"]), cause)
        self._add(REDONE_S, _number(fields["redone_s"]))
        if fields["margin_s"] is not None:
            self._set(MARGIN_S, _number(fields["margin_s"]), cause)

    # -- values -----------------------------------------------------------------------------------------------------

    def _add(self, measure: Measure, amount: float = 1.0, *labels: str) -> None:
        values = self._values[measure]
        if labels not in values and len(values) >= LABELS_MAX:
            labels = (OTHER,) * len(labels)
        values[labels] = values.get(labels, 0.0) + amount

    def _set(self, measure: Measure, value: float, *labels: str) -> None:
        self._values[measure][labels] = float(value)


def _number(value: JsonScalar) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
