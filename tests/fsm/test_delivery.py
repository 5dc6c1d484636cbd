"""The delivery protocol, step by step: the order of effects, the fence, the budgets, the drain, the lease."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsm.delivery import (
    Checkpointed,
    Delete,
    Delivery,
    Done,
    Event,
    Failed,
    Found,
    Interrupted,
    LeaseGone,
    NoReply,
    Phase,
    PresenceFound,
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
    advance,
    how_ended,
)
from fsm.job import ENDED, JOB, JobState
from fsm.record import DEATHS_MAX, FAILURES_MAX, Counts, End, Record, Status
from tests.fsm.delivery_steps import (
    EARLIER,
    LATER,
    OWNER,
    Hand,
    claimed,
    earlier_record,
    events_for,
    presence_of,
    step,
)

# -- begin -----------------------------------------------------------------------------------------------------------


def test_a_first_delivery_begins_without_a_store_call() -> None:
    """A short job must cost one store write: nothing is read and nothing claimed before a first delivery runs."""
    hand = Hand(epoch=1)
    assert hand.feed(Received()) is None
    assert (hand.state, hand.phase, hand.rows) == (JobState.RUNNING, Phase.RUNNING, ["J8"])


@pytest.mark.parametrize(
    ("event", "status"),
    [(Checkpointed(progress="1"), Status.OPEN), (Returned(result="2"), Status.DONE),
     (Failed(error="e", pause_s=1.0), Status.RELEASED), (Interrupted(end=End.EVICTION), Status.RELEASED)],
)  # fmt: skip
def test_the_first_write_of_a_first_delivery_creates_the_record(event: Event, status: Status) -> None:
    """A first delivery claims with its first write, whatever it is, and only where no record stands."""
    hand = Hand(epoch=1)
    call = hand.feed(Received(), event)
    assert isinstance(call, WriteRecord)
    assert call.expected is None
    assert (call.record.epoch, call.record.owner, call.record.status) == (1, OWNER, status)


def test_a_later_delivery_reads_before_it_claims_and_claims_before_it_runs() -> None:
    """An earlier delivery may still be running: the claim must have been applied first, over the version read."""
    hand = Hand(epoch=3)
    assert hand.feed(Received()) == ReadRecord()
    left = earlier_record(epoch=2)
    call = hand.feed(Found(record=left, version="v4"))
    assert call == WriteRecord(record=left.claimed(epoch=3, owner=OWNER), expected="v4")
    assert hand.state is JobState.RECEIVED
    assert hand.feed(Written(version="v5")) is None
    assert (hand.state, hand.delivery.version, hand.rows) == (JobState.RUNNING, "v5", ["J7"])


def test_a_later_delivery_that_finds_no_record_creates_one() -> None:
    """Whoever was there before left nothing: the claim is create-only, so that a late first write still loses."""
    hand = Hand(epoch=2)
    call = hand.feed(Received(), Found(record=None, version=None))
    assert call == WriteRecord(record=Record(epoch=2, owner=OWNER), expected=None)


def test_progress_and_counts_survive_a_claim() -> None:
    """The next delivery resumes where the last one stopped, with everything counted so far."""
    left = earlier_record().saved("[1]").released(End.EVICTION)
    hand = claimed(left=left)
    assert hand.delivery.record is not None
    assert (hand.delivery.record.progress, hand.delivery.record.counts) == ("[1]", left.counts)


@pytest.mark.parametrize("status", [Status.OPEN, Status.RELEASED])
@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_a_claim_never_goes_over_an_equal_or_newer_epoch(status: Status, ahead: int) -> None:
    """A delivery that finds a newer claim, released or not, is itself the late one: it writes nothing."""
    hand = Hand(epoch=3)
    newer = replace(Record(epoch=3 + ahead, owner=LATER), status=status)
    assert hand.feed(Received(), Found(record=newer, version="v8")) is None
    assert (hand.state, hand.phase, hand.rows) == (JobState.ABANDONED, Phase.ENDED, ["J16"])


@pytest.mark.parametrize("epoch_found", [1, 3, 9])
def test_a_recorded_result_is_never_computed_again(epoch_found: int) -> None:
    """Whoever recorded the result, older or newer: the message is deleted and the handler not run."""
    hand = Hand(epoch=3)
    done = Record(epoch=epoch_found, owner=EARLIER).done("1")
    assert hand.feed(Received(), Found(record=done, version="v8")) == Delete()
    hand.feed(Done())
    assert (hand.state, hand.phase, hand.rows) == (JobState.COMPLETED, Phase.ENDED, ["J2"])
    assert hand.delivery.delete_confirmed


def test_a_poisoned_record_is_put_and_deleted_by_whoever_finds_it() -> None:
    """The delivery that marked it may have died before its put: a duplicate is allowed, a loss is not."""
    hand = Hand(epoch=3)
    poisoned = Record(epoch=2, owner=EARLIER).poisoned("it broke")
    assert hand.feed(Received(), Found(record=poisoned, version="v8")) == PutPoison(reason="it broke")
    assert hand.feed(Done()) == Delete()
    hand.feed(Done())
    assert (hand.state, hand.phase, hand.rows) == (JobState.POISONED, Phase.ENDED, ["J3"])


# -- a message that cannot be a job ----------------------------------------------------------------------------------


def test_a_rejected_first_delivery_marks_then_puts_then_deletes() -> None:
    """An undecodable message goes to the poison queue in the safe order, and its record says why."""
    hand = Hand(epoch=1)
    call = hand.feed(Received(rejected="undecodable"))
    assert isinstance(call, WriteRecord)
    assert (call.record.status, call.record.error, call.expected) == (Status.POISONED, "undecodable", None)
    assert hand.feed(Written(version="v1")) == PutPoison(reason="undecodable")
    assert hand.feed(Done()) == Delete()
    hand.feed(Done())
    assert (hand.rows, hand.state) == (["J10"], JobState.POISONED)


def test_a_rejected_later_delivery_keeps_the_counts_of_the_earlier_ones() -> None:
    """A rejection claims over what stands there, as any delivery does."""
    left = earlier_record()
    hand = Hand(epoch=2)
    call = hand.feed(Received(rejected="oversized"), Found(record=left, version="v4"))
    assert isinstance(call, WriteRecord)
    assert (call.record.status, call.record.counts, call.expected) == (Status.POISONED, left.counts, "v4")


# -- how the last delivery ended -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boot_id", "process", "end"),
    [(None, None, End.LAPSE), ("boot-9", None, End.EVICTION), ("boot-9", "process-9", End.EVICTION),
     (None, "process-9", End.DEATH), (None, "process-1", End.LAPSE)],
)  # fmt: skip
def test_an_open_claim_is_judged_by_who_stands_there_now(boot_id: str | None, process: str | None, end: End) -> None:
    """Another boot is an eviction, a later process of the boot a death, the same or an earlier one a lapse."""
    hand = Hand(epoch=3)
    left = Record(epoch=2, owner=EARLIER)
    assert hand.feed(Received(), Found(record=left, version="v4")) == ReadPresence(owner=EARLIER)
    presence = presence_of(EARLIER, boot_id=boot_id, process=process)
    assert how_ended(EARLIER, presence) is end
    call = hand.feed(PresenceFound(presence=presence))
    assert isinstance(call, WriteRecord)
    assert call.record.counts == Counts().plus(end)
    assert call.record.counted_epoch == 2


def test_an_owner_that_left_no_presence_counts_as_a_lapse() -> None:
    """What cannot be known never spends a budget."""
    hand = Hand(epoch=3)
    call = hand.feed(Received(), Found(record=Record(epoch=2, owner=EARLIER), version="v4"))
    assert call == ReadPresence(owner=EARLIER)
    call = hand.feed(PresenceFound(presence=None))
    assert isinstance(call, WriteRecord)
    assert call.record.counts == Counts(lapses=1)


@pytest.mark.parametrize("end", list(End))
def test_a_released_record_is_claimed_without_counting_its_end_again(end: End) -> None:
    """Each end is counted once, by whoever knew it first."""
    left = earlier_record(end=end)
    hand = Hand(epoch=2)
    call = hand.feed(Received(), Found(record=left, version="v4"))
    assert isinstance(call, WriteRecord)
    assert call.record.counts == Counts().plus(end)


# -- budgets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", range(FAILURES_MAX))
def test_the_last_failure_poisons_and_no_earlier_one(failures: int) -> None:
    """Five failures poison a job; four do not."""
    left = replace(earlier_record(), counts=Counts(failures=failures, evictions=7))
    hand = claimed(left=left)
    call = hand.feed(Failed(error="broken", pause_s=7.0))
    assert isinstance(call, WriteRecord)
    assert call.record.counts.failures == failures + 1
    assert call.record.error == "broken"
    following = hand.feed(Written(version="v3"))
    if failures + 1 < FAILURES_MAX:
        assert (call.record.status, following) == (Status.RELEASED, Release(pause_s=7.0))
        assert hand.rows[-1] == "J25"
    else:
        assert (call.record.status, following) == (Status.POISONED, PutPoison(reason="broken"))
        assert hand.rows[-1] == "J26"


@pytest.mark.parametrize("deaths", [DEATHS_MAX - 2, DEATHS_MAX - 1])
def test_the_tenth_death_without_progress_poisons(deaths: int) -> None:
    """A job that kills its worker is given up at the claim that counts the tenth death, without running again."""
    left = Record(epoch=2, owner=EARLIER, counts=Counts(deaths=deaths, fruitless_deaths=deaths))
    hand = Hand(epoch=3)
    found = Found(record=left, version="v4")
    call = hand.feed(Received(), found, PresenceFound(presence=presence_of(EARLIER, process="process-9")))
    assert isinstance(call, WriteRecord)
    assert call.record.status is (Status.POISONED if deaths + 1 == DEATHS_MAX else Status.OPEN)
    following = hand.feed(Written(version="v5"))
    assert following == (PutPoison(reason="kills its worker") if deaths + 1 == DEATHS_MAX else None)


def test_progress_clears_the_deaths_without_it() -> None:
    """A job that gets on between deaths is not one that kills its worker."""
    left = replace(earlier_record(), counts=Counts(deaths=9, fruitless_deaths=9))
    hand = claimed(left=left)
    call = hand.feed(Checkpointed(progress="1"))
    assert isinstance(call, WriteRecord)
    assert call.record.counts == Counts(deaths=9, fruitless_deaths=0)


@given(
    evictions=st.integers(0, 10_000), lapses=st.integers(0, 10_000), stops=st.integers(0, 10_000),
    epoch=st.integers(2, 100_000),
)  # fmt: skip
def test_evictions_lapses_and_stops_never_poison(evictions: int, lapses: int, stops: int, epoch: int) -> None:
    """With a store, neither the dequeue count nor any number of evictions, lapses and stops spends a budget."""
    counts = Counts(evictions=evictions, lapses=lapses, stops=stops)
    hand = Hand(epoch=epoch)
    left = Record(epoch=epoch - 1, owner=EARLIER, counts=counts)
    hand.feed(Received(), Found(record=left, version="v4"), PresenceFound(presence=presence_of(EARLIER)))
    hand.feed(Written(version="v5"), Interrupted(end=End.EVICTION), Written(version="v6"))
    assert hand.rows == ["J7", "J28"]


# -- run: nothing before its proof -----------------------------------------------------------------------------------


def test_a_result_is_recorded_before_the_message_is_deleted() -> None:
    """The delete follows the reply to the done mark, never the request."""
    hand = claimed()
    call = hand.feed(Returned(result='{"pages":3}'))
    assert isinstance(call, WriteRecord)
    assert (call.record.status, call.record.result, call.expected) == (Status.DONE, '{"pages":3}', "v2")
    assert hand.state is JobState.RUNNING
    assert hand.feed(Written(version="v3")) == Delete()
    assert (hand.state, hand.rows[-1]) == (JobState.COMPLETED, "J21")
    hand.feed(Done())
    assert hand.phase is Phase.ENDED


def test_checkpoints_follow_one_another_each_on_the_version_of_the_last() -> None:
    """Each write is conditional on the version the last one left."""
    hand = claimed()
    for number in range(3):
        call = hand.feed(Checkpointed(progress=str(number)))
        assert isinstance(call, WriteRecord)
        assert (call.record.progress, call.expected) == (str(number), f"v{number + 2}")
        hand.feed(Written(version=f"v{number + 3}"))
        assert hand.phase is Phase.RUNNING
    assert hand.rows[1:] == ["J19"] * 3


@pytest.mark.parametrize("end", [End.EVICTION, End.STOP])
def test_an_interruption_is_counted_and_then_released_at_once(end: End) -> None:
    """The claim is closed and its end counted before the message can be seen again, without a pause."""
    hand = claimed()
    call = hand.feed(Interrupted(end=end))
    assert isinstance(call, WriteRecord)
    assert (call.record.status, call.record.counts) == (Status.RELEASED, Counts(evictions=1).plus(end))
    assert hand.feed(Written(version="v3")) == Release(pause_s=0.0)
    assert (hand.state, hand.rows[-1]) == (JobState.RELEASED, "J28")
    hand.feed(Done())
    assert hand.phase is Phase.ENDED


def test_poison_is_marked_before_it_is_put_and_put_before_the_delete() -> None:
    """The other order could lose the message or put a job aside that somebody else completes."""
    hand = claimed(left=replace(earlier_record(), counts=Counts(failures=FAILURES_MAX - 1)))
    hand.feed(Failed(error="e", pause_s=1.0), Written(version="v3"), Done(), Done())
    kinds = [type(call) for call in hand.calls[-3:]]
    assert kinds == [WriteRecord, PutPoison, Delete]


# -- lost replies: the read-back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("silence", [NoReply(), Refused()])
def test_a_write_without_a_clear_answer_is_read_back(silence: Event) -> None:
    """A lost reply and a refusal look the same from here: the refusal may be of our own repetition."""
    hand = claimed()
    hand.feed(Returned(result="1"))
    assert hand.feed(silence) == ReadRecord()
    assert hand.phase is Phase.READING_BACK
    assert hand.feed(NoReply()) == ReadRecord()


def test_the_very_document_means_that_it_was_applied() -> None:
    """Same epoch, token and content: applied, at the version read."""
    hand = claimed()
    call = hand.feed(Returned(result="1"))
    assert isinstance(call, WriteRecord)
    assert hand.feed(NoReply(), Found(record=call.record, version="v9")) == Delete()
    assert (hand.state, hand.delivery.version) == (JobState.COMPLETED, "v9")


def test_our_older_document_means_that_the_same_one_is_sent_again() -> None:
    """The counts are not computed again, whatever the present says."""
    hand = claimed()
    call = hand.feed(Failed(error="e", pause_s=1.0))
    assert isinstance(call, WriteRecord)
    before = hand.delivery.record
    again = hand.feed(NoReply(), Found(record=before, version="v2"))
    assert again == WriteRecord(record=call.record, expected="v2")
    assert hand.delivery.attempt > 0


def test_a_claim_that_was_not_applied_is_sent_again_with_its_verdict() -> None:
    """The very claim is repeated: were its counts computed again, a late first copy would leave two verdicts."""
    hand = Hand(epoch=3)
    left = Record(epoch=2, owner=EARLIER)
    hand.feed(Received(), Found(record=left, version="v4"))
    claim = hand.feed(PresenceFound(presence=presence_of(EARLIER)))
    assert hand.feed(NoReply(), Found(record=left, version="v4")) == claim


def test_a_record_still_absent_means_that_the_first_write_is_sent_again() -> None:
    """A first delivery whose create was lost creates again."""
    hand = Hand(epoch=1)
    call = hand.feed(Received(), Returned(result="1"))
    assert hand.feed(NoReply(), Found(record=None, version=None)) == call


def test_a_record_that_vanished_means_that_the_lease_is_lost() -> None:
    """Whoever pruned it had a reason: a delivery that once knew the record never creates it anew."""
    hand = claimed()
    assert hand.feed(Returned(result="1"), NoReply(), Found(record=None, version=None)) is None
    assert (hand.state, hand.rows[-1]) == (JobState.ABANDONED, "J16")


@pytest.mark.parametrize(
    "found",
    [Record(epoch=3, owner=LATER), Record(epoch=3, owner=LATER).done("9"), Record(epoch=3, owner=LATER).poisoned("p"),
     Record(epoch=2, owner=LATER), Record(epoch=1, owner=OWNER)],
)  # fmt: skip
@pytest.mark.parametrize("event", [Checkpointed(progress="1"), Returned(result="1"), Interrupted(end=End.EVICTION)])
def test_another_delivery_s_record_ends_a_running_one(event: Event, found: Record) -> None:
    """Another token or another epoch: somebody else has the message, and a zombie writes nothing."""
    hand = claimed()
    assert hand.feed(event, Refused(), Found(record=found, version="v9")) is None
    assert (hand.state, hand.phase) == (JobState.ABANDONED, Phase.ENDED)


def test_a_claim_refused_by_an_older_delivery_s_write_is_tried_again() -> None:
    """A zombie's checkpoint between our read and our claim must not cost the message its turn."""
    hand = Hand(epoch=3)
    left = earlier_record(epoch=2)
    hand.feed(Received(), Found(record=left, version="v4"))
    moved_on = Record(epoch=2, owner=EARLIER, progress="5")
    assert hand.feed(Refused(), Found(record=moved_on, version="v5")) == ReadPresence(owner=EARLIER)
    call = hand.feed(PresenceFound(presence=presence_of(EARLIER)))
    assert isinstance(call, WriteRecord)
    assert (call.record.progress, call.record.counts.lapses, call.expected) == ("5", 1, "v5")


