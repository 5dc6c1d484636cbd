"""What is measured: each function makes the runs it needs and returns its figures."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fsm.application import AppState
from tests.azurite import shared
from tests.bench.child import Outcome, Task
from tests.bench.figures import Alone, Figure, Pairs, measure_in_turn
from tests.bench.queues import Filled, azurite_queue, sqlite_queue
from tests.journal_checks import BEGINS
from tests.processes.places import Place, azurite_place, sqlite_place
from tests.processes.spot_vm import ROOT, WorkerOptions, spot_vm

LOOK_S = 0.002
AZURE_SDKS = "import azure.storage.queue.aio, azure.storage.blob.aio, aiohttp"
"""What a worker on Azurite needs. On Azure `azure.identity.aio` comes on top, for the worker as for anybody."""
EMBEDDED_NEEDS = "import asyncio, sqlite3"
MEMORY_AT = (1_000, 20_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure.

    Attributes:
        rounds: how often each thing is measured.
        share: of the jobs of a full run.
        memory: whether to run the 20,000 jobs.
    """

    rounds: int = 7
    share: float = 1.0
    memory: bool = True

    def jobs(self, full: int) -> int:
        """So many jobs, of a full run's."""
        return max(32, int(full * self.share))


Fill = Callable[[int], AbstractContextManager[Filled]]


# -- jobs a second ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Where the worker and a bare loop are compared.

    Attributes:
        fill: makes a queue with so many jobs.
        loop: the bare one, as `tests.bench.child` knows it.
        against: the same in words.
    """

    where: str
    fill: Fill
    loop: str
    against: str


def throughput(plan: Plan, directory: Path) -> Iterator[Figure]:
    """Jobs a second through the worker, with and without a store, over the bare loops'."""
    on_azurite = Contest(where="Azurite", fill=azurite_queue, loop="azure", against="bare SDK loop")
    on_sqlite = Contest(
        where="SQLite", fill=partial(sqlite_queue, directory), loop="sqlite", against="bare loop, a delete a commit"
    )
    for concurrency, full in ((64, 1000), (8, 400), (1, 150)):
        goal = "0.85 or better" if concurrency == 64 else ""
        yield from _rates(plan, on_azurite, concurrency, plan.jobs(full), goal)
    for concurrency, full in ((64, 5000), (8, 3000), (1, 1000)):
        goal = "1.0 or better" if concurrency == 64 else ""
        yield from _rates(plan, on_sqlite, concurrency, plan.jobs(full), goal)


def _rates(plan: Plan, contest: Contest, concurrency: int, jobs: int, goal: str) -> Sequence[Figure]:
    """The worker without a store, the worker with one, and the bare loop, in turn."""

    def rate(loop: str, *, stored: bool = False) -> float:
        with contest.fill(jobs) as filled:
            queue = filled.queue if loop == "ours" else filled.bare
            store = filled.store if stored else "none"
            outcome = run(Task(loop=loop, queue=queue, store=store, jobs=jobs, concurrency=concurrency))
        return jobs / outcome.seconds

    rates = measure_in_turn(
        plan.rounds,
        {
            "without": partial(rate, "ours"),
            "bare": partial(rate, contest.loop),
            "with": partial(rate, "ours", stored=True),
        },
    )
    return [
        Pairs(
            name=f"{contest.where}, concurrency {concurrency}, {how} a store",
            goal=goal if how == "without" else "",
            unit="jobs/s",
            against=contest.against,
            ours=rates[how],
            theirs=rates["bare"],
        )
        for how in ("without", "with")
    ]


def run(task: Task) -> Outcome:
    """Run a loop in a process of its own."""
    given = {name: getattr(task, name) for name in task.__slots__}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench.child", json.dumps(given)], cwd=ROOT, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return Outcome(**json.loads(ended.stdout))


# -- start -----------------------------------------------------------------------------------------------------------


