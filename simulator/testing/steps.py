"""When a test takes a VM: at a time, or at a step of the work, just before or just after it takes effect."""

from __future__ import annotations

from dataclasses import dataclass

CHECKPOINT = "checkpoint"
CALLS = (
    "queue.receive",
    "queue.renew",
    "queue.delete",
    "queue.put",
    "store.read",
    "store.write",
    "store.read_presence",
    "store.write_presence",
    "store.confirm_deleted",
    "events.poll",
    "metadata.identity",
)
"""What a worker calls: `queue.renew` with 0 seconds is a release, `queue.put` puts on the poison queue."""


@dataclass(frozen=True, slots=True)
class Step:
    """A checkpoint of a handler, or a call of the worker; made by the functions below, and shown as they are written.

    Attributes:
        name: `checkpoint`, or one of `CALLS`.
        number: the how manieth from now on, from 1.
        done: it has taken effect, and nobody who could go on knows of it; otherwise nothing of it has.
    """

    name: str
    number: int
    done: bool

    def __post_init__(self) -> None:
        if self.name != CHECKPOINT and self.name not in CALLS:
            raise ValueError(f"{self.name!r} is not a call of the worker: one of {', '.join(CALLS)}")
        if self.number < 1:
            raise ValueError(f"steps are counted from 1, and not from {self.number}")

    def __repr__(self) -> str:
        when = "after" if self.done else "before"
        if self.name == CHECKPOINT:
            return f"{when}_checkpoint({self.number})"
        return f"{when}_call({self.name!r}, {self.number})"


def before_checkpoint(number: int = 1) -> Step:
    """The handler has called `checkpoint`, for the `number`-th time from now on, and nothing of it is saved."""
    return Step(CHECKPOINT, number, done=False)


def after_checkpoint(number: int = 1) -> Step:
    """The `number`-th checkpoint from now on is durable, and the handler has not gone on."""
    return Step(CHECKPOINT, number, done=True)


def before_call(name: str, number: int = 1) -> Step:
    """The worker sends its `number`-th call of this name from now on, and it never arrives.

    Raises:
        ValueError: there is no such call.
    """
    return Step(name, number, done=False)


def after_call(name: str, number: int = 1) -> Step:
    """The worker's `number`-th call of this name from now on has taken effect, and its reply never arrives.

    Raises:
        ValueError: there is no such call.
    """
    return Step(name, number, done=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction:
    """One eviction to be.

    Attributes:
        at: virtual seconds since the world began, or a step of the work; None for now.
        notice_s: how long before it Scheduled Events announce it, the announcement coming at `at`; None for not at all.
        back_after_s: how long there is no room for the VM then; None until it is brought back.
        vm: its number, from 1; None for every VM or, at a step, for the one that takes it.
    """

    at: float | Step | None = None
    notice_s: float | None = None
    back_after_s: float | None = 60.0
    vm: int | None = None

    def __repr__(self) -> str:
        shown = (("at", None), ("notice_s", None), ("back_after_s", 60.0), ("vm", None))
        given = (f"{name}={getattr(self, name)!r}" for name, usual in shown if getattr(self, name) != usual)
        return f"Eviction({', '.join(given)})"
