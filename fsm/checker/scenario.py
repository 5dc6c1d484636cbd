"""What is explored, and in what kind of world."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fsm.record import DEATHS_MAX, FAILURES_MAX, Counts, Owner, Presence, Record, Status

NAMES = ("A", "B", "C")
"""What the workers are called, and the ids of their VMs."""
STRANGER = Owner(vm_id="elsewhere", boot_id="boot 0", instance="0", process="process 0.0", token="before")  # noqa: S106
"""Who left the record that a scenario starts from."""
FAILURE_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is explored.

    Attributes:
        workers, messages: how many of each.
        faults: how many faults there may be in all.
        stored: whether the workers have a job store.
        rejected: why the message cannot be a job, if it cannot.
        epoch, record: how often the message was received before, and what that left.
        checkpoints: how far the handler's progress goes.
        twins: whether the queue may deliver one epoch twice.
        presence: who stands for the instance of that record's owner, if anybody ever did.
        stops: whether an operator may stop workers.
        in_time: whether a drain never runs out of time for the store.
        prunes: whether records are pruned once their message's delete is confirmed. The seven days are taken to outlast
            any delivery that has never written; those that have are not waited for.
    """

    name: str
    workers: int = 2
    messages: int = 1
    faults: int = 2
    stored: bool = True
    rejected: str | None = None
    epoch: int = 0
    record: Record | None = None
    checkpoints: int = 1
    twins: bool = True
    presence: Presence | None = None
    stops: bool = False
    in_time: bool = False
    prunes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Physics:
    """How the world treats the protocol; a sabotage may weaken it.

    Attributes:
        fenced: whether the store honours a write's condition.
        create_only: whether the store honours the condition of a first write.
        prunes_early: whether records are pruned before their message's delete.
        tokens: whether each delivery's owner has a token of its own.
    """

    fenced: bool = True
    create_only: bool = True
    prunes_early: bool = False
    tokens: bool = True


_BEFORE = Record(epoch=3, owner=STRANGER, status=Status.RELEASED, counted_epoch=3)

FRESH = Scenario(name="a message nobody has received yet")
FAILING = Scenario(
    name="a job with one failure left",
    epoch=3,
    record=replace(_BEFORE, counts=Counts(failures=FAILURES_MAX - 1)),
    twins=False,
)
KILLING = Scenario(
    name="a job with one death left",
    epoch=3,
    record=replace(_BEFORE, counts=Counts(deaths=DEATHS_MAX - 1, fruitless_deaths=DEATHS_MAX - 1)),
    twins=False,
)
REJECTED = Scenario(name="a message that cannot be a job", rejected="undecodable")
STORELESS = Scenario(name="a message without a job store", stored=False)
HOPELESS = Scenario(name="a message received too often, without a job store", stored=False, epoch=FAILURES_MAX - 2)
WEARING = Scenario(name="a message on its last delivery, without a job store", stored=False, epoch=DEATHS_MAX - 1)
PRUNED = Scenario(name="a record that is pruned", prunes=True, twins=False)
ABSENT = Scenario(
    name="a claim left open, and nobody ever stood for its owner",
    epoch=3,
    record=replace(
        _BEFORE,
        status=Status.OPEN,
        counted_epoch=2,
        counts=Counts(deaths=DEATHS_MAX - 1, fruitless_deaths=DEATHS_MAX - 1),
    ),
    twins=False,
)
OVERTAKEN = replace(
    ABSENT,
    name="a claim left open, and a dead process's presence came late",
    presence=Presence(
        vm_id=STRANGER.vm_id,
        vm_name="",
        boot_id=STRANGER.boot_id,
        instance=STRANGER.instance,
        process="process",
    ),
)
"""One more death would poison it: and neither of the two is one."""
STOPPED = Scenario(name="a worker that an operator stops, with a store that answers", stops=True, in_time=True)
"""A claim that is not closed before its process ends in good order reads as a death: rule 5 cannot tell them apart."""
