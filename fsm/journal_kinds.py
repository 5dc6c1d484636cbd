"""The kinds of lines a journal has, and what each must say: a closed set, and the one place that knows it.

Whoever writes a line names a `Kind`; whoever reads one asks `flaw_in`. A new kind, or a field without which a line of
a known kind says nothing, raises `fsm.journal.FORMAT`. Further fields may stand in any line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a line is about."""

    JOURNAL = "journal"
    """A process begins to write: its first line."""
    WARNING = "warning"
    WORKER = "worker"
    """Who the worker found itself to be."""
    ORIGIN = "origin"
    ROW = "row"
    """A row of a table was taken."""
    NOTICE = "notice"
    NOTICE_GONE = "notice_gone"
    STOP = "stop"
    ACKNOWLEDGED = "acknowledged"
    DRAIN = "drain"
    """The receipt of a drain that is over: `fsm.receipts.DrainReceipt`."""
    STILL_HERE = "still_here"
    """A drained worker has not been taken yet."""
    IMDS_ANSWERS = "imds_answers"
    RECEIVE = "receive"
    """A receive is sent."""
    RECEIVED = "received"
    """A receive has brought messages."""
    RENEWED = "renewed"
    RELEASED = "released"
    """The queue has shown a message again, at once or after a pause."""
    SETTLED = "settled"
    """A delivery has ended, and its last call was answered or given up."""
    STEPS = "steps"
    """Steps of a delivery, so many that they were not held back for its next row."""
    EXPIRES = "expires"
    CALL_FAILED = "call_failed"
    LOOP_BLOCKED = "loop_blocked"
    MARKET = "market"
    """This and the rest are of a simulated platform."""
    FREEZE = "freeze"
    KILL = "kill"
    STOP_SENT = "stop_sent"
    CLOCK_JUMP = "clock_jump"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """What a field may be; one that is optional may be missing or null."""

    types: tuple[type, ...]
    words: str
    optional: bool = False

    def holds(self, value: object) -> bool:
        if value is None:
            return self.optional
        if type(value) not in self.types:  # a truth value is a whole number to Python
            return False
        return not isinstance(value, int | float) or (math.isfinite(value) and abs(value) <= _NUMBER_MAX)


_NUMBER_MAX = 2**53
"""Past it a JSON number is not exact."""
_TEXT = _Field(types=(str,), words="a text")
_TEXT_OR_NONE = _Field(types=(str,), words="a text or null", optional=True)
_WHOLE = _Field(types=(int,), words="a whole number")
_WHOLE_OR_NONE = _Field(types=(int,), words="a whole number or null", optional=True)
_SECONDS = _Field(types=(int, float), words="a number")
_SECONDS_OR_NONE = _Field(types=(int, float), words="a number or null", optional=True)
_FLAG = _Field(types=(bool,), words="true or false")
_FLAG_OR_NONE = _Field(types=(bool,), words="true, false or null", optional=True)

_DELIVERY = {"job": _TEXT, "epoch": _WHOLE}
_VM = {"vm": _TEXT}
FIELDS: Mapping[Kind, Mapping[str, _Field]] = {
    Kind.JOURNAL: {"format": _WHOLE, "pid": _WHOLE},
    Kind.WARNING: {"text": _TEXT},
    Kind.WORKER: {
        **dict.fromkeys(("vm_name", "vm_id", "boot_id", "instance", "process", "queue"), _TEXT),
        "store": _FLAG,
    },
    Kind.ORIGIN: {"origin": _TEXT},
    Kind.ROW: dict.fromkeys(("machine", "row", "trigger", "from", "to", "verdict", "facts"), _TEXT),
    Kind.NOTICE: {
        **dict.fromkeys(("event_id", "type", "severity"), _TEXT),
        "started": _FLAG,
        "left_s": _SECONDS_OR_NONE,
    },
    Kind.NOTICE_GONE: {"event_id": _TEXT, "type": _TEXT},
    Kind.STOP: {"reason": _TEXT, "grace_s": _SECONDS},
    Kind.ACKNOWLEDGED: {"event_id": _TEXT},
    Kind.DRAIN: {
        "cause": _TEXT,
        "evicted": _FLAG,
        **dict.fromkeys(("announced_s", "drain_s", "margin_s"), _SECONDS_OR_NONE),
        **dict.fromkeys(("received_s", "redone_s"), _SECONDS),
        **dict.fromkeys(("completed", "released", "poisoned", "abandoned"), _WHOLE),
    },
    Kind.STILL_HERE: {"drained_for_s": _SECONDS},
    Kind.IMDS_ANSWERS: {},
    Kind.RECEIVE: {"asked": _WHOLE},
    Kind.RECEIVED: {"count": _WHOLE},
    Kind.RENEWED: _DELIVERY,
    Kind.RELEASED: {**_DELIVERY, "pause_s": _SECONDS},
    Kind.SETTLED: {**_DELIVERY, "state": _TEXT, "joint_rule": _TEXT, "steps": _TEXT},
    Kind.STEPS: {**_DELIVERY, "steps": _TEXT},
    Kind.EXPIRES: _DELIVERY,
    Kind.CALL_FAILED: {"call": _TEXT, "text": _TEXT, "error": _TEXT_OR_NONE, "job": _TEXT_OR_NONE},
    Kind.LOOP_BLOCKED: {"for_s": _SECONDS, "still": _FLAG_OR_NONE},
    Kind.MARKET: {"price_usd_per_h": _TEXT, "capacity": _WHOLE_OR_NONE},
    Kind.FREEZE: {**_VM, "for_s": _SECONDS},
    Kind.KILL: _VM,
    Kind.STOP_SENT: _VM,
    Kind.CLOCK_JUMP: {**_VM, "by_s": _SECONDS},
}
_JOINT = {"outcome": _TEXT, "joint_rule": _TEXT_OR_NONE}
ROW_FIELDS: Mapping[str, Mapping[str, _Field]] = {
    "application": _JOINT,
    "spot_vm": {**_JOINT, **_VM},
    "job": {
        **_DELIVERY,
        "failures": _WHOLE_OR_NONE,
        "fruitless_deaths": _WHOLE_OR_NONE,
        **dict.fromkeys(("progress", "reason", "steps"), _TEXT_OR_NONE),
    },
}
"""What a row line says besides, by its machine."""


def flaw_in(kind: str, fields: Mapping[str, object]) -> str | None:
    """What makes this no line of a journal of the present format, or None."""
    try:
        expected = FIELDS[Kind(kind)]
    except ValueError:
        return f"there is no kind {kind!r}"
    if kind == Kind.ROW:
        machine = fields.get("machine")
        if isinstance(machine, str) and machine not in ROW_FIELDS:
            return f"there is no machine {machine!r}"
        expected = {**expected, **ROW_FIELDS.get(str(machine), {})}
    for name, field in expected.items():
        if not field.holds(fields.get(name)):
            said = f"is {fields[name]!r}" if name in fields else "is missing"
            return f"a line of kind {kind!r}: {name!r} {said}, and should be {field.words}"
    return None
