"""Orders to the twin: what a test, a demo or a person may make of this VM's fate.

Pure: an order's name and its JSON fields in, the next state and a JSON reply out. Fields that an order does not know
are refused, so that a misspelt `notice` is not a notice of the default length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NoReturn

from adapters.twin.events import EVENTS_VERSIONS, KINDS, STARTED_S, EventType, new_event
from adapters.twin.faults import SLOW_DELAY_S, Endpoint, Fault, FaultKind
from adapters.twin.state import TwinState
from adapters.twin.wire import Json, Moment
from fsm.errors import ConfigurationError

NOTICE_S_MAX = 7 * 24 * 60 * 60.0
"""Azure announces failing hardware a week ahead."""

Reply = dict[str, Json]

_EVENT_ORDERS = {
    "evict": EventType.PREEMPT,
    "freeze": EventType.FREEZE,
    "reboot": EventType.REBOOT,
    "redeploy": EventType.REDEPLOY,
    "terminate": EventType.TERMINATE,
    "rebalance": EventType.REBALANCE,
}
_FREEZE_DURATION_S = 5
"""As in the sample of https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events (read 2026-11)."""


class Fields:
    """The fields of one order, each read once; what is left over is unknown."""

    def __init__(self, fields: Mapping[str, Json]) -> None:
        self._left = dict(fields)

    def finish(self) -> None:
        """Refuse the fields that nobody read."""
        for name in self._left:
            _refuse(
                f"{name:.60}" if name.isidentifier() else f"{name!r:.60}", "not a field of this order", "Leave it out."
            )

    def number(self, name: str, default: float, *, at_most: float = NOTICE_S_MAX) -> float:
        """A number from 0 to `at_most`."""
        value = self._left.pop(name, None)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            _refuse(name, "is not a number", f"Give a number from 0 to {at_most:g}.")
        if not 0 <= value <= at_most:
            _refuse(name, f"is {value:g}", f"Give a number from 0 to {at_most:g}.")
        return float(value)

    def optional_number(self, name: str) -> float | None:
        """A number, or None where the field is missing."""
        return None if self._left.get(name) is None else self.number(name, 0.0)

    def whole(self, name: str, default: int) -> int:
        """A whole number from 0."""
        value = float(self.number(name, default))
        if not value.is_integer():
            _refuse(name, f"is {value:g}", "Give a whole number.")
        return int(value)

    def text(self, name: str, default: str = "") -> str:
        value = self._left.pop(name, None)
        if value is None:
            return default
        if not isinstance(value, str) or len(value) > 200:
            _refuse(name, "is not a short text", "Give a text of up to 200 characters.")
        return value

    def texts(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A text or a list of texts."""
        value = self._left.pop(name, None)
        if value is None:
            return default
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list):
            _refuse(name, "is not a list of texts", "Give a text, or a list of texts.")
        texts = tuple(text for text in values if isinstance(text, str) and text)
        if len(texts) != len(values):
            _refuse(name, "holds what is not a text", "Give a text, or a list of texts.")
        return texts

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._left.pop(name, None)
        if value is None:
            return default
        if not isinstance(value, bool):
            _refuse(name, "is neither true nor false", "Give true or false.")
        return value


def obey(
    state: TwinState, order: str, fields: Mapping[str, Json], moment: Moment, fresh_id: str
) -> tuple[TwinState, Reply]:
    """Carry out one order.

    Args:
        state: before the order.
        order: its name, one of `ORDERS`.
        fields: its JSON fields.
        moment: now.
        fresh_id: a new UUID, for an event's id or a boot's.

    Raises:
        ConfigurationError: the order or one of its fields is unknown or out of range; nothing changed.
    """
    if order not in ORDERS:
        raise ConfigurationError("order", f"{order!r:.60} is unknown", f"Known are {', '.join(ORDERS)}.")
    read = Fields(fields)
    carried_out = ORDERS[order](state.at(moment), read, moment, fresh_id)
    read.finish()
    return carried_out


def _announcing(event_type: EventType) -> Callable[[TwinState, Fields, Moment, str], tuple[TwinState, Reply]]:
    """The order that announces an event of this type."""

    def announce(state: TwinState, fields: Fields, moment: Moment, fresh_id: str) -> tuple[TwinState, Reply]:
        pauses = event_type is EventType.FREEZE
        duration_s = fields.whole("duration_s", _FREEZE_DURATION_S if pauses else -1)
        event = new_event(
            fields.text("event_id") or fresh_id.upper(),
            event_type,
            fields.texts("vm", (state.profile.name,)),
            moment,
            notice_s=fields.number("notice_s", KINDS[event_type].notice_s),
            started_s=fields.number("started_s", max(1.0, float(duration_s)) if pauses else STARTED_S),
            duration_s=duration_s,
        )
        if any(event.event_id == other.event_id for other in state.events):
            _refuse("event_id", "stands already", "Leave it out for a fresh one.")
        state = state.announce(event, moment)
        return state, {
            "event_id": event.event_id,
            "event_type": event.event_type.value,
            "resources": list(event.resources),
            "not_before": event.not_before.isoformat(),
            "incarnation": state.incarnation,
        }

    return announce


