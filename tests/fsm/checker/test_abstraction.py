"""What the explorer leaves out of its states, nothing decides by."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fsm.checker.scenario import FAILING, FRESH, STORELESS, Scenario
from fsm.checker.scene import NONE
from fsm.checker.search import Search, State
from fsm.checker.stepper import honest
from fsm.checker.world import World
from fsm.delivery import Delivery, Found, WriteRecord, Written
from tests.fsm.delivery_steps import OWNER, events_for
from tests.fsm.test_delivery import FINDABLE


def walked(data: st.DataObject, *, stored: bool, draining: bool) -> Delivery:
    """A delivery somewhere on its way."""
    delivery = Delivery(epoch=data.draw(st.sampled_from([1, 3, 12])), owner=OWNER, stored=stored)
    for _ in range(data.draw(st.integers(0, 8))):
        event = data.draw(st.sampled_from(events_for(delivery, FINDABLE)))
        delivery = honest(delivery, event, draining).delivery
    return delivery


@given(data=st.data(), stored=st.booleans(), draining=st.booleans(), attempt=st.integers(0, 50))
def test_how_often_a_call_went_unanswered_decides_nothing(
    data: st.DataObject, stored: bool, draining: bool, attempt: int
) -> None:
    """The number of attempts lengthens the runner's pauses, and no more."""
    delivery = walked(data, stored=stored, draining=draining)
    event = data.draw(st.sampled_from(events_for(delivery, FINDABLE)))
    one, other = honest(delivery, event, draining), honest(replace(delivery, attempt=attempt), event, draining)
    assert replace(one.delivery, attempt=0) == replace(other.delivery, attempt=0)
    assert (one.call, one.taken) == (other.call, other.taken)


@given(data=st.data(), draining=st.booleans())
def test_versions_are_only_compared_and_passed_on(data: st.DataObject, draining: bool) -> None:
    """Another name for the same version makes no other decision: numbering them would add states and nothing else."""
    delivery = walked(data, stored=True, draining=draining)
    event = data.draw(st.sampled_from(events_for(delivery, FINDABLE)))

    def renamed(version: str | None) -> str | None:
        return None if version is None else version + "'"

    told = event
    match event:
        case Written(version=version):
            told = Written(version=version + "'")
        case Found(version=version) as found:
            told = replace(found, version=renamed(version))
    one = honest(delivery, event, draining)
    other = honest(replace(delivery, version=renamed(delivery.version)), told, draining)
    call = one.call
    if isinstance(call, WriteRecord):
        call = replace(call, expected=renamed(call.expected))
    assert replace(one.delivery, version=renamed(one.delivery.version)) == other.delivery
    assert (call, one.taken) == (other.call, other.taken)


@given(data=st.data(), scenario=st.sampled_from([FRESH, FAILING, STORELESS]))
def test_exchanging_the_workers_twice_changes_nothing_and_once_changes_names_only(
    data: st.DataObject, scenario: Scenario
) -> None:
    """What is explored once for both names can do the same under each."""
    search = Search(world := World(scenario))
    exchange = world.exchanged((1, 0))

    def exchanged(state: State) -> State:
        return (exchange.workers(state[0]), *(exchange.scene(scene) for scene in state[1:]))

    state = world.start()
    for _ in range(data.draw(st.integers(0, 10))):
        state = data.draw(st.sampled_from([way.state for way in search.ways(state)]))
    assert exchanged(exchanged(state)) == state
    ways = {exchanged(way.state): (way.cost, way.fair) for way in search.ways(state)}
    assert ways == {way.state: (way.cost, way.fair) for way in search.ways(exchanged(state))}


@given(data=st.data())
def test_a_way_without_a_fault_is_open_whether_or_not_faults_are_left(data: st.DataObject) -> None:
    """Running out of faults takes the faults away, and nothing else."""
    search = Search(world := World(FRESH))
    state = world.start()
    for _ in range(data.draw(st.integers(0, 10))):
        state = data.draw(st.sampled_from([way.state for way in search.ways(state)]))
    free = {(way.state, way.action) for way in search.ways(state) if way.cost == 0}
    assert free == {(way.state, way.action) for way in search.ways(state, faulty=False)}
    assert all(way.message != NONE or way.action.who != NONE for way in search.ways(state))