def test_a_claim_refused_by_a_result_leads_to_the_delete() -> None:
    """The zombie finished first: its result stands."""
    hand = Hand(epoch=3)
    done = Record(epoch=2, owner=EARLIER).done("1")
    hand.feed(Received(), Found(record=earlier_record(epoch=2), version="v4"), Refused())
    assert hand.feed(Found(record=done, version="v5")) == Delete()
    assert hand.rows == ["J2"]


@pytest.mark.parametrize("found", [Record(epoch=3, owner=LATER), Record(epoch=4, owner=LATER).released(End.STOP)])
def test_a_claim_refused_by_a_newer_one_is_lost(found: Record) -> None:
    """The fence: no claim over an equal or newer epoch, on the second try neither."""
    hand = Hand(epoch=3)
    hand.feed(Received(), Found(record=earlier_record(epoch=2), version="v4"), Refused())
    assert hand.feed(Found(record=found, version="v5")) is None
    assert hand.rows == ["J16"]


def test_a_read_without_reply_is_read_again() -> None:
    """Reads change nothing, and are repeated until there is an answer."""
    hand = Hand(epoch=3)
    assert hand.feed(Received(), NoReply(), NoReply()) == ReadRecord()
    assert hand.delivery.attempt == 2
    hand.feed(Found(record=Record(epoch=2, owner=EARLIER), version="v4"))
    assert hand.feed(NoReply()) == ReadPresence(owner=EARLIER)


