"""The queue of a test's world, as whoever puts jobs on it sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol, TypeVar

from fsm.handler import Json
from simulator.testing.jobs import PutJob
from simulator.world import World

ReplyT = TypeVar("ReplyT")


class AtOnce(Protocol):
    """Does something in the world's loop."""

    def __call__(self, deed: Callable[[], ReplyT], /) -> ReplyT: ...


class SpotQueue:
    """The queue that the workers of a world receive from.

    Args:
        world: whose.
        jobs: is given every job, by its message's id.
        at_once: does something in its loop.
        on_put: told of each job.
    """

    def __init__(
        self, world: World, jobs: dict[str, PutJob], at_once: AtOnce, on_put: Callable[[PutJob], None]
    ) -> None:
        self._world = world
        self._jobs = jobs
        self._at_once = at_once
        self._on_put = on_put

    def put(self, body: Json = None, *, text: str | None = None) -> PutJob:
        """Put a job.

        Args:
            body: of the message, as JSON.
            text: or as it is.

        Raises:
            MessageRejectedError: it is over 64 KiB, or no text that a queue can carry.
        """
        message = json.dumps(body) if text is None else text
        return self._at_once(lambda: self._put(message))

    def _put(self, message: str) -> PutJob:
        job_id = self._world.queues.put(self._world.queue_name, message)
        job = self._jobs[job_id] = PutJob(job_id, len(self._jobs) + 1, message, self._world)
        self._on_put(job)
        return job

    @property
    def jobs(self) -> list[PutJob]:
        """Every job that was put, in order."""
        return list(self._jobs.values())

    @property
    def length(self) -> int:
        """How many messages there are, leased ones included."""
        return self._at_once(lambda: self._world.queues.length(self._world.queue_name))

    @property
    def poisoned(self) -> int:
        """How many messages are on the poison queue."""
        return self._at_once(lambda: self._world.queues.length(f"{self._world.queue_name}-poison"))
