"""The record: it survives being stored, counts each end once, and never lets go of what it knows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm.errors import BadReplyError
from fsm.record import (
    DEATHS_MAX,
    FAILURES_MAX,
    Counts,
    End,
    Owner,
    Record,
    Status,
    canonical,
    decode_record,
    encode_record,
)

OWNER = Owner(vm_id="vm", boot_id="boot", instance="1", process="p", token="t")
FIRST = Record(epoch=1, owner=OWNER)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
texts = st.none() | json_values.map(canonical)
numbers = st.integers(0, 10**6)
records = st.builds(
    Record,
    epoch=numbers,
    owner=st.builds(
        Owner, *[st.text(max_size=8)] * 0, **dict.fromkeys(Owner.__dataclass_fields__, st.text(max_size=8))
    ),
    status=st.sampled_from(Status),
    progress=texts,
    result=texts,
    error=st.none() | st.text(max_size=20),
    counts=st.builds(Counts, **dict.fromkeys(Counts.__dataclass_fields__, numbers)),
    counted_epoch=numbers,
)


# -- stored and read ---------------------------------------------------------------------------------------------------


@given(record=records)
def test_what_is_stored_is_what_is_read(record: Record) -> None:
    """A record read back is the very record written, as text and as bytes: a lost reply is settled by comparing."""
    text = encode_record(record)
    assert decode_record(text) == decode_record(text.encode()) == record


@given(record=records)
def test_a_stored_record_is_plain_json(record: Record) -> None:
    """Progress and result lie in the document as JSON values, not as text in text: people and other tools read it."""
    document = json.loads(encode_record(record))
    assert document["format"] == 1
    for name, text in (("progress", record.progress), ("result", record.result)):
        assert document.get(name) == (None if text is None else json.loads(text))


@given(value=json_values)
def test_canonical_text_means_the_same_and_is_stable(value: object) -> None:
    """Reading canonical text and writing it again changes nothing."""
    text = canonical(value)
    assert canonical(json.loads(text)) == text


@given(items=st.dictionaries(st.text(max_size=4), json_values, min_size=2))
def test_canonical_text_does_not_depend_on_the_order_of_keys(items: dict[str, object]) -> None:
    """Equal values give equal text, however they were put together."""
    assert canonical(dict(reversed(items.items()))) == canonical(items)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_what_json_does_not_have_is_refused(value: object) -> None:
    """NaN and the infinities would be read by no other JSON parser."""
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes"])
def test_what_is_no_json_is_refused(value: object) -> None:
    """Python values without a JSON form are a caller's mistake."""
    with pytest.raises(TypeError):
        canonical(value)


GOOD = json.loads(encode_record(FIRST.saved("1")))
TORN: dict[str, str | bytes] = {
    "empty": "",
    "no JSON": "{",
    "cut short": encode_record(FIRST)[:-1],
    "not UTF-8": b"\xff\xfe{}",
    "a list": "[]",
    "a number": "7",
    "null": "null",
    "an empty object": "{}",
    "a newer format": json.dumps({**GOOD, "format": 2}),
    "no format": json.dumps({name: value for name, value in GOOD.items() if name != "format"}),
    "no owner": json.dumps({name: value for name, value in GOOD.items() if name != "owner"}),
    "no epoch": json.dumps({name: value for name, value in GOOD.items() if name != "epoch"}),
    "an owner of another shape": json.dumps({**GOOD, "owner": {"name": "me"}}),
    "an owner that is none": json.dumps({**GOOD, "owner": None}),
    "an owner of numbers": json.dumps({**GOOD, "owner": dict.fromkeys(GOOD["owner"], 1)}),
    "an unknown status": json.dumps({**GOOD, "status": "lost"}),
    "an unknown count": json.dumps({**GOOD, "counts": {"naps": 1}}),
    "a count that is none": json.dumps({**GOOD, "counts": {**GOOD["counts"], "deaths": "1"}}),
    "an epoch that is none": json.dumps({**GOOD, "epoch": "3"}),
    "an epoch of true": json.dumps({**GOOD, "epoch": True}),
    "an error that is none": json.dumps({**GOOD, "error": ["no"]}),
    "an unknown field": json.dumps({**GOOD, "colour": "red"}),
    "a progress of NaN": json.dumps({**GOOD, "progress": float("nan")}),
}


@pytest.mark.parametrize("kind", TORN)
def test_what_is_no_record_is_never_read_as_one(kind: str) -> None:
    """A torn, foreign or newer document raises one clear error, whatever is wrong with it."""
    with pytest.raises(BadReplyError, match="a stored record cannot be read"):
        decode_record(TORN[kind])


# -- how deliveries end ------------------------------------------------------------------------------------------------