def test_queue_calls_without_reply_are_made_again() -> None:
    """A delete, a release and a poison put are repeated: the second may be refused, and that is fine."""
    hand = claimed()
    hand.feed(Returned(result="1"), Written(version="v3"))
    assert hand.feed(NoReply(), NoReply()) == Delete()
    assert hand.feed(Refused()) is None
    assert (hand.state, hand.phase, hand.delivery.delete_confirmed) == (JobState.COMPLETED, Phase.ENDED, False)

    hand = claimed()
    hand.feed(Interrupted(end=End.STOP), Written(version="v3"))
    assert hand.feed(NoReply()) == Release(pause_s=0.0)
    assert hand.feed(Refused()) is None
    assert (hand.state, hand.phase) == (JobState.RELEASED, Phase.ENDED)

    hand = Hand(epoch=1)
    hand.feed(Received(rejected="undecodable"), Written(version="v1"))
    assert hand.feed(NoReply()) == PutPoison(reason="undecodable")


# -- the drain -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("epoch", [1, 2, 50])
@pytest.mark.parametrize("rejected", [None, "undecodable"])
def test_what_is_received_during_a_drain_is_released_unbegun(stored: bool, epoch: int, rejected: str | None) -> None:
    """A message that a late receive brings goes back at once, without a store call."""
    hand = Hand(epoch=epoch, stored=stored, draining=True)
    assert hand.feed(Received(rejected=rejected)) == Release(pause_s=0.0)
    assert (hand.state, hand.rows) == (JobState.RELEASED, ["J1"])


