"""What the database's thread promises: commits that are shared, errors that are not."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path

import pytest

from adapters.sqlite import Database, SqliteQueue, SqliteStore, Synchronous
from adapters.sqlite.database import Access, wall_us
from adapters.sqlite.queue import _RECEIVE
from fsm.errors import LeaseLostError, MisuseError, ReplyLostError, SpotfsmError, ThrottledError
from tests.contracts.records import record

TIMEOUT_S = 10.0
LEASE_S = 600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with Database(path) as database:
        yield database


@pytest.fixture
async def queue(database: Database) -> SqliteQueue:
    queue = SqliteQueue(database, "jobs")
    await queue.create(timeout_s=TIMEOUT_S)
    return queue


async def leased(queue: SqliteQueue, number: int) -> list[tuple[str, str]]:
    """Put and receive that many messages; their ids and receipts."""
    await asyncio.gather(*(queue.put(str(index), timeout_s=TIMEOUT_S) for index in range(number)))
    held: list[tuple[str, str]] = []
    while len(held) < number:
        messages = await queue.receive(max_messages=32, visibility_timeout_s=LEASE_S, timeout_s=TIMEOUT_S)
        held += [(message.message_id, message.pop_receipt) for message in messages]
    return held


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Another process's write lock on the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def done(database: Database, work: Callable[[sqlite3.Connection], None]) -> None:
    """Have `work` done, as a call like any other: it begins when its task does."""
    await database.run(work, access=Access.WRITE, timeout_s=TIMEOUT_S)


def open_files() -> int:
    """How many file descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


class TestGroupCommit:
    """One write to the disk for all that is pending."""

    async def test_what_is_pending_is_committed_together(self, database: Database, queue: SqliteQueue) -> None:
        """64 deletes that are started together cost one commit."""
        held = await leased(queue, 64)
        before = database.commits
        await asyncio.gather(*(queue.delete(*message, timeout_s=TIMEOUT_S) for message in held))
        assert database.commits - before == 1
        assert await queue.length(timeout_s=TIMEOUT_S) == 0

    async def test_a_queue_and_a_store_share_commits(self, database: Database, queue: SqliteQueue) -> None:
        """Deletes and records that are started together on one database cost one commit."""
        store = SqliteStore(database)
        await store.create(timeout_s=TIMEOUT_S)
        held = await leased(queue, 20)
        before = database.commits
        await asyncio.gather(
            *(queue.delete(*message, timeout_s=TIMEOUT_S) for message in held),
            *(store.write("jobs", str(key), record(), expected=None, timeout_s=TIMEOUT_S) for key in range(20)),
        )
        assert database.commits - before == 1
        assert (await store.totals("jobs", timeout_s=TIMEOUT_S)).running == 20

    async def test_work_in_flight_gathers_more(self, database: Database, queue: SqliteQueue) -> None:
        """Many tasks that each do one thing after another share commits all the way."""
        held = await leased(queue, 64)
        before = database.commits

        async def settle(message_id: str, receipt: str) -> None:
            for _ in range(10):
                receipt = await queue.renew(message_id, receipt, visibility_timeout_s=LEASE_S, timeout_s=TIMEOUT_S)
            await queue.delete(message_id, receipt, timeout_s=TIMEOUT_S)

        await asyncio.gather(*(settle(*message) for message in held))
        assert database.commits - before <= 64

    async def test_nobody_is_told_before_the_commit(self, database: Database, queue: SqliteQueue) -> None:
        """A call that has taken effect is not answered while its commit has yet to be made."""
        loop = asyncio.get_running_loop()
        reached, gate = asyncio.Event(), threading.Event()

        def hold(statement: str) -> None:
            if statement == "COMMIT":
                loop.call_soon_threadsafe(reached.set)
                gate.wait(TIMEOUT_S)

        calls = [
            asyncio.ensure_future(queue.put("x", timeout_s=TIMEOUT_S)),
            asyncio.ensure_future(done(database, lambda connection: connection.set_trace_callback(hold))),
        ]
        try:
            await asyncio.wait_for(reached.wait(), TIMEOUT_S)
            await asyncio.sleep(0)
            assert [call.done() for call in calls] == [False, False]
        finally:
            gate.set()
        await asyncio.gather(*calls)

    async def test_a_lost_lease_is_one_callers_own(self, database: Database, queue: SqliteQueue) -> None:
        """A refusal within a batch leaves the others committed."""
        held = await leased(queue, 20)
        stale = held[7]
        await queue.renew(*stale, visibility_timeout_s=LEASE_S, timeout_s=TIMEOUT_S)
        before = database.commits
        ends = await asyncio.gather(
            *(queue.delete(*message, timeout_s=TIMEOUT_S) for message in held), return_exceptions=True
        )
        assert database.commits - before == 1
        assert [type(end) for end in ends] == [LeaseLostError if n == 7 else type(None) for n in range(20)]
        assert await queue.length(timeout_s=TIMEOUT_S) == 1

    async def test_a_bug_is_one_callers_own(self, database: Database, queue: SqliteQueue) -> None:
        """An operation that raises what it should not tells its own caller, and the thread lives on."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("SELECT ?", (2**64,))

        ends = await asyncio.gather(
            done(database, work),
            queue.put("kept", timeout_s=TIMEOUT_S),
            return_exceptions=True,
        )
        assert isinstance(ends[0], OverflowError)
        assert await queue.length(timeout_s=TIMEOUT_S) == 1

    async def test_a_lost_transaction_is_everybodys(self, database: Database, queue: SqliteQueue) -> None:
        """When the transaction itself is gone, nobody is told that anything was done, and the next batch works."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("ROLLBACK")
            connection.execute("SELECT no_such_column")

        ends = await asyncio.gather(
            queue.put("before", timeout_s=TIMEOUT_S),
            done(database, work),
            queue.put("after", timeout_s=TIMEOUT_S),
            return_exceptions=True,
        )
        assert [type(end) for end in ends] == [ReplyLostError] * 3
        assert await queue.length(timeout_s=TIMEOUT_S) == 0
        await queue.put("next", timeout_s=TIMEOUT_S)
        assert await queue.length(timeout_s=TIMEOUT_S) == 1

    async def test_a_failed_commit_is_everybodys(self, database: Database, queue: SqliteQueue) -> None:
        """When the commit fails, nothing of the batch is kept, everybody is told, and the next batch works."""

        def work(connection: sqlite3.Connection) -> None:
            connection.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)

        ends = await asyncio.gather(
            queue.put("before", timeout_s=TIMEOUT_S), done(database, work), return_exceptions=True
        )
        assert [isinstance(end, SpotfsmError) for end in ends] == [True, True]
        await queue.put("next", timeout_s=TIMEOUT_S)
        assert await queue.length(timeout_s=TIMEOUT_S) == 1

    async def test_a_full_disk_loses_nothing_confirmed(self, database: Database, queue: SqliteQueue) -> None:
        """On a full disk puts are refused for now; those that were confirmed are there."""
        await database.run(
            lambda connection: connection.execute("PRAGMA max_page_count = 40").fetchall(),
            access=Access.READ,
            timeout_s=TIMEOUT_S,
        )
        ends = [
            end
            for _ in range(20)
            for end in await asyncio.gather(
                *(queue.put("x" * 4000, timeout_s=TIMEOUT_S) for _ in range(3)), return_exceptions=True
            )
        ]
        refused = [end for end in ends if isinstance(end, BaseException)]
        assert refused
        assert {type(end) for end in refused} == {ThrottledError}
        assert await queue.length(timeout_s=TIMEOUT_S) == len(ends) - len(refused)


