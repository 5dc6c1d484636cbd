"""The joint rules as a picture: a box is a move of a machine, a rounded box is what the move sets off.

A dotted edge names the rows by which that leads to a next move. Rules that set nothing off on purpose say so: they
lead to a box of that name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

from fsm.application import APPLICATION
from fsm.drawing.journey import JointJourney
from fsm.drawing.label import TIMES, Ink, Piece, clause, guard, row
from fsm.drawing.picture import Edge, Node, Picture, Shape
from fsm.job import JOB
from fsm.joint import (
    AFTER_APPLICATION,
    AFTER_JOB,
    AFTER_VM,
    Consequence,
    Coupling,
    DropJobs,
    FireApplication,
    FireJobs,
    JointRow,
)
from fsm.table import FactT, StateT, Table, TriggerT

NAME = "joint"
READING = "a box is a move of a machine, a rounded box what it sets off, a dotted edge the rows by which that leads on"
PATH_READING = f"{READING}; {TIMES} is how often"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A joint rule in words, and the rows of its own machine that make one of its moves, by their event."""

    id: str
    machine: str
    leaves: str
    enters: str
    guard: tuple[str, ...]
    fires: Consequence | None
    outcome: str
    why: str
    rests_on: str
    made_by: Mapping[str, tuple[str, ...]]

    @property
    def box(self) -> tuple[str, ...]:
        """The move, as it stands in its box."""
        return (f"{self.machine}:", self.leaves, f"to {self.enters}")


def joint_picture(title: str, journey: JointJourney | None = None) -> Picture:
    """The joint rules as a picture, with what became of them on a path if there is one."""
    path = journey or JointJourney()
    rules = [(rule, rule.fires) for rule in joint_rules()]
    boxes: dict[tuple[str, ...], Shape] = {}
    visits: Counter[tuple[str, ...]] = Counter()
    for rule, fires in rules:
        boxes |= {rule.box: Shape.MOVE, (consequence(fires),): Shape.EFFECT}
        visits[rule.box] += path.rules.get(rule.id, 0)
        visits[consequence(fires),] += path.rules.get(rule.id, 0)
    names = {box: f"n{place}" for place, box in enumerate(boxes)}
    effects = {fires: names[consequence(fires),] for _, fires in rules}
    solid = [
        Edge(
            source=names[rule.box],
            dest=effects[fires],
            label=(clause([guard(rule.guard)], [row(rule.id, rule.outcome, times=path.rules.get(rule.id, 0))]),),
            taken=rule.id in path.rules,
        )
        for rule, fires in rules
    ]
    dotted = [
        Edge(
            source=name,
            dest=names[rule.box],
            label=(((Piece(", ".join(ids), Ink.ROW),),),),
            dotted=True,
            taken=any(one in path.rows for one in ids),
        )
        for fires, name in effects.items()
        for rule, _ in rules
        for trigger, ids in rule.made_by.items()
        if fires is not None and _event(fires) == (rule.machine, trigger)
    ]
    return Picture(
        name=NAME,
        title=title,
        reading=READING if journey is None else PATH_READING,
        nodes=tuple(Node(name=names[box], lines=box, shape=shape, visits=visits[box]) for box, shape in boxes.items()),
        edges=tuple(dict.fromkeys(solid + dotted)),
        is_path=journey is not None,
    )


def joint_rules() -> list[Rule]:
    """Every joint rule, in words."""
    return [*_in_words(AFTER_VM), *_in_words(AFTER_APPLICATION), *_in_words(AFTER_JOB)]


def _in_words(coupling: Coupling[StateT, TriggerT, FactT]) -> list[Rule]:
    return [
        Rule(
            id=rule.id,
            machine=coupling.table.name,
            leaves=_names(rule.leaves),
            enters=_names(rule.enters),
            guard=(*(fact.value for fact in rule.when), *(f"not {fact.value}" for fact in rule.unless)),
            fires=rule.fires,
            outcome=rule.outcome,
            why=rule.why,
            rests_on=rule.rests_on,
            made_by=_made_by(coupling.table, rule),
        )
        for rule in coupling.rows
    ]


def _made_by(table: Table[StateT, TriggerT, FactT], rule: JointRow[StateT]) -> Mapping[str, tuple[str, ...]]:
    made: dict[str, tuple[str, ...]] = {}
    for one in table.rows:
        if any(state in rule.leaves and one.after(state) in rule.enters for state in one.source):
            made[one.trigger.value] = (*made.get(one.trigger.value, ()), one.id)
    return made


def consequence(fires: Consequence | None) -> str:
    """A consequence in words."""
    match fires:
        case None:
            return "nothing"
        case FireApplication(trigger=trigger):
            return f"application: {trigger.value}"
        case FireJobs(trigger=trigger):
            return f"each unsettled job: {trigger.value}"
        case DropJobs():
            return "each unsettled job vanishes"
        case _:
            assert_never(fires)


def _event(fires: Consequence) -> tuple[str, str] | None:
    """The machine that a consequence puts an event to, and the event."""
    match fires:
        case FireApplication(trigger=trigger):
            return APPLICATION.name, trigger.value
        case FireJobs(trigger=trigger):
            return JOB.name, trigger.value
        case DropJobs():
            return None
        case _:
            assert_never(fires)


def _names(states: Iterable[StateT]) -> str:
    return ", ".join(state.value for state in states)
