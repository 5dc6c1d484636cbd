"""The timed loops, each in a process of its own: `python -m tests.bench.child '{"loop": ...}'` prints one JSON line.

Every loop is measured alike: from the moment before its first receive to the moment at which the queue has confirmed
the last delete. Connecting, importing and filling the queue are outside.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import cast

from fsm.errors import LeaseLostError
from fsm.handler import Job, Json
from fsm.ports import Message, WorkQueue

RECEIVERS = 4
"""Of the bare Azure loop, each with a page of 32: twice as many at once as the worker with its 64, and more of them
bring no more on Azurite."""
PAGE = 32
_LEASE_S = 60
"""The worker's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to run.

    Attributes:
        loop: `ours`, `azure` or `sqlite`: the worker, or a bare loop.
        queue: its address; of the bare SQLite loop, the file.
        store: the worker's store, or `none`.
        jobs: how many messages wait.
        concurrency: how many at once.
        memory_at: after how many jobs to look at the peak of memory.
    """

    loop: str
    queue: str
    store: str = "none"
    jobs: int
    concurrency: int = 64
    memory_at: Sequence[int] = ()


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of it.

    Attributes:
        seconds: from the first receive to the last delete.
        processor_s: the processor time of the process in between.
        peak_kib: the peak of resident memory after so many jobs.
    """

    seconds: float = 0.0
    processor_s: float = 0.0
    peak_kib: dict[str, int] = field(default_factory=dict)


class Meter:
    """Notes when the first receive is sent and when the last delete is confirmed."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._began_s: tuple[float, float] | None = None
        self._deleted = 0
        self.outcome = Outcome()

    def begin(self) -> None:
        """A receive is about to be sent."""
        if self._began_s is None:
            self._began_s = (time.perf_counter(), time.process_time())

    def deleted(self) -> None:
        """A delete was confirmed."""
        self._deleted += 1
        if self._deleted in self._task.memory_at:
            self.outcome.peak_kib[str(self._deleted)] = _peak_kib()
        if self._deleted == self._task.jobs:
            assert self._began_s is not None
            self.outcome.seconds = time.perf_counter() - self._began_s[0]
            self.outcome.processor_s = time.process_time() - self._began_s[1]

    @property
    def finished(self) -> bool:
        """Whether every job is done and deleted."""
        return self._deleted >= self._task.jobs


def _peak_kib() -> int:
    """The peak of resident memory; `getrusage` would tell the parent's too, which is kept across fork and exec."""
    (peak,) = (line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if "VmHWM" in line)
    return int(peak.split()[1])


async def handle(_job: Job) -> Json:
    """A job that costs nothing: what is left is the loop."""
    return None


# -- the worker ------------------------------------------------------------------------------------------------------


class _MeteredQueue:
    """The worker's queue, with a meter at receive and delete; all else is passed on."""

    def __init__(self, queue: WorkQueue, meter: Meter) -> None:
        self._queue = queue
        self._meter = meter

    def __getattr__(self, name: str) -> object:
        return getattr(self._queue, name)

    async def receive(self, *, max_messages: int, visibility_timeout_s: float, timeout_s: float) -> Sequence[Message]:
        self._meter.begin()
        return await self._queue.receive(
            max_messages=max_messages, visibility_timeout_s=visibility_timeout_s, timeout_s=timeout_s
        )

    async def delete(self, message_id: str, pop_receipt: str, *, timeout_s: float) -> None:
        try:
            await self._queue.delete(message_id, pop_receipt, timeout_s=timeout_s)
        except LeaseLostError:  # deleted by a try whose reply was lost
            self._meter.deleted()
            raise
        self._meter.deleted()


async def _ours(task: Task, meter: Meter) -> None:
    """The worker as `spotfsm worker` runs it, without a journal."""
    from adapters import wiring
    from adapters.addresses import NONE, find_storage
    from adapters.host.journal import NoJournal
    from adapters.host.loop_runner import LoopRunner
    from fsm.runner import Worker, WorkerSettings

    settings = WorkerSettings(concurrency=task.concurrency, visibility_timeout_s=_LEASE_S, until_empty=True)
    async with wiring.open_ports(
        find_storage(task.queue, task.store),
        imds=NONE,
        boot_id_file=wiring.BOOT_ID_FILE,
        job_runner=LoopRunner(handle),
        journal=NoJournal(),
        journal_file=None,
    ) as ports:
        queue = cast("WorkQueue", _MeteredQueue(ports.queue, meter))
        await Worker(replace(ports, queue=queue), settings).run()


# -- the bare loops --------------------------------------------------------------------------------------------------


async def _azure(task: Task, meter: Meter) -> None:
    """The SDK's own client: several receivers of a page each, and the deletes of a page at once."""
    from azure.storage.queue import QueueMessage
    from azure.storage.queue.aio import QueueClient

    from tests.azurite import KEY

    page = min(PAGE, task.concurrency)
    receivers = RECEIVERS if task.concurrency > PAGE else 1

    async with QueueClient.from_queue_url(task.queue, credential=KEY) as client:

        async def work(message: QueueMessage) -> None:
            await _bare_handle(str(message.content))
            await client.delete_message(message)
            meter.deleted()

        async def receive() -> None:
            while not meter.finished:
                pages = client.receive_messages(messages_per_page=page, visibility_timeout=_LEASE_S).by_page()
                async for messages in pages:
                    await asyncio.gather(*[work(message) async for message in messages])

        meter.begin()
        await asyncio.gather(*(receive() for _ in range(receivers)))


async def _bare_handle(_text: str) -> None:
    """The bare loops' job, which costs nothing either."""


def _sqlite(task: Task, meter: Meter) -> None:
    """A page a receive, and one delete a transaction; every commit is on the disk before the next."""
    receive = (
        "UPDATE messages SET visible_us = ?, dequeue_count = dequeue_count + 1, receipt = receipt + 1 "
        "WHERE number IN (SELECT number FROM messages WHERE queue = ? AND visible_us <= ? ORDER BY visible_us LIMIT ?) "
        "RETURNING number, text"
    )
    with closing(sqlite3.connect(task.queue, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        meter.begin()
        while not meter.finished:
            now_us = time.time_ns() // 1000
            rows = connection.execute(receive, (now_us + _LEASE_S * 1_000_000, "jobs", now_us, PAGE)).fetchall()
            for number, text in rows:
                _plain_handle(text)
                connection.execute("DELETE FROM messages WHERE number = ?", (number,))
                meter.deleted()


def _plain_handle(_text: str) -> None:
    """The same, without a loop."""


def main() -> None:
    """Run the task of the command line and print what came of it."""
    task = Task(**json.loads(sys.argv[1]))
    meter = Meter(task)
    match task.loop:
        case "ours":
            asyncio.run(_ours(task, meter))
        case "azure":
            asyncio.run(_azure(task, meter))
        case "sqlite":
            _sqlite(task, meter)
        case _:
            raise ValueError(task.loop)
    assert meter.finished, "some jobs were not done"
    sys.stdout.write(json.dumps(asdict(meter.outcome)) + "\n")


if __name__ == "__main__":
    main()
