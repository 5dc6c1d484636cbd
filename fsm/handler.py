"""What a handler is handed: the job, with its body, its last progress and a way to save more."""

from __future__ import annotations

import json
from typing import TypeAlias

from fsm.errors import Evicted
from fsm.ports import JobControl, JobInput
from fsm.record import canonical

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What bodies, progress and results are made of."""


class Job:
    """One run of one job.

    Attributes:
        id: the message's id; the same in every run of the job.
        text: the message's body.
        progress: the last checkpoint, any JSON value; None on a first run.
        attempt: how often the message has been delivered, this time included.
        evictions: how many earlier runs an eviction ended.
        Evicted: what `checkpoint` raises; here so that a handler can name it without importing anything.
    """

    Evicted = Evicted

    def __init__(self, given: JobInput, control: JobControl) -> None:
        self._control = control
        self.id = given.job_id
        self.text = given.text
        self.progress: Json = None if given.progress is None else json.loads(given.progress)
        self.attempt = given.attempt
        self.evictions = given.evictions

    def json(self) -> Json:
        """The body as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        body: Json = json.loads(self.text)
        return body

    @property
    def deadline(self) -> float | None:
        """When the worker will let go of this job, in seconds of the monotonic clock; None until a notice or a stop."""
        return self._control.deadline_s()

    @property
    def checkpoint_soon(self) -> bool:
        """Whether an early checkpoint is worth its price: a notice, a freeze or a rebalance recommendation is known."""
        return self._control.checkpoint_soon()

    async def checkpoint(self, progress: Json) -> None:
        """Save progress, any JSON value; it is durable when this returns.

        Raises:
            Evicted: saved, and the VM is being reclaimed: let go.
            TypeError, ValueError: the progress is not JSON, or is too large.
        """
        await self._control.checkpoint(canonical(progress))