@pytest.mark.parametrize(
    "found", [None, earlier_record(epoch=2), Record(epoch=2, owner=EARLIER), Record(epoch=2, owner=EARLIER).done("1"),
              Record(epoch=2, owner=EARLIER).poisoned("p")],
)  # fmt: skip
def test_a_drain_during_the_read_hands_back_whatever_is_found(found: Record | None) -> None:
    """Even a finished job's message goes back: another VM deletes it."""
    hand = Hand(epoch=3)
    hand.feed(Received())
    hand.draining = True
    assert hand.feed(Found(record=found, version=None if found is None else "v4")) == Release(pause_s=0.0)
    assert hand.rows == ["J1"]


@pytest.mark.parametrize("while_reading", ["record", "presence"])
def test_a_store_that_does_not_answer_does_not_hold_up_a_drain(while_reading: str) -> None:
    """Nothing was claimed yet, so there is nothing to save: handed back at once."""
    hand = Hand(epoch=3)
    hand.feed(Received())
    if while_reading == "presence":
        hand.feed(Found(record=Record(epoch=2, owner=EARLIER), version="v4"))
    hand.draining = True
    assert hand.feed(NoReply()) == Release(pause_s=0.0)


def test_a_drain_between_the_presence_and_the_claim_hands_back() -> None:
    """The last look before the claim."""
    hand = Hand(epoch=3)
    hand.feed(Received(), Found(record=Record(epoch=2, owner=EARLIER), version="v4"))
    hand.draining = True
    assert hand.feed(PresenceFound(presence=None)) == Release(pause_s=0.0)


