"""The explored world: workers that crash, are taken, noticed and stopped, and the messages in their hands.

Theory of operation
-------------------
`World.moves` lists everything that can happen next to one message (`fsm.checker.turn`), `World.upheavals` everything
that can happen to a worker. Deliveries move by `fsm.delivery.advance` alone. A move costs 1 if it is a *fault* (a lost
reply, a lapsed lease, a crash, a failure, ...) and 0 if it is not; a move that is *fair* happens sooner or later where
nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from fsm.checker.judge import Judge
from fsm.checker.pool import Pool
from fsm.checker.scenario import NAMES, Physics, Scenario
from fsm.checker.scene import (
    BEFORE,
    CRASHED,
    DIED,
    ENDED,
    EVICTED,
    GONE,
    NONE,
    NOW,
    STOPPED,
    TAKEN,
    UP,
    VISIBLE,
    Scene,
    Worker,
    with_slot,
)
from fsm.checker.stepper import Protocol, Renaming, Stepper, honest
from fsm.checker.turn import Action, Events, Move, Turn
from fsm.record import Owner


class Upheaval(NamedTuple):
    """One way on that touches every message in a worker's hands."""

    cost: int
    fair: bool
    workers: int
    scenes: tuple[int, ...]
    action: Action


class World:
    """All that can happen, for one scenario.

    Args:
        scenario: what is explored.
        protocol: how deliveries move.
        physics: how the world treats them.
        conduct: whether each step is judged by itself too (`fsm.checker.conduct`), and not by what comes of it alone.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        protocol: Protocol = honest,
        physics: Physics | None = None,
        conduct: bool = True,
    ) -> None:
        self.scenario = scenario
        self.physics = Physics() if physics is None else physics
        self.stepper = Stepper(protocol, conduct=conduct, of_stranger=scenario.presence)
        self.workers: Pool[tuple[Worker, ...]] = Pool()
        self.scenes: Pool[Scene] = Pool()
        self.names = NAMES[: scenario.workers]
        self.judge = Judge(self.stepper.records, stored=scenario.stored, rejected=scenario.rejected is not None)
        self.events = Events(self.stepper, rejected=scenario.rejected)
        self._aging: dict[tuple[int, int], Renaming] = {}

    def start(self) -> tuple[int, ...]:
        """The first state: the workers, and then each message."""
        scenario = self.scenario
        scene = Scene(
            place=VISIBLE,
            epoch=scenario.epoch,
            twins=0,
            poison=False,
            record=NONE if scenario.record is None else self.stepper.records.number(scenario.record),
            ended=0,
            finished=False,
            confirmed=False,
            late_writes=(),
            late_calls=(),
            slots=(None,) * scenario.workers,
        )
        crew = self.workers.number((Worker(),) * scenario.workers)
        return (crew, *(self.scenes.number(scene),) * scenario.messages)

    def settled(self, scene: int) -> bool:
        """Whether this message has come to its end: off the queue, and in nobody's hands."""
        seen = self.scenes[scene]
        return seen.place == GONE and not any(seen.slots)

    def moves(self, workers: int, scene: int, *, faulty: bool) -> list[Move]:
        """Everything that can happen next to one message; without the faults unless `faulty`."""
        return list(Turn(self, workers, self.scenes[scene], faulty=faulty).moves())

    def upheavals(self, workers: int, scenes: tuple[int, ...], *, faulty: bool) -> Iterator[Upheaval]:
        """Crash, eviction, notice, withdrawal, stop, start; without the faults among them unless `faulty`."""
        crew = self.workers[workers]
        for who, worker in enumerate(crew):
            idle = all(self.scenes[scene].slots[who] is None for scene in scenes)
            for kind, cost, fair, after in self._fates(worker, idle=idle):
                if cost and not faulty:
                    continue
                left = scenes
                if kind in ("crash", "evict"):
                    left = tuple(self._without(scene, who) for scene in scenes)
                elif kind == "start":
                    left = tuple(self._aged(scene, who, worker.power) for scene in scenes)
                number = self.workers.number((*crew[:who], after, *crew[who + 1 :]))
                yield Upheaval(cost, fair, number, left, Action(kind, who))

    def _fates(self, worker: Worker, *, idle: bool) -> Iterator[tuple[str, int, bool, Worker]]:
        """What may become of one worker: kind, cost, fairness, and the worker then."""
        if worker.power != UP:
            yield "start", 0, True, Worker()
            return
        yield "crash", 1, False, Worker(power=CRASHED)
        yield "evict", 0 if worker.draining and not worker.stopping else 1, False, Worker(power=EVICTED)
        if not worker.draining:
            yield "notice", 1, False, Worker(draining=True)
            if self.scenario.stops:
                yield "stop", 1, False, Worker(draining=True, stopping=True)
        elif idle and worker.stopping:
            yield "exit", 0, True, Worker(power=STOPPED)
        elif idle:
            yield "withdrawn", 0, True, Worker()

    def _without(self, scene: int, who: int) -> int:
        """The scene once this worker's process is gone."""
        seen = self.scenes[scene]
        return scene if seen.slots[who] is None else self.scenes.number(with_slot(seen, who, None))

    def _aged(self, scene: int, who: int, power: int) -> int:
        """The scene once a new process of this worker has written its presence."""
        renaming = self._aging.get((who, power))
        if renaming is None:
            renaming = self._aging[who, power] = Renaming(self.stepper, _aging(self.names[who], power))
        return self.scenes.number(renaming.scene(self.scenes[scene]))

    def exchanged(self, order: tuple[int, ...]) -> Exchange:
        """The world with its workers in another order."""
        return Exchange(self, order)


class Exchange:
    """States with the workers' places exchanged."""

    def __init__(self, world: World, order: tuple[int, ...]) -> None:
        self._world = world
        self._order = order
        names = {world.names[old]: world.names[new] for new, old in enumerate(order)}

        def renamed(owner: Owner) -> Owner:
            return replace(owner, vm_id=names.get(owner.vm_id, owner.vm_id))

        self._renaming = Renaming(world.stepper, renamed)
        self._workers: dict[int, int] = {}
        self._scenes: dict[int, int] = {}

    def workers(self, number: int) -> int:
        exchanged = self._workers.get(number)
        if exchanged is None:
            crew = self._world.workers[number]
            exchanged = self._workers[number] = self._world.workers.number(tuple(crew[old] for old in self._order))
        return exchanged

    def scene(self, number: int) -> int:
        exchanged = self._scenes.get(number)
        if exchanged is None:
            seen = self._renaming.scene(self._world.scenes[number])
            seen = seen._replace(slots=tuple(seen.slots[old] for old in self._order))
            exchanged = self._scenes[number] = self._world.scenes.number(seen)
        return exchanged


def _aging(name: str, power: int) -> Callable[[Owner], Owner]:
    """What becomes of the owners of a worker when its next process starts."""
    fate = {CRASHED: DIED, STOPPED: ENDED, EVICTED: TAKEN}[power]

    def aged(owner: Owner) -> Owner:
        if owner.vm_id != name:
            return owner
        process = fate if owner.process == NOW else owner.process
        return replace(owner, boot_id=BEFORE if power == EVICTED else owner.boot_id, process=process)

    return aged
