"""Keeps leases: renews them well before they run out, gives up the ones that did, and notices a blocked loop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from fsm.journal_kinds import Kind
from fsm.runner.delivering import Delivering
from fsm.runner.workplace import Workplace

RENEW_AT = 0.5
"""The share of a lease that may pass before it is renewed: a renewal that fails has as long again to be repeated."""
CHECKS_PER_LEASE = 20
CHECK_S_MAX = 1.0
BLOCKED_S = 1.0
"""A loop that comes this late to a check was blocked, by a handler or by a frozen VM."""
CONFIRM_EVERY_S = 30.0
CONFIRM_AT = 256
"""Confirmed deletes are told to the store in batches of this size, or after `CONFIRM_EVERY_S`."""


async def keep_leases(place: Workplace, deliveries: Collection[Delivering]) -> None:
    """Run until cancelled.

    Args:
        place: the worker's shared state.
        deliveries: those at work, as they come and go.
    """
    clock = place.ports.clock
    check_s = min(CHECK_S_MAX, place.settings.visibility_timeout_s / CHECKS_PER_LEASE)
    confirmed_s = clock.monotonic_s()
    freeze_known_s = 0.0
    async with asyncio.TaskGroup() as renewals:
        while True:
            slept_s = clock.monotonic_s()
            await asyncio.sleep(check_s)
            now_s = clock.monotonic_s()
            if now_s - slept_s > check_s + BLOCKED_S:
                place.ports.journal.write(Kind.LOOP_BLOCKED, {"for_s": round(now_s - slept_s - check_s, 3)})
            freeze_s = place.situation.freeze_s
            renew_below_s = RENEW_AT * place.settings.visibility_timeout_s
            if freeze_s > freeze_known_s:  # the lease must outlast a pause that may begin at any moment
                renew_below_s = place.settings.visibility_timeout_s + freeze_s
            freeze_known_s = freeze_s
            for delivery in tuple(deliveries):
                left_s = delivery.lease_until_s - now_s
                if left_s <= 0:
                    delivery.lose_lease()
                elif left_s < renew_below_s:
                    renewals.create_task(delivery.renew())
            if place.unconfirmed >= CONFIRM_AT or now_s - confirmed_s >= CONFIRM_EVERY_S:
                confirmed_s = now_s
                renewals.create_task(place.confirm_deletes(timeout_s=place.settings.call_timeout_s))
