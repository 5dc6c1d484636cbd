"""What a worker is given: its ports and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from fsm.messages import MESSAGE_BYTES_MAX, Encoding
from fsm.ports import (
    Clock,
    InstanceMetadata,
    JobRunner,
    JobStore,
    Journal,
    Randomness,
    ScheduledEvents,
    Signals,
    WorkQueue,
)

RECEIVE_MAX = 32
"""The most messages one receive may ask for. [`fsm.sources.GET_MESSAGES`]"""

SETTLING_S = 5.0
"""Behind the grace of a stop: for handlers to let go, and for the process to end, before somebody kills it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The world as a worker sees it. `store` None is a worker without a job store."""

    queue: WorkQueue
    poison_queue: WorkQueue
    store: JobStore | None
    events: ScheduledEvents
    metadata: InstanceMetadata
    job_runner: JobRunner
    clock: Clock
    randomness: Randomness
    signals: Signals
    journal: Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker works.

    Attributes:
        instance: which of several workers on this VM it is; two at once must not share one.
        concurrency: how many handlers run at once.
        visibility_timeout_s: the lease; renewed at half of it.
        idle_poll_s_max: the longest pause between receives of an empty queue.
        imds_poll_s: how often Scheduled Events are asked for; IMDS allows 5 requests a second to a VM.
        stop_grace_s: how long a stop by SIGTERM may drain; whoever would kill the process waits `SETTLING_S` longer.
        call_timeout_s: the longest any one call may take.
        job_timeout_s: how long a handler may run before it counts as hung; None for as long as it likes.
        retry_pause_s: the pause after a job's first failure; doubles with each.
        encoding: how message bodies lie on the queue.
        message_bytes_max: a larger message is poisoned.
        until_empty: end once nothing waits or runs.
        acknowledge: let a reclaiming event start as soon as the drain is over.
    """

    instance: str = "1"
    concurrency: int = 8
    visibility_timeout_s: float = 60.0
    idle_poll_s_max: float = 5.0
    imds_poll_s: float = 1.0
    stop_grace_s: float = 25.0
    call_timeout_s: float = 10.0
    job_timeout_s: float | None = None
    retry_pause_s: float = 1.0
    encoding: Encoding = Encoding.TEXT
    message_bytes_max: int = MESSAGE_BYTES_MAX
    until_empty: bool = False
    acknowledge: bool = False
