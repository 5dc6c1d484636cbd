"""The wiring of an invented world: services, observers, and worker processes that run production's own code in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from random import Random

from fsm.errors import ConfigurationError
from fsm.notices import EventsDocument
from fsm.ports import Clock, JobRunner
from fsm.runner import Ports, Tally, Worker, WorkerSettings
from simulator.clock import SimulatedClock
from simulator.journal import Entry, JournalLines, MemoryJournal
from simulator.loop import LIFE, Life
from simulator.network import Fault
from simulator.observing import (
    ObservedQueue,
    ObservedQueueService,
    ObservedScheduledEvents,
    ObservedStoreService,
    Observer,
    Panel,
)
from simulator.process import Ending, Process, ScriptedSignals, SeededRandomness, cut_off
from simulator.queue import SimulatedQueue
from simulator.store import SimulatedStore
from simulator.vm import SimulatedMetadata, SimulatedVm

QUEUE = "jobs"

ProcessFaults = Callable[[Process, str], Fault | None]
"""Asked once a call of a process: what goes wrong with it? It may also end the process."""
MakeRunner = Callable[[Callable[[], Process]], JobRunner]
"""Makes the job runner of a process; the process itself is known only once it has been started."""
MakeWorker = Callable[[Ports, WorkerSettings], Worker]


def nothing_wrong(_process: Process, _call: str) -> Fault | None:
    """Faults of a world in which nothing goes wrong."""
    return None


def document_of(vm: SimulatedVm) -> EventsDocument:
    """What a VM is told by Scheduled Events in a world in which nothing goes wrong."""
    return vm.document


class World:
    """Everything outside the workers, and the workers that were started in it.

    Args:
        seed: every stream of random numbers in the world comes from it, each by its own name.
        stored: whether workers are given a job store.
        observers: see everything that happens.
        make_worker: for tests that sabotage the worker.

    Attributes:
        faults: what goes wrong with calls; may be replaced at any time.
        short_lease, tear_s, shown: what services do wrong; may be replaced at any time.
        journal: all that was noted.
    """

    def __init__(
        self,
        *,
        seed: int | str = 0,
        stored: bool = True,
        observers: Sequence[Observer] = (),
        make_worker: MakeWorker = Worker,
    ) -> None:
        self.seed = seed
        self.stored = stored
        self.faults: ProcessFaults = nothing_wrong
        self.short_lease: Callable[[], float] = lambda: 1.0
        self.tear_s: Callable[[], float] = lambda: 0.0
        self.shown: Callable[[SimulatedVm], EventsDocument] = document_of
        self.clock = SimulatedClock()
        self.journal = JournalLines()
        self.processes: list[Process] = []
        self.panel = Panel(observers)
        self._make_worker = make_worker
        self.queues = ObservedQueueService(
            QUEUE, self.panel, clock=self.clock, random=self.random("queue"), short_lease=self._short_lease
        )
        self.queues.create(QUEUE)
        self.queues.create(f"{QUEUE}-poison")
        self.store = ObservedStoreService(self.panel, clock=self.clock, tear_s=self._tear_s)

    @property
    def queue_name(self) -> str:
        return QUEUE

    def random(self, name: str) -> Random:
        """A stream of random numbers of its own, the same in every run of the seed."""
        return Random(f"{self.seed}/{name}")  # noqa: S311 -- a simulation is to be repeatable, not secret

    def _short_lease(self) -> float:
        return self.short_lease()

    def _tear_s(self) -> float:
        return self.tear_s()

    def _shown(self, vm: SimulatedVm) -> EventsDocument:
        return self.shown(vm)

    def _noted(self, entry: Entry) -> None:
        self.journal.note(entry)
        self.panel.noted(entry)

    def journal_of(self, source: str, life: Life | None = None) -> MemoryJournal:
        """A journal for one source; all share the world's."""
        return MemoryJournal(source, self._noted, life)

    def start(
        self, vm: SimulatedVm, make_runner: MakeRunner, settings: WorkerSettings, *, clock: Clock | None = None
    ) -> Process:
        """Start a worker process on a VM."""
        name = f"{vm.identity.name}/{len(self.processes) + 1}"
        life, signals = Life(), ScriptedSignals()
        journal = self.journal_of(name, life)
        own: list[Process] = []

        def whose() -> Process:
            return own[0]

        def faults(call: str) -> Fault | None:
            process = own[0]
            self.panel.sent(process, call)
            fault = self.faults(process, call)
            if fault is not None:
                self.panel.faulted(process, call, fault)
            return fault

        cut = cut_off(life, faults)
        ports = Ports(
            queue=ObservedQueue(self.queues, QUEUE, faults=cut, panel=self.panel, whose=whose),
            poison_queue=SimulatedQueue(self.queues, f"{QUEUE}-poison", faults=cut),
            store=SimulatedStore(self.store, faults=cut) if self.stored else None,
            events=ObservedScheduledEvents(vm, faults=cut, panel=self.panel, whose=whose, shown=self._shown),
            metadata=SimulatedMetadata(vm, faults=cut),
            job_runner=make_runner(whose),
            clock=clock or self.clock,
            randomness=SeededRandomness(self.random(name)),
            signals=signals,
            journal=journal,
        )
        worker = self._make_worker(ports, settings)
        context = copy_context()
        context.run(LIFE.set, life)
        task = asyncio.get_running_loop().create_task(worker.run(), context=context)
        process = Process(
            name=name,
            vm_name=vm.identity.name,
            worker=worker,
            task=task,
            signals=signals,
            journal=journal,
            clock=ports.clock,
            life=life,
        )
        own.append(process)
        self.processes.append(process)
        task.add_done_callback(partial(self._ended, process))
        self.panel.started(process)
        return process

    def _ended(self, process: Process, task: asyncio.Task[Tally]) -> None:
        error = None if task.cancelled() else task.exception()
        if process.ending is None:
            gave_up = isinstance(error, ConfigurationError)
            process.ending = Ending.STOPPED if error is None else Ending.GAVE_UP if gave_up else Ending.CRASHED
            process.error = error
        self.panel.ended(process)