def test_a_claim_that_lands_in_a_drain_is_closed_before_the_release() -> None:
    """The claim is open by then: it is closed as a stop, so that nobody counts it as anything else."""
    hand = Hand(epoch=3)
    hand.feed(Received(), Found(record=earlier_record(epoch=2), version="v4"))
    hand.draining = True
    call = hand.feed(Written(version="v5"))
    assert isinstance(call, WriteRecord)
    assert (call.expected, call.record.status, call.record.counts.stops) == ("v5", Status.RELEASED, 1)
    assert hand.feed(Written(version="v6")) == Release(pause_s=0.0)
    assert hand.rows == ["J1"]


def test_a_poison_mark_that_lands_in_a_drain_is_carried_on() -> None:
    """Putting and deleting is settling, not beginning."""
    hand = Hand(epoch=1)
    hand.feed(Received(rejected="undecodable"))
    hand.draining = True
    assert hand.feed(Written(version="v1")) == PutPoison(reason="undecodable")


@pytest.mark.parametrize(
    ("event", "row"), [(Checkpointed(progress="1"), "J19"), (Returned(result="1"), "J21"),
                       (Failed(error="e", pause_s=1.0), "J25"), (Interrupted(end=End.EVICTION), "J28")],
)  # fmt: skip
def test_a_running_job_settles_in_a_drain_as_it_would_otherwise(event: Event, row: str) -> None:
    """What fits may finish, what fails is counted, what is interrupted is saved."""
    hand = claimed()
    hand.draining = True
    hand.feed(event, Written(version="v3"))
    assert hand.rows[-1] == row


