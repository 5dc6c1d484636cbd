"""XState itself runs every exported configuration, and decides each cell as the tables and the protocol do."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import assert_never

import pytest

from fsm.application import APPLICATION, AppFact, AppState, AppTrigger
from fsm.delivery import Phase
from fsm.drawing import Format, Machine, drawing_of
from fsm.job import JOB, JobFact, JobState, JobTrigger
from fsm.joint import (
    AFTER_APPLICATION,
    AFTER_JOB,
    AFTER_VM,
    Coupling,
    DropJobs,
    FireApplication,
    FireJobs,
    JointFact,
)
from fsm.protocol_steps import protocol_steps
from fsm.spot_vm import SPOT_VM, VmFact, VmState, VmTrigger
from fsm.table import FactT, StateT, Table, TriggerT
from tests.consumers.node import answers

pytestmark = pytest.mark.node


@dataclass(frozen=True)
class Case:
    """An event in a state, and where it must lead, decided by what."""

    state: object
    type: str
    facts: list[str]
    value: object
    metas: list[dict[str, object]] | None


def check(machine: Machine, cases: list[Case]) -> None:
    """Let XState decide every case.

    It takes the first transition whose guard holds: so it is asked twice, in the order they stand and the other way
    round, which must make no difference.
    """
    config = json.loads(drawing_of(machine).text(Format.XSTATE))
    asked = [{"state": case.state, "type": case.type, "facts": case.facts} for case in cases]
    for one in (config, turned(config)):
        for case, answer in zip(cases, answers("xstate.mjs", {"machine": one, "cases": asked}), strict=True):
            assert answer["value"] == case.value, (case, answer)
            assert case.metas is None or answer["metas"] == case.metas, (case, answer)


def turned(value: object) -> object:
    """A configuration with the transitions of each event in the opposite order."""
    if not isinstance(value, dict):
        return value
    return {name: part[::-1] if isinstance(part, list) else turned(part) for name, part in value.items()}


def cells(table: Table[StateT, TriggerT, FactT]) -> Iterator[Case]:
    for cell in table.cells():
        row = table.row_for(cell.state, cell.trigger, cell.facts)
        yield Case(
            state=cell.state.value,
            type=cell.trigger.value,
            facts=[fact.value for fact in sorted(cell.facts)],
            value=row.after(cell.state).value,
            metas=[{"row": row.id, "verdict": row.verdict.value}],
        )


@pytest.mark.parametrize(
    ("machine", "cases"),
    [(Machine.SPOT_VM, [*cells(SPOT_VM)]), (Machine.APPLICATION, [*cells(APPLICATION)]), (Machine.JOB, [*cells(JOB)])],
    ids=["spot_vm", "application", "job"],
)
def test_xstate_decides_every_cell_as_the_table_does(machine: Machine, cases: list[Case]) -> None:
    """In every cell the transition that XState takes is the table's row, and it leads where the row leads."""
    check(machine, cases)


def test_xstate_takes_every_step_of_the_protocol() -> None:
    """From every phase, each event leads to the phase that the code goes to, under each of the facts that were seen."""
    check(
        Machine.DELIVERY,
        [
            Case(
                state=step.phase.value,
                type=step.event,
                facts=sorted(fact.value for fact in step.facts),
                value=step.after.value,
                metas=None,
            )
            for step in protocol_steps()
            if step.phase is not Phase.ENDED
        ],
    )


# -- the joint machine -------------------------------------------------------------------------------------------------

NO_JOB = "NoJob"
UNSETTLED = (JobState.RECEIVED, JobState.RUNNING)
SEED = 2026
Event = tuple[str, str]


