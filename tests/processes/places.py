"""Where real workers get their jobs: an SQLite file or an Azurite, seen from outside.

A place is asked with bare means (the `sqlite3` module, the SDK's own clients), never through the adapters under test,
so that what it says is a witness of its own. It keeps every version of every record.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
import uuid
from abc import abstractmethod
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient

from adapters.addresses import find_storage
from adapters.sqlite.history import PastRecord, keep_history, read_history, recordings
from adapters.wiring import open_storage
from fsm.record import Record
from tests.azurite import ACCOUNT, KEY, Azurite
from tests.processes.recorder import BlobRecorder, recording

QUEUE = "jobs"
POISON_QUEUE = "jobs-poison"
PATIENCE_S = 30.0
"""How long a call may take."""
_PUT = """INSERT INTO messages (queue, visible_us, dequeue_count, receipt, message_id, text)
    VALUES (?, ?, 0, 0, ?, ?)"""


class PlaceBusyError(Exception):
    """A call was refused for now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A message as a bare receive brings it."""

    message_id: str
    text: str
    dequeue_count: int


class Place(Protocol):
    """A queue, its poison queue and a store, all of them empty at first.

    Attributes:
        queue_url: for `--queue`.
        store_url: for `--store`.
    """

    queue_url: str
    store_url: str

    @abstractmethod
    def put(self, text: str, *, patience_s: float = PATIENCE_S) -> str:
        """Enqueue and return the message's id.

        Raises:
            PlaceBusyError: a worker that was frozen in its tracks holds the place's lock; nothing was put.
        """

    @abstractmethod
    def take(self, *, visibility_s: int) -> Taken | None:
        """Receive one message with a bare call, or None if none is visible."""

    @abstractmethod
    def length(self) -> int:
        """How many messages there are, leased ones included."""

    @abstractmethod
    def poisoned(self) -> Sequence[str]:
        """The texts on the poison queue."""

    @abstractmethod
    def history(self) -> Sequence[PastRecord]:
        """Every version of every record; those of one record in their order."""

    def record(self, message_id: str) -> Record | None:
        """A job's record as it stands."""
        versions = [past.record for past in self.history() if past.message_id == message_id]
        return versions[-1] if versions else None

    def recorded(self, message_id: str) -> int:
        """How often a job's result was written."""
        return recordings(self.history()).get(message_id, 0)


class SqlitePlace(Place):
    """One file; the tables are the adapters' own."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.queue_url = f"sqlite:///{file}#{QUEUE}"
        self.store_url = f"sqlite:///{file}"

    def put(self, text: str, *, patience_s: float = PATIENCE_S) -> str:
        message_id = str(uuid.uuid4())
        row = (QUEUE, time.time_ns() // 1000, message_id, text)
        with closing(self._connect(patience_s)) as connection:
            try:
                connection.execute(_PUT, row)
            except sqlite3.OperationalError as exc:
                raise PlaceBusyError(str(exc)) from exc
        return message_id

    def take(self, *, visibility_s: int) -> Taken | None:
        now_us = time.time_ns() // 1000
        with closing(self._connect()) as connection:
            found = connection.execute(
                "UPDATE messages SET visible_us = ?, dequeue_count = dequeue_count + 1, receipt = receipt + 1 "
                "WHERE number = (SELECT number FROM messages WHERE queue = ? AND visible_us <= ? LIMIT 1) "
                "RETURNING message_id, text, dequeue_count",
                (now_us + visibility_s * 1_000_000, QUEUE, now_us),
            ).fetchone()
        return None if found is None else Taken(message_id=found[0], text=found[1], dequeue_count=found[2])

    def show_again(self, message_id: str) -> None:
        """Make a leased message visible: a queue may deliver more often than it promises."""
        with closing(self._connect()) as connection:
            connection.execute("UPDATE messages SET visible_us = 0 WHERE message_id = ?", (message_id,))

    def length(self) -> int:
        return len(self._texts(QUEUE))

    def poisoned(self) -> Sequence[str]:
        return self._texts(POISON_QUEUE)

    def history(self) -> Sequence[PastRecord]:
        return read_history(self._file)

    def _texts(self, queue: str) -> Sequence[str]:
        with closing(self._connect()) as connection:
            return [text for (text,) in connection.execute("SELECT text FROM messages WHERE queue = ?", (queue,))]

    def _connect(self, patience_s: float = PATIENCE_S) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=patience_s, isolation_level=None)


class AzuritePlace(Place):
    """Two queues and a container of their own; records pass through a recorder."""

    def __init__(self, azurite: Azurite, suffix: str, recorder: BlobRecorder) -> None:
        self._recorder = recorder
        self.queue_url = azurite.queue_url(f"{QUEUE}-{suffix}")
        self.store_url = f"{recorder.url}/{ACCOUNT}/records-{suffix}"
        self._queue = QueueClient.from_queue_url(self.queue_url, credential=KEY)
        self._poison = QueueClient.from_queue_url(f"{self.queue_url}-poison", credential=KEY)
        container = ContainerClient.from_container_url(azurite.blob_url(f"records-{suffix}"), credential=KEY)
        with container:
            for create in (self._queue.create_queue, self._poison.create_queue, container.create_container):
                try:
                    create()
                except ResourceExistsError:  # pragma: no cover -- a suffix that was drawn twice
                    raise AssertionError(f"{suffix} is in use") from None

    def close(self) -> None:
        self._queue.close()
        self._poison.close()

    def put(self, text: str, *, patience_s: float = PATIENCE_S) -> str:
        del patience_s  # nobody holds a lock here
        return str(self._queue.send_message(text, time_to_live=-1).id)

    def take(self, *, visibility_s: int) -> Taken | None:
        found = self._queue.receive_message(visibility_timeout=visibility_s)
        if found is None:
            return None
        return Taken(message_id=str(found.id), text=str(found.content), dequeue_count=int(found.dequeue_count or 0))

    def length(self) -> int:
        return int(self._queue.get_queue_properties().approximate_message_count or 0)

    def poisoned(self) -> Sequence[str]:
        return [str(message.content) for message in self._poison.receive_messages(visibility_timeout=1)]

    def history(self) -> Sequence[PastRecord]:
        return self._recorder.history()


def run_now(work: Coroutine[None, None, None]) -> None:
    """Run a coroutine from plain code; `asyncio.run` would drop the loop that pytest-asyncio keeps."""
    with closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(work)


@contextmanager
def sqlite_place(directory: Path, *, history: bool = True) -> Iterator[SqlitePlace]:
    """A fresh file in this directory, with the adapters' own tables; without `history` it keeps none."""
    place = SqlitePlace(directory / "jobs.db")

    async def create() -> None:
        async with open_storage(find_storage(place.queue_url, place.store_url)) as storage:
            await storage.create(on_azure=False)

    run_now(create())
    if history:
        keep_history(directory / "jobs.db")
    yield place


@contextmanager
def azurite_place(azurite: Azurite) -> Iterator[AzuritePlace]:
    """Fresh queues and a fresh container."""
    root = azurite.blob_url("").rsplit(f"/{ACCOUNT}", 1)[0]
    with recording(root) as recorder, closing(AzuritePlace(azurite, uuid.uuid4().hex[:10], recorder)) as place:
        yield place
