"""One run of an explored handler: the production worker in a world of its own, on one VM and, if need be, another.

When the VM is taken, another one takes the message up after its lease has run out, with a process that knows nothing of
the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from fsm.ports import VmIdentity
from fsm.runner import WorkerSettings
from simulator.explore.comparing import Outcome
from simulator.explore.driving import Handler, SteppedRunner
from simulator.explore.patience import Patience
from simulator.explore.places import Places
from simulator.explore.steps import Watch, Way
from simulator.observing import Observer
from simulator.process import Ending, Process
from simulator.vm import SimulatedVm
from simulator.world import World

NOTICE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is explored.

    Attributes:
        load: imports the handler anew, each time it is called.
        files: the user's source files; their lines are steps.
        text: the message.
        given: files and directories that stand in its working directory.
    """

    load: Callable[[], Handler]
    files: frozenset[str]
    text: str
    given: tuple[Path, ...] = ()


class Run:
    """One VM, and after it another, until the message is gone; nothing of it moves before `live`.

    Args:
        subject: the handler and its message.
        places: where it works.
        target: the step to strike at, and how; None for an undisturbed run.
        patience: cuts it short.
        passes_max: of each place in an undisturbed run, so many passes are kept.
    """

    def __init__(
        self,
        subject: Subject,
        places: Places,
        target: tuple[int, Way] | None,
        patience: Patience,
        *,
        passes_max: int,
    ) -> None:
        self.watch = Watch(subject.files, places, target, patience, passes_max=passes_max)
        self._subject = subject
        self._places = places
        self._notice = target is not None and target[1] is Way.NOTICE
        self._patience = patience
        self._now_s: Callable[[], float] = lambda: 0.0

    @property
    def virtual_s(self) -> float:
        """Its own time."""
        return self._now_s()

    async def live(self, within_s: float | None) -> Outcome:
        """Run until the message is gone, or for so long in virtual time, or until the run is cut short."""
        self._now_s = asyncio.get_running_loop().time
        settled, over, watch = asyncio.Event(), self._patience.begin(), self.watch
        world = World(observers=[_WhenDeleted(settled)])
        message_id = world.queues.put(world.queue_name, self._subject.text)
        vm, process = self._start(world, 1)
        watch.notify = partial(_announce, world, vm)
        await _first(settled, watch.struck, over, within_s=within_s)
        if watch.struck.is_set() and not over.is_set():
            if process.alive and self._notice:
                await _first(settled, over, within_s=NOTICE_S)
            await process.kill(Ending.EVICTED)
            if not settled.is_set() and not over.is_set():
                self._places.new_vm()
                _, process = self._start(world, 2)
                await _first(settled, over, within_s=within_s)
        took_s = world.clock.monotonic_s()
        await process.kill()
        return _outcome(world, message_id, watch, self._places, took_s if settled.is_set() else None)

    def _start(self, world: World, number: int) -> tuple[SimulatedVm, Process]:
        name = f"vm-{number}"
        vm = SimulatedVm(
            VmIdentity(vm_id=name, name=name, boot_id=f"{name}-boot", priority="Spot", eviction_policy="Delete")
        )

        def runner(whose: Callable[[], Process]) -> SteppedRunner:
            return SteppedRunner(self._subject.load, whose, self.watch)

        return vm, world.start(vm, runner, WorkerSettings(concurrency=1))


def _announce(world: World, vm: SimulatedVm) -> None:
    vm.notify("explored", not_before=world.clock.now() + timedelta(seconds=NOTICE_S))


async def _first(*events: asyncio.Event, within_s: float | None) -> None:
    """Wait until one of them is set, or the time is over."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _outcome(world: World, message_id: str, watch: Watch, places: Places, took_s: float | None) -> Outcome:
    record = world.store.look(world.queue_name, message_id)
    poisoned = world.queues.length(f"{world.queue_name}-poison") > 0
    end = "never done" if took_s is None else "poisoned" if poisoned else "completed"
    return Outcome(
        end=end,
        result=None if record is None else record.result,
        files=places.files(),
        errors=tuple(watch.errors),
        took_s=took_s or 0.0,
    )


class _WhenDeleted(Observer):
    """Tells when the message has found its end."""

    def __init__(self, settled: asyncio.Event) -> None:
        self._settled = settled

    def deleted(self, _message_id: str) -> None:
        self._settled.set()