@given(record=records, ends=st.lists(st.sampled_from(End), min_size=1, max_size=5))
def test_an_end_is_counted_once_an_epoch(record: Record, ends: list[End]) -> None:
    """However often the end of a delivery is found, and by whomever, the first finding counts and no other."""
    once = record.ended(ends[0])
    again = once
    for end in ends:
        again = again.ended(end)
    assert again == once
    grown = sum(_ends(once.counts).values()) - sum(_ends(record.counts).values())
    assert grown == (1 if record.counted_epoch < record.epoch else 0)


@given(ends=st.lists(st.sampled_from(End), max_size=30))
def test_each_kind_of_end_has_its_own_count(ends: list[End]) -> None:
    """A row of deliveries leaves exactly as many ends of each kind as there were."""
    record = FIRST
    for number, end in enumerate(ends, start=1):
        record = record.claimed(epoch=number, owner=OWNER).ended(end)
    assert _ends(record.counts) == {end: ends.count(end) for end in End}
    assert record.counts.fruitless_deaths == record.counts.deaths
    assert record.counted_epoch == len(ends)


def _ends(counts: Counts) -> dict[End, int]:
    return {
        End.FAILURE: counts.failures,
        End.DEATH: counts.deaths,
        End.EVICTION: counts.evictions,
        End.LAPSE: counts.lapses,
        End.STOP: counts.stops,
    }


@given(ends=st.lists(st.sampled_from([End.EVICTION, End.LAPSE, End.STOP]), max_size=60))
def test_evictions_lapses_and_stops_never_spend_a_budget(ends: list[End]) -> None:
    """eviction_is_not_failure: no number of them gives a job up."""
    counts = Counts()
    for end in ends:
        counts = counts.plus(end)
    assert not counts.budget_spent


@pytest.mark.parametrize(("end", "budget"), [(End.FAILURE, FAILURES_MAX), (End.DEATH, DEATHS_MAX)])
def test_failures_and_deaths_spend_theirs_at_the_limit(end: End, budget: int) -> None:
    """One short of the limit the job is tried again; at the limit it is not. Five failures, ten deaths."""
    counts = Counts()
    for _ in range(budget - 1):
        counts = counts.plus(end)
    assert not counts.budget_spent
    assert counts.plus(end).budget_spent
    assert {End.FAILURE: 5, End.DEATH: 10}[end] == budget


def test_progress_clears_the_deaths_without_it() -> None:
    """A job that gets on between deaths does not kill its worker, however many deaths there are in all."""
    counts = replace(Counts(), deaths=DEATHS_MAX, fruitless_deaths=DEATHS_MAX - 1)
    saved = replace(FIRST, counts=counts).saved("7")
    assert (saved.progress, saved.counts.deaths, saved.counts.fruitless_deaths) == ("7", DEATHS_MAX, 0)
    assert not saved.counts.plus(End.DEATH).budget_spent


# -- the life of a record ----------------------------------------------------------------------------------------------


@given(record=records)
def test_a_claim_opens_the_record_and_keeps_what_it_knows(record: Record) -> None:
    """A new owner starts from the last checkpoint and the counts of all deliveries before it."""
    other = replace(OWNER, token="another")
    claimed = record.claimed(epoch=record.epoch + 1, owner=other)
    assert (claimed.epoch, claimed.owner, claimed.status) == (record.epoch + 1, other, Status.OPEN)
    assert (claimed.progress, claimed.counts, claimed.counted_epoch) == (
        record.progress,
        record.counts,
        record.counted_epoch,
    )


@given(record=records, end=st.sampled_from(End))
def test_terminal_records_count_no_end_of_their_own(record: Record, end: End) -> None:
    """A delivery that recorded a result, or gave the job up, ended in that: nobody counts it again."""
    for terminal in (record.done("1"), record.poisoned("broken")):
        assert terminal.ended(end) == terminal
        assert terminal.counts == record.counts


@given(record=records)
def test_done_and_poisoned_say_why(record: Record) -> None:
    """A done record has its result and no error, a poisoned one its error; progress stays for people to see."""
    done, poisoned = record.done('{"pages":100}'), record.poisoned("broken")
    assert (done.status, done.result, done.error, done.progress) == (
        Status.DONE,
        '{"pages":100}',
        None,
        record.progress,
    )
    assert (poisoned.status, poisoned.error, poisoned.progress) == (Status.POISONED, "broken", record.progress)


@given(end=st.sampled_from(End), before=st.none() | st.text(min_size=1), now=st.none() | st.text(min_size=1))
def test_a_release_counts_and_keeps_the_newest_error(end: End, before: str | None, now: str | None) -> None:
    """Handing back counts how the delivery ended, and the last failure's text stays until there is a newer one."""
    released = replace(FIRST, error=before).released(end, now)
    assert released.status is Status.RELEASED
    assert _ends(released.counts)[end] == 1
    assert released.error == (now or before)
