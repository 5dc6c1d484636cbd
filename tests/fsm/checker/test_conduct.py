"""The judge of single steps: it has nothing against the protocol, and each of its reasons is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm.checker.conduct import judge_step
from fsm.checker.stepper import honest
from fsm.delivery import (
    Call,
    Checkpointed,
    Delete,
    Delivery,
    Done,
    Event,
    Failed,
    Found,
    LeaseGone,
    NoReply,
    Phase,
    PutPoison,
    ReadPresence,
    ReadRecord,
    Received,
    Release,
    Renew,
    RenewalDue,
    Renewed,
    Returned,
    Step,
    WriteRecord,
    Written,
)
from fsm.job import JobState
from tests.fsm.delivery_steps import EARLIER, OWNER, earlier_record, events_for
from tests.fsm.test_delivery import FINDABLE


@given(data=st.data(), stored=st.booleans(), draining=st.booleans(), epoch=st.sampled_from([1, 3, 12]))
def test_the_protocol_conducts_itself(data: st.DataObject, stored: bool, draining: bool, epoch: int) -> None:
    """Whatever a world may answer, the protocol takes no step without a reason."""
    delivery = Delivery(epoch=epoch, owner=OWNER, stored=stored)
    for _ in range(data.draw(st.integers(1, 10))):
        event = data.draw(st.sampled_from(events_for(delivery, FINDABLE)))
        step = honest(delivery, event, draining)
        before = replace(delivery, attempt=0)
        step = replace(step, delivery=replace(step.delivery, attempt=0))
        assert judge_step(before, event, draining, step) == ()
        delivery = step.delivery


NEW = Delivery(epoch=1, owner=OWNER, stored=True)
LATER = replace(NEW, epoch=2)
RUNNING = honest(NEW, Received(), False).delivery
SAVING = honest(RUNNING, Checkpointed(progress="1"), False).delivery
DONE = honest(RUNNING, Returned(result="1"), False).delivery
DELETING = honest(DONE, Written(version="v1"), False).delivery
READING = honest(LATER, Received(), False).delivery


def leading_to(before: Delivery, event: Event, phase: Phase, call: Call | None = None) -> Step:
    """The honest step, led elsewhere."""
    step = honest(before, event, False)
    return replace(step, delivery=replace(step.delivery, phase=phase), call=call)


RETURNED, V1, V2 = Returned(result="1"), Written(version="v1"), Written(version="v2")
FAR = Found(record=earlier_record(), version="v1")
CLAIMED = honest(READING, FAR, False).delivery
HANDED_BACK = replace(
    honest(READING, FAR, True), delivery=replace(honest(READING, FAR, True).delivery, record=LATER.own)
)
RACING = replace(DELETING, renewing=True)
NOBODY = Found(record=None, version=None)

WRONG: list[tuple[str, Delivery, Event, Step]] = [
    ("its lease is lost, and goes on", RUNNING, LeaseGone(), Step(delivery=RUNNING)),
    ("more than the lease", RUNNING, RenewalDue(), Step(delivery=replace(RUNNING, phase=Phase.ENDED))),
    ("while a renewal is in flight", DELETING, NoReply(), Step(delivery=RACING, call=Delete())),
    ("answered is made again", DELETING, Done(), Step(delivery=DELETING, call=Delete())),
    ("and it calls again", DELETING, Done(), leading_to(DELETING, Done(), Phase.RELEASING, Release(pause_s=0.0))),
    ("ReadRecord without", DONE, V1, leading_to(DONE, V1, Phase.READING_BACK, ReadRecord())),
    ("ReadPresence without", RUNNING, RETURNED, Step(delivery=RUNNING, call=ReadPresence(owner=EARLIER))),
    ("PutPoison without", RUNNING, RETURNED, Step(delivery=RUNNING, call=PutPoison(reason="?"))),
    ("Delete without", RUNNING, RETURNED, leading_to(RUNNING, RETURNED, Phase.DELETING, Delete())),
    ("Release without", RUNNING, RETURNED, Step(delivery=RUNNING, call=Release(pause_s=0.0))),
    ("Renew without", RUNNING, Renewed(), Step(delivery=RUNNING, call=Renew())),
    (
        "WriteRecord without",
        RUNNING,
        RETURNED,
        Step(delivery=RUNNING, call=WriteRecord(record=replace(RUNNING.own, owner=EARLIER), expected=None)),
    ),
    ("no row leads from Running to Completed", DONE, NoReply(), Step(delivery=replace(DONE, state=JobState.COMPLETED))),
    (
        "nothing has been written for it",
        RUNNING,
        Failed(error="?", pause_s=1.0),
        replace(honest(DONE, V1, False), call=None),
    ),
    ("another version", DONE, V1, honest(DONE, V2, False)),
    ("another than the store has", READING, FAR, honest(READING, NOBODY, False)),
    ("not what the queue said", DELETING, Done(), Step(delivery=replace(DELETING, phase=Phase.ENDED))),
    ("and it is not written", RUNNING, Checkpointed(progress="1"), Step(delivery=RUNNING)),
    ("checkpoint is saved", SAVING, V1, leading_to(SAVING, NoReply(), Phase.RUNNING)),
    ("nothing has ended it", DONE, NoReply(), Step(delivery=replace(DONE, phase=Phase.ENDED))),
    ("its job is Running", DONE, NoReply(), Step(delivery=replace(DONE, phase=Phase.ENDED))),
    ("its claim is left open", CLAIMED, V2, HANDED_BACK),
    ("has ended, and goes on", replace(DONE, phase=Phase.ENDED), V1, Step(delivery=DONE)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "before", "event", "step"), WRONG, ids=[wrong[0].replace(" ", "-") for wrong in WRONG]
)
def test_what_has_no_reason_is_named(said: str, before: Delivery, event: Event, step: Step) -> None:
    """Each kind of misconduct is told by its own sentence."""
    assert any(said in breach.what for breach in judge_step(before, event, False, step))


def test_nothing_is_claimed_in_a_drain_and_nothing_handed_back_without_one() -> None:
    """A delivery that drains claims no job, and one that does not drain begins what it has."""
    found = Found(record=earlier_record(), version="v1")
    claims, hands_back = honest(READING, found, False), honest(READING, found, True)
    assert judge_step(READING, found, False, claims) == judge_step(READING, found, True, hands_back) == ()
    assert [one.what for one in judge_step(READING, found, True, claims)] == ["a job is claimed in a drain"]
    assert [one.what for one in judge_step(READING, found, False, hands_back)] == [
        "a job is handed back unbegun, and nobody drains"
    ]
