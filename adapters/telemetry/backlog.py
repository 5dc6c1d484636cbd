"""Keeps the backlog among the measures up to date, for as long as somebody reads it and no more often than allowed.

A count lists every record of the store, and on Azure each listing is paid for. So it is made only after the measures
were read, only while the worker takes messages (a drain has better things to do), and at most once in a while.
"""

from __future__ import annotations

import asyncio
import time

from adapters.telemetry.measures import Measures
from fsm.application import AppState
from fsm.backlog import backlog_of
from fsm.errors import PlatformError
from fsm.runner import Ports

LOOK_S = 0.5
CALL_TIMEOUT_S = 10.0


async def keep_backlog(ports: Ports, measures: Measures, *, every_s: float) -> None:
    """Run until cancelled; a service that does not answer leaves the old numbers, and their age."""
    counted_s = time.monotonic() - every_s
    while True:
        await asyncio.sleep(LOOK_S)
        if measures.state != AppState.PROCESSING or time.monotonic() - counted_s < every_s:
            continue
        if measures.take_interest():
            counted_s = time.monotonic()
            try:
                await _count(ports, measures)
            except PlatformError:
                continue


async def _count(ports: Ports, measures: Measures) -> None:
    totals = None
    length = await ports.queue.length(timeout_s=CALL_TIMEOUT_S)
    peeked = await ports.queue.peek(timeout_s=CALL_TIMEOUT_S)
    poisoned = await ports.poison_queue.length(timeout_s=CALL_TIMEOUT_S)
    if ports.store is not None:
        totals = await ports.store.totals(ports.queue.name, timeout_s=CALL_TIMEOUT_S)
    measures.count_backlog(backlog_of(length=length, peeked=peeked, poisoned=poisoned, totals=totals))