@dataclass(frozen=True)
class Joint:
    """The three machines with one job, run by their tables and the joint rules."""

    vm: VmState
    app: AppState
    job: JobState | None

    @property
    def value(self) -> dict[str, str]:
        """As XState has it."""
        job = NO_JOB if self.job is None else self.job.value
        return {SPOT_VM.name: self.vm.value, APPLICATION.name: self.app.value, JOB.name: job}

    def after(self, event: Event, facts: frozenset[str]) -> Joint:
        """Take an event, and whatever the joint rules set off, under the same facts."""
        here, waiting = self, deque([event])
        while waiting:
            machine, trigger = waiting.popleft()
            if machine == SPOT_VM.name:
                vm, events = moved(AFTER_VM, here.vm, VmTrigger(trigger), known(VmFact, facts), facts)
                here = replace(here, vm=vm)
            elif machine == APPLICATION.name:
                app, events = moved(AFTER_APPLICATION, here.app, AppTrigger(trigger), known(AppFact, facts), facts)
                here = replace(here, app=app)
            elif trigger == "receive":
                free = here.job not in UNSETTLED and JobFact.DRAINING not in facts
                here, events = replace(here, job=JobState.RECEIVED if free else here.job), []
            elif trigger == "vanish":
                here, events = replace(here, job=None if here.job in UNSETTLED else here.job), []
            elif here.job is None:
                events = []
            else:
                job, events = moved(AFTER_JOB, here.job, JobTrigger(trigger), known(JobFact, facts), facts)
                here = replace(here, job=job)
            waiting += events
        return here


def known(kind: type[FactT], facts: frozenset[str]) -> frozenset[FactT]:
    """Those of the facts that a machine looks at."""
    return frozenset(fact for fact in kind if fact.value in facts)


def moved(
    coupling: Coupling[StateT, TriggerT, FactT],
    state: StateT,
    trigger: TriggerT,
    held: frozenset[FactT],
    facts: frozenset[str],
) -> tuple[StateT, list[Event]]:
    """Where a table leads, and the events that its move sets off."""
    row = coupling.table.row_for(state, trigger, held)
    events: list[Event] = []
    for consequence in coupling.consequences(row, state, all_settled=JointFact.ALL_SETTLED in facts):
        match consequence:
            case FireApplication(trigger=fired):
                events.append((APPLICATION.name, fired.value))
            case FireJobs(trigger=interrupt):
                events.append((JOB.name, interrupt.value))
            case DropJobs():
                events.append((JOB.name, "vanish"))
            case _:
                assert_never(consequence)
    return row.after(state), events


EVENTS: list[Event] = [
    *((SPOT_VM.name, trigger.value) for trigger in VmTrigger),
    *((APPLICATION.name, trigger.value) for trigger in AppTrigger),
    *((JOB.name, trigger.value) for trigger in JobTrigger),
    (JOB.name, "receive"),
    (JOB.name, "vanish"),
]
FACTS = [fact.value for kind in (VmFact, AppFact, JobFact, JointFact) for fact in kind]


def test_xstate_couples_the_machines_as_the_joint_rules_do() -> None:
    """In every joint state each event, under facts drawn from a seed, leads where the tables and the rules lead."""
    random = Random(SEED)
    cases = []
    for vm, app, job in product(VmState, AppState, (None, *JobState)):
        for event in EVENTS:
            joint = Joint(vm, app, job)
            facts = frozenset(fact for fact in FACTS if random.random() < 0.5)
            value = joint.after(event, facts).value
            cases.append(Case(state=joint.value, type=".".join(event), facts=sorted(facts), value=value, metas=None))
    assert sum(case.state != case.value for case in cases) > len(cases) / 10
    check(Machine.JOINT, cases)


def test_events_of_the_joint_machine_are_told_apart() -> None:
    """An event's name says whose it is, and the joint machine knows every one."""
    config = json.loads(drawing_of(Machine.JOINT).text(Format.XSTATE))
    states = [state for region in config["states"].values() for state in region["states"].values()]
    assert {event for state in states for event in state["on"]} == {".".join(event) for event in EVENTS}
    assert set(config["states"][JOB.name]["states"]) == {NO_JOB, *(state.value for state in JobState)}
