"""What happens to the VMs of a kill campaign: drawn from a seed, one endless life a VM.

A life is a generator that does something to its VM and yields how long to leave it alone, in seconds; whoever drives
several lives sleeps until the next one is due.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum

from adapters.twin.faults import FaultKind
from fsm.application import AppState
from tests.processes.spot_vm import PATIENCE_S, SpotVm

NOTICES_S = (0, 2, 8, 30)
"""The notices that are announced; a VM is taken at any moment before its time is over, as Azure takes them."""
TAKEN_WITHIN_S = 2.5
"""A longer notice is cut short by then: the campaign has no 30 seconds to wait."""
DOWN_S = 0.3
STOP_PATIENCE_S = 40.0
"""A stop may drain for 25 s, and the machine may be busy."""
_LOOK_S = 0.02


class Blow(StrEnum):
    """What can happen to a VM."""

    DEATH = "process killed"
    VANISHED = "taken without notice"
    RECREATED = "taken without notice, and created anew"
    EVICTED = "taken after a notice"
    STOPPED = "told to stop"
    FROZEN = "stopped in its tracks past its leases"
    WITHDRAWN = "given a notice that is withdrawn"
    DEAF = "left without IMDS"


KILLS = frozenset({Blow.DEATH, Blow.VANISHED, Blow.RECREATED, Blow.EVICTED})
"""The blows that are a SIGKILL."""
_WEIGHTS = {
    Blow.DEATH: 30,
    Blow.VANISHED: 20,
    Blow.RECREATED: 10,
    Blow.EVICTED: 20,
    Blow.STOPPED: 5,
    Blow.FROZEN: 10,
    Blow.WITHDRAWN: 5,
    Blow.DEAF: 4,
}
_AT_ONCE = 0.2
"""The share of blows that do not wait for the worker to be at work, and so may strike while it comes up."""


class Life:
    """The life of one VM.

    Args:
        vm: without a worker as yet.
        draw: the seed's randomness, this life's own.
        struck: told of each blow before it falls; False ends the life.
    """

    def __init__(self, vm: SpotVm, draw: random.Random, struck: Callable[[Blow], bool]) -> None:
        self._vm = vm
        self._draw = draw
        self._struck = struck

    def lived(self) -> Iterator[float]:
        """Every pause of this life."""
        self._vm.start()
        while True:
            if self._draw.random() >= _AT_ONCE:
                yield from self._until_working()
            yield self._draw.uniform(0.0, 1.2)
            (blow,) = self._draw.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()))
            if not self._struck(blow):
                return
            yield from self._strike(blow)

    def _strike(self, blow: Blow) -> Iterator[float]:
        vm, draw = self._vm, self._draw
        match blow:
            case Blow.DEATH:
                vm.kill()
                vm.start()
            case Blow.VANISHED | Blow.RECREATED:
                vm.kill()
                yield from self._come_back(recreated=blow is Blow.RECREATED)
            case Blow.EVICTED:
                notice_s = draw.choice(NOTICES_S)
                vm.twin.evict(notice_s=notice_s)
                yield draw.uniform(0.0, min(notice_s, TAKEN_WITHIN_S))
                vm.kill()
                yield from self._come_back(recreated=draw.random() < 0.5)
            case Blow.STOPPED:
                vm.send(signal.SIGTERM)
                yield from self._until_ended()
                vm.start()
            case Blow.FROZEN:
                vm.send(signal.SIGSTOP)
                yield vm.options.visibility_timeout_s + draw.uniform(0.2, 1.5)
                vm.send(signal.SIGCONT)
            case Blow.WITHDRAWN:
                vm.twin.evict(notice_s=30)
                yield draw.uniform(0.0, 1.5)
                vm.twin.withdraw()
            case Blow.DEAF:
                vm.twin.fault(draw.choice([kind for kind in FaultKind if kind is not FaultKind.REFUSE_IDENTITY]))
                yield draw.uniform(0.2, 1.5)
                vm.twin.clear()

    def _come_back(self, *, recreated: bool) -> Iterator[float]:
        yield DOWN_S
        if recreated:
            self._vm.recreate()
        else:
            self._vm.reboot()
        self._vm.start()

    def _until_working(self) -> Iterator[float]:
        """Wait for the worker to be at work; one that is being drained, or cannot get up, is not waited for."""
        give_up_s = time.monotonic() + PATIENCE_S / 3
        while time.monotonic() < give_up_s:
            self._vm.look()
            if self._vm.state == AppState.PROCESSING:
                return
            yield _LOOK_S

    def _until_ended(self) -> Iterator[float]:
        give_up_s = time.monotonic() + STOP_PATIENCE_S
        while self._vm.running:
            assert time.monotonic() < give_up_s, f"{self._vm.name} was told to stop and did not end"
            yield _LOOK_S
        check_end(self._vm)


def check_end(vm: SpotVm) -> None:
    """A worker that is told to stop ends with 0; one that is not up yet may die of the signal, as any program does."""
    status = vm.wait()
    vm.look()
    not_up = status == -signal.SIGTERM and vm.state == AppState.OFFLINE
    assert status == 0 or not_up, f"{vm.name} was told to stop and ended with {status}"


def described(blows: Counter[Blow]) -> str:
    """How often what happened."""
    return ", ".join(f"{count} {blow}" for blow, count in blows.most_common())
