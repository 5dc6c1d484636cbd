"""Everything that is proved, in one report."""

from __future__ import annotations

from collections.abc import Iterator

from fsm.application import APPLICATION
from fsm.checker.joint_search import check_joint
from fsm.checker.mutants import check_all_mutants, check_reference_faults
from fsm.checker.protocol import check_protocol, check_sabotages
from fsm.checker.report import Check, Report
from fsm.checker.tables import check_spot_vm, check_table
from fsm.job import JOB


def verify(*, deep: bool) -> Report:
    """Prove the tables, the joint machine and the delivery protocol.

    Args:
        deep: explore more faults, workers and messages, and check the checker itself with mutants and sabotages. Takes
            minutes and some gigabytes; without it, seconds.
    """
    return Report(checks=tuple(checks(deep=deep)))


def checks(*, deep: bool) -> Iterator[Check]:
    """The checks of `verify`, each as soon as it is done."""
    yield check_spot_vm()
    yield check_table(APPLICATION)
    yield check_table(JOB)
    yield check_joint()
    if deep:
        yield from checks_of_the_checker()
    yield from check_protocol(deep=deep)


def checks_of_the_checker() -> Iterator[Check]:
    """Every mutant of every table, the reference's faults, and each rule of the protocol broken."""
    yield from check_all_mutants()
    yield check_reference_faults()
    yield check_sabotages()
