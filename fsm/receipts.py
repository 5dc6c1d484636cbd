"""The receipt of a drain: what notice there really was, what was left of it, and what work has to be done again.

Worked out from journal entries alone, so that a living worker, its metrics and a replay of its journal say the same.
Feed entries in their order, each with the time of a clock of the caller's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fsm.application import APPLICATION, AppState
from fsm.job import JOB, JobState, JobTrigger
from fsm.journal import Line
from fsm.notices import Severity
from fsm.ports import JsonScalar
from fsm.table import Verdict

Fields = Mapping[str, JsonScalar]
KILLED = "killed"
"""The cause where nothing was said before: an eviction without notice, or whatever else ends a process so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReceipt:
    """One drain, or the end of a process that was killed before it could drain.

    Attributes:
        cause: the notice's type, the reason of a stop, or `KILLED`.
        evicted: whether a notice was the cause, and not the operator.
        announced_s: what the notice left when it was first seen, or a stop's grace; None if nothing was said.
        drain_s: from then until every job was settled; None if that was never so.
        received_s: from then until the last sign of life: the least that the notice was really worth.
        margin_s: what was left of the announced time when the drain was over; negative if it was late.
        redone_s: work done since the last checkpoints of interrupted jobs, which the next deliveries do again.
        completed: jobs that ended in this time, and so on.
    """

    cause: str
    evicted: bool
    announced_s: float | None
    drain_s: float | None
    received_s: float
    margin_s: float | None
    redone_s: float
    completed: int = 0
    released: int = 0
    poisoned: int = 0
    abandoned: int = 0

    def fields(self) -> dict[str, JsonScalar]:
        """The receipt as a journal entry has it, in seconds rounded to milliseconds."""
        found: dict[str, JsonScalar] = {}
        for name in self.__slots__:
            value: JsonScalar = getattr(self, name)
            found[name] = round(value, 3) if isinstance(value, float) else value
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cause:
    """What would have a drain begin, and since when it was known."""

    name: str
    evicted: bool
    known_s: float
    announced_s: float | None


