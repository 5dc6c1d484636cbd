"""The wiring: what is opened, what is shared, what is closed, and what is never imported."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adapters import wiring
from adapters.addresses import find_storage
from adapters.host.loop_runner import LoopRunner
from adapters.imds.absent import HostMetadata
from fsm.errors import ConfigurationError, MissingError
from fsm.handler import Job, Json
from fsm.journal_kinds import Kind
from fsm.ports import JsonScalar
from tests.azurite import Azurite

TIMEOUT_S = 10.0


def sqlite_threads() -> int:
    return sum(thread.name.startswith("sqlite") for thread in threading.enumerate())


async def test_queue_and_store_in_one_file_share_one_connection(tmp_path: Path) -> None:
    """One file is opened once, and closed when the storage is."""
    before = sqlite_threads()
    async with wiring.open_storage(find_storage(f"sqlite:///{tmp_path}/a.db", None)) as storage:
        assert sqlite_threads() == before + 1
        await storage.create(on_azure=False)
        await storage.queue.put("x", timeout_s=TIMEOUT_S)
        assert await storage.queue.length(timeout_s=TIMEOUT_S) == 1
        assert await storage.poison_queue.length(timeout_s=TIMEOUT_S) == 0
        assert storage.store is not None
    assert sqlite_threads() == before


async def test_two_files_are_two_connections(tmp_path: Path) -> None:
    """A store in a file of its own has a connection of its own."""
    before = sqlite_threads()
    addresses = find_storage(f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db")
    async with wiring.open_storage(addresses):
        assert sqlite_threads() == before + 2
    assert sqlite_threads() == before


async def test_what_was_opened_is_closed_when_the_rest_cannot_be(tmp_path: Path) -> None:
    """A store that cannot be opened does not leave the queue's file open."""
    before = sqlite_threads()
    addresses = find_storage(f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/missing/b.db")
    with pytest.raises(ConfigurationError, match="--store"):
        async with wiring.open_storage(addresses):
            pytest.fail("opened")
    assert sqlite_threads() == before


async def test_on_azure_nothing_is_created_without_being_told(azurite: Azurite) -> None:
    """A worker's role need not allow it: `create` leaves Azure alone unless it is told."""
    addresses = find_storage(azurite.queue_url("wiring-one"), azurite.blob_url("wiring-one"))
    async with wiring.open_storage(addresses) as storage:
        await storage.create(on_azure=False)
        with pytest.raises(MissingError):
            await storage.queue.length(timeout_s=TIMEOUT_S)
        await storage.create(on_azure=True)
        assert await storage.queue.length(timeout_s=TIMEOUT_S) == 0
        assert await storage.poison_queue.length(timeout_s=TIMEOUT_S) == 0
        assert storage.store is not None
        assert (await storage.store.totals("wiring-one", timeout_s=TIMEOUT_S)).completed == 0
        await storage.fetch_token(timeout_s=TIMEOUT_S)


async def test_a_worker_gets_every_port_and_creates_nothing(tmp_path: Path) -> None:
    """The embedded queue, its poison queue and its store must be there; once they are, the worker has all it needs."""

    async def handle(_: Job) -> Json:
        return None

    entries: list[tuple[str, dict[str, JsonScalar]]] = []
    journal = wiring.open_journal(tmp_path / "journal", lambda kind, fields: entries.append((kind, dict(fields))))
    addresses = find_storage(f"sqlite:///{tmp_path}/a.db", None)
    with pytest.raises(ConfigurationError, match=r"^--queue: .*`spotfsm enqueue --create`"):
        await wiring.check_embedded(addresses)
    assert not (tmp_path / "a.db").exists()
    async with wiring.open_storage(addresses) as storage:
        await storage.create(on_azure=False)
    async with wiring.open_ports(
        addresses,
        imds=wiring.find_imds(None, addresses),
        boot_id_file=wiring.BOOT_ID_FILE,
        job_runner=LoopRunner(handle),
        journal=journal,
        journal_file=tmp_path / "journal",
    ) as ports:
        assert await ports.poison_queue.length(timeout_s=TIMEOUT_S) == 0
        assert ports.queue.name == "jobs"
        assert (await ports.events.poll(timeout_s=TIMEOUT_S)).events == ()
        identity = await ports.metadata.identity(timeout_s=TIMEOUT_S)
    assert identity == await HostMetadata().identity(timeout_s=TIMEOUT_S)
    journal.write(Kind.IMDS_ANSWERS, {})
    journal.close()
    assert [kind for kind, _ in entries] == [Kind.IMDS_ANSWERS]


def test_imds_is_asked_for_a_queue_on_azure_only() -> None:
    """Off Azure nobody answers there, and a worker must not wait for it."""
    on_azure = find_storage("https://account.queue.core.windows.net/jobs", None)
    assert wiring.find_imds(None, on_azure) == "http://169.254.169.254"
    assert wiring.find_imds(None, find_storage(None, None)) == "none"
    assert wiring.find_imds(None, find_storage("http://127.0.0.1:1/devstoreaccount1/jobs", None)) == "none"
    assert wiring.find_imds("http://127.0.0.1:8169", on_azure) == "http://127.0.0.1:8169"


WORK = """
import sys
from adapters.cli.main import run
run(["enqueue", "--create"])
code = run(["worker", "--handler", "jobs:handle", "--until-empty", "--journal", "journal"])
heavy = {name.partition(".")[0] for name in sys.modules} & {"azure", "aiohttp", "httpx", "msal", "rich", "requests"}
print(code, sorted(heavy))
"""


@pytest.mark.processes
def test_a_worker_on_sqlite_imports_nothing_of_azure(tmp_path: Path) -> None:
    """Neither an SDK nor an HTTP client is loaded by a worker that needs none: it starts at once."""
    (tmp_path / "jobs.py").write_text("async def handle(job): return 1\n")
    ended = subprocess.run(
        [sys.executable, "-c", WORK], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.splitlines()[-1] == "0 []"
