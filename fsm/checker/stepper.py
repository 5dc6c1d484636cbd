"""`fsm.delivery.advance` over numbers: every step is taken once and then looked up.

There is no second copy of the protocol's rules here. `Protocol` is the seam where a sabotage may break one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from fsm.checker.breach import Breach
from fsm.checker.conduct import judge_step
from fsm.checker.pool import Pool
from fsm.checker.scenario import STRANGER
from fsm.checker.scene import CURRENT, NONE, NOW, STALE, Scene
from fsm.delivery import (
    Call,
    Delivery,
    Event,
    Found,
    Goal,
    Phase,
    PresenceFound,
    ReadPresence,
    Step,
    Taken,
    WriteRecord,
    advance,
)
from fsm.job import JOB
from fsm.record import Owner, Presence, Record

Protocol = Callable[[Delivery, Event, bool], Step]
"""A delivery, what happened, and whether its worker drains: the step."""


def honest(delivery: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam, called by position
    """The protocol as it is."""
    return advance(delivery, event, draining=draining, decide=JOB.row_for)


class Stepped(NamedTuple):
    """A `Step` over numbers."""

    delivery: int
    call: int
    ended: bool
    taken: tuple[Taken, ...]
    breaches: tuple[Breach, ...]


class Stepper:
    """Takes steps, and knows every record, delivery, call and event by its number."""

    def __init__(
        self, protocol: Protocol = honest, *, conduct: bool = True, of_stranger: Presence | None = None
    ) -> None:
        self._protocol = protocol
        self._conduct = conduct
        self._of_stranger = of_stranger
        self.records: Pool[Record] = Pool()
        self.deliveries: Pool[Delivery] = Pool()
        self.calls: Pool[Call] = Pool()
        self.events: Pool[Event] = Pool()
        self._steps: dict[tuple[int, int, bool], Stepped] = {}
        self._stale: dict[int, int] = {}
        self._stale_calls: dict[int, int] = {NONE: NONE}
        self._found: dict[int, int] = {}

    def step(self, delivery: int, event: int, draining: bool) -> Stepped:  # noqa: FBT001 -- hot, called by position
        """One step of the protocol."""
        key = (delivery, event, draining)
        stepped = self._steps.get(key)
        if stepped is None:
            before, happened = self.deliveries[delivery], self.events[event]
            step = self._protocol(before, happened, draining)
            step = replace(step, delivery=replace(step.delivery, attempt=0))
            stepped = self._steps[key] = Stepped(
                delivery=self.deliveries.number(step.delivery),
                call=NONE if step.call is None else self.calls.number(step.call),
                ended=step.delivery.phase is Phase.ENDED,
                taken=step.taken,
                breaches=judge_step(before, happened, draining, step) if self._conduct else (),
            )
        return stepped

    @property
    def rows_taken(self) -> frozenset[str]:
        """The ids of the rows that some step has taken."""
        return frozenset(one.row.id for step in self._steps.values() for one in step.taken)

    def found(self, record: int) -> int:
        """The event that a read of this record brings; NONE reads as absent."""
        event = self._found.get(record)
        if event is None:
            found = (
                Found(record=None, version=None)
                if record == NONE
                else Found(record=self.records[record], version=CURRENT)
            )
            event = self._found[record] = self.events.number(found)
        return event

    def presence(self, owner: Owner) -> int:
        """The event that a read of the presence at this owner's place brings: its present boot and process.

        The stranger is none of the workers: who stands for it now, if anybody, is the scenario's to say.
        """
        if owner.vm_id == STRANGER.vm_id:
            return self.events.number(PresenceFound(presence=self._of_stranger))
        presence = Presence(vm_id=owner.vm_id, vm_name=owner.vm_id, boot_id=NOW, instance=owner.instance, process=NOW)
        return self.events.number(PresenceFound(presence=presence))

    def stale(self, delivery: int) -> int:
        """The delivery once somebody else's write was applied: its version is no longer the record's."""
        staled = self._stale.get(delivery)
        if staled is None:
            known = self.deliveries[delivery]
            if known.version == CURRENT:
                known = replace(known, version=STALE)
            staled = self._stale[delivery] = self.deliveries.number(known)
        return staled

    def stale_call(self, call: int) -> int:
        """The call once somebody else's write was applied."""
        staled = self._stale_calls.get(call)
        if staled is None:
            asked = self.calls[call]
            if isinstance(asked, WriteRecord) and asked.expected == CURRENT:
                asked = replace(asked, expected=STALE)
            staled = self._stale_calls[call] = self.calls.number(asked)
        return staled


class Renaming:
    """The same values with other owners in them."""

    def __init__(self, stepper: Stepper, renamed: Callable[[Owner], Owner]) -> None:
        self._stepper = stepper
        self._of_owner = renamed
        self._records: dict[int, int] = {NONE: NONE}
        self._deliveries: dict[int, int] = {}
        self._calls: dict[int, int] = {NONE: NONE}

    def record(self, number: int) -> int:
        renamed = self._records.get(number)
        if renamed is None:
            renamed = self._stepper.records.number(self._of_record(self._stepper.records[number]))
            self._records[number] = renamed
        return renamed

    def delivery(self, number: int) -> int:
        renamed = self._deliveries.get(number)
        if renamed is None:
            delivery = self._stepper.deliveries[number]
            delivery = replace(
                delivery,
                owner=self._of_owner(delivery.owner),
                record=None if delivery.record is None else self._of_record(delivery.record),
                goal=None if delivery.goal is None else self._of_goal(delivery.goal),
            )
            renamed = self._deliveries[number] = self._stepper.deliveries.number(delivery)
        return renamed

    def call(self, number: int) -> int:
        renamed = self._calls.get(number)
        if renamed is None:
            call = self._stepper.calls[number]
            if isinstance(call, WriteRecord):
                call = replace(call, record=self._of_record(call.record))
            elif isinstance(call, ReadPresence):
                call = replace(call, owner=self._of_owner(call.owner))
            renamed = self._calls[number] = self._stepper.calls.number(call)
        return renamed

    def scene(self, scene: Scene) -> Scene:
        """The scene with every owner in it renamed."""
        late = tuple(sorted(write._replace(record=self.record(write.record)) for write in scene.late_writes))
        slots = tuple(
            None if slot is None else slot._replace(delivery=self.delivery(slot.delivery), call=self.call(slot.call))
            for slot in scene.slots
        )
        return scene._replace(record=self.record(scene.record), late_writes=late, slots=slots)

    def _of_record(self, record: Record) -> Record:
        return replace(record, owner=self._of_owner(record.owner))

    def _of_goal(self, goal: Goal) -> Goal:
        return goal if goal.draft is None else replace(goal, draft=self._of_record(goal.draft))
