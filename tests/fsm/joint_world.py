"""A small world of one VM, one worker and at most two of its deliveries, moved by the tables and the joint rules.

`steps` lists everything that can happen in a world, late and doubled events included. Nothing here decides: each step
is an event put to a table, and what the joint rules set off is put to the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import assert_never

from fsm.application import APPLICATION, AppFact, AppState, AppTrigger
from fsm.job import ENDED, JOB, JobFact, JobState, JobTrigger
from fsm.joint import (
    AFTER_APPLICATION,
    AFTER_JOB,
    AFTER_VM,
    RECEIVING,
    Consequence,
    DropJobs,
    FireApplication,
    FireJobs,
    facts_of_application,
    facts_of_vm,
)
from fsm.spot_vm import SPOT_VM, VmFact, VmState, VmTrigger
from tests.fsm.machines import every_subset

JOBS_MAX = 2
UNSETTLING = (JobTrigger.BEGIN, JobTrigger.REJECT, JobTrigger.LOSE_LEASE, JobTrigger.FINISH, JobTrigger.FAIL)
AFFORDABLE = frozenset({VmFact.AFFORDABLE, VmFact.CAPACITY_AVAILABLE})


@dataclass(frozen=True)
class World:
    """Where everything stands.

    Attributes:
        notice: a reclaiming notice names the VM.
        stop: the operator wants the process to end.
        jobs: the deliveries that are not settled.
        interrupted: a joint rule told them to let go; they have not all done so yet.
    """

    vm: VmState = VmState.NOT_DEPLOYED
    app: AppState = AppState.OFFLINE
    notice: bool = False
    stop: bool = False
    jobs: tuple[JobState, ...] = ()
    interrupted: bool = False


@dataclass
class Taken:
    """Which rows and joint rules an exploration has used."""

    rows: set[str] = field(default_factory=set)
    rules: set[str] = field(default_factory=set)


def vm_event(world: World, trigger: VmTrigger, facts: frozenset[VmFact], taken: Taken) -> World:
    row = SPOT_VM.row_for(world.vm, trigger, facts)
    after = replace(world, vm=row.after(world.vm))
    if after.vm is not VmState.RUNNING:
        after = replace(after, notice=False, stop=False)
    rule = AFTER_VM.rule_for(world.vm, after.vm, all_settled=not world.jobs)
    taken.rows.add(row.id)
    taken.rules |= {rule.id} if rule else set()
    return _set_off(after, AFTER_VM.consequences(row, world.vm, all_settled=not world.jobs), taken)


def app_event(world: World, trigger: AppTrigger, facts: frozenset[AppFact], taken: Taken) -> World:
    held = facts_of_vm(world.vm) | facts
    held |= {AppFact.NOTICE_PENDING} if world.notice else frozenset()
    held |= {AppFact.STOP_REQUESTED} if world.stop else frozenset()
    row = APPLICATION.row_for(world.app, trigger, held)
    after = replace(world, app=row.after(world.app))
    if after.app is AppState.OFFLINE and world.app is not AppState.OFFLINE:
        after = replace(after, stop=False)
    rule = AFTER_APPLICATION.rule_for(world.app, after.app, all_settled=not world.jobs)
    taken.rows.add(row.id)
    taken.rules |= {rule.id} if rule else set()
    return _set_off(after, AFTER_APPLICATION.consequences(row, world.app, all_settled=not world.jobs), taken)


def job_event(world: World, at: int, trigger: JobTrigger, facts: frozenset[JobFact], taken: Taken) -> World:
    before = world.jobs[at]
    row = JOB.row_for(before, trigger, (facts - {JobFact.DRAINING}) | facts_of_application(world.app))
    state = row.after(before)
    rest = world.jobs[:at] + world.jobs[at + 1 :]
    jobs = rest if state in ENDED else tuple(sorted((*rest, state)))
    after = replace(world, jobs=jobs, interrupted=world.interrupted and bool(jobs))
    rule = AFTER_JOB.rule_for(before, state, all_settled=not jobs)
    taken.rows.add(row.id)
    taken.rules |= {rule.id} if rule else set()
    return _set_off(after, AFTER_JOB.consequences(row, before, all_settled=not jobs), taken)


def _set_off(world: World, consequences: tuple[Consequence, ...], taken: Taken) -> World:
    for consequence in consequences:
        match consequence:
            case FireApplication(trigger=trigger):
                world = app_event(world, trigger, frozenset(), taken)
            case FireJobs(trigger=trigger):
                assert trigger is JobTrigger.INTERRUPT
                world = replace(world, interrupted=True)
            case DropJobs():
                world = replace(world, jobs=(), interrupted=False)
            case _:
                assert_never(consequence)
    return world


Step = Callable[[Taken], World]
NONE: frozenset[AppFact] = frozenset()
ANSWERED = frozenset({AppFact.STORE_ANSWERED})
KNOWN = (AppFact.SEEN_BEFORE, AppFact.SAME_VM, AppFact.SAME_BOOT, AppFact.SAME_PROCESS)


def receive(world: World, _taken: Taken) -> World:
    return replace(world, jobs=tuple(sorted((*world.jobs, JobState.RECEIVED))))


def calm_steps(world: World) -> Iterator[Step]:
    """What happens when nothing is in the way: capacity and price are back, no notice stands, every call answers."""
    yield partial(vm_event, world, VmTrigger.DEPLOY, AFFORDABLE)
    yield partial(vm_event, world, VmTrigger.RESTART, AFFORDABLE)
    yield partial(app_event, world, AppTrigger.RECOVER, NONE)
    yield partial(app_event, world, AppTrigger.RESUME, ANSWERED)
    yield partial(app_event, world, AppTrigger.START, frozenset({AppFact.HEALTHY}))
    if world.notice:
        yield partial(app_event, replace(world, notice=False), AppTrigger.WITHDRAWN, NONE)
    if world.notice or world.stop:
        yield partial(app_event, world, AppTrigger.SHUTDOWN, NONE)
    if world.stop:
        yield partial(app_event, world, AppTrigger.EXIT, NONE)
    if world.interrupted:
        for at in range(len(world.jobs)):
            yield partial(job_event, world, at, JobTrigger.INTERRUPT, frozenset())


def steps(world: World) -> Iterator[Step]:
    """Everything that can happen."""
    yield from calm_steps(world)
    for vm_trigger, vm_facts in product(VmTrigger, every_subset(tuple(VmFact))):
        yield partial(vm_event, world, vm_trigger, vm_facts)
    if world.vm is VmState.RUNNING:
        yield partial(app_event, replace(world, notice=True), AppTrigger.SHUTDOWN, NONE)
        yield partial(app_event, replace(world, stop=True), AppTrigger.SHUTDOWN, NONE)
    yield from _worker_steps(world)
    if world.app in RECEIVING and len(world.jobs) < JOBS_MAX:
        yield partial(receive, world)
    for at, trigger in product(range(len(world.jobs)), (*UNSETTLING, JobTrigger.CHECKPOINT)):
        for facts in every_subset(JOB.facts_at(world.jobs[at], trigger)):
            yield partial(job_event, world, at, trigger, facts)


def _worker_steps(world: World) -> Iterator[Step]:
    """The worker's own events, at any time: answers come late, and events come twice."""
    for depth in range(len(KNOWN) + 1):
        yield partial(app_event, world, AppTrigger.RESUME, ANSWERED | set(KNOWN[:depth]))
    late = [AppTrigger.RESUME, AppTrigger.START, AppTrigger.EXIT, AppTrigger.WITHDRAWN, AppTrigger.SHUTDOWN]
    for trigger in late if world.jobs else [*late, AppTrigger.DRAINED]:
        yield partial(app_event, world, trigger, NONE)


@dataclass(frozen=True)
class Explored:
    """Every world that can be reached, where each step leads, and what was used on the way."""

    worlds: frozenset[World]
    taken: Taken


def explore() -> Explored:
    """Breadth first from the beginning."""
    taken = Taken()
    seen = {World()}
    waiting = deque(seen)
    while waiting:
        for step in steps(waiting.popleft()):
            after = step(taken)
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return Explored(worlds=frozenset(seen), taken=taken)


def comes_back(world: World) -> bool:
    """Whether calm steps alone lead from here to a worker that works, with nobody wanting it gone."""
    seen = {world}
    waiting = deque(seen)
    while waiting:
        here = waiting.popleft()
        if here.app is AppState.PROCESSING and not here.notice and not here.stop:
            return True
        fresh = {step(Taken()) for step in calm_steps(here)} - seen
        seen |= fresh
        waiting.extend(fresh)
    return False
