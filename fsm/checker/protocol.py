"""Explores the delivery protocol, and checks that breaking any of its rules is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fsm.checker.report import Check, Finding
from fsm.checker.sabotage import NOT_EXPLORED, SABOTAGES, Sabotage
from fsm.checker.scenario import (
    ABSENT,
    FAILING,
    FRESH,
    HOPELESS,
    KILLING,
    OVERTAKEN,
    PRUNED,
    REJECTED,
    STOPPED,
    STORELESS,
    WEARING,
    Scenario,
)
from fsm.checker.search import Outcome, Search, Trouble
from fsm.checker.world import World

QUICK = (
    FRESH,
    replace(FAILING, faults=1),
    replace(KILLING, faults=1),
    replace(FAILING, name="a job with one failure left, and one worker", workers=1),
    REJECTED,
    replace(STORELESS, faults=3),
    HOPELESS,
    WEARING,
    replace(PRUNED, faults=1),
    replace(ABSENT, faults=1),
    replace(OVERTAKEN, faults=1),
    replace(STOPPED, faults=1),
)
"""A few seconds: two workers and one message."""
DEEP = (
    replace(FRESH, faults=3),
    replace(FRESH, name="two messages", messages=2, faults=2, twins=False),
    replace(FRESH, name="three workers", workers=3, faults=2, twins=False),
    replace(FRESH, name="two checkpoints", checkpoints=2),
    FAILING,
    KILLING,
    replace(REJECTED, faults=3),
    replace(STORELESS, faults=4),
    replace(STORELESS, name="two messages without a job store", messages=2, faults=2),
    replace(HOPELESS, faults=3),
    PRUNED,
)
"""Minutes: more faults, more workers, more messages."""


def explore(scenario: Scenario) -> Outcome:
    """Everything that can happen to the protocol as it is."""
    return Search(World(scenario)).run()


def caught(sabotage: Sabotage) -> Trouble | None:
    """The shortest way in which a broken rule shows, or None where it does not.

    What comes of it is looked for first; only where nothing does, the step that breaks the rule is what shows.
    """
    for conduct in (False, True):
        world = World(sabotage.scenario, protocol=sabotage.protocol, physics=sabotage.physics, conduct=conduct)
        troubles = Search(world).run(stop_at_first=True).troubles
        if troubles:
            return troubles[0]
    return None


def scenario_name(scenario: Scenario) -> str:
    """What the check of a scenario is called."""
    numbers = {"worker": scenario.workers, "message": scenario.messages, "fault": scenario.faults}
    size = ", ".join(f"{number} {noun}{'' if number == 1 else 's'}" for noun, number in numbers.items())
    return f"protocol: {scenario.name} ({size})"


def check_scenario(scenario: Scenario) -> Check:
    """The promises, in every state of one scenario."""
    outcome = explore(scenario)
    return Check(
        name=scenario_name(scenario),
        counts={"states": outcome.states, "moves": outcome.moves, "ends": outcome.settled},
        findings=tuple(
            Finding(promise=trouble.promise, what=trouble.what, trace=trouble.trace) for trouble in outcome.troubles
        ),
    )


def check_sabotages(sabotages: Sequence[Sabotage] = SABOTAGES) -> Check:
    """Each rule broken in turn: what is not noticed is a finding."""
    findings: list[Finding] = []
    notes = [f"rule {rule}: not broken here, {reason}" for rule, reason in NOT_EXPLORED.items()]
    caught_ones = 0
    for sabotage in sabotages:
        trouble = caught(sabotage)
        named = f"rule {sabotage.rule}, {sabotage.name}"
        if trouble is None:
            findings.append(Finding(promise="the checker is checked", what=f"not noticed: {named}"))
        else:
            caught_ones += 1
            notes.append(f"{named}: {trouble.promise}, {trouble.what} ({len(trouble.trace)} steps)")
    return Check(
        name="protocol: each rule broken",
        counts={"sabotages": len(sabotages), "caught": caught_ones},
        findings=tuple(findings),
        notes=tuple(notes),
    )
