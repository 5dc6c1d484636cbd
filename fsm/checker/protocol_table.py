"""The delivery protocol as a table of rows, found by watching it in every state that the explorer reaches.

`fsm.delivery.advance` has no rows to remove or to turn elsewhere. What it does has: in a phase and a state of the job,
on a kind of event, it goes to a phase, makes a kind of call and takes rows of the job table. All the steps that agree
in this are one row here, and its guard is whatever told them from the others. `fsm.checker.protocol_mutants` changes
one row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from fsm.checker.scenario import Scenario
from fsm.checker.search import Search
from fsm.checker.stepper import honest
from fsm.checker.world import World
from fsm.delivery import Delivery, Event, Phase, Step, call_of
from fsm.job import JobState


class Question(NamedTuple):
    """What the protocol is asked: the arguments of `fsm.checker.stepper.Protocol`."""

    delivery: Delivery
    event: Event
    draining: bool


class ProtocolRow(NamedTuple):
    """Steps that do the same.

    Attributes:
        phase, state, event: where the delivery stands, and the kind of what happens.
        then, call, rows: where it goes, the call it makes (even if a renewal holds it back), the job rows it takes.
    """

    phase: Phase
    state: JobState
    event: str
    then: Phase
    call: str
    rows: tuple[str, ...]

    def __str__(self) -> str:
        went = "stays" if self.then is self.phase else str(self.then)
        then = ", ".join([went, *([self.call] if self.call else []), *self.rows])
        return f"{self.phase} ({self.state}), {self.event}: {then}"


def row_of(question: Question, step: Step) -> ProtocolRow:
    """The row that a step belongs to."""
    call = step.call
    if call is None and step.delivery.calling_queue and question.delivery.phase is not step.delivery.phase:
        call = call_of(replace(step.delivery, renewing=False))
    return ProtocolRow(
        phase=question.delivery.phase,
        state=question.delivery.state,
        event=type(question.event).__name__,
        then=step.delivery.phase,
        call="" if call is None else type(call).__name__,
        rows=tuple(taken.row.id for taken in step.taken),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the protocol was asked in one scenario.

    Attributes:
        asked: every question, in the order in which they came.
        by_place: the questions of each phase and kind of event, each with its number among all of them.
    """

    scenario: Scenario
    asked: dict[Question, None] = field(default_factory=dict)
    by_place: dict[tuple[Phase, str], list[tuple[int, Question]]] = field(default_factory=dict)


def watch(scenario: Scenario) -> Watched:
    """Explore the honest protocol, and note every question."""
    watched = Watched(scenario=scenario)

    def protocol(delivery: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
        question = Question(delivery, event, draining)
        if question not in watched.asked:
            numbered = (len(watched.asked), question)
            watched.asked[question] = None
            watched.by_place.setdefault((delivery.phase, type(event).__name__), []).append(numbered)
        return honest(delivery, event, draining)

    Search(World(scenario, protocol=protocol)).run()
    return watched


def rows_of(scenarios: Sequence[Watched]) -> tuple[ProtocolRow, ...]:
    """Every row, in the order in which they are met."""
    questions = (question for watched in scenarios for question in watched.asked)
    return tuple(dict.fromkeys(row_of(question, honest(*question)) for question in questions))
