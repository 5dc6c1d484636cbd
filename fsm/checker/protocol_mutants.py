"""The delivery protocol with one thing wrong, in every way there is: each must be noticed, or be proven equivalent.

A mutant is an `fsm.checker.alterations.Alteration`. It is compared with the protocol on every question that the
explorer ever asks; one that answers all of them alike is the same protocol wherever it is reached. In every scenario in
which one differs it is explored, the one in which it shows soonest first, until something notices it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice

from fsm.checker.alterations import Alteration, alterations
from fsm.checker.protocol import QUICK
from fsm.checker.protocol_table import Question, Watched, rows_of, watch
from fsm.checker.report import Check, Finding
from fsm.checker.scenario import Scenario
from fsm.checker.search import Search, Trouble
from fsm.checker.stepper import honest
from fsm.checker.world import World
from fsm.delivery import Phase, Step

REASONS: dict[str, str] = {}
"""Why a mutant may answer otherwise, and break nothing."""


def _with_one_fault(scenarios: tuple[Scenario, ...]) -> tuple[Scenario, ...]:
    """Most mutants show after one fault, and where there can be no more, they show much sooner."""
    return tuple(replace(scenario, faults=min(scenario.faults, 1)) for scenario in scenarios)


@cache
def watched(scenarios: tuple[Scenario, ...]) -> tuple[Watched, ...]:
    """What the protocol is asked in these scenarios."""
    return tuple(watch(scenario) for scenario in scenarios)


def noticed(mutant: Alteration, scenarios: Sequence[Watched]) -> Trouble | None:
    """The shortest way in which a mutant shows, in the scenario in which it can show soonest."""
    for scenario in scenarios:
        troubles = Search(World(scenario.scenario, protocol=mutant)).run(stop_at_first=True).troubles
        if troubles:
            return troubles[0]
    return None


def differing(mutant: Alteration, scenarios: Iterable[Watched]) -> list[Watched]:
    """The scenarios in which a mutant answers otherwise than the protocol, soonest first."""
    found = []
    for at, scenario in enumerate(scenarios):
        asked = scenario.by_place.get((mutant.phase, mutant.event), ())
        soonest = next((number for number, question in asked if not _alike(mutant, question)), None)
        if soonest is not None:
            found.append((soonest, at, scenario))
    return [scenario for _, _, scenario in sorted(found, key=lambda one: one[:2])]


def _alike(mutant: Alteration, question: Question) -> bool:
    try:
        return _seen(mutant(*question)) == _seen(honest(*question))
    except AssertionError:
        return False


def _seen(step: Step) -> tuple[object, ...]:
    """What can be seen of a step: of a delivery that has ended, how it ended."""
    delivery = replace(step.delivery, attempt=0)
    if delivery.phase is Phase.ENDED:
        return delivery.state, delivery.delete_confirmed, step.taken
    return delivery, step.call, step.taken


def check_protocol_mutants(
    scenarios: tuple[Scenario, ...] = QUICK, *, shard: int = 0, shards: int = 1, every: int = 1
) -> Check:
    """Every mutant of the protocol is noticed, or answers as the protocol does wherever it is asked.

    Args:
        scenarios: where they are explored.
        shard: which part of the phases and events to look at.
        shards: of how many.
        every: look at one mutant in so many.
    """
    rows = rows_of(watched(scenarios))
    places = list(dict.fromkeys((row.phase, row.event) for row in rows))[shard::shards]
    counts = {"rows": 0, "mutants": 0, "killed": 0, "the same protocol": 0, "harmless": 0}
    counts["rows"] = sum((row.phase, row.event) in places for row in rows)
    findings, notes = [], []
    same: dict[tuple[Phase, str], list[str]] = {}
    chosen = (mutant for mutant in alterations(rows) if (mutant.phase, mutant.event) in places)
    for mutant in islice(chosen, 0, None, every):
        counts["mutants"] += 1
        differs_in = differing(mutant, watched(scenarios))
        if not differs_in:
            counts["the same protocol"] += 1
            same.setdefault((mutant.phase, mutant.event), []).append(mutant.what)
        elif noticed(mutant, differing(mutant, watched(_with_one_fault(scenarios)))) or noticed(mutant, differs_in):
            counts["killed"] += 1
        elif mutant.name in REASONS:
            counts["harmless"] += 1
            notes.append(f"{mutant.name}: harmless, {REASONS[mutant.name]}")
        else:
            findings.append(Finding(promise="the checker is checked", what=f"not noticed: {mutant.name}"))
    for (phase, event), names in same.items():
        why = "every question that is ever asked there is answered as before"
        notes.append(f"{phase}, {event}: the same protocol, {why}: {'; '.join(names)}")
    return Check(name="mutants: delivery protocol", counts=counts, findings=tuple(findings), notes=tuple(notes))