@pytest.mark.parametrize("read_back", [False, True])
@pytest.mark.parametrize(
    ("event", "row", "pause_s"),
    [(Interrupted(end=End.EVICTION), "J28", 0.0), (Failed(error="e", pause_s=9.0), "J25", 9.0),
     (Checkpointed(progress="1"), "J28", 0.0)],
)  # fmt: skip
def test_a_release_that_cannot_be_saved_in_time_is_made_unsaved(
    event: Event, row: str, pause_s: float, read_back: bool
) -> None:
    """The next delivery resumes at the last checkpoint: late is better than hidden."""
    hand = claimed()
    hand.draining = True
    hand.feed(event)
    if read_back:
        hand.feed(NoReply())
    assert hand.feed(TimeUp()) == Release(pause_s=pause_s)
    assert (hand.state, hand.rows[-1]) == (JobState.RELEASED, row)


def test_a_done_mark_is_not_given_up_while_there_is_hope() -> None:
    """It may have been applied, and a job that is done need not run again: it is read back to the last."""
    hand = claimed()
    hand.draining = True
    call = hand.feed(Returned(result="1"))
    assert isinstance(call, WriteRecord)
    assert hand.feed(TimeUp()) == ReadRecord()
    assert hand.feed(Found(record=call.record, version="v3")) == Delete()


def test_running_out_of_time_without_a_write_is_a_bug_of_the_caller() -> None:
    """Only a store that does not answer can be given up on."""
    with pytest.raises(AssertionError):
        claimed().feed(TimeUp())


@pytest.mark.parametrize("rejected", [None, "undecodable"])
def test_a_claim_that_cannot_be_made_in_time_is_handed_back(rejected: str | None) -> None:
    """A message whose claim hangs is released unbegun when the drain runs out of time."""
    hand = Hand(epoch=3)
    hand.feed(Received(rejected=rejected), Found(record=earlier_record(epoch=2), version="v4"))
    hand.draining = True
    assert hand.feed(TimeUp()) == Release(pause_s=0.0)
    assert hand.rows == ["J1"]


# -- the lease -------------------------------------------------------------------------------------------------------


def test_a_renewal_in_flight_holds_back_the_delete_until_its_reply() -> None:
    """Its reply brings the only receipt that still works."""
    hand = claimed()
    assert hand.feed(RenewalDue()) == Renew()
    hand.feed(Returned(result="1"))
    assert hand.feed(Written(version="v3")) is None
    assert (hand.state, hand.phase) == (JobState.COMPLETED, Phase.DELETING)
    assert hand.feed(Renewed()) == Delete()


@pytest.mark.parametrize("reply", [Renewed(), RenewalUnanswered(), RenewalRefused()])
def test_a_held_back_release_goes_on_whatever_the_renewal_s_reply(reply: Event) -> None:
    """Held back, not forgotten: even a refused renewal is no reason to keep a message hidden."""
    hand = claimed()
    hand.feed(RenewalDue(), Interrupted(end=End.STOP))
    assert hand.feed(Written(version="v3")) is None
    assert hand.feed(reply) == Release(pause_s=0.0)


def test_no_renewal_is_sent_while_one_is_in_flight_or_the_message_is_settled() -> None:
    """Queue calls of one delivery are serial."""
    hand = claimed()
    assert hand.feed(RenewalDue()) == Renew()
    assert hand.feed(RenewalDue()) is None
    hand.feed(Renewed(), Returned(result="1"), Written(version="v3"))
    assert hand.phase is Phase.DELETING
    assert hand.feed(RenewalDue()) is None


def test_a_renewal_without_reply_is_tried_again_when_due() -> None:
    """Nothing is lost yet: the lease still runs."""
    hand = claimed()
    hand.feed(RenewalDue())
    assert hand.feed(RenewalUnanswered()) is None
    assert hand.state is JobState.RUNNING
    assert hand.feed(RenewalDue()) == Renew()


@pytest.mark.parametrize("event", [LeaseGone(), RenewalRefused()])
def test_a_lost_lease_abandons_a_delivery_that_has_not_settled(event: Event) -> None:
    """Somebody else has the message, or may have it."""
    for hand in (Hand(epoch=3), Hand(epoch=1), claimed()):
        if hand.phase is Phase.NEW:
            hand.feed(Received())
        hand.feed(RenewalDue())
        assert hand.feed(event) is None
        assert (hand.state, hand.phase) == (JobState.ABANDONED, Phase.ENDED)


def test_a_lease_that_goes_after_the_result_is_recorded_leaves_the_job_completed() -> None:
    """What made the end true is in the record; whoever receives the message next deletes it."""
    hand = claimed()
    hand.feed(Returned(result="1"), Written(version="v3"), LeaseGone())
    assert (hand.state, hand.phase, hand.rows[-1]) == (JobState.COMPLETED, Phase.ENDED, "J31")


# -- without a store -------------------------------------------------------------------------------------------------


