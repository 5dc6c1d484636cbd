"""Explores a world, fewest faults first and then breadth first, and finds the shortest way into trouble.

Theory of operation
-------------------
A state that was reached with few faults can do all that it could do had it been reached with more. So each state is
looked at once, with the fewest faults that lead to it, and the faults still to spend are no part of the state. States
that differ only by the names of their workers, or by the order of their messages, are one state.

Progress is checked on the fair moves alone, which is the world with its faults switched off. If no cycle is made of
them, every run of them ends; if every state without one is settled, every run ends well, from every state reached.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

from fsm.checker.breach import Breach
from fsm.checker.circles import first_circle
from fsm.checker.scene import NONE
from fsm.checker.turn import Action, Move
from fsm.checker.words import Teller
from fsm.checker.world import World
from fsm.errors import MisuseError
from fsm.promises import Promise

State = tuple[int, ...]
"""The number of the workers, and then of each message's scene."""


class Way(NamedTuple):
    """One step of a search: what it costs, where it leads, what happens, to which message (NONE: to all)."""

    cost: int
    fair: bool
    state: State
    action: Action
    message: int
    breaches: tuple[Breach, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A broken promise, and the way to it in words."""

    promise: str
    what: str
    trace: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a search found.

    Attributes:
        states, moves: how many were looked at.
        settled: how many of the states are ends.
        troubles: one for each promise that is broken, by the shortest way.
    """

    states: int
    moves: int
    settled: int
    troubles: tuple[Trouble, ...]


class Search:
    """One exploration of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        orders = list(permutations(range(world.scenario.workers)))[1:]
        self._exchanges = [world.exchanged(order) for order in orders]
        self._index: dict[State, int] = {}
        self._states: list[State] = []
        self._parents = array("q")
        self._fair: list[tuple[int, ...]] = []
        self._moves_of: dict[tuple[int, int, bool], list[Move]] = {}
        self._troubles: dict[str, Trouble] = {}

    def run(self, *, stop_at_first: bool = False) -> Outcome:
        """Explore everything within the scenario's faults, or everything up to the first trouble."""
        frontier = {self._canonical(self.world.start()): NONE}
        moves = settled = 0
        for faults in range(self.world.scenario.faults + 1):
            faulty = faults < self.world.scenario.faults
            following: dict[State, int] = {}
            level = [self._add(state, parent) for state, parent in frontier.items() if state not in self._index]
            for here in level:
                state, fair = self._states[here], []
                for way in self._ways_or_trouble(here, faulty=faulty):
                    moves += 1
                    starving = self._starving(way, faults)
                    if way.breaches or starving:
                        self._note(here, way, way.breaches or starving)
                    if starving:  # and so on for ever: what follows is not looked at
                        fair.append(here)
                        continue
                    canonical = self._canonical(way.state)
                    there = self._index.get(canonical)
                    if there is None and way.cost > 0:
                        following.setdefault(canonical, here)
                    elif there is None:
                        there = self._add(canonical, here)
                        level.append(there)
                    if way.fair and there is not None and there != here:
                        fair.append(there)
                self._fair[here] = tuple(there for there in fair if there != here)
                if self._settled(state):
                    settled += 1
                elif not fair:
                    self._note_stuck(here)
                if stop_at_first and self._troubles:
                    return self._outcome(moves, settled)
            frontier = following
        self._check_for_circles()
        return self._outcome(moves, settled)

    def ways(self, state: State, *, faulty: bool = True) -> Iterator[Way]:
        """Everything that can happen next; without the faults unless `faulty`."""
        workers, scenes = state[0], state[1:]
        for message, scene in enumerate(scenes):
            if message and scene == scenes[message - 1]:
                continue
            for move in self._moves(workers, scene, faulty=faulty):
                after = (workers, *scenes[:message], move.scene, *scenes[message + 1 :])
                yield Way(move.cost, move.fair, after, move.action, message, move.breaches)
        for upheaval in self.world.upheavals(workers, scenes, faulty=faulty):
            after = (upheaval.workers, *upheaval.scenes)
            yield Way(upheaval.cost, upheaval.fair, after, upheaval.action, NONE, ())

    def _ways_or_trouble(self, here: int, *, faulty: bool) -> Iterator[Way]:
        """The ways on; an event that the protocol does not know is trouble, and no way."""
        try:
            yield from self.ways(self._states[here], faulty=faulty)
        except (AssertionError, MisuseError) as exc:
            promise = Promise.ROW_BY_ROW
            what = f"what happens next is not decided: {str(exc) or 'an assertion of the protocol fails'}"
            trace = self._told(here)[:-1]  # it is not an end
            self._troubles.setdefault(promise, Trouble(promise=promise, what=what, trace=trace))

    def _moves(self, workers: int, scene: int, *, faulty: bool) -> list[Move]:
        """The moves of one message; with several messages the same ones are asked for again and again."""
        if self.world.scenario.messages == 1:
            return self.world.moves(workers, scene, faulty=faulty)
        key = (workers, scene, faulty)
        moves = self._moves_of.get(key)
        if moves is None:
            moves = self._moves_of[key] = self.world.moves(workers, scene, faulty=faulty)
        return moves

    def _add(self, state: State, parent: int) -> int:
        number = self._index[state] = len(self._states)
        self._states.append(state)
        self._parents.append(parent)
        self._fair.append(())
        return number

    def _canonical(self, state: State) -> State:
        """The one state that stands for all that differ by names and order only."""
        best = (state[0], *sorted(state[1:]))
        for exchange in self._exchanges:
            other = (exchange.workers(state[0]), *sorted(exchange.scene(scene) for scene in state[1:]))
            best = min(best, other)
        return best

    def _settled(self, state: State) -> bool:
        return all(self.world.settled(scene) for scene in state[1:])

    # -- trouble --------------------------------------------------------------------------------------------------

    def _outcome(self, moves: int, settled: int) -> Outcome:
        return Outcome(states=len(self._states), moves=moves, settled=settled, troubles=tuple(self._troubles.values()))

    def _starving(self, way: Way, faults: int) -> tuple[Breach, ...]:
        """Whether the message is received more often than the faults so far explain."""
        if way.action.kind != "receive":
            return ()
        received = self.world.scenes[way.state[1 + way.message]].epoch - self.world.scenario.epoch
        if received <= 1 + faults + way.cost:
            return ()
        return (Breach(Promise.ALWAYS_COMES_BACK, f"received {received} times, with {faults} faults to excuse it"),)

    def _note(self, here: int, way: Way, breaches: tuple[Breach, ...]) -> None:
        for breach in breaches:
            if breach.promise not in self._troubles:
                trace = self._told(here, last=way)
                self._troubles[breach.promise] = Trouble(promise=breach.promise, what=breach.what, trace=trace)

    def _note_stuck(self, here: int) -> None:
        if Promise.ALWAYS_COMES_BACK not in self._troubles:
            what = "nothing more happens by itself, and the message is neither completed nor poisoned"
            promise = Promise.ALWAYS_COMES_BACK
            self._troubles[promise] = Trouble(promise=promise, what=what, trace=self._told(here))

    def _check_for_circles(self) -> None:
        """Where fair moves can go round in a circle, something can happen for ever that is no end."""
        if Promise.ALWAYS_COMES_BACK in self._troubles:
            return
        circle = first_circle(self._fair)
        if circle:
            what = "the same things can happen again and again without a fault, and no end comes of them"
            promise = Promise.ALWAYS_COMES_BACK
            trace = self._told(circle[0], around=(*circle[1:], circle[0]))
            self._troubles[promise] = Trouble(promise=promise, what=what, trace=trace)

    def _told(self, here: int, *, last: Way | None = None, around: tuple[int, ...] = ()) -> tuple[str, ...]:
        """The way from the start, in words: walked again with every worker under its own name.

        Args:
            here: the state it leads to.
            last: a step that is taken there, and the end of the story.
            around: states that come next, again and again; without them or a last step, nothing comes next.
        """
        path = []
        while here != NONE:
            path.append(self._states[here])
            here = self._parents[here]
        path.reverse()
        teller = Teller(self.world)
        state, lines = self.world.start(), []
        for goal in path[1:]:
            alike = [way for way in self.ways(state) if self._canonical(way.state) == goal]
            way = min(alike, key=lambda way: way.cost)
            lines.append(teller.tell(state, way.state, way.action, way.message))
            state = way.state
        if last is not None:
            goal = self._canonical(last.state)
            alike = [way for way in self.ways(state) if self._canonical(way.state) == goal]
            way = next(way for way in alike if way.action.kind == last.action.kind and way.breaches == last.breaches)
            return (*lines, teller.tell(state, way.state, way.action, way.message))
        for goal in (self._states[there] for there in around):
            way = next(way for way in self.ways(state) if way.fair and self._canonical(way.state) == goal)
            lines.append(teller.tell(state, way.state, way.action, way.message))
            state = way.state
        return (*lines, teller.tell_circle(len(around)) if around else teller.tell_end(state))
