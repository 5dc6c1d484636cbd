"""A world for the worker under virtual time: simulated services, real runner, real handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

import looptime

from adapters.host.loop_runner import Handler, LoopRunner
from fsm.application import AppState
from fsm.notices import EventsDocument
from fsm.ports import Journal, JsonScalar, Randomness, Signals, VmIdentity
from fsm.record import Record, Status
from fsm.runner import Ports, Tally, Worker, WorkerSettings
from simulator.clock import SimulatedClock
from simulator.network import REQUEST_LOST, Fault, Faults, no_faults
from simulator.queue import SimulatedQueue, SimulatedQueueService
from simulator.store import SimulatedStore, SimulatedStoreService
from simulator.vm import SimulatedMetadata, SimulatedScheduledEvents, SimulatedVm

ReturnT = TypeVar("ReturnT")
QUEUE = "jobs"


def virtually(main: Callable[[], Coroutine[None, None, ReturnT]]) -> ReturnT:
    """Run a coroutine under virtual time: a day of sleep costs nothing, and a deadlock raises."""
    with asyncio.Runner(loop_factory=lambda: looptime.new_event_loop(noop_cycles=0, idle_timeout=0)) as runner:
        return runner.run(main())


@dataclass(slots=True)
class Entry:
    """One journal entry, with the virtual second at which it was written."""

    at_s: float
    process: str
    kind: str
    fields: Mapping[str, JsonScalar]


class MemoryJournal(Journal):
    """Keeps what one process wrote, in a list that all processes of a world share."""

    def __init__(self, process: str, entries: list[Entry]) -> None:
        self._process = process
        self._entries = entries
        self.dead = False

    def write(self, kind: str, fields: Mapping[str, JsonScalar]) -> None:
        if not self.dead:
            self._entries.append(Entry(asyncio.get_running_loop().time(), self._process, kind, fields))

    def close(self) -> None:
        """Keep everything."""


class SeededRandomness(Randomness):
    """Repeatable."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def token(self) -> str:
        return f"{self._random.getrandbits(64):016x}"


class ScriptedSignals(Signals):
    """Signals that a test sends."""

    def __init__(self) -> None:
        self.send: Callable[[str], None] = lambda _name: None

    def listen(self, on_stop: Callable[[str], None]) -> None:
        self.send = on_stop

    def close(self) -> None:
        self.send = lambda _name: None


@dataclass(slots=True)
class Process:
    """One worker process in a world: its task, and the strings by which a test holds it."""

    worker: Worker
    task: asyncio.Task[Tally]
    signals: ScriptedSignals
    journal: MemoryJournal
    life: Life

    async def kill(self) -> None:
        """SIGKILL: from now on nothing it does reaches the world, its `finally` blocks included."""
        self.life.dead = True
        self.journal.dead = True
        self.task.cancel()
        await asyncio.wait([self.task])

    async def finish(self) -> Tally:
        return await self.task


@dataclass(slots=True)
class Life:
    """Cuts a dead process off from the world."""

    dead: bool = False

    def cut(self, faults: Faults) -> Faults:
        def cut_or(call: str) -> Fault | None:
            return REQUEST_LOST if self.dead else faults(call)

        return cut_or


@dataclass(slots=True)
class World:
    """Everything outside the workers."""

    random: Random = field(default_factory=lambda: Random(0))
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    entries: list[Entry] = field(default_factory=list)
    faults: Faults = no_faults
    stored: bool = True
    settings: WorkerSettings = field(default_factory=lambda: WorkerSettings(until_empty=True))
    queues: SimulatedQueueService = field(init=False)
    store: SimulatedStoreService = field(init=False)
    vm: SimulatedVm = field(init=False)
    started: int = 0

    def __post_init__(self) -> None:
        self.queues = SimulatedQueueService(clock=self.clock, random=self.random)
        self.queues.create(QUEUE)
        self.queues.create(f"{QUEUE}-poison")
        self.store = SimulatedStoreService(clock=self.clock, exists=True)
        self.vm = self.new_vm()

    @staticmethod
    def new_vm(vm_id: str = "vm-id-1", *, name: str = "vm-spot", boot_id: str = "boot-1") -> SimulatedVm:
        return SimulatedVm(
            VmIdentity(vm_id=vm_id, name=name, boot_id=boot_id, priority="Spot", eviction_policy="Deallocate")
        )

    def reboot(self, vm: SimulatedVm) -> None:
        """The VM was away: a new boot id, and no event stands any more."""
        vm.identity = replace(vm.identity, boot_id=f"{vm.identity.boot_id}+")
        vm.document = EventsDocument(incarnation=vm.document.incarnation + 1, events=())

    def enqueue(self, count: int, text: str = "{}") -> list[str]:
        return [self.queues.put(QUEUE, text) for _ in range(count)]

    def start(
        self, handler: Handler, *, vm: SimulatedVm | None = None, settings: WorkerSettings | None = None
    ) -> Process:
        """Start a worker process on a VM."""
        self.started += 1
        vm = vm or self.vm
        life, signals = Life(), ScriptedSignals()
        journal = MemoryJournal(f"p{self.started}", self.entries)

        def faults(call: str) -> Fault | None:
            return self.faults(call)

        cut = life.cut(faults)
        ports = Ports(
            queue=SimulatedQueue(self.queues, QUEUE, faults=cut),
            poison_queue=SimulatedQueue(self.queues, f"{QUEUE}-poison", faults=cut),
            store=SimulatedStore(self.store, faults=cut) if self.stored else None,
            events=SimulatedScheduledEvents(vm, faults=cut),
            metadata=SimulatedMetadata(vm, faults=cut),
            job_runner=LoopRunner(handler),
            clock=self.clock,
            randomness=SeededRandomness(self.random),
            signals=signals,
            journal=journal,
        )
        worker = Worker(ports, settings or self.settings)
        task = asyncio.create_task(worker.run())
        return Process(worker=worker, task=task, signals=signals, journal=journal, life=life)

    # -- what a test asks afterwards --------------------------------------------------------------------------------

    def record(self, message_id: str) -> Record:
        stored = self.store.read(QUEUE, message_id)
        assert stored is not None, f"{message_id} has no record"
        return stored.record

    def statuses(self, message_ids: list[str]) -> list[Status]:
        return [self.record(message_id).status for message_id in message_ids]

    def rows(self, *ids: str) -> list[Entry]:
        """The entries of these rows, in order."""
        return [entry for entry in self.entries if entry.kind == "row" and entry.fields["row"] in ids]

    def of_kind(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind in kinds]

    def left(self) -> int:
        """Messages on the main queue, leased ones included."""
        return self.queues.length(QUEUE)

    def poison(self) -> int:
        return self.queues.length(f"{QUEUE}-poison")


async def until(condition: Callable[[], bool], *, within_s: float = 1000.0) -> None:
    """Let virtual time pass until the condition holds.

    Raises:
        TimeoutError: it does not hold in time.
    """
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 -- the condition is about the world, and virtual time is free
            await asyncio.sleep(0.01)


def state_of(process: Process) -> AppState:
    return process.worker.state
