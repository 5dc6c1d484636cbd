"""What a worker loads."""

from __future__ import annotations

import json

import pytest

from tests.processes.conftest import MakeVm
from tests.processes.places import SqlitePlace

pytestmark = pytest.mark.processes

FOREIGN = frozenset({"azure", "aiohttp", "msal", "httpx", "requests"})


def test_a_worker_on_sqlite_imports_no_sdk(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """Off Azure, and without IMDS, nobody pays for the SDK of Azure or for any HTTP client."""
    job = sqlite.put("{}")
    vm = make_vm(sqlite, handler="tests.processes.handlers:modules")
    vm.start("--imds", "none", "--until-empty")
    assert vm.wait() == 0
    record = sqlite.record(job)
    assert record is not None
    loaded = {name.partition(".")[0] for name in json.loads(record.result or "[]")}
    assert loaded & FOREIGN == set()
    assert {"sqlite3", "fsm"} <= loaded
