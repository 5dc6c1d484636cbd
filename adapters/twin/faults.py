"""What can go wrong with IMDS, on order.

Pure: which fault strikes a request is decided here; how it looks on the wire is `answers` (the reply's content) and
`server` (its manner).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from adapters.twin.wire import FaultReport

SLOW_DELAY_S = 5.0
"""Longer than any sensible timeout of a poll."""


class FaultKind(StrEnum):
    """How IMDS misbehaves. A number is an HTTP status, which is answered instead of the reply."""

    SILENT = "silent"
    """The connection is accepted and nothing ever comes."""
    SLOW = "slow"
    """The whole reply comes after `delay_s`; the first call of a VM may take two minutes."""
    DRIP = "drip"
    """The headers come at once, the body a byte each `delay_s`."""
    RESET = "reset"
    """The connection is closed without a reply."""
    TORN = "torn"
    """Half of the body, declared as all of it."""
    OVERSIZED = "oversized"
    """The body, padded to two megabytes."""
    REFUSE_IDENTITY = "refuse_identity"
    """No managed identity is assigned; only the identity endpoint knows this fault."""
    NOT_FOUND = "404"
    GONE = "410"
    """IMDS is being updated: retry for up to 70 seconds."""
    THROTTLED = "429"
    BROKEN = "500"
    UNAVAILABLE = "503"


class Endpoint(StrEnum):
    """The parts of IMDS that a fault can be limited to."""

    SCHEDULED_EVENTS = "scheduledevents"
    INSTANCE = "instance"
    IDENTITY = "identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault in force.

    Attributes:
        endpoint: the only part it strikes, or None for all of them.
        until_s: when it ends by itself, on the monotonic clock; None for never.
        remaining: how many more requests it strikes; None for any number.
        delay_s: for `slow` the whole delay, for `drip` the delay of each byte.
        retry_after_s: sent as `Retry-After` with an HTTP status; IMDS itself sends none.
    """

    kind: FaultKind
    endpoint: Endpoint | None = None
    until_s: float | None = None
    remaining: int | None = None
    delay_s: float = SLOW_DELAY_S
    retry_after_s: int | None = None

    def in_force(self, at_s: float) -> bool:
        return (self.until_s is None or at_s < self.until_s) and (self.remaining is None or self.remaining > 0)

    def strikes(self, endpoint: Endpoint) -> bool:
        if self.kind is FaultKind.REFUSE_IDENTITY and endpoint is not Endpoint.IDENTITY:
            return False
        return self.endpoint is None or self.endpoint is endpoint

    @property
    def status(self) -> int | None:
        """The HTTP status it answers with, or None for the other kinds."""
        return int(self.kind.value) if self.kind.value.isdigit() else None

    def report(self, at_s: float) -> FaultReport:
        return {
            "kind": self.kind.value,
            "endpoint": None if self.endpoint is None else self.endpoint.value,
            "remaining": self.remaining,
            "left_s": None if self.until_s is None else round(self.until_s - at_s, 3),
        }


def strike(faults: tuple[Fault, ...], endpoint: Endpoint, at_s: float) -> tuple[tuple[Fault, ...], Fault | None]:
    """The faults that stay in force after one more request, and the one that strikes it, the oldest first."""
    standing = [fault for fault in faults if fault.in_force(at_s)]
    struck = next((fault for fault in standing if fault.strikes(endpoint)), None)
    if struck is not None and struck.remaining is not None:
        place = standing.index(struck)
        standing[place] = replace(struck, remaining=struck.remaining - 1)
    return tuple(fault for fault in standing if fault.in_force(at_s)), struck
