"""Finds out whether a run can go on for ever, and tells the shortest circle it can go round in."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence


def first_circle(following: Sequence[Collection[int]]) -> tuple[int, ...]:
    """The first node that lies on a circle, and the others of its shortest circle in their order; empty if none does.

    Args:
        following: for each node, counted from 0, the nodes that can come next. One that follows itself is a circle.
    """
    endless = _peeled(following, set(range(len(following))))
    if not endless:
        return ()
    inside = [[there for there in following[here] if there in endless] for here in range(len(following))]
    preceding: list[list[int]] = [[] for _ in following]
    for here in endless:
        for there in inside[here]:
            preceding[there].append(here)
    for here in sorted(_peeled(preceding, endless)):
        circle = _round(inside, here)
        if circle:
            return circle
    raise AssertionError("a finite run that never ends comes back to where it was")


def _peeled(following: Sequence[Collection[int]], nodes: set[int]) -> set[int]:
    """The nodes from which a run can go on for ever: what is left without those that lead to peeled ones only."""
    leading = {here: len({there for there in following[here] if there in nodes}) for here in nodes}
    preceding: dict[int, list[int]] = {here: [] for here in nodes}
    for here in nodes:
        for there in {there for there in following[here] if there in nodes}:
            preceding[there].append(here)
    peeled = [here for here, count in leading.items() if count == 0]
    for there in peeled:
        for here in preceding[there]:
            leading[here] -= 1
            if leading[here] == 0:
                peeled.append(here)
    return nodes.difference(peeled)


def _round(following: Sequence[Collection[int]], start: int) -> tuple[int, ...]:
    """The shortest circle through this node, which comes first; empty if there is none."""
    came_from: dict[int, int] = {}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        for there in following[here]:
            if there == start:
                circle = [here]
                while circle[-1] != start:
                    circle.append(came_from[circle[-1]])
                return tuple(reversed(circle))
            if there not in came_from:
                came_from[there] = here
                waiting.append(there)
    return ()