class TestWaiting:
    """Callers that stop waiting."""

    async def test_a_cancelled_call_leaves_the_others_alone(self, queue: SqliteQueue) -> None:
        """A call that is cancelled before its batch begins takes no effect; its batch does."""
        puts = [asyncio.ensure_future(queue.put(str(number), timeout_s=TIMEOUT_S)) for number in range(10)]
        await asyncio.sleep(0)
        puts[3].cancel()
        ends = await asyncio.gather(*puts, return_exceptions=True)
        assert [number for number, end in enumerate(ends) if isinstance(end, BaseException)] == [3]
        texts = {
            message.text
            for message in await queue.receive(max_messages=32, visibility_timeout_s=LEASE_S, timeout_s=TIMEOUT_S)
        }
        assert texts == {str(number) for number in range(10) if number != 3}

    async def test_a_timeout_is_a_lost_reply(self, path: Path, queue: SqliteQueue) -> None:
        """A call that is not done in its time raises so; what gave up before it began takes no effect."""
        with lock(path):
            ends = await asyncio.gather(
                queue.put("short", timeout_s=0.05),
                queue.put("shorter", timeout_s=0.02),
                return_exceptions=True,
            )
            patient = asyncio.ensure_future(queue.put("patient", timeout_s=TIMEOUT_S))
            await asyncio.sleep(0)
        assert [type(end) for end in ends] == [ReplyLostError, ReplyLostError]
        await patient
        messages = await queue.receive(max_messages=32, visibility_timeout_s=LEASE_S, timeout_s=TIMEOUT_S)
        assert [message.text for message in messages] == ["patient"]

    async def test_a_locked_file_is_refused_for_now(self, path: Path, queue: SqliteQueue) -> None:
        """A file another process keeps locked is an error that says so, and passes with the lock."""
        async with Database(path, busy_timeout_s=0.02) as hasty:
            other = SqliteQueue(hasty, "jobs")
            with lock(path):
                with pytest.raises(ThrottledError, match="locked by another process"):
                    await other.put("refused", timeout_s=TIMEOUT_S)
                assert await other.length(timeout_s=TIMEOUT_S) == 0
            await other.put("taken", timeout_s=TIMEOUT_S)
        assert await queue.length(timeout_s=TIMEOUT_S) == 1

    async def test_reading_waits_for_no_writer(self, path: Path, queue: SqliteQueue) -> None:
        """While another process holds the write lock, reads are answered."""
        with lock(path):
            assert await queue.length(timeout_s=TIMEOUT_S) == 0


