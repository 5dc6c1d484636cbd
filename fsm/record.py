"""The record: one small document per message, which outlives every delivery of it.

The record is what makes a job's result count once and its progress never go back. Its *epoch* is the dequeue count of
the delivery that claimed it; its *owner* names that delivery and the process behind it. Progress and result are JSON,
kept as canonical text so that "the very document I wrote" is a comparison of strings.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, field, fields, replace
from enum import StrEnum
from typing import assert_never

from fsm.errors import BadReplyError

FAILURES_MAX = 5
"""A job that failed this often is poisoned."""
DEATHS_MAX = 10
"""A job whose worker died this often without any progress is poisoned: it kills its worker."""
RECORD_BYTES_MAX = 4 * 1024 * 1024
"""A record is one small write: more than this in progress or result belongs into a blob of the job's own."""
_FORMAT = 1


class Status(StrEnum):
    """What a record says about its job."""

    OPEN = "open"
    """Claimed, and its delivery has not ended as far as the record knows."""
    RELEASED = "released"
    """The last delivery handed the message back; its end is counted."""
    DONE = "done"
    POISONED = "poisoned"


class End(StrEnum):
    """How a delivery ended without a result. Only failures and deaths spend a budget."""

    FAILURE = "failure"
    DEATH = "death"
    EVICTION = "eviction"
    LAPSE = "lapse"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who claimed: a delivery (token), its process, its instance on the VM, the VM's boot, the VM."""

    vm_id: str
    boot_id: str
    instance: str
    process: str
    token: str


def process_name(started_s: float, token: str) -> str:
    """The name of a worker process.

    Args:
        started_s: by the monotonic clock, which all processes of one boot share.
        token: random, for it to be the only one.
    """
    return f"{round(started_s * 1000):015d}-{token}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What a worker writes when it starts: this process now stands for this instance of this VM.

    Attributes:
        process: its name by `process_name`: those of one boot sort by their start.
    """

    vm_id: str
    vm_name: str
    boot_id: str
    instance: str
    process: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many deliveries of a job ended in which way; `fruitless_deaths` since the last progress."""

    failures: int = 0
    deaths: int = 0
    fruitless_deaths: int = 0
    evictions: int = 0
    lapses: int = 0
    stops: int = 0

    def plus(self, end: End) -> Counts:
        """The counts with one more delivery ended."""
        match end:
            case End.FAILURE:
                return replace(self, failures=self.failures + 1)
            case End.DEATH:
                return replace(self, deaths=self.deaths + 1, fruitless_deaths=self.fruitless_deaths + 1)
            case End.EVICTION:
                return replace(self, evictions=self.evictions + 1)
            case End.LAPSE:
                return replace(self, lapses=self.lapses + 1)
            case End.STOP:
                return replace(self, stops=self.stops + 1)
            case _:
                assert_never(end)

    @property
    def budget_spent(self) -> bool:
        """Whether no failure, or no death without progress, is left."""
        return self.failures >= FAILURES_MAX or self.fruitless_deaths >= DEATHS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One message's record.

    Attributes:
        epoch: dequeue count of the delivery that holds, or last held, the claim.
        owner: that delivery.
        status: see `Status`.
        progress: the last checkpoint as canonical JSON text, or None before the first.
        result: what the handler returned, as canonical JSON text; only when done.
        error: the last failure, for people; bounded.
        counts: how deliveries ended.
        counted_epoch: the newest epoch whose end is in `counts`: no end is counted twice.
    """

    epoch: int
    owner: Owner
    status: Status = Status.OPEN
    progress: str | None = None
    result: str | None = None
    error: str | None = None
    counts: Counts = field(default_factory=Counts)
    counted_epoch: int = 0

    def ended(self, end: End) -> Record:
        """The record with the end of its present epoch counted, once."""
        if self.counted_epoch >= self.epoch:
            return self
        return replace(self, counts=self.counts.plus(end), counted_epoch=self.epoch)

    def claimed(self, *, epoch: int, owner: Owner) -> Record:
        """The record open under a newer delivery."""
        return replace(self, epoch=epoch, owner=owner, status=Status.OPEN)

    def saved(self, progress: str) -> Record:
        """The record with a newer checkpoint; progress clears the deaths without it."""
        return replace(self, progress=progress, counts=replace(self.counts, fruitless_deaths=0))

    def done(self, result: str) -> Record:
        """The record with the result: from here on nothing runs the job again."""
        return replace(self, status=Status.DONE, result=result, error=None, counted_epoch=self.epoch)

    def released(self, end: End, error: str | None = None) -> Record:
        """The record handed back, with this delivery's end counted."""
        return replace(self.ended(end), status=Status.RELEASED, error=error or self.error)

    def poisoned(self, error: str) -> Record:
        """The record given up: terminal, and exclusive with done."""
        return replace(self, status=Status.POISONED, error=error, counted_epoch=self.epoch)


_OWNER_FIELDS = tuple(one.name for one in fields(Owner))
_COUNTS_FIELDS = tuple(one.name for one in fields(Counts))


def canonical(value: object) -> str:
    """JSON text of a value: the same value always gives the same text.

    Raises:
        TypeError: the value is not JSON.
        ValueError: it holds NaN or an infinity, which JSON does not have.
    """
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)


def encode_record(record: Record) -> str:
    """The record as the JSON text that a store keeps; progress and result are already JSON, and go in as they are."""
    owner, counts = record.owner, record.counts
    document = {
        "format": _FORMAT,
        "epoch": record.epoch,
        "status": record.status.value,
        "owner": {name: getattr(owner, name) for name in _OWNER_FIELDS},
        "error": record.error,
        "counts": {name: getattr(counts, name) for name in _COUNTS_FIELDS},
        "counted_epoch": record.counted_epoch,
    }
    text = json.dumps(document, separators=(",", ":"))
    values = [
        f',"{name}":{value}'
        for name, value in (("progress", record.progress), ("result", record.result))
        if value is not None
    ]
    return f"{text[:-1]}{''.join(values)}}}"


def decode_record(text: str | bytes) -> Record:
    """The record in a stored JSON text.

    Raises:
        BadReplyError: the text is not a record of a format this version reads.
    """
    try:
        document = json.loads(text)
        if document.pop("format") != _FORMAT:
            raise ValueError("unknown format")
        owner, counts = Owner(**document.pop("owner")), Counts(**document.pop("counts"))
        status = Status(document.pop("status"))
        for name in ("progress", "result"):
            if name in document:
                document[name] = canonical(document[name])
        return _checked(Record(owner=owner, counts=counts, status=status, **document))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise BadReplyError(f"a stored record cannot be read: {exc}") from exc


def _checked(record: Record) -> Record:
    """The record, if its values are what their names say.

    Raises:
        TypeError: a number that is none, or a text that is none.
    """
    numbers = (record.epoch, record.counted_epoch, *astuple(record.counts))
    texts = (*astuple(record.owner), "" if record.error is None else record.error)
    if any(type(number) is not int for number in numbers) or any(type(text) is not str for text in texts):
        raise TypeError("a value of the wrong type")
    return record
