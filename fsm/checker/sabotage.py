"""Each rule of the delivery protocol, broken: the explorer must notice every time.

A sabotage weakens the world (`Physics`) or stands between the explorer and `fsm.delivery.advance`: it falsifies what
the protocol is told, or what it answers. The protocol itself is not copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fsm.checker.scenario import ABSENT, FAILING, FRESH, KILLING, OVERTAKEN, PRUNED, STOPPED, Physics, Scenario
from fsm.checker.scene import CURRENT
from fsm.checker.stepper import Protocol, honest
from fsm.delivery import (
    Checkpointed,
    Delete,
    Delivery,
    Done,
    Event,
    Failed,
    Found,
    Goal,
    Interrupted,
    LeaseGone,
    NoReply,
    Phase,
    PresenceFound,
    PutPoison,
    ReadPresence,
    Received,
    Release,
    RenewalDue,
    Renewed,
    Returned,
    Step,
    TimeUp,
    WriteRecord,
    Written,
)
from fsm.job import JobState, JobTrigger
from fsm.record import End, Presence, Record, Status

Telling = Callable[[Delivery, Event], Event]
"""What the protocol is told instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sabotage:
    """One broken rule.

    Attributes:
        rule: its number among the delivery protocol's rules.
        name: what is done instead.
        protocol, physics: how.
        scenario: where it shows.
    """

    rule: int
    name: str
    protocol: Protocol = honest
    physics: Physics = field(default_factory=Physics)
    scenario: Scenario = FRESH


