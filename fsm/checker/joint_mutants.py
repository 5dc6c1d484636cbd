"""The joint rules with one thing wrong: each must be noticed, or be proven to be the same machine.

A mutant has a rule removed, its consequence replaced by each other one, a state taken from its moves or added to them,
or an atom of its guard flipped or dropped. It dies when the coupling does not build, when the joint machine breaks a
promise. One that lives must lead every step from every state where it led, or stand among those with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import islice

from fsm.application import AppTrigger
from fsm.checker.joint import Joint, Machines
from fsm.checker.joint_search import JointSearch
from fsm.checker.report import Check, Finding
from fsm.errors import IllegalTableError
from fsm.job import JobTrigger
from fsm.joint import (
    AFTER_APPLICATION,
    AFTER_JOB,
    AFTER_VM,
    Consequence,
    Coupling,
    DropJobs,
    FireApplication,
    FireJobs,
    JointFact,
    JointRow,
)
from fsm.table import FactT, StateT, TriggerT

CONSEQUENCES: tuple[Consequence | None, ...] = (
    None,
    *(FireApplication(trigger) for trigger in AppTrigger),
    *(FireJobs(trigger) for trigger in JobTrigger),
    DropJobs(),
)
Build = Callable[[], Machines]

REASONS = {
    f"rule {rule} sets off shutdown in the application": (
        "with a notice or a stop pending the shutdown comes anyhow, and with neither the application ignores it"
    )
    for rule in ("C7", "C8")
}
"""Why a mutant may do something else, and break nothing."""


def joint_mutants() -> Iterator[tuple[str, Build]]:
    """Every set of joint rules that differs from ours in one thing: what is wrong, and how it is built."""
    for name, vm_rules in _mutants_of(AFTER_VM):
        yield name, partial(Machines, vm_rules=vm_rules)
    for name, application_rules in _mutants_of(AFTER_APPLICATION):
        yield name, partial(Machines, application_rules=application_rules)
    for name, job_rules in _mutants_of(AFTER_JOB):
        yield name, partial(Machines, job_rules=job_rules)


def _mutants_of(
    coupling: Coupling[StateT, TriggerT, FactT],
) -> Iterator[tuple[str, tuple[JointRow[StateT], ...]]]:
    for at, rule in enumerate(coupling.rows):
        before, after = coupling.rows[:at], coupling.rows[at + 1 :]
        yield f"rule {rule.id} is removed", before + after
        for what, changed in _changed(coupling, rule):
            yield f"rule {rule.id} {what}", (*before, changed, *after)


def _changed(
    coupling: Coupling[StateT, TriggerT, FactT], rule: JointRow[StateT]
) -> Iterator[tuple[str, JointRow[StateT]]]:
    for fires in CONSEQUENCES:
        if fires != rule.fires:
            yield f"sets off {_told(fires)}", replace(rule, fires=fires)
    for state in coupling.table.states:
        yield f"is about leaving {str(state)!r}, or not", replace(rule, leaves=_toggled(rule.leaves, state))
        yield f"is about entering {str(state)!r}, or not", replace(rule, enters=_toggled(rule.enters, state))
    for fact in JointFact:
        for sign, when, unless in (("true", (fact,), ()), ("false", (), (fact,)), ("either way", (), ())):
            if (when, unless) != (rule.when, rule.unless):
                yield f"wants {str(fact)!r} {sign}", replace(rule, when=when, unless=unless)


def _toggled(states: tuple[StateT, ...], state: StateT) -> tuple[StateT, ...]:
    return tuple(one for one in states if one is not state) if state in states else (*states, state)


def _told(consequence: Consequence | None) -> str:
    match consequence:
        case None:
            return "nothing"
        case FireApplication(trigger=app_trigger):
            return f"{app_trigger} in the application"
        case FireJobs(trigger=job_trigger):
            return f"{job_trigger} in the jobs"
        case DropJobs():
            return "the loss of the jobs"


def check_joint_mutants(*, shard: int = 0, shards: int = 1) -> Check:
    """Every mutant of the joint rules dies, or is the same machine; of so many shards of them, look at this one."""
    counts = {"mutants": 0, "refused when built": 0, "killed": 0, "the same machine": 0, "harmless": 0}
    findings, notes = [], []
    ours = Machines()
    for name, build in islice(joint_mutants(), shard, None, shards):
        counts["mutants"] += 1
        try:
            machines = build()
        except IllegalTableError:
            counts["refused when built"] += 1
            continue
        if _decisions(machines) == _decisions(ours):
            counts["the same machine"] += 1
            notes.append(f"{name}: the same machine, it sets off the same on every move that there is")
            continue
        search = JointSearch(machines)
        if search.run(stop_at_first=True).findings:
            counts["killed"] += 1
        elif search.graph == _our_graph():
            counts["the same machine"] += 1
            notes.append(f"{name}: the same machine, every step from every state leads where it led")
        elif name in REASONS:
            counts["harmless"] += 1
            notes.append(f"{name}: harmless, {REASONS[name]}")
        else:
            findings.append(Finding(promise="the checker is checked", what=f"not noticed: {name}"))
    return Check(name="mutants: joint rules", counts=counts, findings=tuple(findings), notes=tuple(notes))


def _decisions(machines: Machines) -> list[Consequence | None]:
    """What is set off by each move of each machine."""
    return [*_fired(machines.after_vm), *_fired(machines.after_application), *_fired(machines.after_job)]


def _fired(coupling: Coupling[StateT, TriggerT, FactT]) -> Iterator[Consequence | None]:
    for left, entered in coupling.moves():
        for all_settled in (False, True):
            rule = coupling.rule_for(left, entered, all_settled=all_settled)
            yield None if rule is None else rule.fires


@cache
def _our_graph() -> dict[Joint, frozenset[tuple[str, Joint]]]:
    search = JointSearch(Machines())
    search.run()
    return search.graph
