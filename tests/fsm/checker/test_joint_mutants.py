"""The joint rules with one thing wrong."""

from __future__ import annotations

import pytest

from fsm.checker import joint_mutants
from fsm.checker.joint import Machines
from fsm.checker.joint_mutants import REASONS, check_joint_mutants
from fsm.checker.joint_mutants import joint_mutants as mutants
from fsm.checker.joint_search import JointSearch

SHARDS = 16
"""One in so many is looked at here; all of them by `spotfsm verify --deep`."""


def test_mutants_of_the_joint_rules_are_noticed_or_are_the_same_machine() -> None:
    """A rule removed, another consequence, another move, another guard: refused, noticed, or proven the same."""
    check = check_joint_mutants(shard=1, shards=SHARDS)
    assert check.findings == ()
    assert check.counts["mutants"] > 20
    assert check.counts["killed"] > 3
    assert check.counts["refused when built"] > 3


def test_every_rule_is_changed_in_every_way() -> None:
    """Each of the rules is removed, and given each other consequence."""
    names = {name for name, _ in mutants()}
    ours = Machines()
    rules = [rule.id for rule in ours.vm_rules]
    rules += [rule.id for rule in ours.application_rules]
    rules += [rule.id for rule in ours.job_rules]
    assert {f"rule {rule} is removed" for rule in rules} <= names
    for rule in rules:
        assert sum(name.startswith(f"rule {rule} sets off ") for name in names) == len(joint_mutants.CONSEQUENCES) - 1
    assert REASONS.keys() <= names


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rule C1 sets off nothing", "its worker is not started"),
        ("rule C2 sets off nothing", "a worker lives on a VM that does not run"),
        ("rule C4 sets off nothing", "from here nothing leads to work"),
        ("rule C5 sets off nothing", "the drain has nothing to wait for, and waits"),
        ("rule C6 sets off nothing", "a job is in the hands of a worker that is Offline"),
        ("rule C12 sets off interrupt in the jobs", "the jobs are told to let go, and nobody drains"),
        ("rule C13 sets off the loss of the jobs", "the jobs are dropped by a worker that lives"),
        ("rule C14 sets off nothing", "the drain has nothing to wait for, and waits"),
    ],
)
def test_a_wrong_rule_is_told_by_what_it_breaks(name: str, said: str) -> None:
    """What a user would miss stands in the finding, and the way to it is told from the beginning."""
    machines = next(build for other, build in mutants() if other == name)()
    findings = JointSearch(machines).run().findings
    told = [finding for finding in findings if said in finding.what]
    assert told, [finding.what for finding in findings]
    assert told[0].trace[0].startswith("VM: ")
