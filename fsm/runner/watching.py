"""Watches Scheduled Events: one poll a period, and a slow one never hides the next."""

from __future__ import annotations

import asyncio

from fsm.errors import PlatformError
from fsm.journal_kinds import Kind
from fsm.runner.workplace import Workplace

FIRST_POLL_TIMEOUT_S = 120.0
"""The first call of a VM may take two minutes while the feature is turned on. [`fsm.sources.SCHEDULED_EVENTS`]"""
POLL_TIMEOUT_S = 2.0
POLLS_AT_ONCE_MAX = 5
"""IMDS allows 5 requests a second to a VM; no more wait at once. [`fsm.sources.INSTANCE_METADATA`]"""


class Watch:
    """Polls, and takes replies in the order in which they were asked for."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._asked = 0
        self._newest_taken = 0
        self._silent = False
        self._open = 0

    async def run(self) -> None:
        """Poll until cancelled."""
        async with asyncio.TaskGroup() as polls:
            timeout_s = FIRST_POLL_TIMEOUT_S
            while True:
                if self._open < POLLS_AT_ONCE_MAX:
                    self._open += 1
                    self._asked += 1
                    polls.create_task(self._poll(self._asked, timeout_s=timeout_s))
                    timeout_s = POLL_TIMEOUT_S
                await asyncio.sleep(self._place.settings.imds_poll_s)

    async def _poll(self, number: int, *, timeout_s: float) -> None:
        """Ask once. An error changes nothing: it is never "no event"."""
        place = self._place
        try:
            document = await place.ports.events.poll(timeout_s=timeout_s)
        except PlatformError as exc:
            if not self._silent:
                self._silent = True
                place.note_failure("poll", None, exc)
            return
        finally:
            self._open -= 1
        if self._silent:
            self._silent = False
            place.ports.journal.write(Kind.IMDS_ANSWERS, {})
        if number < self._newest_taken:
            return  # an older answer that came late says nothing about now
        self._newest_taken = number
        place.situation.learn_document(document, vm_name=place.identity.name)
