"""What is explored, and in what kind of world."""

from __future__ import annotations

from dataclasses import dataclass

from fsm.record import Owner, Record

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
        stops: whether an operator may stop workers.
    """

    name: str
    workers: int = 2
    messages: int = 1
    faults: int = 3
    stored: bool = True
    rejected: str | None = None
    epoch: int = 0
    record: Record | None = None
    checkpoints: int = 1
    twins: bool = True
    stops: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Physics:
    """How the world treats the protocol; a sabotage may weaken it.

    Attributes:
        fenced: whether the store honours a write's condition.
        prunes_early: whether records are pruned before their message's delete.
        tokens: whether each delivery's owner has a token of its own.
    """

    fenced: bool = True
    prunes_early: bool = False
    tokens: bool = True
