"""What can go wrong between a worker and Azure Storage, and how often: drawn from a seed, a fault a request.

A reply that is lost has two faces, and both are drawn: the effect was made, or it was not. A third is worse than both:
the effect is made later, when the sender has long since gone on.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

SHARE = 0.15
"""Of all requests, how many meet a fault."""
LATE_S_MAX = 4.0
"""How late an effect may be: twice the lease of the campaign's messages."""
SLOW_S_MAX = 2.0
SILENCE_S = 12.0
"""Longer than a worker waits for any call."""
RETRY_AFTER_S = 1


class Kind(StrEnum):
    """What goes wrong."""

    RESET_BEFORE = "reset before the effect"
    RESET_AFTER = "reset after the effect"
    LATE = "reset, and the effect later"
    ERROR_BEFORE = "500 before the effect"
    ERROR_AFTER = "500 after the effect"
    BUSY = "503"
    THROTTLED = "429 with Retry-After"
    SLOW = "slow body"
    TORN = "torn body"
    SILENT = "no reply at all"
    STALE_BEFORE = "400 or 404 for a good receipt"
    STALE_AFTER = "400 or 404 after the effect"
    EXISTS_BEFORE = "409 for a record that is not there"
    EXISTS_AFTER = "409 after the effect"
    CHANGED_BEFORE = "412 for the right version"
    CHANGED_AFTER = "412 after the effect"
    DENIED = "403: no role permits it"
    """Never drawn: a missing role is no weather."""


AFTER = frozenset(
    {
        Kind.RESET_AFTER,
        Kind.ERROR_AFTER,
        Kind.SLOW,
        Kind.TORN,
        Kind.SILENT,
        Kind.STALE_AFTER,
        Kind.EXISTS_AFTER,
        Kind.CHANGED_AFTER,
    }
)
"""The service is asked at once, and its effect is made."""
_ANYWHERE: Mapping[Kind, float] = {
    Kind.RESET_BEFORE: 3,
    Kind.RESET_AFTER: 3,
    Kind.LATE: 3,
    Kind.ERROR_BEFORE: 2,
    Kind.ERROR_AFTER: 2,
    Kind.BUSY: 2,
    Kind.THROTTLED: 2,
    Kind.SLOW: 2,
    Kind.TORN: 2,
    Kind.SILENT: 0.3,
}
_LEASES: Mapping[Kind, float] = {Kind.STALE_BEFORE: 5, Kind.STALE_AFTER: 5}
_CREATIONS: Mapping[Kind, float] = {Kind.EXISTS_BEFORE: 5, Kind.EXISTS_AFTER: 5}
_CHANGES: Mapping[Kind, float] = {Kind.CHANGED_BEFORE: 4, Kind.CHANGED_AFTER: 4}
_LEASE = re.compile(r"/messages/[0-9a-f-]{36}(\?|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one request.

    Attributes:
        delay_s: how late the effect is, or how slow the body.
        status, code: what is answered instead of the reply; 0 for nothing.
    """

    kind: Kind
    delay_s: float = 0.0
    status: int = 0
    code: str = ""


@dataclass(slots=True)
class Weather:
    """Draws the faults of all requests, and counts; to be asked from any thread.

    Attributes:
        bad: whether there are faults at all.
        requests: how many passed.
        faults: how many of each kind.
    """

    random: random.Random
    bad: bool = True
    requests: int = 0
    faults: Counter[Kind] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def strike(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
        """The fault of this request, or None; the path comes with its query."""
        with self._lock:
            self.requests += 1
            if not self.bad or self.random.random() >= SHARE:
                return None
            weights = _possible(method, path, headers)
            (kind,) = self.random.choices([*weights], weights=[*weights.values()])
            self.faults[kind] += 1
            return self._fault(kind)

    def _fault(self, kind: Kind) -> Fault:
        draw = self.random
        match kind:
            case Kind.LATE:
                return Fault(kind=kind, delay_s=draw.uniform(0.0, LATE_S_MAX))
            case Kind.SLOW:
                return Fault(kind=kind, delay_s=draw.uniform(0.1, SLOW_S_MAX))
            case Kind.SILENT:
                return Fault(kind=kind, delay_s=SILENCE_S)
            case Kind.ERROR_BEFORE | Kind.ERROR_AFTER:
                return Fault(kind=kind, status=500, code=draw.choice(("InternalError", "OperationTimedOut")))
            case Kind.BUSY:
                return Fault(kind=kind, status=503, code="ServerBusy")
            case Kind.THROTTLED:
                return Fault(kind=kind, status=429, code="TooManyRequests")
            case Kind.STALE_BEFORE | Kind.STALE_AFTER:
                status, code = draw.choice(((400, "PopReceiptMismatch"), (404, "MessageNotFound")))
                return Fault(kind=kind, status=status, code=code)
            case Kind.EXISTS_BEFORE | Kind.EXISTS_AFTER:
                return Fault(kind=kind, status=409, code="BlobAlreadyExists")
            case Kind.CHANGED_BEFORE | Kind.CHANGED_AFTER:
                return Fault(kind=kind, status=412, code="ConditionNotMet")
            case Kind.DENIED:
                return Fault(kind=kind, status=403, code="AuthorizationPermissionMismatch")
            case _:
                return Fault(kind=kind)


def _possible(method: str, path: str, headers: Mapping[str, str]) -> Mapping[Kind, float]:
    """What a service may answer to such a request, with weights."""
    if method in ("PUT", "DELETE") and _LEASE.search(path):
        return {**_ANYWHERE, **_LEASES}
    if method == "PUT" and headers.get("If-None-Match") == "*":
        return {**_ANYWHERE, **_CREATIONS}
    if method == "PUT" and "If-Match" in headers:
        return {**_ANYWHERE, **_CHANGES}
    return _ANYWHERE