def test_without_a_store_the_delete_is_the_record() -> None:
    """The job is completed when the queue confirms the delete, not before."""
    hand = Hand(epoch=1, stored=False)
    assert hand.feed(Received()) is None
    assert hand.rows == ["J6"]
    hand.feed(Checkpointed(progress="1"))
    assert hand.feed(Returned(result="1")) == Delete()
    assert hand.state is JobState.RUNNING
    hand.feed(Done())
    assert (hand.state, hand.rows, hand.delivery.delete_confirmed) == (JobState.COMPLETED, ["J6", "J19", "J22"], True)


@pytest.mark.parametrize("event", [Refused(), LeaseGone(), RenewalRefused()])
def test_without_a_store_a_refused_delete_is_an_abandoned_delivery(event: Event) -> None:
    """Somebody else has the message now and will run it again: at least once is all there is."""
    hand = Hand(epoch=2, stored=False)
    hand.feed(Received(), Returned(result="1"))
    assert hand.feed(NoReply()) == Delete()
    hand.feed(event)
    assert (hand.state, hand.phase) == (JobState.ABANDONED, Phase.ENDED)


def test_without_a_store_an_interrupted_job_is_released() -> None:
    """There is nothing to save."""
    hand = Hand(epoch=2, stored=False)
    assert hand.feed(Received(), Interrupted(end=End.EVICTION)) == Release(pause_s=0.0)


@pytest.mark.parametrize("epoch", [1, FAILURES_MAX - 1, FAILURES_MAX, FAILURES_MAX + 1])
def test_without_a_store_the_dequeue_count_is_the_failure_budget(epoch: int) -> None:
    """The put comes before the mark's only stand-in, the delete."""
    hand = Hand(epoch=epoch, stored=False)
    call = hand.feed(Received(), Failed(error="e", pause_s=4.0))
    if epoch < FAILURES_MAX:
        assert call == Release(pause_s=4.0)
        return
    assert call == PutPoison(reason="e")
    assert hand.state is JobState.RUNNING
    assert hand.feed(NoReply()) == PutPoison(reason="e")
    assert hand.feed(Done()) == Delete()
    assert hand.rows[-1] == "J26"
    hand.feed(Done())
    assert (hand.state, hand.phase) == (JobState.POISONED, Phase.ENDED)


@pytest.mark.parametrize(
    ("epoch", "rejected", "row"),
    [(1, "undecodable", "J10"), (DEATHS_MAX + 1, None, "J4"), (DEATHS_MAX + 1, "undecodable", "J10")],
)
def test_without_a_store_a_hopeless_message_is_put_aside_unbegun(epoch: int, rejected: str | None, row: str) -> None:
    """Received more often than ten deaths allow, or undecodable: put, then deleted, the handler not run."""
    hand = Hand(epoch=epoch, stored=False)
    assert isinstance(hand.feed(Received(rejected=rejected)), PutPoison)
    assert hand.state is JobState.RECEIVED
    assert hand.feed(Done()) == Delete()
    assert hand.rows == [row]


def test_without_a_store_the_tenth_delivery_still_runs() -> None:
    """The budget is spent after ten deaths, so the tenth delivery is still a chance."""
    hand = Hand(epoch=DEATHS_MAX, stored=False)
    hand.feed(Received())
    assert hand.state is JobState.RUNNING


@pytest.mark.parametrize(
    "late",
    [Written(version="v9"), Done(), Refused(), NoReply(), Renewed(), LeaseGone(), TimeUp(), Returned(result="1")],
)
def test_what_comes_after_the_end_changes_nothing(late: Event) -> None:
    """Late replies, and handlers that outlive their delivery, are normal."""
    hand = claimed()
    hand.feed(LeaseGone())
    ended, rows = hand.delivery, hand.rows
    assert hand.feed(late) is None
    assert (hand.delivery, hand.rows) == (ended, rows)


def test_a_table_that_ends_a_proved_goal_nowhere_is_a_bug() -> None:
    """The protocol follows the table, and stops where the table leaves it without a next step."""
    rows = tuple(replace(row, dest=JobState.ABANDONED) if row.id == "J21" else row for row in JOB.rows)
    delivery = claimed().delivery
    decide = replace(JOB, rows=rows).row_for
    writing = advance(delivery, Returned(result="1"), draining=False, decide=decide).delivery
    with pytest.raises(AssertionError, match="led to Abandoned"):
        advance(writing, Written(version="v3"), draining=False, decide=decide)


# -- over all walks --------------------------------------------------------------------------------------------------


FINDABLE = (
    None,
    earlier_record(epoch=2),
    Record(epoch=2, owner=EARLIER),
    Record(epoch=2, owner=EARLIER, counts=Counts(failures=4, deaths=9, fruitless_deaths=9)),
    replace(earlier_record(epoch=2), counts=Counts(failures=4)),
    Record(epoch=9, owner=LATER),
    Record(epoch=2, owner=EARLIER).done("1"),
    Record(epoch=2, owner=EARLIER).poisoned("p"),
)