def told(telling: Telling) -> Protocol:
    """The protocol, told something else."""

    def protocol(delivery: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
        return honest(delivery, telling(delivery, event), draining)

    return protocol


# -- what the protocol is told instead ----------------------------------------------------------------------------


def _late_claim(d: Delivery, event: Event) -> Event:
    match event:
        case Found(record=Record() as record) if d.state is JobState.RECEIVED and d.epoch > 1:
            if record.epoch >= d.epoch and record.owner != d.owner:
                return replace(event, record=replace(record, epoch=d.epoch - 1))
    return event


def _ends_untagged(_: Delivery, event: Event) -> Event:
    match event:
        case Found(record=Record(status=Status.RELEASED) as record):
            return replace(event, record=replace(record, status=Status.OPEN, counted_epoch=0))
    return event


def _not_final(status: Status) -> Telling:
    def telling(d: Delivery, event: Event) -> Event:
        match event:
            case Found(record=Record() as record) if d.state is JobState.RECEIVED and record.status is status:
                return replace(event, record=replace(record, status=Status.RELEASED))
        return event

    return telling


def _taken_for_done(d: Delivery, event: Event) -> Event:
    match event:
        case Found(record=Record(status=Status.POISONED) as record) if d.phase is Phase.READING_RECORD:
            return replace(event, record=replace(record, status=Status.DONE))
    return event


def _always_a_death(d: Delivery, event: Event) -> Event:
    if not isinstance(event, PresenceFound) or d.record is None:
        return event
    owner = d.record.owner
    return PresenceFound(
        presence=Presence(
            vm_id=owner.vm_id, vm_name="", boot_id=owner.boot_id, instance=owner.instance, process="somebody else"
        )
    )


def _never_a_death(_: Delivery, event: Event) -> Event:
    return PresenceFound(presence=None) if isinstance(event, PresenceFound) else event


def _of_this_boot(d: Delivery, event: Event) -> Event:
    match event:
        case PresenceFound(presence=Presence() as presence) if d.record is not None:
            return PresenceFound(presence=replace(presence, boot_id=d.record.owner.boot_id))
    return event


def _an_absent_one_is_a_death(d: Delivery, event: Event) -> Event:
    return _always_a_death(d, event) if event == PresenceFound(presence=None) else event


def _another_process_is_a_later_one(d: Delivery, event: Event) -> Event:
    match event:
        case PresenceFound(presence=Presence() as presence) if d.record is not None:
            owner = d.record.owner
            if presence.boot_id == owner.boot_id and presence.process != owner.process:
                return _always_a_death(d, event)
    return event


def _a_stop_is_an_eviction(_: Delivery, event: Event) -> Event:
    return Interrupted(end=End.EVICTION) if event == Interrupted(end=End.STOP) else event


def _interruption_is_failure(_: Delivery, event: Event) -> Event:
    return Failed(error="evicted", pause_s=0.0) if isinstance(event, Interrupted) else event


def _silence_is_success(phase: Phase, event: Event) -> Telling:
    def telling(d: Delivery, told_event: Event) -> Event:
        return event if isinstance(told_event, NoReply) and d.phase is phase else told_event

    return telling


def _created_anew(d: Delivery, event: Event) -> Event:
    match event:
        case Found(record=None) if d.phase is Phase.READING_BACK and d.version is not None:
            return Found(record=Record(epoch=d.epoch, owner=d.owner), version=None)
    return event


def _dequeue_count_is_the_budget(d: Delivery, event: Event) -> Event:
    if isinstance(event, Received) and d.epoch > 1:
        return Received(rejected="received too often")
    return event


def _lost_race_is_repeated(d: Delivery, event: Event) -> Event:
    match event:
        case Found(record=Record(status=Status.OPEN) as record) if d.phase is Phase.READING_BACK:
            if record.owner != d.owner and d.state is JobState.RUNNING:
                return replace(event, record=Record(epoch=d.epoch, owner=d.owner))
    return event


def _claim_is_not_tried_again(d: Delivery, event: Event) -> Event:
    if isinstance(event, Found) and d.phase is Phase.READING_BACK and d.state is JobState.RECEIVED:
        ours = event.record is not None and event.record.owner == d.owner
        return event if ours or event.version == d.version else LeaseGone()
    return event


# -- what the protocol answers instead ----------------------------------------------------------------------------


def _deletes_before_recording(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    goal = d.goal
    if isinstance(event, Done) and d.phase is Phase.DELETING and d.state is JobState.RUNNING:
        assert goal is not None
        assert goal.draft is not None
        write = WriteRecord(record=goal.draft, expected=d.version)
        return Step(delivery=replace(d, phase=Phase.WRITING), call=write)
    step = honest(d, event, draining)
    if isinstance(event, Returned):
        return Step(delivery=replace(step.delivery, phase=Phase.DELETING), call=Delete())
    return step


def _puts_before_marking(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    unmarked = d.state in (JobState.RECEIVED, JobState.RUNNING)
    if isinstance(event, Done) and d.phase is Phase.PUTTING and unmarked:
        assert d.goal is not None
        assert d.goal.draft is not None
        write = WriteRecord(record=d.goal.draft, expected=d.version)
        return Step(delivery=replace(d, phase=Phase.WRITING), call=write)
    step = honest(d, event, draining)
    match step.call:
        case WriteRecord(record=Record(status=Status.POISONED)) if d.phase is not Phase.READING_BACK:
            assert step.delivery.goal is not None
            put = PutPoison(reason=step.delivery.goal.reason)
            return replace(step, delivery=replace(step.delivery, phase=Phase.PUTTING), call=put)
    return step


def _deletes_before_putting(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    step = honest(d, event, draining)
    if isinstance(step.call, PutPoison) and d.phase is not Phase.PUTTING:
        return replace(step, delivery=replace(step.delivery, phase=Phase.DELETING), call=Delete())
    return step


def _races_its_renewal(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    step = honest(d, event, draining)
    goal = step.delivery.goal
    if step.delivery.phase is Phase.RELEASING and step.delivery.renewing and d.phase is not Phase.RELEASING:
        assert goal is not None
        return replace(step, call=Release(pause_s=goal.pause_s))
    return step


def _forgets_what_it_held_back(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    step = honest(d, event, draining)
    return replace(step, call=None) if isinstance(event, Renewed) else step


def _begins_in_a_drain(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    return honest(d, event, draining and d.state is not JobState.RECEIVED)


def _begins_unclaimed(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    if not isinstance(event, Received):
        return honest(d, event, draining)
    step = honest(replace(d, epoch=1), event, draining)
    return replace(step, delivery=replace(step.delivery, epoch=d.epoch))


def _confirms_before_writing(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    step = honest(d, event, draining)
    if isinstance(event, Checkpointed):
        return honest(step.delivery, Written(version=CURRENT), draining)
    return step


def _releases_before_counting(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    step = honest(d, event, draining)
    if isinstance(event, Failed) and isinstance(step.call, WriteRecord):
        return honest(step.delivery, TimeUp(), draining)
    return step


def _leaves_its_claim_open(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    step = honest(d, event, draining)
    if event == Interrupted(end=End.STOP) and isinstance(step.call, WriteRecord):
        return honest(step.delivery, TimeUp(), draining)
    return step


def _deletes_what_it_lost(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    step = honest(d, event, draining)
    if isinstance(event, LeaseGone) and step.delivery.state is JobState.ABANDONED:
        goal = Goal(trigger=JobTrigger.LOSE_LEASE, facts=frozenset())
        return replace(step, delivery=replace(step.delivery, phase=Phase.DELETING, goal=goal), call=Delete())
    return step


def _releases_with_a_pause(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    step = honest(d, event, draining)
    if isinstance(step.call, Release) and isinstance(event, Written):
        return replace(step, call=Release(pause_s=1.0))
    return step


def _claims_unread(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    step = honest(d, event, draining)
    if isinstance(step.call, ReadPresence):
        return honest(step.delivery, _always_a_death(step.delivery, PresenceFound(presence=None)), draining)
    return step


def _does_not_renew(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    return Step(delivery=d) if isinstance(event, RenewalDue) else honest(d, event, draining)


def _renews_late(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    if isinstance(event, RenewalDue) and d.phase is not Phase.RUNNING:
        return Step(delivery=d)
    return honest(d, event, draining)


def _goes_on_without_its_lease(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    return Step(delivery=d) if isinstance(event, LeaseGone) else honest(d, event, draining)


def _counts_anew(d: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
    step = honest(d, event, draining)
    goal = step.delivery.goal
    match step.call:
        case WriteRecord(record=record) as write if d.phase is Phase.READING_BACK and d.state is JobState.RUNNING:
            assert goal is not None
            again = replace(record, counts=record.counts.plus(End.FAILURE))
            delivery = replace(step.delivery, goal=replace(goal, draft=again))
            return replace(step, delivery=delivery, call=replace(write, record=again))
    return step


NOT_EXPLORED = {
    2: "the ids of the explored messages are unique, as every queue's are: the contract of the queues holds them to it",
    8: "the explored messages have no time to live, and a delivery knows of none: the runner renews no further",
    11: "the explored messages are on the queue already: a put whose reply was lost is reported by enqueue alone",
}
"""Rules that nothing in the explored world could break, and why."""

SABOTAGES = (
    Sabotage(rule=1, name="deletes before recording", protocol=_deletes_before_recording),
    Sabotage(rule=1, name="confirms a checkpoint before it is written", protocol=_confirms_before_writing),
    Sabotage(rule=1, name="releases before the end is counted", protocol=_releases_before_counting),
    Sabotage(rule=1, name="puts poison before its mark", protocol=_puts_before_marking, scenario=FAILING),
    Sabotage(rule=1, name="deletes before putting poison", protocol=_deletes_before_putting, scenario=FAILING),
    Sabotage(rule=3, name="writes without a condition", physics=Physics(fenced=False)),
    Sabotage(rule=3, name="the first write overwrites", physics=Physics(create_only=False)),
    Sabotage(rule=3, name="a late claim goes over a newer one", protocol=told(_late_claim)),
    Sabotage(rule=3, name="begins a later delivery without a claim", protocol=_begins_unclaimed),
    Sabotage(rule=3, name="repeats a write that lost its race", protocol=told(_lost_race_is_repeated)),
    Sabotage(rule=3, name="gives up a claim refused by an older delivery", protocol=told(_claim_is_not_tried_again)),
    Sabotage(rule=3, name="done is not final", protocol=told(_not_final(Status.DONE))),
    Sabotage(rule=4, name="owners have no token", physics=Physics(tokens=False)),
    Sabotage(
        rule=4,
        name="takes a write without reply for applied",
        protocol=told(_silence_is_success(Phase.WRITING, Written(version=CURRENT))),
    ),
    Sabotage(rule=4, name="creates a vanished record anew", protocol=told(_created_anew), scenario=PRUNED),
    Sabotage(rule=5, name="ends are not tagged with their epoch", protocol=told(_ends_untagged)),
    Sabotage(rule=5, name="claims without reading the presence", protocol=_claims_unread),
    Sabotage(rule=5, name="takes every open claim for a death", protocol=told(_always_a_death)),
    Sabotage(rule=5, name="takes every open claim for a lapse", protocol=told(_never_a_death), scenario=KILLING),
    Sabotage(rule=5, name="does not look at the boot", protocol=told(_of_this_boot)),
    Sabotage(
        rule=5, name="takes an absent owner for a dead one", protocol=told(_an_absent_one_is_a_death), scenario=ABSENT
    ),
    Sabotage(
        rule=5,
        name="takes any other process for a later one",
        protocol=told(_another_process_is_a_later_one),
        scenario=OVERTAKEN,
    ),
    Sabotage(rule=5, name="a stopped worker leaves its claim open", protocol=_leaves_its_claim_open, scenario=STOPPED),
    Sabotage(rule=5, name="a stop counts as an eviction", protocol=told(_a_stop_is_an_eviction), scenario=STOPPED),
    Sabotage(rule=5, name="an interruption is a failure", protocol=told(_interruption_is_failure)),
    Sabotage(rule=5, name="the dequeue count spends a budget", protocol=told(_dequeue_count_is_the_budget)),
    Sabotage(rule=4, name="counts anew when it writes again", protocol=_counts_anew),
    Sabotage(rule=4, name="goes on without its lease", protocol=_goes_on_without_its_lease),
    Sabotage(rule=6, name="does not renew its lease", protocol=_does_not_renew),
    Sabotage(rule=6, name="renews late: not before its handler runs", protocol=_renews_late),
    Sabotage(rule=6, name="a release races a renewal", protocol=_races_its_renewal),
    Sabotage(rule=6, name="forgets a call that a renewal held back", protocol=_forgets_what_it_held_back),
    Sabotage(rule=6, name="deletes a message whose lease is lost", protocol=_deletes_what_it_lost),
    Sabotage(rule=7, name="begins in a drain", protocol=_begins_in_a_drain),
    Sabotage(rule=7, name="releases an interrupted job with a pause", protocol=_releases_with_a_pause),
    Sabotage(rule=9, name="records are pruned early", physics=Physics(prunes_early=True)),
    Sabotage(rule=10, name="poisoned is not final", protocol=told(_not_final(Status.POISONED)), scenario=FAILING),
    Sabotage(rule=10, name="takes a poisoned record for a done one", protocol=told(_taken_for_done), scenario=FAILING),
    Sabotage(
        rule=10,
        name="does not repeat a poison put without reply",
        protocol=told(_silence_is_success(Phase.PUTTING, Done())),
        scenario=FAILING,
    ),
)
