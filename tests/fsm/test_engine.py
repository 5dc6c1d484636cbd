"""The compiled machine, and the pitfalls of the library it is compiled for.

Each pitfall is shown twice: that `transitions` really has it, and that a table or an engine does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transitions import Machine, MachineError

from fsm.application import APPLICATION, AppState, AppTrigger
from fsm.engine import Engine
from fsm.errors import IllegalTableError, IllegalTransitionError
from fsm.job import JOB, JobFact, JobState, JobTrigger
from fsm.spot_vm import SPOT_VM, VmFact, VmState, VmTrigger
from fsm.table import FactT, Row, StateT, Table, TriggerT
from tests.fsm.test_table import FLIP, REST, Fact, State, Trigger, toy_row, toy_table


class Light:
    """An undecorated model for the bare library."""

    def __init__(self, *, go: object = None) -> None:
        self.go = go

    def may_go(self) -> object:
        return self.go


def library(light: Light, *transitions: list[str]) -> Machine:
    return Machine(
        light, states=["red", "green", "blue"], transitions=list(transitions), initial="red", auto_transitions=False
    )


# -- the engine decides what the table decides -------------------------------------------------------------------------


def agrees(table: Table[StateT, TriggerT, FactT], data: st.DataObject) -> None:
    """Any event at all, with facts that matter there or not."""
    state = data.draw(st.sampled_from(table.states))
    trigger = data.draw(st.sampled_from(table.triggers))
    facts = data.draw(st.sets(st.sampled_from(table.facts)))
    assert Engine(table).fire(state, trigger, facts) is table.row_for(state, trigger, facts)


@given(data=st.data())
def test_engine_and_table_agree_on_any_event(data: st.DataObject) -> None:
    """Whatever else holds, the compiled machine takes the row that the lookup finds; no event is undecided."""
    agrees(SPOT_VM, data)
    agrees(APPLICATION, data)
    agrees(JOB, data)


@given(
    events=st.lists(
        st.tuples(st.sampled_from(VmState), st.sampled_from(VmTrigger), st.sets(st.sampled_from(VmFact))), max_size=20
    )
)
def test_one_engine_serves_many_machines(events: list[tuple[VmState, VmTrigger, set[VmFact]]]) -> None:
    """No event leaves a trace in the engine: each answer is that of a fresh one."""
    shared = Engine(SPOT_VM)
    for state, trigger, facts in events:
        assert shared.fire(state, trigger, facts) is Engine(SPOT_VM).fire(state, trigger, facts)


@pytest.mark.parametrize("collection", [list, tuple, set, frozenset])
def test_facts_come_in_any_collection(collection: type[Collection[JobFact]]) -> None:
    """Facts are asked for by membership, so that a caller may keep them as it likes."""
    facts = collection([JobFact.STORELESS])  # type: ignore[call-arg]  # every parameter takes an iterable
    assert Engine(JOB).fire(JobState.RECEIVED, JobTrigger.BEGIN, facts).id == "J6"


def test_without_facts_nothing_holds() -> None:
    """An event without facts is one whose every fact is false."""
    assert Engine(APPLICATION).fire(AppState.OFFLINE, AppTrigger.RECOVER).id == "A2"


# -- pitfalls ----------------------------------------------------------------------------------------------------------


def test_an_overlap_is_refused_where_the_library_takes_the_first_row() -> None:
    """`transitions` silently takes the first of two matching rows; a table with two does not build."""
    light = Light()
    machine = library(light, ["switch", "red", "green"], ["switch", "red", "blue"])
    machine.events["switch"].trigger(light)
    assert machine.is_state("green", light)
    with pytest.raises(IllegalTableError, match="rows F1 and F2 overlap"):
        toy_table(FLIP, toy_row("F2", (State.UP,), Trigger.FLIP), REST)


def test_a_guard_is_a_real_boolean_where_the_library_compares_with_true() -> None:
    """`transitions` reads a guard of "yes" as no; the engine's guards are True or False whatever the facts' type."""
    light = Light(go="yes")
    machine = library(light, ["switch", "red", "green", "may_go"])
    machine.events["switch"].trigger(light)
    assert machine.is_state("red", light)

    class Truthy(list[VmFact]):
        """A collection whose answers are truthy and not True."""

        def __contains__(self, key: object) -> bool:
            return "yes" if super().__contains__(key) else ""  # type: ignore[return-value]  # the pitfall itself

    facts = Truthy([VmFact.AFFORDABLE, VmFact.CAPACITY_AVAILABLE])
    assert Engine(SPOT_VM).fire(VmState.STOPPED, VmTrigger.RESTART, facts).id == "S1"


def test_misspelt_names_are_reported_where_the_library_is_silent() -> None:
    """`transitions` takes a misspelt source and a misspelt guard; a table names them before it is compiled."""
    light = Light()
    library(light, ["switch", "rde", "green"], ["switch", "red", "blue", "may_og"])
    with pytest.raises(IllegalTableError, match="row F2 names the unknown state 'rde'"):
        toy_table(FLIP, REST, toy_row("F2", ("rde",), Trigger.FLIP))  # type: ignore[arg-type]  # the pitfall itself
    with pytest.raises(IllegalTableError, match="row F2 names the unknown fact 'may_og'"):
        toy_table(toy_row("F2", (State.UP,), Trigger.FLIP, when=("may_og",)), REST)  # type: ignore[arg-type]


def test_the_engine_never_adds_a_model() -> None:
    """`add_model` is quadratic and skips equal models: the engine drives a model of its own past it."""
    engine = Engine(SPOT_VM)
    engine.fire(VmState.RUNNING, VmTrigger.DEALLOCATE)
    assert engine._machine.models == []


def test_an_error_in_a_guard_reaches_the_caller_and_changes_nothing() -> None:
    """Nothing swallows an exception: it comes out of `fire`, and the engine decides the next event as before."""

    class Torn(Collection[VmFact]):
        """Facts that cannot be read."""

        def __contains__(self, key: object) -> bool:
            raise OSError("torn")

        def __iter__(self) -> Iterator[VmFact]:
            raise OSError("torn")

        def __len__(self) -> int:
            return 1

    engine = Engine(SPOT_VM)
    with pytest.raises(OSError, match="torn"):
        engine.fire(VmState.STOPPED, VmTrigger.RESTART, Torn())
    assert engine.fire(VmState.STOPPED, VmTrigger.DELETE).id == "O4"


def test_an_event_that_is_not_the_tables_own_is_refused() -> None:
    """A foreign trigger or state raises the one error for it, not the library's; the engine goes on as before."""
    engine = Engine(SPOT_VM)
    with pytest.raises(IllegalTransitionError, match="spot_vm: no row decides 'recover' in state 'Running'"):
        engine.fire(VmState.RUNNING, AppTrigger.RECOVER)  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(IllegalTransitionError, match="spot_vm: no row decides 'Deploy' in state 'Offline'"):
        engine.fire(AppState.OFFLINE, VmTrigger.DEPLOY)  # type: ignore[arg-type]  # the mistake under test
    assert engine.fire(VmState.RUNNING, VmTrigger.DEPLOY).id == "D4"


