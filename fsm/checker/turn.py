"""Everything that can happen next to one message: on its queue, in the store, in the hands of its deliveries.

Theory of operation
-------------------
A call takes effect and is answered in one move. That loses nothing: until its reply is read, a delivery does nothing
that anybody else could see, so a pause between effect and reply shows others the same world as a pause after it. What
can come between is a move of its own: the reply may be lost before the effect, after it, or the effect may come late,
when the delivery has long given the call up. A renewal alone is answered apart from its effect, because from the effect
on the receipt in hand is void.

A lease is as long as it has to be: a renewal is due at any moment, and one that is asked for and answered keeps the
lease. A lease lapses in a delivery's hands by a fault of the world, or because the delivery did not ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from fsm.checker.breach import Breach
from fsm.checker.judge import ENDED_AS, progress_of
from fsm.checker.scenario import FAILURE_PAUSE_S
from fsm.checker.scene import (
    APPLIED,
    CURRENT,
    EVADING,
    FAILED,
    GONE,
    HIDDEN,
    IDLE,
    LATE_DELETE,
    LATE_RELEASE,
    LATE_RENEW,
    NEWEST,
    NONE,
    NOTHING,
    NOW,
    REFUSED,
    RETURNED,
    STOPPING,
    UNKNOWN,
    UP,
    VISIBLE,
    LateWrite,
    Scene,
    Slot,
    holds,
    superseded,
    unknown,
    with_slot,
)
from fsm.checker.stepper import Stepper
from fsm.delivery import (
    Checkpointed,
    Delete,
    Delivery,
    Done,
    Failed,
    Interrupted,
    LeaseGone,
    NoReply,
    Phase,
    PutPoison,
    ReadPresence,
    ReadRecord,
    Received,
    Refused,
    Release,
    Renew,
    RenewalDue,
    RenewalRefused,
    RenewalUnanswered,
    Renewed,
    Returned,
    TimeUp,
    WriteRecord,
    Written,
)
from fsm.promises import Promise
from fsm.record import End, Owner

if TYPE_CHECKING:
    from fsm.checker.world import World

Breaches = tuple[Breach, ...]


class Action(NamedTuple):
    """What happened in a move, enough to tell it in words: a kind, who, and the event that a delivery was fed."""

    kind: str
    who: int = NONE
    event: int = NONE


class Move(NamedTuple):
    """One way on: what it costs, whether it happens by itself, where it leads, what happens, what it breaks."""

    cost: int
    fair: bool
    scene: int
    action: Action
    breaches: Breaches


class Events:
    """The numbers of the events that are fed again and again."""

    def __init__(self, stepper: Stepper, *, rejected: str | None) -> None:
        number = stepper.events.number
        self.received = number(Received(rejected=rejected))
        self.written = number(Written(version=CURRENT))
        self.done = number(Done())
        self.refused = number(Refused())
        self.no_reply = number(NoReply())
        self.lease_gone = number(LeaseGone())
        self.time_up = number(TimeUp())
        self.renewal_due = number(RenewalDue())
        self.renewed = number(Renewed())
        self.renewal_refused = number(RenewalRefused())
        self.renewal_unanswered = number(RenewalUnanswered())
        self.returned = number(Returned(result="1"))
        self.failed = number(Failed(error="broken", pause_s=FAILURE_PAUSE_S))
        self.evicted = number(Interrupted(end=End.EVICTION))
        self.stopped = number(Interrupted(end=End.STOP))


class Turn:
    """The moves of one message in one state of the world."""

    def __init__(self, world: World, workers: int, scene: Scene, *, faulty: bool) -> None:
        self._world = world
        self._events = world.events
        self._crew = world.workers[workers]
        self._scene = scene
        self._faulty = faulty

    def moves(self) -> Iterator[Move]:
        """All of them; without the faults unless `faulty`."""
        scene = self._scene
        yield from self._landings()
        if scene.place == HIDDEN:
            yield from self._hidden()
        elif scene.place == VISIBLE:
            yield from self._receives()
        for who, slot in enumerate(scene.slots):
            if slot is not None:
                yield from self._answers(who, slot)
                yield from self._lease(who, slot)
        if scene.record != NONE and scene.ended and self._prunable():
            yield self._chance(self._staled(scene)._replace(record=NONE), Action("prune"))

    def _fair(self, scene: Scene, action: Action, breaches: Breaches = ()) -> Move:
        """A move that happens sooner or later."""
        return Move(0, True, self._world.scenes.number(scene), action, breaches)  # noqa: FBT003 -- hot

    def _chance(self, scene: Scene, action: Action, breaches: Breaches = ()) -> Move:
        """A move that may never happen, and is no fault."""
        return Move(0, False, self._world.scenes.number(scene), action, breaches)  # noqa: FBT003 -- hot

    def _fault(self, scene: Scene, action: Action, breaches: Breaches = ()) -> Move:
        """A move that should not happen, and does."""
        return Move(1, False, self._world.scenes.number(scene), action, breaches)  # noqa: FBT003 -- hot

    # -- the queue ------------------------------------------------------------------------------------------------

    def _hidden(self) -> Iterator[Move]:
        """Leases lapse, by themselves where nobody holds them; the queue may deliver one epoch twice."""
        scene = self._scene
        held = any(slot is not None and holds(slot) for slot in scene.slots)
        shown = scene._replace(place=VISIBLE)
        if not held:
            yield self._fair(shown, Action("lapse"))
        elif self._faulty:
            yield self._fault(shown, Action("lapse"))
            if self._world.scenario.twins and any(slot is not None and slot.receipt == NEWEST for slot in scene.slots):
                twin = scene._replace(twins=scene.twins + 1)
                for who, worker in enumerate(self._crew):
                    if worker.power == UP and not worker.draining:
                        after, action, breaches = self._delivered(who, twin, "twin")
                        yield self._fault(after, action, breaches)

    def _receives(self) -> Iterator[Move]:
        """The message is delivered. A draining worker sends no receive, but one may have been in flight."""
        scene = self._scene
        leased = scene._replace(place=HIDDEN, epoch=scene.epoch + 1, twins=0, late_calls=(), slots=superseded(scene))
        if self._faulty:
            yield self._fault(leased, Action("lost receive"))
        for who, worker in enumerate(self._crew):
            if worker.power == UP and not worker.draining:
                yield self._fair(*self._delivered(who, leased, "receive"))
            elif worker.power == UP and self._faulty:
                yield self._fault(*self._delivered(who, leased, "receive"))

    def _delivered(self, who: int, scene: Scene, kind: str) -> tuple[Scene, Action, Breaches]:
        """A worker is given the message; an older delivery of it in the same process is abandoned first."""
        world = self._world
        scene = scene._replace(late_calls=(), slots=superseded(scene))
        breaches: Breaches = ()
        if scene.slots[who] is not None:
            scene, breaches = self._fed(scene, who, self._events.lease_gone, reply=False)
        token = f"{scene.epoch}.{scene.twins}" if world.physics.tokens else "one for all"
        owner = Owner(vm_id=world.names[who], boot_id=NOW, instance="0", process=NOW, token=token)
        delivery = Delivery(epoch=scene.epoch, owner=owner, stored=world.scenario.stored)
        slot = Slot(world.stepper.deliveries.number(delivery), NONE, NEWEST, IDLE, NOTHING)
        scene, more = self._fed(with_slot(scene, who, slot), who, self._events.received, reply=True)
        return scene, Action(kind, who, self._events.received), (*breaches, *more)

    def _landings(self) -> Iterator[Move]:
        """Calls that were given up take effect after all."""
        scene = self._scene
        for late in scene.late_writes:
            after, breaches = self._applied(scene, late.record, late.told)
            after = after._replace(late_writes=tuple(other for other in after.late_writes if other != late))
            yield self._chance(after, Action("late write"), breaches)
        for call in scene.late_calls:
            if call == LATE_RENEW:
                hidden = scene._replace(place=HIDDEN, late_calls=(), slots=unknown(scene))
                yield self._chance(hidden, Action("late renewal"))
            elif call == LATE_RELEASE:
                shown = scene._replace(place=VISIBLE, late_calls=(), slots=unknown(scene))
                yield self._chance(shown, Action("late release"))
            else:
                gone = scene._replace(place=GONE, late_calls=(), slots=superseded(scene))
                yield self._chance(gone, Action("late delete"), self._world.judge.delete(scene))

    def _prunable(self) -> bool:
        """Whether the record of this ended job may be pruned now."""
        if self._world.physics.prunes_early:
            return True
        deliveries = self._world.stepper.deliveries
        silent = any(slot is not None and deliveries[slot.delivery].version is None for slot in self._scene.slots)
        return self._scene.confirmed and not silent

    # -- a delivery -----------------------------------------------------------------------------------------------

    def _answers(self, who: int, slot: Slot) -> Iterator[Move]:
        """The call in flight is answered, or not; the handler does something."""
        world, scene = self._world, self._scene
        if slot.call == NONE:
            if world.stepper.deliveries[slot.delivery].phase is Phase.RUNNING:
                yield from self._handler(who, slot)
            return
        match world.stepper.calls[slot.call]:
            case ReadRecord():
                yield self._answer(scene, who, world.stepper.found(scene.record))
            case ReadPresence(owner=owner):
                yield self._presence(who, owner)
            case WriteRecord() as call:
                yield from self._write(who, slot, call)
            case PutPoison():
                yield from self._effect(scene._replace(poison=True), who, self._events.done, world.judge.put(scene))
            case Delete():
                yield from self._delete(who, slot)
            case Release() as call:
                yield from self._release(who, slot, call)
            case Renew():
                raise AssertionError("a renewal is not kept as a call")
        if self._faulty:
            yield self._silence(scene, who, "lost before")
        if self._crew[who].draining and not world.scenario.in_time:
            yield from self._out_of_time(who, slot)

    def _answer(self, scene: Scene, who: int, event: int, breaches: Breaches = ()) -> Move:
        """The reply arrives."""
        after, more = self._fed(scene, who, event, reply=True)
        return self._fair(after, Action("reply", who, event), (*breaches, *more))

    def _presence(self, who: int, owner: Owner) -> Move:
        """The store says who stands for this owner's instance now."""
        world, event = self._world, self._world.stepper.presence(owner)
        after, breaches = self._fed(self._scene, who, event, reply=True)
        slot = after.slots[who]
        if slot is not None:
            breaches += world.judge.verdict(owner, world.stepper.deliveries[slot.delivery])
        return self._fair(after, Action("reply", who, event), breaches)

    def _effect(self, scene: Scene, who: int, event: int, breaches: Breaches = ()) -> Iterator[Move]:
        """The call takes effect; the reply arrives, or not."""
        yield self._answer(scene, who, event, breaches)
        if self._faulty:
            yield self._silence(scene, who, "lost after", breaches)

    def _silence(self, scene: Scene, who: int, kind: str, breaches: Breaches = ()) -> Move:
        """No reply arrives, whatever has become of the call."""
        event = self._events.no_reply
        after, more = self._fed(scene, who, event, reply=True)
        return self._fault(after, Action(kind, who, event), (*breaches, *more))

    def _out_of_time(self, who: int, slot: Slot) -> Iterator[Move]:
        """The drain has no time left for the store."""
        world = self._world
        before = world.stepper.deliveries[slot.delivery]
        if before.phase not in (Phase.WRITING, Phase.READING_BACK):
            return
        scene, breaches = self._fed(self._scene, who, self._events.time_up, reply=True)
        after = scene.slots[who]
        assert after is not None
        held_up = world.judge.time_up(before, world.stepper.deliveries[after.delivery])
        yield self._chance(scene, Action("time up", who, self._events.time_up), (*breaches, *held_up))

    def _write(self, who: int, slot: Slot, call: WriteRecord) -> Iterator[Move]:
        world, scene = self._world, self._scene
        record = world.stepper.records.number(call.record)
        if call.expected is None:
            fits = scene.record == NONE or not world.physics.create_only
        else:
            fits = call.expected == CURRENT and scene.record != NONE
        if not fits and world.physics.fenced:
            yield self._answer(scene, who, self._events.refused)
            return
        after, breaches = self._applied(scene, record, slot.told)
        yield from self._effect(after, who, self._events.written, breaches)
        late = LateWrite(record, slot.told)
        if self._faulty and late not in scene.late_writes:
            given_up = scene._replace(late_writes=tuple(sorted((*scene.late_writes, late))))
            yield self._silence(given_up, who, "late")

    def _applied(self, scene: Scene, record: int, told: int) -> tuple[Scene, Breaches]:
        """The scene once the store has applied a write: nobody else's version is the record's any more."""
        breaches = self._world.judge.write(scene, record, told)
        ended = ENDED_AS.get(self._world.stepper.records[record].status, scene.ended)
        return self._staled(scene)._replace(record=record, ended=ended), breaches

    def _staled(self, scene: Scene) -> Scene:
        stepper = self._world.stepper
        slots = tuple(
            None
            if slot is None
            else slot._replace(delivery=stepper.stale(slot.delivery), call=stepper.stale_call(slot.call))
            for slot in scene.slots
        )
        late = () if self._world.physics.fenced else scene.late_writes
        return scene._replace(slots=slots, late_writes=late)

    def _delete(self, who: int, slot: Slot) -> Iterator[Move]:
        scene = self._scene
        if slot.receipt != NEWEST or scene.place == GONE:
            yield self._answer(scene, who, self._events.refused)
            return
        breaches = self._world.judge.delete(scene)
        gone = scene._replace(place=GONE, late_calls=(), slots=superseded(scene))
        yield self._answer(gone._replace(confirmed=self._world.scenario.prunes), who, self._events.done, breaches)
        if self._faulty:
            yield self._silence(gone, who, "lost after", breaches)
        yield from self._given_up(who, LATE_DELETE)

    def _release(self, who: int, slot: Slot, call: Release) -> Iterator[Move]:
        scene = self._scene
        if slot.receipt != NEWEST or scene.place == GONE:
            yield self._answer(scene, who, self._events.refused, self._world.judge.refused_release(slot))
            return
        place = VISIBLE if call.pause_s == 0 else HIDDEN
        shown = scene._replace(place=place, late_calls=(), slots=unknown(scene))
        yield from self._effect(shown, who, self._events.done)
        if place == VISIBLE:
            yield from self._given_up(who, LATE_RELEASE)

    def _given_up(self, who: int, late: int) -> Iterator[Move]:
        """The queue call may still land, as long as its receipt is the newest."""
        scene = self._scene
        if self._faulty and late not in scene.late_calls:
            waiting = scene._replace(late_calls=tuple(sorted((*scene.late_calls, late))))
            yield self._silence(waiting, who, "late")

    def _handler(self, who: int, slot: Slot) -> Iterator[Move]:
        """The handler checkpoints, returns, fails, or lets go because of a drain."""
        world, events = self._world, self._events
        if slot.told != NOTHING:  # it has reported, and is gone
            return
        delivery, worker = world.stepper.deliveries[slot.delivery], self._crew[who]
        yield self._fair(*self._told(who, slot, events.returned, RETURNED))
        if self._faulty:
            yield self._fault(*self._told(who, slot, events.failed, FAILED))
        done = progress_of(None if delivery.record is None else delivery.record.progress)
        if world.scenario.stored and done < world.scenario.checkpoints:
            event = world.stepper.events.number(Checkpointed(progress=str(done + 1)))
            yield self._fair(*self._told(who, slot, event, NOTHING))
        if worker.draining:
            event, told = (events.stopped, STOPPING) if worker.stopping else (events.evicted, EVADING)
            yield self._fair(*self._told(who, slot, event, told))

    def _told(self, who: int, slot: Slot, event: int, told: int) -> tuple[Scene, Action, Breaches]:
        finished = self._scene.finished or (told == RETURNED and not self._world.scenario.stored)
        scene = with_slot(self._scene, who, slot._replace(told=told))._replace(finished=finished)
        after, breaches = self._fed(scene, who, event, reply=True)
        return after, Action("handler", who, event), breaches

    # -- the lease ------------------------------------------------------------------------------------------------

    def _lease(self, who: int, slot: Slot) -> Iterator[Move]:
        """The lease runs out by the worker's clock; renewals."""
        scene, events = self._scene, self._events
        early = scene.place == HIDDEN and holds(slot)
        if self._faulty or not early:
            after, breaches = self._fed(scene, who, events.lease_gone, reply=False)
            action = Action("lease gone", who, events.lease_gone)
            yield self._fault(after, action, breaches) if early else self._chance(after, action, breaches)
        if slot.renewal == IDLE:
            yield from self._renewal(who, slot)
            return
        event, receipt = events.renewal_refused, slot.receipt
        if slot.renewal == APPLIED:
            event, receipt = events.renewed, NEWEST if slot.receipt == UNKNOWN else slot.receipt
        heard = with_slot(scene, who, slot._replace(receipt=receipt))
        yield self._fair(*self._renewal_answered(heard, who, event, "renewal reply"))
        if self._faulty:
            yield self._fault(*self._renewal_answered(scene, who, events.renewal_unanswered, "renewal lost after"))

    def _renewal(self, who: int, slot: Slot) -> Iterator[Move]:
        """A renewal is sent: refused, applied, lost, or given up on its way."""
        scene, breaches = self._fed(self._scene, who, self._events.renewal_due, reply=False)
        asking = scene.slots[who]
        if asking is None:
            yield self._chance(scene, Action("renewal due", who, self._events.renewal_due), breaches)
            return
        if asking.renewal == IDLE:
            yield from self._unrenewed(scene, who, asking, breaches)
            return
        silence = self._events.renewal_unanswered
        if self._faulty:
            yield self._fault(*self._renewal_answered(scene, who, silence, "renewal lost before"))
        if slot.receipt != NEWEST or scene.place == GONE:
            refused = with_slot(scene, who, asking._replace(renewal=REFUSED))
            yield self._chance(refused, Action("renewal refused", who), breaches)
            return
        applied = with_slot(scene, who, asking._replace(receipt=UNKNOWN, renewal=APPLIED))
        applied = applied._replace(place=HIDDEN, late_calls=())
        yield self._chance(applied, Action("renewal applied", who), breaches)
        if self._faulty and LATE_RENEW not in scene.late_calls:
            late = scene._replace(late_calls=tuple(sorted((*scene.late_calls, LATE_RENEW))))
            yield self._fault(*self._renewal_answered(late, who, silence, "renewal late"))

    def _unrenewed(self, scene: Scene, who: int, slot: Slot, breaches: Breaches) -> Iterator[Move]:
        """The lease was to be renewed, and was not: it runs out, and that is no fault of the world.

        A delete or a release that is on its way is answered before that, or it is a fault that it is not.
        """
        if scene != self._scene or breaches:
            yield self._chance(scene, Action("renewal due", who, self._events.renewal_due), breaches)
        settling = slot.call != NONE and isinstance(self._world.stepper.calls[slot.call], Delete | Release)
        if scene.place == HIDDEN and holds(slot) and not settling:
            what = "a lease runs out in the hands of a delivery that did not ask for more"
            breach = Breach(Promise.ALWAYS_COMES_BACK, what)
            yield self._chance(scene._replace(place=VISIBLE), Action("not renewed", who), (*breaches, breach))

    def _renewal_answered(self, scene: Scene, who: int, event: int, kind: str) -> tuple[Scene, Action, Breaches]:
        slot = scene.slots[who]
        assert slot is not None
        scene = with_slot(scene, who, slot._replace(renewal=IDLE))
        after, breaches = self._fed(scene, who, event, reply=False)
        return after, Action(kind, who, event), breaches

    # -- the protocol ---------------------------------------------------------------------------------------------

    def _fed(self, scene: Scene, who: int, event: int, *, reply: bool) -> tuple[Scene, Breaches]:
        """The scene once a delivery has taken a step; a reply ends the call in flight."""
        world = self._world
        slot = scene.slots[who]
        assert slot is not None
        draining = self._crew[who].draining
        delivery, call, ended, taken, breaches = world.stepper.step(slot.delivery, event, draining)
        renewal, asked = slot.renewal, None if call == NONE else world.stepper.calls[call]
        if asked is None:
            call = NONE if reply else slot.call
        elif isinstance(asked, Renew):
            call, renewal = slot.call, APPLIED
        after = with_slot(scene, who, None if ended else slot._replace(delivery=delivery, call=call, renewal=renewal))
        if ended and event != self._events.lease_gone:
            breaches += world.judge.left(scene, slot)
        if not taken:
            return after, breaches
        out_of_time = event == self._events.time_up
        known = world.stepper.deliveries[delivery]
        breaches += world.judge.rows(taken, known, scene, draining=draining, out_of_time=out_of_time)
        if isinstance(asked, Release):
            breaches += world.judge.release(asked, taken)
        return after, breaches
