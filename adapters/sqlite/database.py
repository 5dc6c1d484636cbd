"""One SQLite file behind one thread, which commits whatever is pending together.

Theory of operation
-------------------
A durable commit costs a write to the disk, some hundred microseconds, however much it holds; a statement costs a few.
So a `Database` owns one connection and one thread. Operations that the event loop starts in one round travel to the
thread together; the thread takes all that have arrived, runs them in one transaction, commits, and wakes the loop
once. While a commit is on its way to the disk the next batch gathers: the more is going on, the more each commit holds.

* An operation is confirmed only after its commit. A killed process loses none that it was told of.
* An operation's own error (a lost lease) is its result and leaves the others alone: an operation writes with a single
  statement, which SQLite applies wholly or not at all, so that no savepoint is needed.
* When SQLite gives up the transaction itself, every operation of the batch fails.
* An operation whose caller has stopped waiting is skipped if it has not begun, and takes effect if it has: to the
  caller that is a lost reply.

Between processes SQLite's own file lock decides; a process waits for it up to the busy timeout. Lease times are read
from the wall clock, which all processes on the file share and which goes on when the VM does not; a monotonic clock
means nothing to another boot. They are read under the write lock, so that they are in the order of the effects.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar, TypeVarTuple

from adapters.sqlite import file
from adapters.sqlite.errors import translated
from adapters.sqlite.file import Synchronous
from fsm.errors import MisuseError, ReplyLostError, SpotfsmError

ResultT_co = TypeVar("ResultT_co", covariant=True)
ResultT = TypeVar("ResultT")
ArgumentsT = TypeVarTuple("ArgumentsT")

BUSY_TIMEOUT_S = 5.0
"""How long another process may hold the file's lock before operations are refused."""


class Access(Enum):
    """What an operation needs of the file."""

    READ = auto()
    WRITE = auto()
    CREATE = auto()
    """Writes, and creates the file if it is missing."""


def wall_us() -> int:
    """The wall clock in whole microseconds since 1970."""
    return time.time_ns() // 1000


class _Operation(Generic[ResultT_co]):
    """Something to do in the next transaction, and the future its caller awaits."""

    __slots__ = ("_error", "_outcome", "_work", "access", "deadline_s", "future")

    def __init__(
        self,
        work: Callable[[sqlite3.Connection], ResultT_co],
        *,
        access: Access,
        deadline_s: float,
        future: asyncio.Future[ResultT_co],
    ) -> None:
        self.access = access
        self.deadline_s = deadline_s
        self.future = future
        self._work = work
        self._error: Exception | None = None
        self._outcome: tuple[ResultT_co] | None = None

    def perform(self, connection: sqlite3.Connection) -> None:
        """Do the work within the transaction, and keep what came of it.

        Raises:
            sqlite3.Error: the transaction is gone, and with it every operation's effect.
        """
        try:
            self._outcome = (self._work(connection),)
        except Exception as exc:
            if isinstance(exc, sqlite3.Error) and not connection.in_transaction:
                raise
            self._error = exc

    def fail(self, exc: Exception) -> None:
        """Forget what came of it: the transaction was not committed."""
        self._error, self._outcome = exc, None

    def settle(self, translate: Callable[[Exception], Exception]) -> None:
        """Tell the caller, if it still waits."""
        if self.future.done():
            return
        if self._error is not None:
            self.future.set_exception(translate(self._error))
        else:
            assert self._outcome is not None
            self.future.set_result(self._outcome[0])