def test_a_table_that_lost_a_row_after_its_check_is_still_refused() -> None:
    """Where no guard holds the library answers False and goes on; the engine raises."""
    table = toy_table(
        toy_row("F1", (State.UP, State.DOWN), Trigger.FLIP, when=(Fact.A,)),
        toy_row("F2", (State.UP, State.DOWN), Trigger.FLIP, unless=(Fact.A,)),
        REST,
    )
    object.__setattr__(table, "rows", table.rows[1:])
    with pytest.raises(IllegalTransitionError, match="toy: no row decides 'flip' in state 'up'"):
        Engine(table).fire(State.UP, Trigger.FLIP, {Fact.A})


def test_a_row_and_a_machine_that_disagree_are_found_out() -> None:
    """If the compiled machine ever moved elsewhere than its row says, that is a bug of ours and stops the worker."""
    engine = Engine(toy_table(FLIP, REST))
    engine._rows["F1"] = Row[State, Trigger, Fact](
        id="F1", source=(State.UP,), trigger=Trigger.FLIP, dest=State.DOWN, outcome="", why=""
    )
    with pytest.raises(AssertionError, match="row F1 and the machine disagree about the next state"):
        engine.fire(State.UP, Trigger.FLIP)


def test_the_library_itself_would_raise_its_own_error() -> None:
    """The engine looks before it triggers, because the library's error does not name the facts."""
    light = Light()
    machine = library(light, ["switch", "green", "red"])
    with pytest.raises(MachineError):
        machine.events["switch"].trigger(light)
