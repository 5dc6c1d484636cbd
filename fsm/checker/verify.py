"""Everything that is proved, in parts that can be done one by one or side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from fsm.application import APPLICATION
from fsm.checker.joint_mutants import check_joint_mutants
from fsm.checker.joint_search import check_joint
from fsm.checker.mutants import (
    check_application_mutants,
    check_job_mutants,
    check_reference_faults,
    check_spot_vm_mutants,
)
from fsm.checker.protocol import DEEP, QUICK, check_sabotages, check_scenario, scenario_name
from fsm.checker.protocol_mutants import check_protocol_mutants
from fsm.checker.report import Check, Report, merged
from fsm.checker.tables import check_spot_vm, check_table
from fsm.job import JOB

SHARDS = 24
"""In how many parts the mutants of the protocol and of the joint rules are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a check, which another process can do as well.

    Attributes:
        check: the name of the check; parts of one follow each other.
        run: does it.
    """

    check: str
    run: Callable[[], Check]


def verify(*, deep: bool) -> Report:
    """Prove the tables, the joint machine and the delivery protocol.

    Args:
        deep: explore more faults, workers and messages, and check the checker itself with mutants and sabotages. Takes
            minutes and some gigabytes; without it, seconds.
    """
    done = [(part.check, part.run()) for part in parts(deep=deep)]
    return Report(checks=tuple(merged([check for _, check in group]) for _, group in groupby(done, lambda one: one[0])))


def parts(*, deep: bool) -> tuple[Part, ...]:
    """What `verify` does, in the order in which it is told."""
    return (*_quick(), *(_deep() if deep else ()))


def _quick() -> Iterator[Part]:
    yield Part(check="table: spot_vm", run=check_spot_vm)
    yield Part(check="table: application", run=partial(check_table, APPLICATION))
    yield Part(check="table: job", run=partial(check_table, JOB))
    yield Part(check="joint machine", run=check_joint)
    for scenario in QUICK:
        yield Part(check=scenario_name(scenario), run=partial(check_scenario, scenario))


def _deep() -> Iterator[Part]:
    yield Part(check="mutants: spot_vm", run=check_spot_vm_mutants)
    yield Part(check="mutants: application", run=check_application_mutants)
    yield Part(check="mutants: job", run=check_job_mutants)
    yield Part(check="the reference's faults", run=check_reference_faults)
    yield Part(check="protocol: each rule broken", run=check_sabotages)
    for scenario in DEEP:
        yield Part(check=scenario_name(scenario), run=partial(check_scenario, scenario))
    for shard in range(SHARDS):
        run = partial(check_joint_mutants, shard=shard, shards=SHARDS)
        yield Part(check="mutants: joint rules", run=run)
    for shard in range(SHARDS):
        run = partial(check_protocol_mutants, shard=shard, shards=SHARDS)
        yield Part(check="mutants: delivery protocol", run=run)