class Database:
    """An SQLite file, shared by the queues and stores of this process; an async context manager.

    Args:
        path: the file, in a directory that exists; creating a queue or a store creates it.
        setting: the name under which a user gave it, for errors.
        synchronous: when a commit reaches the disk.
        busy_timeout_s: how long another process may hold the file's lock.
        now_us: the wall clock in microseconds; read in the database's thread.

    Attributes:
        commits: how many transactions were committed, for tests and benchmarks.
    """

    def __init__(
        self,
        path: Path,
        *,
        setting: str = "--queue",
        synchronous: Synchronous = Synchronous.FULL,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        now_us: Callable[[], int] = wall_us,
    ) -> None:
        self.path = path.absolute()
        self.now_us = now_us
        self.commits = 0
        self._setting = setting
        self._synchronous = synchronous
        self._busy_timeout_s = busy_timeout_s
        self._inbox: SimpleQueue[list[_Operation[object]] | None] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        # What follows is the event loop's alone.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed: asyncio.Future[None] | None = None
        self._gathering: list[_Operation[object]] = []
        self._in_flight: set[_Operation[object]] = set()
        self._sweep: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Start the thread and open the file, if it is there.

        Raises:
            ConfigurationError: the file cannot be a database of this program.
            ThrottledError: it stays locked.
        """
        assert self._thread is None, "a database is entered once"
        file.check(self.path, setting=self._setting)
        loop = self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._closed = loop.create_future()
        self._thread = threading.Thread(
            target=self._serve, args=(loop, opened, self._closed), name=f"sqlite {self.path.name}", daemon=True
        )
        self._thread.start()
        try:
            await opened
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self._close()

    def run(
        self, work: Callable[[sqlite3.Connection], ResultT], *, access: Access, timeout_s: float
    ) -> asyncio.Future[ResultT]:
        """Have `work` done in the next transaction; the future has its result once that is committed.

        Args:
            work: runs in the database's thread; writes with one statement, or so that half of it does no harm.
            access: what it needs.
            timeout_s: after that the future raises `ReplyLostError`, and the work may have been done or not.
        """
        loop = self._loop
        if loop is None:
            raise MisuseError(f"the database {self.path} is not open: it is an async context manager")
        future: asyncio.Future[ResultT] = loop.create_future()
        operation = _Operation(work, access=access, deadline_s=loop.time() + timeout_s, future=future)
        if not self._gathering:
            loop.call_soon(self._send)
        self._gathering.append(operation)
        self._in_flight.add(operation)
        if self._sweep is None or operation.deadline_s < self._sweep.when():
            self._sweep_at(operation.deadline_s)
        return future

    # -- in the event loop ---------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Hand over what this round of the loop has gathered."""
        if self._gathering:
            self._inbox.put(self._gathering)
            self._gathering = []

    def _settle(self, batch: list[_Operation[object]]) -> None:
        """Tell every caller of a batch."""
        self._in_flight.difference_update(batch)
        for operation in batch:
            operation.settle(self._translate)

    def _sweep_at(self, deadline_s: float) -> None:
        """One timer serves all deadlines: the earliest sets it, and success cancels nothing."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep = asyncio.get_running_loop().call_at(deadline_s, self._fail_overdue, deadline_s)

    def _fail_overdue(self, now_s: float) -> None:
        self._sweep = None
        overdue = [operation for operation in self._in_flight if operation.deadline_s <= now_s]
        self._in_flight.difference_update(overdue)
        for operation in overdue:
            if not operation.future.done():
                operation.future.set_exception(ReplyLostError(f"{self.path} did not answer in time"))
        if self._in_flight:
            self._sweep_at(min(operation.deadline_s for operation in self._in_flight))

    async def _close(self) -> None:
        """Let what is pending finish, and end the thread and its connection."""
        assert self._thread is not None
        assert self._closed is not None
        self._loop = None  # from here on nothing is taken
        self._send()
        self._inbox.put(None)
        try:
            await self._closed
        finally:
            if self._sweep is not None:
                self._sweep.cancel()
        self._thread.join()

    def _translate(self, exc: Exception) -> Exception:
        return translated(exc, path=self.path, setting=self._setting) if isinstance(exc, sqlite3.Error) else exc

    # -- in the thread -------------------------------------------------------------------------------------------

    def _serve(
        self, loop: asyncio.AbstractEventLoop, opened: asyncio.Future[None], closed: asyncio.Future[None]
    ) -> None:
        """The thread: open, then a transaction for each batch, then close."""
        try:
            _call(loop, _tell, opened, self._opening_error())
            while (batch := self._next_batch()) is not None:
                self._execute(batch)
                _call(loop, self._settle, batch)
        finally:
            self._disconnect()
            _call(loop, _tell, closed, None)

    def _opening_error(self) -> Exception | None:
        """Open the file if it is there, and return what is wrong with it if something is."""
        if file.is_there(self.path):
            try:
                self._connected(create=False)
            except (SpotfsmError, sqlite3.Error) as exc:
                return self._translate(exc)
        return None

    def _next_batch(self) -> list[_Operation[object]] | None:
        """All that has arrived, waiting for some; None when the database is closed."""
        batch = self._inbox.get()
        while batch is not None:
            try:
                more = self._inbox.get_nowait()
            except Empty:
                break
            if more is None:
                self._inbox.put(None)  # for the next call
                break
            batch += more
        return batch

    def _execute(self, batch: list[_Operation[object]]) -> None:
        """Run a batch in one transaction."""
        needs = {operation.access for operation in batch}
        try:
            connection = self._connected(create=Access.CREATE in needs)
            connection.execute("BEGIN" if needs == {Access.READ} else "BEGIN IMMEDIATE")
            for operation in batch:
                if not operation.future.done():  # its caller still waits, also after the wait for the file's lock
                    operation.perform(connection)
            connection.execute("COMMIT")
            self.commits += 1
        except (SpotfsmError, sqlite3.Error) as exc:
            self._disconnect()  # which rolls back; the next batch starts afresh
            for operation in batch:
                operation.fail(exc)

    def _connected(self, *, create: bool) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = file.connect(
                self.path,
                create=create,
                setting=self._setting,
                synchronous=self._synchronous,
                busy_timeout_s=self._busy_timeout_s,
            )
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[*ArgumentsT], None], *arguments: *ArgumentsT) -> None:
    """Have the loop call back; one that was closed before its database has nobody left to tell."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *arguments)


def _tell(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