@dataclass(slots=True)
class Receipts:
    """The receipts of one process; open deliveries and standing notices are all that is remembered."""

    _stored: bool = True
    _safe_s: dict[tuple[str, int], float] = field(default_factory=dict)
    """When each running job's work was last safe: at its begin, or at its last checkpoint."""
    _notices: dict[str, _Cause] = field(default_factory=dict)
    _stop: _Cause | None = None
    _draining: _Cause | None = None
    _settled: Counter[str] = field(default_factory=Counter)
    _redone_s: float = 0.0
    _last: tuple[_Cause, DrainReceipt] | None = None

    def take(self, at_s: float, kind: str, fields: Fields) -> DrainReceipt | None:
        """Take one entry in; the receipt of a drain that is over with it."""
        match kind:
            case "worker":
                self._stored = fields.get("store") is not False
            case "notice" if fields.get("severity") == Severity.RECLAIM:
                self._notices[str(fields["event_id"])] = _Cause(
                    name=str(fields["type"]), evicted=True, known_s=at_s, announced_s=_seconds(fields.get("left_s"))
                )
            case "notice_gone":
                self._notices.pop(str(fields["event_id"]), None)
            case "stop" if self._stop is None:
                self._stop = _Cause(
                    name=str(fields["reason"]), evicted=False, known_s=at_s, announced_s=_seconds(fields.get("grace_s"))
                )
            case "row" if fields["machine"] == JOB.name:
                self._take_job(at_s, fields)
            case "row" if fields["machine"] == APPLICATION.name:
                return self._take_state(at_s, str(fields["from"]), str(fields["to"]))
        return None

    @property
    def drained(self) -> bool:
        """Whether the last drain was finished, and nothing has begun since: its receipt is not final yet."""
        return self._last is not None

    def end(self, at_s: float) -> DrainReceipt | None:
        """The process is no more, and this was its last sign of life.

        Returns:
            The receipt of its kill, if jobs were running or a drain was on; the last receipt again, with all the time
            that the notice left, if a drain was over; None if there is nothing to tell.
        """
        if self._draining is None and not self._safe_s:
            if self._last is None:
                return None
            cause, receipt = self._last
            return replace(receipt, received_s=max(0.0, at_s - cause.known_s))
        cause = self._draining or self._cause() or _Cause(name=KILLED, evicted=False, known_s=at_s, announced_s=None)
        self._redone_s += sum(at_s - safe_s for safe_s in self._safe_s.values())
        self._safe_s.clear()
        return self._receipt(cause, at_s, drained=False)

    def _take_job(self, at_s: float, fields: Fields) -> None:
        before, after = str(fields["from"]), str(fields["to"])
        key = str(fields["job"]), int(fields["epoch"] or 0)
        if after == JobState.RUNNING:
            if before != after or (self._stored and fields["trigger"] == JobTrigger.CHECKPOINT and _taken(fields)):
                self._safe_s[key] = at_s
            return
        safe_s = self._safe_s.pop(key, None)
        if before == after or self._draining is None:
            return
        self._settled[after] += 1
        if safe_s is not None and after in (JobState.RELEASED, JobState.ABANDONED):
            self._redone_s += at_s - safe_s

    def _take_state(self, at_s: float, before: str, after: str) -> DrainReceipt | None:
        if before == after:
            return None
        if after == AppState.RECOVERING:
            self._last = None  # withdrawn: whatever comes is not the end of that notice
        if after == AppState.EVICTED:
            self._draining = self._cause() or _Cause(name="", evicted=False, known_s=at_s, announced_s=None)
            self._settled.clear()
            self._redone_s = 0.0
            return None
        if before != AppState.EVICTED or self._draining is None:
            return None
        cause, self._draining = self._draining, None
        receipt = self._receipt(cause, at_s, drained=True)
        self._last = (cause, receipt) if after == AppState.DRAINED else None
        return receipt

    def _cause(self) -> _Cause | None:
        """The first notice that stands, or else the stop."""
        return next(iter(self._notices.values()), self._stop)

    def _receipt(self, cause: _Cause, at_s: float, *, drained: bool) -> DrainReceipt:
        took_s = max(0.0, at_s - cause.known_s)
        margin_s = cause.announced_s - took_s if drained and cause.announced_s is not None else None
        return DrainReceipt(
            cause=cause.name,
            evicted=cause.evicted,
            announced_s=cause.announced_s,
            drain_s=took_s if drained else None,
            received_s=took_s,
            margin_s=margin_s,
            redone_s=max(0.0, self._redone_s),
            completed=self._settled[JobState.COMPLETED],
            released=self._settled[JobState.RELEASED],
            poisoned=self._settled[JobState.POISONED],
            abandoned=self._settled[JobState.ABANDONED],
        )


def receipts_in(lines: Iterable[Line]) -> list[tuple[str, DrainReceipt]]:
    """The receipts that journals give, each with its process, in the order in which the drains and kills ended.

    A process whose last line is not its end was killed after it: what it had not saved by then is done again, and its
    notice was worth the time until then, at least. So is one that vanished, until it did.
    """
    sources: dict[str, list[Line]] = {}
    for line in lines:
        sources.setdefault(line.source, []).append(line)
    found: list[tuple[float, str, DrainReceipt]] = []
    for source, own in sources.items():
        receipts, first_s, over = Receipts(), own[0].at.timestamp(), False
        for line in own:
            at_s = line.at.timestamp() - first_s
            if line.machine == APPLICATION.name:
                over = line.text("to") == AppState.OFFLINE
            if receipts.drained and line.kind == "notice_gone" and (lived := receipts.end(at_s)) is not None:
                found[-1] = (found[-1][0], source, lived)  # withdrawn, or over: the VM has outlived it
            receipt = receipts.take(at_s, line.kind, line.fields)
            if receipt is not None:
                found.append((line.at.timestamp(), source, receipt))
        if receipts.drained:
            found.pop()  # told again, with all that its notice was worth
        elif over:
            continue
        final = receipts.end(own[-1].at.timestamp() - first_s)
        if final is not None:
            found.append((own[-1].at.timestamp(), source, final))
    return [(source, receipt) for _, source, receipt in sorted(found, key=lambda one: one[0])]


def _seconds(value: JsonScalar) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _taken(fields: Fields) -> bool:
    return fields["verdict"] == Verdict.TAKEN
