"""The job's paths, and what a worker's deliveries go along: their own code, wherever any replies lead them.

A delivery takes rows where its proofs are there, and an engine can be asked for any row. So a delivery goes along some
paths only; which rows it never takes, and which it takes in no other row's wake, is listed here with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

from fsm.delivery import Delivery, Event, Interrupted, LeaseGone, NoReply, Phase, Received
from fsm.job import JOB, JobState
from fsm.paths import path_name, paths_covering_pairs, paths_covering_rows
from fsm.record import DEATHS_MAX, FAILURES_MAX
from tests.fsm.delivery_steps import OWNER, events_for, step
from tests.fsm.test_delivery import FINDABLE

_NOT_PROVED = "a delivery puts an event to its machine once the proof is there, and not before"
_NO_SUCH_EVENT = "a delivery of ours puts no such event in this state"
_OVER = "a delivery that has ended takes no event any more"
NEVER_TAKEN = {
    "J5": _NOT_PROVED,
    "J9": _NOT_PROVED,
    "J11": _NOT_PROVED,
    "J20": _NOT_PROVED,
    "J23": _NOT_PROVED,
    "J24": _NOT_PROVED,
    "J27": _NOT_PROVED,
    "J12": "a delivery that drains unbegun takes the row of its begin, J1",
    "J13": _NO_SUCH_EVENT,
    "J14": _NO_SUCH_EVENT,
    "J15": _NO_SUCH_EVENT,
    "J17": _NO_SUCH_EVENT,
    "J18": _NO_SUCH_EVENT,
    "J29": _OVER,
    "J30": _OVER,
    "J32": _OVER,
    "J33": _OVER,
    "J34": _OVER,
    "J35": _OVER,
}
"""The rows that no delivery takes, each with the reason; they are for whoever asks the machine by itself."""

Rows = tuple[str, ...]
EPOCHS = (1, 3, FAILURES_MAX, DEATHS_MAX + 1)


@cache
def gone_along() -> frozenset[Rows]:
    """Every two rows that a delivery takes one after the other, and every row that it begins with."""
    found: set[Rows] = set()
    fresh = [(Delivery(epoch=epoch, owner=OWNER, stored=stored), "") for epoch in EPOCHS for stored in (True, False)]
    known = set(fresh)
    for delivery, last in fresh:  # it grows
        for event, draining in _happenings(delivery):
            result = step(delivery, event, draining=draining)
            rows = [last, *(taken.row.id for taken in result.taken)]
            found.update((one, other) if one else (other,) for one, other in pairwise(rows))
            after = (replace(result.delivery, attempt=0), rows[-1])
            if after not in known and after[0].phase is not Phase.ENDED:
                known.add(after)
                fresh.append(after)
    return frozenset(found)


def _happenings(delivery: Delivery) -> Iterator[tuple[Event, bool]]:
    for event in events_for(delivery, FINDABLE):
        if not isinstance(event, Interrupted):
            yield event, False
        if isinstance(event, Interrupted | NoReply) or delivery.state is JobState.RECEIVED or not delivery.stored:
            yield event, True


PAIRS = {
    pair: path_name(path)
    for path in (*paths_covering_rows(JOB), *paths_covering_pairs(JOB))
    for pair in pairwise(step.row.id for step in path)
}
"""Every two rows of the job table that can follow one another, by a path on which they do."""


def test_a_delivery_takes_every_row_but_those_with_a_reason() -> None:
    """The rows that a delivery takes are all rows of the table, without the listed ones."""
    taken = {row for rows in gone_along() for row in rows}
    assert taken.isdisjoint(NEVER_TAKEN)
    assert taken | NEVER_TAKEN.keys() == {row.id for row in JOB.rows}


def test_a_delivery_goes_nowhere_but_along_the_paths() -> None:
    """Any two rows that a delivery takes one after the other are on a path of the table."""
    assert {rows for rows in gone_along() if len(rows) == 2} <= PAIRS.keys()


_STORE_OR_NONE = "a worker has a job store or it has none: one of the rows is for one, the other for the other"
ALONE = {
    ("J6", "J21"): _STORE_OR_NONE,
    ("J7", "J22"): _STORE_OR_NONE,
    ("J8", "J22"): _STORE_OR_NONE,
    ("J8", "J26"): "a first delivery can fail once, and a budget is of more than that",
    ("J16", "J31"): "a delivery that is abandoned has ended",
    ("J22", "J31"): "a delivery whose message is deleted has ended",
    ("J31", "J31"): "a delivery that is told that its lease is gone has ended",
}
"""Pairs of rows that a delivery takes, and never one after the other, with the reason."""


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_every_pair_of_rows_is_gone_along_or_has_a_reason(pair: tuple[str, str]) -> None:
    """Wherever the table lets a row follow another, a delivery does so, or one of the two is not for it."""
    one, other = pair
    if one in NEVER_TAKEN or other in NEVER_TAKEN or pair in ALONE:
        assert pair not in gone_along()
    else:
        assert pair in gone_along(), PAIRS[pair]


def test_the_first_row_is_one_that_a_path_begins_with() -> None:
    """A delivery begins in Received, as every path does."""
    begun = {rows[0] for rows in gone_along() if len(rows) == 1}
    assert begun == {row.id for row in JOB.rows if JobState.RECEIVED in row.source} - NEVER_TAKEN.keys()
    assert step(Delivery(epoch=1, owner=OWNER, stored=True), Received()).taken[0].row.id in begun
    assert step(Delivery(epoch=1, owner=OWNER, stored=True), LeaseGone()).taken[0].row.id in begun
