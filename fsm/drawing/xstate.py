"""Machines as XState 5 configurations, in JSON, for its visualizer and its `createMachine`.

A guard is named by its words, so that a picture can show it, and carries its facts as parameters, so that one function
can stand for all of them: it holds if every fact of `when` holds and none of `unless`. A transition without a target
stays where it is and enters nothing anew. What a person is told is a transition's description; its row's id is under
`meta`. https://stately.ai/docs/machines and https://stately.ai/docs/guards
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import assert_never

from fsm.application import APPLICATION
from fsm.delivery import Phase
from fsm.drawing.joint import NAME as JOINT
from fsm.drawing.protocol import NAME as PROTOCOL
from fsm.drawing.protocol import protocol_rules
from fsm.job import ENDED, JOB, JobFact, JobState
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
from fsm.table import FactT, Row, StateT, Table, TriggerT

_NO_JOB = "NoJob"
"""The joint machine's job before a message is received, and after a process has taken it along."""
_RECEIVE, _VANISH = f"{JOB.name}.receive", f"{JOB.name}.vanish"
"""What happens to a joint machine's job besides the triggers of its table."""

_Transition = tuple[str, Mapping[str, object]]
"""An event, and what XState calls a transition on it."""
_SIGNS = (False, True)


def render_xstate(table: Table[StateT, TriggerT, FactT]) -> str:
    """A table as an XState machine: its triggers are the events."""
    states = {}
    for state in table.states:
        rows = [row for row in table.rows if state in row.source]
        transitions = [(row.trigger.value, _of_row(row, state)) for row in rows]
        states[state.value] = _state(transitions, final=state in table.final)
    return _text({"id": table.name, "initial": table.initial.value, "states": states})


def render_protocol_xstate() -> str:
    """The delivery protocol as an XState machine: its phases are the states, what can happen is the events."""
    states = {}
    for phase in Phase:
        transitions = [
            (
                rule.event,
                {
                    **({} if rule.after is None else {"target": rule.after.value}),
                    **_guard(rule.when, rule.unless),
                    "meta": {"rows": rule.rows},
                },
            )
            for rule in protocol_rules()
            if phase in rule.phases
        ]
        states[phase.value] = _state(transitions, final=phase is Phase.ENDED)
    return _text({"id": PROTOCOL, "initial": Phase.NEW.value, "states": states})


def render_joint_xstate() -> str:
    """The three machines side by side, with one job, coupled by the joint rules.

    Events are named `machine.trigger`. What a joint rule sets off is an action of the transition that the rule is
    about, named by the event it puts. A row whose moves are decided in two ways is there once for each.
    """
    job = _couplings(AFTER_JOB)
    receive = {"target": JobState.RECEIVED.value, **_guard((), (JobFact.DRAINING,))}
    for place in (_NO_JOB, *(state.value for state in ENDED)):
        job.setdefault(place, []).append((_RECEIVE, receive))
    for state in (JobState.RECEIVED, JobState.RUNNING):
        job[state.value].append((_VANISH, {"target": _NO_JOB}))
    regions = {
        AFTER_VM.table.name: _region(_couplings(AFTER_VM), AFTER_VM.table.initial.value),
        AFTER_APPLICATION.table.name: _region(_couplings(AFTER_APPLICATION), AFTER_APPLICATION.table.initial.value),
        JOB.name: _region(job, _NO_JOB),
    }
    return _text({"id": JOINT, "type": "parallel", "states": regions})


# -- the joint machine's regions -----------------------------------------------------------------------------------


def _couplings(coupling: Coupling[StateT, TriggerT, FactT]) -> dict[str, list[_Transition]]:
    """The transitions of each state of a table, with what the joint rules set off."""
    name = coupling.table.name
    return {
        state.value: [
            (f"{name}.{row.trigger.value}", transition)
            for row in coupling.table.rows
            if state in row.source
            for transition in _coupled(coupling, row, state)
        ]
        for state in coupling.table.states
    }


def _coupled(
    coupling: Coupling[StateT, TriggerT, FactT], row: Row[StateT, TriggerT, FactT], state: StateT
) -> Iterator[Mapping[str, object]]:
    """A row in a state, once for each joint rule that can decide its move."""
    moves = {all_settled: coupling.rule_for(state, row.after(state), all_settled=all_settled) for all_settled in _SIGNS}
    rules = dict.fromkeys(moves.values())
    for rule in rules:
        when: tuple[str, ...] = () if rule is None or len(rules) == 1 else rule.when
        unless: tuple[str, ...] = () if rule is None or len(rules) == 1 else rule.unless
        yield {**_of_row(row, state, when=when, unless=unless), **_actions(rule)}


def _actions(rule: JointRow[StateT] | None) -> Mapping[str, object]:
    """What a joint rule sets off, as an action."""
    if rule is None or rule.fires is None:
        return {}
    event = _event(rule.fires)
    return {"actions": [{"type": event, "params": {"event": event, "rule": rule.id}}]}


def _event(fires: Consequence) -> str:
    match fires:
        case FireApplication(trigger=trigger):
            return f"{APPLICATION.name}.{trigger.value}"
        case FireJobs(trigger=trigger):
            return f"{JOB.name}.{trigger.value}"
        case DropJobs():
            return _VANISH
        case _:
            assert_never(fires)


def _region(transitions: Mapping[str, Sequence[_Transition]], initial: str) -> Mapping[str, object]:
    return {"initial": initial, "states": {name: _state(found) for name, found in transitions.items()}}


# -- the parts -----------------------------------------------------------------------------------------------------


def _of_row(
    row: Row[StateT, TriggerT, FactT], state: StateT, *, when: Sequence[str] = (), unless: Sequence[str] = ()
) -> Mapping[str, object]:
    """A row as a transition from this state, its guard narrowed by further facts."""
    target: Mapping[str, object] = {} if row.dest is None else {"target": row.dest.value}
    again: Mapping[str, object] = {"reenter": True} if row.dest == state else {}
    meta = {"row": row.id, "verdict": row.verdict.value}
    guard = _guard((*row.when, *when), (*row.unless, *unless))
    return {**target, **again, **guard, "description": row.outcome, "meta": meta}


def _guard(when: Sequence[str], unless: Sequence[str]) -> Mapping[str, object]:
    """A guard that is named by its words; nothing for no guard."""
    words = ", ".join([*when, *(f"not {fact}" for fact in unless)])
    return {"guard": {"type": words, "params": {"when": [*when], "unless": [*unless]}}} if words else {}


def _state(transitions: Iterable[_Transition], *, final: bool = False) -> Mapping[str, object]:
    """A state with its transitions by their event."""
    on: dict[str, list[Mapping[str, object]]] = {}
    for event, transition in transitions:
        on.setdefault(event, []).append(transition)
    return {**({"type": "final"} if final else {}), **({"on": on} if on else {})}


def _text(machine: Mapping[str, object]) -> str:
    return json.dumps(machine, indent=2, ensure_ascii=False) + "\n"
