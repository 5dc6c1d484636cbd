"""A world for the worker under virtual time: simulated services, real runner, real handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from random import Random

from adapters.host.loop_runner import Handler, LoopRunner
from fsm.application import AppState
from fsm.notices import EventsDocument
from fsm.ports import VmIdentity
from fsm.record import Record, Status
from fsm.runner import Ports, Worker, WorkerSettings
from simulator.clock import SimulatedClock
from simulator.journal import Entry, JournalLines, MemoryJournal
from simulator.loop import LIFE, Life, virtually
from simulator.network import Fault, Faults, no_faults
from simulator.process import Process, ScriptedSignals, SeededRandomness, cut_off
from simulator.queue import SimulatedQueue, SimulatedQueueService
from simulator.store import SimulatedStore, SimulatedStoreService
from simulator.vm import SimulatedMetadata, SimulatedScheduledEvents, SimulatedVm

__all__ = ["QUEUE", "WORLDS", "Entry", "Process", "World", "state_of", "until", "virtually"]

QUEUE = "jobs"
WORLDS: list[World] = []
"""Every world that the present test has made."""


@dataclass(slots=True)
class World:
    """Everything outside the workers."""

    random: Random = field(default_factory=lambda: Random(0))
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    entries: list[Entry] = field(default_factory=list)
    journal: JournalLines = field(default_factory=JournalLines)
    faults: Faults = no_faults
    stored: bool = True
    settings: WorkerSettings = field(default_factory=lambda: WorkerSettings(until_empty=True))
    queues: SimulatedQueueService = field(init=False)
    store: SimulatedStoreService = field(init=False)
    vm: SimulatedVm = field(init=False)
    started: int = 0

    def __post_init__(self) -> None:
        WORLDS.append(self)
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
        journal = MemoryJournal(f"p{self.started}", self._noted, life)

        def faults(call: str) -> Fault | None:
            return self.faults(call)

        cut = cut_off(life, faults)
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
        context = copy_context()
        context.run(LIFE.set, life)
        task = asyncio.get_running_loop().create_task(worker.run(), context=context)
        return Process(
            name=f"p{self.started}",
            vm_name=vm.identity.name,
            worker=worker,
            task=task,
            signals=signals,
            journal=journal,
            clock=self.clock,
            life=life,
        )

    def _noted(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.journal.note(entry)

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
