"""The states of the explored world: a few workers, and for each message what lies on the queue, in the store, in hands.

Everything is a tuple of small integers: records, deliveries and calls stand as their numbers in a `Pool`, choices as
the constants below. (Enumerations would read better and hash ten times slower, and this is hashed millions of times.)

What is left out on purpose, because nothing decides by it: pop receipts are not numbered, a delivery's receipt is the
newest or it is not; versions are not numbered, a version is current or it is not, and one that is not never becomes so
again; how often a call went unanswered lengthens the runner's pauses and no more.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NONE: Final = -1
"""No record, no call."""

HIDDEN: Final = 0
VISIBLE: Final = 1
GONE: Final = 2
"""Where a message is: leased or waiting out a pause; receivable; deleted."""

NEWEST: Final = 0
SUPERSEDED: Final = 1
UNKNOWN: Final = 2
"""A delivery's pop receipt: works; void since another receive; void since a call of its own whose reply it lacks."""

IDLE: Final = 0
REFUSED: Final = 1
APPLIED: Final = 2
"""A renewal: none in flight; refused or applied, and the reply still on its way back."""

NOTHING: Final = 0
FAILED: Final = 1
RETURNED: Final = 2
EVADING: Final = 3
STOPPING: Final = 4
"""How the handler of a delivery truly ended: not yet, or it failed, returned, let go of an eviction or of a stop."""

UP: Final = 0
CRASHED: Final = 1
EVICTED: Final = 2
STOPPED: Final = 3
"""A worker: its process runs; died; was taken with its VM; ended when it was told to."""

LATE_RENEW: Final = 0
LATE_DELETE: Final = 1
LATE_RELEASE: Final = 2
"""A queue call that was given up and may still land while its receipt is the newest."""

CURRENT: Final = "current"
STALE: Final = "stale"
"""The two versions of a record that exist."""


class Worker(NamedTuple):
    """One worker: the process that runs, or ran last, on one VM.

    Its processes are not numbered either. An owner's boot and process say what has become of them since (`NOW`, `DIED`,
    `TAKEN`, `ENDED`, `BEFORE`), and change when the next process starts and writes its presence.

    Attributes:
        draining: whether a notice names its VM, or an operator stopped it.
        stopping: which of the two.
    """

    power: int = UP
    draining: bool = False
    stopping: bool = False


NOW: Final = "now"
"""The boot and the process that a VM's presence names.

It sorts after `DIED` and `ENDED`, as a later process does, and after `TAKEN`: processes of two boots may sort either
way, and this is the order in which nothing but the boot tells an eviction from a death.
"""
BEFORE: Final = "before"
"""An earlier boot."""
DIED: Final = "died"
ENDED: Final = "ended"
TAKEN: Final = "evicted"
"""A process that died, that an operator stopped, that was taken with its VM."""


class Slot(NamedTuple):
    """A delivery in a worker's hands."""

    delivery: int
    call: int
    receipt: int
    renewal: int
    told: int


class LateWrite(NamedTuple):
    """A write that was given up and may still land, until another write lands first."""

    record: int
    told: int


class Scene(NamedTuple):
    """One message, its record, and its deliveries: a slot for each worker.

    Attributes:
        epoch: the dequeue count.
        twins: how often the queue delivered the present epoch twice.
        poison: whether a poison message was put for it.
        record: what the store holds.
        ended: 0, or how the record has ever ended: 1 done, 2 poisoned; survives pruning.
        finished: without a store: whether some handler returned.
        confirmed: where records are pruned: whether a delivery had its delete confirmed.
    """

    place: int
    epoch: int
    twins: int
    poison: bool
    record: int
    ended: int
    finished: bool
    confirmed: bool
    late_writes: tuple[LateWrite, ...]
    late_calls: tuple[int, ...]
    slots: tuple[Slot | None, ...]


def with_slot(scene: Scene, who: int, slot: Slot | None) -> Scene:
    """The scene with another slot in this worker's place."""
    return scene._replace(slots=(*scene.slots[:who], slot, *scene.slots[who + 1 :]))


def holds(slot: Slot) -> bool:
    """Whether this delivery's lease keeps the message hidden."""
    return slot.receipt == NEWEST or (slot.receipt == UNKNOWN and slot.renewal == APPLIED)


def superseded(scene: Scene) -> tuple[Slot | None, ...]:
    """The slots once the message was received again, or is gone: no receipt works any more."""
    return tuple(None if slot is None else slot._replace(receipt=SUPERSEDED) for slot in scene.slots)


def unknown(scene: Scene) -> tuple[Slot | None, ...]:
    """The slots once a call gave the message a new receipt that nobody has been told yet."""
    return tuple(
        slot._replace(receipt=UNKNOWN) if slot is not None and slot.receipt == NEWEST else slot for slot in scene.slots
    )