class TestOpeningAndClosing:
    """One thread and one connection, from enter to exit."""

    async def test_nothing_is_left_open(self, path: Path) -> None:
        """Databases that were opened, used, failed and closed leave no thread and no file behind."""
        bad = path.with_name("bad.db")
        bad.write_text("not a database, and long enough to be sure of it" * 10)

        async def use() -> None:
            async with Database(path) as database:
                queue = SqliteQueue(database, "jobs")
                await queue.create(timeout_s=TIMEOUT_S)
                await queue.put("x", timeout_s=TIMEOUT_S)
            with pytest.raises(Exception, match=r"bad\.db"):
                async with Database(bad):
                    pass

        await use()
        threads, files = threading.active_count(), open_files()
        for _ in range(5):
            await use()
        assert threading.active_count() == threads
        assert open_files() == files
        assert not path.with_name("jobs.db-wal").exists()

    async def test_closing_lets_pending_work_finish(self, path: Path) -> None:
        """What was asked for before the exit is done and answered."""
        async with Database(path) as database:
            queue = SqliteQueue(database, "jobs")
            await queue.create(timeout_s=TIMEOUT_S)
            puts = [asyncio.ensure_future(queue.put("x", timeout_s=TIMEOUT_S)) for _ in range(50)]
            await asyncio.sleep(0)
        assert len(set(await asyncio.gather(*puts))) == 50

    async def test_a_cancelled_entry_closes(self, path: Path) -> None:
        """Cancelling whoever opens a database ends its thread."""
        threads = threading.active_count()

        async def enter() -> None:
            async with Database(path):
                raise AssertionError("it was to be cancelled before")

        entering = asyncio.ensure_future(enter())
        await asyncio.sleep(0)
        assert threading.active_count() == threads + 1
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert threading.active_count() == threads

    async def test_an_outside_call_is_a_bug(self, path: Path) -> None:
        """Before its entry and after its exit a database takes no calls."""
        database = Database(path)
        queue = SqliteQueue(database, "jobs")
        with pytest.raises(MisuseError, match="not open"):
            await queue.length(timeout_s=TIMEOUT_S)
        async with database:
            await queue.create(timeout_s=TIMEOUT_S)
        with pytest.raises(MisuseError, match="not open"):
            await queue.length(timeout_s=TIMEOUT_S)

    async def test_creating_at_once(self, tmp_path: Path) -> None:
        """Databases that open and create one file at the same moment all succeed, round after round."""
        for attempt in range(15):
            async with AsyncExitStack() as stack:
                opened = [await stack.enter_async_context(Database(tmp_path / f"{attempt}.db")) for _ in range(6)]
                await asyncio.gather(*(SqliteQueue(each, "jobs").create(timeout_s=TIMEOUT_S) for each in opened))
                await asyncio.gather(*(SqliteStore(each).create(timeout_s=TIMEOUT_S) for each in opened))


class TestSettings:
    """How SQLite is told to work."""

    @pytest.mark.parametrize(("synchronous", "level"), [(Synchronous.FULL, 2), (Synchronous.NORMAL, 1)])
    async def test_commits_are_as_durable_as_asked(self, path: Path, synchronous: Synchronous, level: int) -> None:
        """The connection writes ahead, at the level asked for."""

        def ask(connection: sqlite3.Connection) -> tuple[int, str]:
            (found,) = connection.execute("PRAGMA synchronous").fetchone()
            (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
            return found, journal

        async with Database(path, synchronous=synchronous) as database:
            await SqliteQueue(database, "jobs").create(timeout_s=TIMEOUT_S)
            assert await database.run(ask, access=Access.READ, timeout_s=TIMEOUT_S) == (level, "wal")

    @pytest.mark.usefixtures("queue")
    async def test_full_is_the_default(self, database: Database) -> None:
        """Unless told otherwise, a confirmed commit survives a loss of power."""
        rows = await database.run(
            lambda connection: connection.execute("PRAGMA synchronous").fetchall(),
            access=Access.READ,
            timeout_s=TIMEOUT_S,
        )
        assert rows == [(2,)]

    @pytest.mark.usefixtures("queue")
    async def test_a_receive_reads_no_more_than_it_takes(self, database: Database) -> None:
        """Visible messages are found through the index, in its order: neither scanned nor sorted."""
        rows = await database.run(
            lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {_RECEIVE}", (0, "jobs", 0, 1)).fetchall(),
            access=Access.READ,
            timeout_s=TIMEOUT_S,
        )
        plan = "\n".join(row[3] for row in rows)
        assert "SEARCH messages USING COVERING INDEX messages_by_visibility (queue=? AND visible_us<?)" in plan
        assert "SCAN messages" not in plan
        assert "TEMP B-TREE" not in plan

    def test_leases_are_kept_on_the_wall_clock(self) -> None:
        """The default clock is the wall's, in microseconds: it goes on while a VM does not run."""
        assert abs(wall_us() / 1_000_000 - time.time()) < 60