def start(plan: Plan, directory: Path) -> Iterator[Figure]:
    """From the start of the process to the first job begun, over the bare import of what it needs."""
    for concurrency in (64, 1):
        times = measure_in_turn(
            plan.rounds,
            {
                "azurite": partial(_first_job_s, partial(azurite_place, shared()), concurrency),
                "sdks": partial(_import_s, AZURE_SDKS),
                "sqlite": partial(_first_job_on_sqlite_s, directory, concurrency),
                "embedded": partial(_import_s, EMBEDDED_NEEDS),
            },
        )
        for where, goal, against, ours, theirs in (
            ("Azurite", "2 or less" if concurrency == 64 else "", "import of the SDKs", "azurite", "sdks"),
            ("SQLite", "", "import of asyncio and sqlite3", "sqlite", "embedded"),
        ):
            yield Pairs(
                name=f"start to first job, {where}, concurrency {concurrency}",
                goal=goal,
                unit="s",
                against=against,
                ours=times[ours],
                theirs=times[theirs],
                digits=2,
            )


def _first_job_on_sqlite_s(directory: Path, concurrency: int) -> float:
    with tempfile.TemporaryDirectory(dir=directory) as own:
        return _first_job_s(partial(sqlite_place, Path(own)), concurrency)


def _first_job_s(place: Callable[[], AbstractContextManager[Place]], concurrency: int) -> float:
    """From the moment before the fork to the line that says that a job is begun."""
    options = WorkerOptions(handler="tests.processes.handlers:quick", concurrency=concurrency)
    with tempfile.TemporaryDirectory() as own, place() as opened, spot_vm("vm-a", opened, Path(own), options) as vm:
        opened.put("{}")
        began_s = time.time()
        vm.start()
        begun = vm.await_line(lambda line: line.row in BEGINS)
        return begun.at.timestamp() - began_s


def _import_s(statement: str) -> float:
    """From the moment before the fork to the moment after the import, in a fresh interpreter."""
    began_s = time.time()
    ended = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport time\nprint(time.time())"], capture_output=True, check=True
    )
    return float(ended.stdout) - began_s


# -- memory ----------------------------------------------------------------------------------------------------------


def memory(plan: Plan, directory: Path) -> Iterator[Figure]:
    """The peak of resident memory after 20,000 jobs over the peak after 1,000, in one process."""
    if plan.memory:
        yield _memory("SQLite", partial(sqlite_queue, directory), concurrency=64, rounds=3)
        yield _memory("SQLite", partial(sqlite_queue, directory), concurrency=1, rounds=1)
        yield _memory("Azurite", azurite_queue, concurrency=64, rounds=1)


def _memory(where: str, fill: Fill, *, concurrency: int, rounds: int) -> Figure:
    early, late = MEMORY_AT
    peaks: list[Outcome] = []
    for _ in range(rounds):
        with fill(late) as filled:
            task = Task(loop="ours", queue=filled.queue, store=filled.store, jobs=late, concurrency=concurrency)
            peaks.append(run(replace(task, memory_at=MEMORY_AT)))
    return Pairs(
        name=f"memory after {late:,} jobs, {where}, concurrency {concurrency}",
        goal="1.1 or less",
        unit="MiB",
        against=f"after {early:,}",
        ours=[peak.peak_kib[str(late)] / 1024 for peak in peaks],
        theirs=[peak.peak_kib[str(early)] / 1024 for peak in peaks],
        digits=1,
    )


# -- release ---------------------------------------------------------------------------------------------------------


def release(plan: Plan, directory: Path) -> Iterator[Figure]:
    """From a job's release at an eviction to the return of a bare receive that brings it."""
    for name, place in (
        ("Azurite", partial(azurite_place, shared())),
        ("SQLite", partial(sqlite_place, directory)),
    ):
        with tempfile.TemporaryDirectory() as own, place() as opened:
            values = [_release_s(opened, Path(own), number) for number in range(plan.rounds)]
        yield Alone(name=f"released to received, {name}", unit="s", ours=values, digits=3)


def _release_s(place: Place, directory: Path, number: int) -> float:
    options = WorkerOptions(handler="tests.processes.handlers:long", visibility_timeout_s=600.0)
    with spot_vm(f"vm-{number}", place, directory, options) as vm:
        job = place.put("{}")
        vm.start()
        vm.await_row("J19", job=job)
        vm.twin.evict(notice_s=30)
        while (taken := place.take(visibility_s=600)) is None:
            time.sleep(LOOK_S)
        received_s = time.time()
        assert taken.message_id == job
        released = vm.await_row("J28", job=job)
        vm.await_state(AppState.DRAINED)
    return received_s - released.at.timestamp()