class Witness:
    """Knows what the replies have proved so far, and judges each call by it."""

    def __init__(self, *, stored: bool) -> None:
        self.stored = stored
        self.written: Record | None = None
        self.sent: WriteRecord | None = None
        self.put = False
        self.returned = False
        self.gave_up = False
        self.in_flight: object = None

    def hears(self, delivery: Delivery, event: Event) -> None:
        """Learn what a reply proves."""
        match event:
            case Written():
                assert self.sent is not None
                self.written = self.sent.record
            case Found(record=record):
                self.written = record
            case Done() if delivery.phase is Phase.PUTTING:
                self.put = True
            case Returned():
                self.returned = True
            case _:
                self.gave_up = self.gave_up or isinstance(event, TimeUp)

    def judges(self, delivery: Delivery, call: object) -> None:
        """Hold a call against what was proved."""
        assert delivery.phase is not Phase.ENDED
        match call:
            case Delete() if self.stored:
                assert self.written is not None
                assert self.written.status is Status.DONE or (self.written.status is Status.POISONED and self.put)
            case Delete():
                assert self.put or self.returned
            case PutPoison() if self.stored:
                assert self.written is not None
                assert self.written.status is Status.POISONED
            case Release() if self.stored and self.written is not None and not self.gave_up:
                assert self.written.owner != delivery.owner or self.written.status is Status.RELEASED
            case WriteRecord() as write:
                assert self.stored
                assert (write.record.epoch, write.record.owner) == (delivery.epoch, delivery.owner)
                assert write.expected == delivery.version
                self.sent = write
            case Renew():
                assert not delivery.calling_queue
            case _:
                pass
        if isinstance(call, Delete | Release):
            assert not delivery.renewing


@settings(max_examples=500)
@given(
    data=st.data(), epoch=st.sampled_from([1, 3, 6, 12]), stored=st.booleans(),
    drains_at=st.one_of(st.none(), st.integers(0, 12)),
)  # fmt: skip
def test_on_every_walk_nothing_is_done_before_its_proof(
    data: st.DataObject, epoch: int, stored: bool, drains_at: int | None
) -> None:
    """Whatever is answered in whatever order: no delete, put or release before the replies that make it safe."""
    delivery, witness = Delivery(epoch=epoch, owner=OWNER, stored=stored), Witness(stored=stored)
    for number in range(24):
        event = data.draw(st.sampled_from(events_for(delivery, FINDABLE)), label="event")
        draining = drains_at is not None and number >= drains_at
        if delivery.phase is not Phase.ENDED:
            witness.hears(delivery, event)
        before = delivery
        result = step(delivery, event, draining=draining)
        delivery = result.delivery
        if result.call is not None:
            witness.judges(delivery, result.call)
        if before.phase is Phase.ENDED:
            assert result.delivery == before
            assert result.call is None
            assert not result.taken
        if delivery.state is not before.state:
            assert [taken.row.after(taken.state_before) for taken in result.taken] == [delivery.state]
        if draining:
            assert not (before.state is JobState.RECEIVED and delivery.state is JobState.RUNNING)
        if delivery.state in (JobState.RECEIVED, JobState.RUNNING) and before.state in ENDED:
            raise AssertionError("a delivery came back from its end")


WRONG = {
    Phase.NEW: (Found(record=None, version=None), Written(version="v"), Done(), Refused(), NoReply()),
    Phase.READING_RECORD: (Received(), Written(version="v"), Done(), Refused(), PresenceFound(presence=None)),
    Phase.RUNNING: (Received(), Found(record=None, version=None), Written(version="v"), Done(), Refused(), NoReply()),
    Phase.WRITING: (Received(), Found(record=None, version=None), Done(), Checkpointed(progress="1")),
    Phase.PUTTING: (Refused(), Written(version="v"), Failed(error="e", pause_s=1.0)),
    Phase.DELETING: (Written(version="v"), Interrupted(end=End.STOP), PresenceFound(presence=None)),
}  # fmt: skip


@pytest.mark.parametrize(("phase", "event"), [(phase, event) for phase, events in WRONG.items() for event in events])
def test_an_event_that_cannot_happen_is_a_bug_of_the_caller(phase: Phase, event: Event) -> None:
    """A reply to a call that was never made must not be taken for anything else."""
    hand = Hand(epoch=1)
    if phase is Phase.READING_RECORD:
        hand = Hand(epoch=2)
        hand.feed(Received())
    elif phase is Phase.PUTTING:
        hand.feed(Received(rejected="undecodable"), Written(version="v1"))
    elif phase is not Phase.NEW:
        hand.feed(Received())
        if phase in (Phase.WRITING, Phase.DELETING):
            hand.feed(Returned(result="1"))
        if phase is Phase.DELETING:
            hand.feed(Written(version="v1"))
    assert hand.phase is phase
    with pytest.raises(AssertionError):
        hand.feed(event)
