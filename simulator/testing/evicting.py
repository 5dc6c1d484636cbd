"""Evictions that a test has ordered: begun at once, at their time, or at their step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from simulator.machine import Machine
from simulator.network import REPLY_LOST, REQUEST_LOST, Fault
from simulator.platform import Platform
from simulator.process import Process
from simulator.scenario import Deed, ScriptedEvent
from simulator.testing.steps import CHECKPOINT, Eviction, Step

OtherFaults = Callable[[Process, str], Fault | None]


@dataclass(slots=True)
class _Armed:
    """An eviction that waits for its step, and how often its like has come by."""

    eviction: Eviction
    step: Step
    seen: int = 0


class Evictor:
    """Carries evictions out.

    Args:
        platform: whose VMs are taken.
        other_faults: asked where no eviction waits for a call.
    """

    def __init__(self, platform: Platform, other_faults: OtherFaults) -> None:
        self._platform = platform
        self._other_faults = other_faults
        self._armed: list[_Armed] = []
        self._over = False

    def arm(self, eviction: Eviction, step: Step) -> None:
        """Let it begin at its step."""
        self._armed.append(_Armed(eviction, step))

    def disarm(self) -> None:
        """Let none begin any more."""
        self._armed.clear()
        self._over = True

    def machines(self, vm: int | None) -> list[Machine]:
        """The VM of a number, or all.

        Raises:
            ValueError: there is no such VM.
        """
        machines = self._platform.machines
        if vm is None:
            return machines
        if not 1 <= vm <= len(machines):
            raise ValueError(f"there is no VM {vm}: they are counted from 1 to {len(machines)}")
        return [machines[vm - 1]]

    def begin(self, eviction: Eviction, vm: int | None) -> None:
        """Announce it, or take the VM in this very moment; one that does not run is not taken."""
        if self._over:
            return
        outage_s = math.inf if eviction.back_after_s is None else eviction.back_after_s
        for machine in self.machines(vm):
            if eviction.notice_s is not None:
                event = ScriptedEvent(at_s=0.0, do=Deed.EVICT, lasts_s=outage_s, notice_s=eviction.notice_s)
                self._platform.do(event, machine)
            elif machine.running:
                self._platform.take(machine, outage_s=outage_s)

    def at_checkpoint(self, process: Process, done: bool) -> None:  # noqa: FBT001 -- as `AtStep` has it
        """A handler is at a checkpoint."""
        if not process.life.dead:
            self._begin_at(process, self._due(process, CHECKPOINT, done=done))

    def fault(self, process: Process, call: str) -> Fault | None:
        """What goes wrong with a call: an eviction that has waited for it, or something else."""
        self._begin_at(process, self._due(process, call, done=False))
        if process.life.dead:
            return REQUEST_LOST
        if due := self._due(process, call, done=True):
            at_once = any(eviction.notice_s is None for eviction in due)
            return replace(REPLY_LOST if at_once else Fault(), arrived=partial(self._begin_at, process, due))
        return self._other_faults(process, call)

    def _due(self, process: Process, name: str, *, done: bool) -> list[Eviction]:
        """The evictions whose step this is; they wait no longer."""
        due = []
        for armed in list(self._armed):
            step, vm = armed.step, armed.eviction.vm
            if (step.name, step.done) == (name, done) and vm in (None, self._number(process)):
                armed.seen += 1
                if armed.seen == step.number:
                    self._armed.remove(armed)
                    due.append(armed.eviction)
        return due

    def _number(self, process: Process) -> int:
        return 1 + next(at for at, one in enumerate(self._platform.machines) if one.name == process.vm_name)

    def _begin_at(self, process: Process, due: list[Eviction]) -> None:
        """Begin evictions at a step of this process; one that is dead takes no VM with it."""
        for eviction in due:
            if not process.life.dead:
                self.begin(eviction, self._number(process))