def _withdraw(state: TwinState, fields: Fields, _moment: Moment, _fresh_id: str) -> tuple[TwinState, Reply]:
    """Cancel one event, or all of them."""
    standing = [event.event_id for event in state.events]
    wanted = fields.text("event_id")
    if wanted and wanted not in standing:
        _refuse("event_id", f"{wanted!r} does not stand", "Leave it out to withdraw every event.")
    withdrawn = [wanted] if wanted else standing
    state = state.withdraw(withdrawn)
    return state, {"withdrawn": [*withdrawn], "incarnation": state.incarnation}


def _fault(state: TwinState, fields: Fields, moment: Moment, _fresh_id: str) -> tuple[TwinState, Reply]:
    """Put a fault in force: for `for_s` seconds, for `count` requests (0: any number), or until cleared."""
    kind, endpoint = fields.text("kind"), fields.text("endpoint")
    if kind not in [known.value for known in FaultKind]:
        _refuse("kind", f"{kind!r} is unknown", f"Known are {', '.join(FaultKind)}.")
    if endpoint and endpoint not in [known.value for known in Endpoint]:
        _refuse("endpoint", f"{endpoint!r} is unknown", f"Known are {', '.join(Endpoint)}.")
    for_s = fields.optional_number("for_s")
    count = fields.whole("count", 0)
    retry_after_s = fields.whole("retry_after_s", 0)
    fault = Fault(
        kind=FaultKind(kind),
        endpoint=Endpoint(endpoint) if endpoint else None,
        until_s=None if for_s is None else moment.at_s + for_s,
        remaining=count or None,
        delay_s=fields.number("delay_s", SLOW_DELAY_S),
        retry_after_s=retry_after_s or None,
    )
    return replace(state, faults=(*state.faults, fault)), {"kind": kind}


def _clear(state: TwinState, _fields: Fields, _moment: Moment, _fresh_id: str) -> tuple[TwinState, Reply]:
    """No fault and no event any more."""
    state = replace(state.withdraw([event.event_id for event in state.events]), faults=())
    return state, {"incarnation": state.incarnation}


def _identity(state: TwinState, fields: Fields, _moment: Moment, _fresh_id: str) -> tuple[TwinState, Reply]:
    """Be another VM, or the same one with other metadata; fields left out stay as they are."""
    now = state.profile
    profile = replace(
        now,
        vm_id=fields.text("vm_id") or now.vm_id,
        name=fields.text("name") or now.name,
        priority=fields.text("priority", now.priority),
        eviction_policy=fields.text("eviction_policy", now.eviction_policy),
        location=fields.text("location", now.location),
        vm_size=fields.text("vm_size", now.vm_size),
        system_assigned=fields.flag("system_assigned", default=now.system_assigned),
        client_ids=fields.texts("client_ids", now.client_ids),
        token_lifetime_s=fields.whole("token_lifetime_s", now.token_lifetime_s),
    )
    return replace(state, profile=profile), {"vm_id": profile.vm_id, "name": profile.name}


def _boot(state: TwinState, fields: Fields, _moment: Moment, fresh_id: str) -> tuple[TwinState, Reply]:
    """Come up anew: what was announced to this VM is over. `vm_id` too makes it a recreated VM."""
    state = state.boot(fields.text("boot_id") or fresh_id)
    profile = replace(state.profile, vm_id=fields.text("vm_id") or state.profile.vm_id)
    return replace(state, profile=profile), {"boot_id": state.boot_id, "vm_id": profile.vm_id}


def _versions(state: TwinState, fields: Fields, _moment: Moment, _fresh_id: str) -> tuple[TwinState, Reply]:
    """Be an older host: `newest` is the newest api-version of scheduled events it knows."""
    newest = fields.text("newest", EVENTS_VERSIONS[0])
    if newest not in EVENTS_VERSIONS:
        _refuse("newest", f"{newest!r} is unknown", f"Known are {', '.join(EVENTS_VERSIONS)}.")
    refusal_status = fields.whole("refusal_status", 400)
    if refusal_status not in (400, 404):
        _refuse("refusal_status", f"is {refusal_status}", "Give 400 or 404.")
    return replace(state, events_version=newest, refusal_status=refusal_status), {"newest": newest}


ORDERS: Mapping[str, Callable[[TwinState, Fields, Moment, str], tuple[TwinState, Reply]]] = {
    **{order: _announcing(event_type) for order, event_type in _EVENT_ORDERS.items()},
    "withdraw": _withdraw,
    "fault": _fault,
    "clear": _clear,
    "identity": _identity,
    "boot": _boot,
    "versions": _versions,
}
"""Every order by its name, which is its path below /twin too."""


def _refuse(field: str, problem: str, remedy: str) -> NoReturn:
    raise ConfigurationError(field, problem, remedy)
