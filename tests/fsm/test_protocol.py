"""The delivery protocol keeps its promises in every state, and the explorer would notice if it did not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fsm.checker.protocol import QUICK, caught, check_sabotages, explore
from fsm.checker.sabotage import NOT_EXPLORED, SABOTAGES, Sabotage
from fsm.checker.scenario import FRESH, KILLING, STORELESS, Scenario
from fsm.checker.search import Search
from fsm.checker.stepper import honest
from fsm.checker.world import World
from fsm.delivery import Delivery, Event, Found, NoReply, Phase, Received, Returned, Step, Written
from fsm.job import JOB
from fsm.promises import Promise
from fsm.protocol_rules import RULES
from fsm.record import Record
from fsm.table import Verdict


@pytest.mark.parametrize("scenario", QUICK, ids=lambda scenario: scenario.name)
def test_every_promise_holds_in_every_state(scenario: Scenario) -> None:
    """Whatever crashes, lapses, arrives twice or is never answered: nothing is lost, doubled or stuck."""
    outcome = explore(replace(scenario, faults=min(scenario.faults, 1)))
    assert outcome.troubles == ()
    assert outcome.settled > 0
    assert outcome.states > outcome.settled


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.name)
def test_a_broken_rule_is_noticed_and_told_in_words(sabotage: Sabotage) -> None:
    """Each rule closes a hole that the explorer finds without it."""
    trouble = caught(sabotage)
    assert trouble is not None
    assert trouble.promise in set(Promise)
    assert trouble.trace
    assert all(line.endswith(".") for line in trouble.trace)


def test_every_rule_that_can_be_explored_is_broken_somewhere() -> None:
    """A rule without a sabotage is a rule nobody knows to be needed."""
    assert {sabotage.rule for sabotage in SABOTAGES} == RULES.keys() - NOT_EXPLORED.keys()
    notes = check_sabotages(SABOTAGES[:1]).notes
    assert [note.split(":")[0] for note in notes[: len(NOT_EXPLORED)]] == ["rule 2", "rule 8", "rule 11"]


def test_the_shortest_trace_tells_who_did_what() -> None:
    """A reader who knows the protocol can follow the trace without the program."""
    sabotage = next(one for one in SABOTAGES if one.name == "deletes before recording")
    trouble = caught(sabotage)
    assert trouble is not None
    assert trouble.trace == (
        "A receives the message (delivery 1).",
        "A's handler returns; next delete.",
        "A's delete is answered: done; next write (done by A's delivery 1).",
    )


def test_an_orderly_restart_after_an_unclosed_claim_reads_as_a_death() -> None:
    """The known limit of judging by presence: it cannot tell a stopped process from one that died.

    It needs a claim that its process could not close before the operator's stop: a store that gave no answer in the
    drain, or a lease that lapsed before. It never takes an eviction for a death.
    """
    outcome = explore(replace(FRESH, faults=2, stops=True))
    assert {trouble.promise for trouble in outcome.troubles} == {Promise.EVICTION_IS_NOT_FAILURE}
    (trouble,) = outcome.troubles
    assert any("an operator stops" in line for line in trouble.trace)
    assert any("ends in good order" in line for line in trouble.trace)


def test_without_twins_fewer_states_are_reached() -> None:
    """A switch of the scenario switches something."""
    with_twins, without = explore(replace(FRESH, faults=1)), explore(replace(FRESH, faults=1, twins=False))
    assert without.states < with_twins.states


def test_every_row_that_changes_a_state_is_taken_somewhere() -> None:
    """The proof is about the whole job table: no row that works is out of its reach."""
    taken: set[str] = set()
    for scenario in (*QUICK, replace(FRESH, stops=True)):
        search = Search(World(replace(scenario, faults=min(scenario.faults, 1))))
        search.run()
        taken |= search.world.stepper.rows_taken
    working = {row.id for row in JOB.rows if row.verdict is Verdict.TAKEN}
    assert working - taken == {"J12"}  # a delivery that drains unbegun takes the row of its begin, J1


def test_what_breaks_nothing_is_reported_as_not_noticed() -> None:
    """The verdict on sabotages is not a foregone one."""
    harmless = Sabotage(rule=1, name="does everything right", scenario=replace(FRESH, faults=0))
    check = check_sabotages((harmless, SABOTAGES[0]))
    assert [finding.what for finding in check.findings] == ["not noticed: rule 1, does everything right"]
    assert check.counts == {"sabotages": 2, "caught": 1}


def test_a_protocol_that_goes_round_in_circles_is_noticed() -> None:
    """Progress is more than the absence of dead ends."""

    def never_believes(delivery: Delivery, event: Event, draining: bool) -> Step:
        if delivery.phase is Phase.WRITING and isinstance(event, Written):
            event = NoReply()
        if delivery.phase is Phase.READING_BACK and isinstance(event, Found):
            event = replace(event, record=Record(epoch=delivery.epoch, owner=delivery.owner, error="not yet"))
        return honest(delivery, event, draining)

    (trouble,) = Search(World(replace(KILLING, faults=0), protocol=never_believes, conduct=False)).run().troubles
    assert trouble.what == "the same things can happen again and again without a fault, and no end comes of them"
    assert len(trouble.trace) == 6
    write, read = trouble.trace[3:5]
    assert "read of the record is answered: open by A's delivery 4" in write
    assert "write (open by A's delivery 4, 9 deaths) is answered: written; next read" in read
    assert trouble.trace[5] == "From here the last 2 steps can come again and again, without a fault."


def test_a_protocol_that_stops_is_told_with_what_it_waits_for() -> None:
    """A dead end says how things stand, and that nobody moves; even where it is the first thing that happens."""
    (trouble,) = Search(World(replace(KILLING, faults=0), protocol=_asks_nothing, conduct=False)).run().troubles
    assert trouble.promise == Promise.ALWAYS_COMES_BACK
    assert trouble.trace == (
        "A receives the message (delivery 4).",
        f"From here no end can be reached without another fault: {STANDING}.",
    )


STANDING = "the message is hidden, A's delivery 4 is reading the record and waits for no call"


def _asks_nothing(delivery: Delivery, event: Event, draining: bool) -> Step:
    step = honest(delivery, event, draining)
    return replace(step, call=None) if isinstance(event, Received) else step


@pytest.mark.parametrize("name", ["does not renew its lease", "renews late: not before its handler runs"])
def test_a_lease_that_is_not_renewed_is_lost_without_a_fault_of_the_world(name: str) -> None:
    """Renewing is the delivery's own business: no fault is spent where it does not."""
    sabotage = next(one for one in SABOTAGES if one.name == name)
    trouble = caught(replace(sabotage, scenario=replace(sabotage.scenario, faults=0)))
    assert trouble is not None
    assert trouble.promise == Promise.ALWAYS_COMES_BACK
    assert "does not ask for more of its lease" in trouble.trace[-1]


def test_an_event_that_the_protocol_does_not_know_is_noticed() -> None:
    """An assertion of the protocol is a finding with its trace, not the end of the exploration."""

    def forgets_returns(delivery: Delivery, event: Event, draining: bool) -> Step:
        assert not isinstance(event, Returned), "no such thing"
        return honest(delivery, event, draining)

    outcome = Search(World(FRESH, protocol=forgets_returns)).run(stop_at_first=True)
    trouble = next(one for one in outcome.troubles if one.promise == Promise.ROW_BY_ROW)
    assert "no such thing" in trouble.what
    assert trouble.trace == ("A receives the message (delivery 1).",)


def test_without_a_store_promises_that_need_one_are_not_checked_but_nothing_is_lost() -> None:
    """At least once is what remains: no message vanishes without having run to its end or been put aside."""
    assert explore(replace(STORELESS, faults=2)).troubles == ()
