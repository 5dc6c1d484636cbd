"""A picture before it has a format: nodes, edges with their labels, and what a drawn path did to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from fsm.drawing.label import TIMES, Label


class Shape(StrEnum):
    """What a node stands for."""

    STATE = "state"
    ANY = "any"
    """Every state that an edge leaves, where they are too many to draw the edge from each."""
    MOVE = "move"
    """A change of state of some machine, as the joint rules see it."""
    EFFECT = "effect"
    """What a joint rule sets off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node.

    Attributes:
        name: without spaces, and the node's own within the picture.
        lines: what stands in it.
        initial: a fresh machine begins here.
        final: no row leaves it.
        visits: how often the drawn path came here.
        present: how many machines of the drawn path stand here now.
    """

    name: str
    lines: tuple[str, ...]
    shape: Shape = Shape.STATE
    initial: bool = False
    final: bool = False
    visits: int = 0
    present: int = 0

    @property
    def remark(self) -> str:
        """What the drawn path did here, in words; empty where it did not come by."""
        if not self.present:
            return f"{TIMES}{self.visits}" if self.visits else ""
        return f"{TIMES}{self.visits}, {'now here' if self.present == 1 else f'{self.present} are here now'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One edge.

    Attributes:
        source, dest: names of nodes.
        label: unbroken; every format breaks it to its own width.
        dotted: a way in which one thing leads to another, not a step.
        taken: whether the drawn path went here.
    """

    source: str
    dest: str
    label: Label
    dotted: bool = False
    taken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What there is to see.

    Attributes:
        name: as the machine is called on the command line.
        title: for people.
        reading: how to read it, in one line.
        nodes, edges: in an order that comes from the tables.
        is_path: whether a path is drawn into it.
    """

    name: str
    title: str
    reading: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    is_path: bool = False

    @property
    def is_machine(self) -> bool:
        """Whether the nodes are states; otherwise they are moves and effects."""
        return all(node.shape in (Shape.STATE, Shape.ANY) for node in self.nodes)


def node_name(text: str) -> str:
    """A state's name as one word."""
    return re.sub(r"\W+", "_", text)
