"""Several workers on one VM: each its share, IMDS spared, the dead replaced, and one of each name."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from adapters.imds.turns import SLOT_S
from adapters.twin.state import IMDS_PER_S
from fsm.application import AppState
from fsm.handler import Job, Json
from tests.processes.conftest import MakeVm
from tests.processes.places import SqlitePlace
from tests.processes.spot_vm import PATIENCE_S, SpotVm

pytestmark = pytest.mark.processes

INSTANCES = 3
CONCURRENCY = 2
AT_ONCE = INSTANCES * CONCURRENCY
ROUNDS = 3
ARRIVALS_VARIABLE = "TEST_ARRIVALS"


async def meet(job: Job) -> Json:
    """Wait until as many jobs run at once as all workers together can run."""
    file = os.open(os.environ[ARRIVALS_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, b"x")
    arrived = os.lseek(file, 0, os.SEEK_CUR)
    os.close(file)
    full = -(-arrived // AT_ONCE) * AT_ONCE
    while os.stat(os.environ[ARRIVALS_VARIABLE]).st_size < full:  # noqa: ASYNC110, PTH116 -- other processes' file
        await asyncio.sleep(0.01)
    return arrived


def instances(vm: SpotVm) -> dict[str, str]:
    """Who has a worker up: instance to the newest source of its lines."""
    vm.look()
    return {line.text("instance"): line.source for line in vm.lines if line.kind == "worker"}


def await_instances(vm: SpotVm, count: int, *, working: bool = True) -> dict[str, str]:
    """Wait until that many are up, and at work.

    Raises:
        AssertionError: they are not in time.
    """
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        found = instances(vm)
        at_work = {line.source for line in vm.lines if line.text("to") == AppState.PROCESSING}
        if len(found) == count and (not working or at_work >= set(found.values())):
            return found
        assert time.monotonic() < give_up_s, f"only {found} came up"
        time.sleep(0.02)


def test_no_instance_starves(
    sqlite: SqlitePlace, make_vm: MakeVm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there is more than all can do at once, each has exactly its share.

    The tolerance is none, and follows from the protocol: nobody takes more than it can start now, so that as many jobs
    as all have places for can only run at once if every worker has filled all of its own. Each round of jobs waits
    for that. One that had to go without would hold up the round for ever.
    """
    monkeypatch.setenv(ARRIVALS_VARIABLE, str(tmp_path / "arrivals"))
    jobs = {sqlite.put("{}") for _ in range(ROUNDS * AT_ONCE)}
    vm = make_vm(sqlite, handler=f"{__name__}:meet", concurrency=CONCURRENCY, visibility_timeout_s=60.0)
    vm.start("--instances", str(INSTANCES), "--until-empty", "--json")
    assert vm.wait() == 0
    vm.look()
    names = {line.source: line.text("instance") for line in vm.lines if line.kind == "worker"}
    done = Counter(names[line.source] for line in vm.lines if line.row == "J21")
    assert done == {f"1-{number}": ROUNDS * CONCURRENCY for number in range(1, INSTANCES + 1)}
    assert {sqlite.recorded(job) for job in jobs} == {1}
    receipts = json.loads(vm.output.read_text()[vm.output.read_text().index("[") :])
    assert Counter({receipt["instance"]: receipt["completed"] for receipt in receipts}) == done


def test_together_they_spare_imds(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """Six workers that would each ask three times a second are never refused, and all read a notice in their turns."""
    count = 6
    vm = make_vm(sqlite)
    vm.start("--instances", str(count))
    await_instances(vm, count)
    time.sleep(2.0)
    vm.twin.evict(notice_s=30)
    give_up_s = time.monotonic() + PATIENCE_S
    while len({line.source for line in vm.lines if line.kind == "notice"}) < count:
        assert time.monotonic() < give_up_s, "not all have read the notice"
        vm.look()
        time.sleep(0.02)
    read = [line.at for line in vm.lines if line.kind == "notice"]
    assert (max(read) - min(read)).total_seconds() < count * SLOT_S + 2.0
    requests = vm.twin.state()["requests"]
    assert {request["status"] for request in requests} <= {200, 400}  # 400: a version this host does not have
    assert len(requests) > 2 * IMDS_PER_S
    vm.send(signal.SIGTERM)
    assert vm.wait() == 0


def test_a_dead_one_is_replaced_and_a_stop_reaches_all(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """Its job goes on, nobody else notices, and SIGTERM to the parent drains them all."""
    jobs = [sqlite.put(json.dumps({"steps": 30, "step_s": 0.1})) for _ in range(2)]
    vm = make_vm(sqlite, concurrency=1)
    vm.start("--instances", "2", "--json")
    before = await_instances(vm, 2)
    for job in jobs:
        vm.await_row("J19", job=job)
    os.kill(int(before["1-2"].partition("-")[0]), signal.SIGKILL)
    give_up_s = time.monotonic() + PATIENCE_S
    while (after := instances(vm))["1-2"] == before["1-2"]:
        assert time.monotonic() < give_up_s, "it was not started again"
        time.sleep(0.02)
    assert after["1-1"] == before["1-1"]
    for job in jobs:
        vm.await_row("J21", job=job)
    os.kill(vm.pid, signal.SIGTERM)
    assert vm.wait() == 0
    said = vm.output.read_text()
    assert "instance 1-2 was ended by SIGKILL" in said
    assert [receipt["instance"] for receipt in json.loads(said[said.index("[\n") :])] in (
        ["1-1", "1-2"],
        ["1-2", "1-1"],
    )
    assert [sqlite.recorded(job) for job in jobs] == [1, 1]


def test_they_die_with_their_parent_and_leave_no_lock(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """SIGKILL of the parent ends every worker; the next parent starts at once, and one beside it is refused."""
    vm = make_vm(sqlite)
    vm.start("--instances", "2")
    first = await_instances(vm, 2)
    vm.kill()
    for source in first.values():
        await_end(int(source.partition("-")[0]))
    vm.start("--instances", "2")
    give_up_s = time.monotonic() + PATIENCE_S
    while set(instances(vm).values()) & set(first.values()):
        assert vm.running
        assert time.monotonic() < give_up_s, "they did not come up again"
        time.sleep(0.02)
    expect_refused(vm, "--instances", "3")
    vm.send(signal.SIGTERM)
    assert vm.wait() == 0


def await_end(pid: int) -> None:
    """Wait until a process that is no child of ours is gone, or a zombie.

    Raises:
        AssertionError: it is not in time.
    """
    give_up_s = time.monotonic() + PATIENCE_S
    stat = Path(f"/proc/{pid}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < give_up_s, f"{pid} goes on"
        time.sleep(0.02)


def test_a_second_of_the_same_name_is_refused(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """It ends with 2 and one line, and the first one does not notice."""
    vm = make_vm(sqlite)
    vm.start()
    await_instances(vm, 1)
    expect_refused(vm)
    vm.send(signal.SIGTERM)
    assert vm.wait() == 0


def expect_refused(vm: SpotVm, *more: str) -> None:
    """See that a second worker beside the first cannot start."""
    second = vm.start_beside(*more)
    said = second.communicate(timeout=PATIENCE_S)[0]
    assert second.returncode == 2
    assert said.count("\n") == 1
    assert said.startswith("error: --instance: a worker ")
    assert vm.running


def test_what_no_instance_can_do_is_said_once(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """A handler that cannot be imported ends them all before they begin, with one line."""
    vm = make_vm(sqlite, handler=f"{__name__}:missing")
    vm.start("--instances", "3")
    assert vm.wait() == 2
    assert vm.output.read_text().count("error: --handler: ") == 1
    assert vm.lines == []
