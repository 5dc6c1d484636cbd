"""The search for circles, against a definition that looks at everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fsm.checker.circles import first_circle

GRAPHS = st.integers(1, 8).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, size - 1), max_size=3), min_size=size, max_size=size)
)


def shortest_round(following: list[list[int]], start: int) -> int | None:
    """How many steps the shortest way from a node back to itself takes, or None if there is none."""
    reached = set(following[start])
    for steps in range(1, len(following) + 1):
        if start in reached:
            return steps
        reached |= {there for here in reached for there in following[here]}
    return None


@given(following=GRAPHS)
def test_the_first_node_on_a_circle_is_found_with_a_shortest_way_round(following: list[list[int]]) -> None:
    """None where every run ends; else the smallest node that comes back to itself, by as few steps as can be."""
    rounds = {here: steps for here in range(len(following)) if (steps := shortest_round(following, here))}
    circle = first_circle(following)
    if not rounds:
        assert circle == ()
        return
    first = min(rounds)
    assert circle[0] == first
    assert len(circle) == rounds[first]
    assert all(there in following[here] for here, there in zip(circle, (*circle[1:], first), strict=True))
