"""What goes over the twin's own wire: the shape of `GET /twin/state`, for programs that read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None
"""Any JSON value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One instant on both clocks.

    Attributes:
        wall: aware and UTC, for what people and tokens read.
        at_s: monotonic, for how long things last.
    """

    wall: datetime
    at_s: float


class EventReport(TypedDict):
    """An event as it stands; times are ISO 8601, `not_before` is None once it has started."""

    event_id: str
    event_type: str
    resources: list[str]
    status: str
    not_before: str | None
    acknowledged: bool


class FaultReport(TypedDict):
    """A fault that still strikes; `endpoint` None means every one, `remaining` None any number of requests."""

    kind: str
    endpoint: str | None
    remaining: int | None
    left_s: float | None


class RequestReport(TypedDict):
    """A request under /metadata; `status` is 0 where nothing was answered."""

    at: str
    method: str
    path: str
    api_version: str
    status: int
    fault: str | None


class AcknowledgementReport(TypedDict):
    """A StartRequest that was granted."""

    at: str
    event_id: str


class IdentityReport(TypedDict):
    """Who the twin says the VM is."""

    vm_id: str
    name: str
    priority: str
    eviction_policy: str


class TwinReport(TypedDict):
    """The answer to `GET /twin/state`. The two logs hold the newest entries only; `requests_total` counts all."""

    now: str
    identity: IdentityReport
    boot_id: str
    incarnation: int
    events: list[EventReport]
    faults: list[FaultReport]
    requests_total: int
    requests: list[RequestReport]
    acknowledgements: list[AcknowledgementReport]
