"""A table is legal or does not build, and says which rows are to blame."""

from __future__ import annotations

from enum import StrEnum
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transitions import Machine

from fsm.errors import IllegalTableError, IllegalTransitionError
from fsm.spot_vm import SPOT_VM, VmState, VmTrigger
from fsm.table import Row, Table, Verdict
from tests.fsm.machines import every_subset


class State(StrEnum):
    UP = "up"
    DOWN = "down"


class Trigger(StrEnum):
    FLIP = "flip"
    REST = "rest"


class Fact(StrEnum):
    A = "a"
    B = "b"
    C = "c"


class Foreign(StrEnum):
    """Names of another machine; nothing but the table's own check stops them."""

    ALIEN = "alien"


ToyRow = Row[State, Trigger, Fact]
BOTH = (State.UP, State.DOWN)


def toy_row(  # noqa: PLR0917 -- the arguments stand in the order of a row's columns
    row_id: str,
    source: tuple[State, ...],
    trigger: Trigger,
    when: tuple[Fact, ...] = (),
    unless: tuple[Fact, ...] = (),
    dest: State | None = None,
    verdict: Verdict = Verdict.TAKEN,
) -> ToyRow:
    return ToyRow(
        id=row_id,
        source=source,
        trigger=trigger,
        when=when,
        unless=unless,
        dest=dest,
        verdict=verdict,
        outcome="",
        why="",
    )


def toy_table(*rows: ToyRow, final: tuple[State, ...] = ()) -> Table[State, Trigger, Fact]:
    return Table(name="toy", states=State, triggers=Trigger, facts=Fact, initial=State.UP, final=final, rows=rows)


FLIP = toy_row("F1", BOTH, Trigger.FLIP)
REST = toy_row("R1", BOTH, Trigger.REST)
ALIEN_STATE: State = Foreign.ALIEN  # type: ignore[assignment]  # the very mistake under test
ALIEN_TRIGGER: Trigger = Foreign.ALIEN  # type: ignore[assignment]  # the very mistake under test
ALIEN_FACT: Fact = Foreign.ALIEN  # type: ignore[assignment]  # the very mistake under test

FAULTS: dict[str, tuple[tuple[ToyRow, ...], tuple[State, ...], str]] = {
    "unknown final state": ((FLIP, REST), (ALIEN_STATE,), "unknown state 'alien' among the initial and final ones"),
    "unknown source": (
        (FLIP, REST, toy_row("X", (ALIEN_STATE,), Trigger.FLIP)), (), "row X names the unknown state 'alien'",
    ),
    "unknown destination": (
        (toy_row("X", BOTH, Trigger.FLIP, dest=ALIEN_STATE), REST), (), "row X names the unknown state 'alien'",
    ),
    "unknown trigger": (
        (FLIP, REST, toy_row("X", BOTH, ALIEN_TRIGGER)), (), "row X names the unknown trigger 'alien'",
    ),
    "unknown fact wanted": (
        (toy_row("X", BOTH, Trigger.FLIP, when=(ALIEN_FACT,)), REST), (), "row X names the unknown fact 'alien'",
    ),
    "unknown fact unwanted": (
        (toy_row("X", BOTH, Trigger.FLIP, unless=(ALIEN_FACT,)), REST), (), "row X names the unknown fact 'alien'",
    ),
    "doubled id": (
        (toy_row("X", (State.UP,), Trigger.FLIP), toy_row("X", (State.DOWN,), Trigger.FLIP), REST),
        (), "row id X stands twice",
    ),
    "no source": ((FLIP, REST, toy_row("X", (), Trigger.FLIP)), (), "row X is dead: it has no source state"),
    "contradiction": (
        (FLIP, REST, toy_row("X", BOTH, Trigger.FLIP, when=(Fact.A,), unless=(Fact.A,))),
        (), "row X is dead: it wants 'a' both true and false",
    ),
    "doubled source": (
        (toy_row("X", (State.UP, State.UP, State.DOWN), Trigger.FLIP), REST), (), "row X names a source state twice",
    ),
    "a refusal that moves": (
        (toy_row("X", BOTH, Trigger.FLIP, dest=State.UP, verdict=Verdict.REFUSED), REST),
        (), "row X is refused and yet changes the state",
    ),
    "an ignorance that moves": (
        (toy_row("X", BOTH, Trigger.FLIP, dest=State.UP, verdict=Verdict.IGNORED), REST),
        (), "row X is ignored and yet changes the state",
    ),
    "a way out of a final state": (
        (toy_row("X", BOTH, Trigger.FLIP, dest=State.UP), REST), (State.DOWN,), "row X leaves the final state 'down'",
    ),
    "overlap": (
        (FLIP, toy_row("X", (State.UP,), Trigger.FLIP, when=(Fact.A,)), REST),
        (), "rows F1 and X overlap in 'up' on 'flip'",
    ),
    "gap without any row": ((FLIP,), (), "gap in 'up' on 'rest': no row at all"),
    "gap beside rows": (
        (toy_row("X", BOTH, Trigger.FLIP, when=(Fact.A, Fact.B)), REST), (), "gap in 'up' on 'flip': not a, not b",
    ),
    "a small gap": (
        (
            toy_row("X", BOTH, Trigger.FLIP, when=(Fact.A,)),
            toy_row("Y", BOTH, Trigger.FLIP, when=(Fact.B,), unless=(Fact.A,)), REST,
        ),
        (), "gap in 'down' on 'flip': not a, not b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_an_illegal_table_does_not_build_and_names_the_rows(kind: str) -> None:
    """Each kind of fault stops the table and is described with the row, state or cell it sits in."""
    rows, final, fault = FAULTS[kind]
    with pytest.raises(IllegalTableError) as caught:
        toy_table(*rows, final=final)
    assert fault in caught.value.faults
    assert caught.value.table == "toy"
    assert fault in str(caught.value)


def test_a_misspelt_initial_state_is_reported() -> None:
    """An initial state from elsewhere stops the table; the library would have taken it."""
    with pytest.raises(IllegalTableError, match="unknown state 'alien' among the initial and final ones"):
        Table(name="toy", states=State, triggers=Trigger, facts=Fact, initial=ALIEN_STATE, rows=(FLIP, REST))


def test_all_faults_are_reported_at_once() -> None:
    """Whoever writes a table sees every fault of it, not one a run."""
    with pytest.raises(IllegalTableError) as caught:
        toy_table(toy_row("X", (State.UP,), Trigger.FLIP), toy_row("X", (), Trigger.REST))
    assert set(caught.value.faults) == {
        "row id X stands twice",
        "row X is dead: it has no source state",
        "gap in 'up' on 'rest': no row at all",
        "gap in 'down' on 'flip': no row at all",
        "gap in 'down' on 'rest': no row at all",
    }


# -- counting sub-cubes against brute force --------------------------------------------------------------------------

signs = st.fixed_dictionaries({fact: st.sampled_from([True, False, None]) for fact in Fact})


@st.composite
def random_rows(draw: st.DrawFn) -> tuple[ToyRow, ...]:
    """Rows that may overlap, leave gaps, or happen to be right."""
    rows = []
    for number in range(draw(st.integers(0, 7))):
        guard = draw(signs)
        rows.append(
            toy_row(
                f"T{number}",
                tuple(draw(st.sets(st.sampled_from(State), min_size=1))),
                draw(st.sampled_from(Trigger)),
                when=tuple(fact for fact, sign in guard.items() if sign is True),
                unless=tuple(fact for fact, sign in guard.items() if sign is False),
                dest=draw(st.sampled_from([None, *State])),
            )
        )
    return tuple(rows)


@st.composite
def legal_rows(draw: st.DrawFn) -> tuple[ToyRow, ...]:
    """Rows grown by splitting guards in two, so that they are total and disjoint by construction."""
    rows: list[ToyRow] = []

    def split(state: State, trigger: Trigger, when: tuple[Fact, ...], unless: tuple[Fact, ...]) -> None:
        free = [fact for fact in Fact if fact not in when and fact not in unless]
        splits = draw(st.booleans())
        if free and splits:
            fact = draw(st.sampled_from(free))
            split(state, trigger, (*when, fact), unless)
            split(state, trigger, when, (*unless, fact))
        else:
            rows.append(
                toy_row(f"T{len(rows)}", (state,), trigger, when, unless, draw(st.sampled_from([None, *State])))
            )

    for state, trigger in product(State, Trigger):
        split(state, trigger, (), ())
    return tuple(draw(st.permutations(rows)))


def broken_cells(rows: tuple[ToyRow, ...]) -> set[tuple[str, State, Trigger]]:
    """Overlaps, and gaps where nothing overlaps, found by trying every assignment of every fact."""
    broken = set()
    for state, trigger in product(State, Trigger):
        deciding = [
            sum(row.matches(held) for row in rows if state in row.source and row.trigger is trigger)
            for held in every_subset(tuple(Fact))
        ]
        if max(deciding) > 1:
            broken.add(("overlap", state, trigger))
        elif min(deciding) < 1:
            broken.add(("gap", state, trigger))
    return broken


def reported_cells(rows: tuple[ToyRow, ...]) -> set[tuple[str, State, Trigger]]:
    """What the table itself says about its cells."""
    try:
        toy_table(*rows)
    except IllegalTableError as error:
        return {
            ("overlap" if "overlap" in fault else "gap", state, trigger)
            for fault in error.faults
            for state, trigger in product(State, Trigger)
            if f"in '{state}' on '{trigger}'" in fault
        }
    return set()


@given(rows=random_rows())
def test_counting_agrees_with_trying_every_assignment(rows: tuple[ToyRow, ...]) -> None:
    """A table is refused for exactly the cells in which enumeration finds an overlap or a gap."""
    assert reported_cells(rows) == broken_cells(rows)


@given(rows=legal_rows(), data=st.data())
def test_a_legal_table_builds_and_loses_that_with_any_row(rows: tuple[ToyRow, ...], data: st.DataObject) -> None:
    """A total and disjoint table builds in any order of rows; without one of them, or with one twice, it does not."""
    toy_table(*rows)
    at = data.draw(st.integers(0, len(rows) - 1))
    one = rows[at]
    assert ("gap", one.source[0], one.trigger) in reported_cells((*rows[:at], *rows[at + 1 :]))
    again = toy_row("again", one.source, one.trigger, one.when, one.unless, one.dest)
    assert reported_cells((*rows, again)) == {("overlap", one.source[0], one.trigger)}


@given(rows=legal_rows(), facts=st.sets(st.sampled_from(Fact)))
def test_the_order_of_rows_decides_nothing(rows: tuple[ToyRow, ...], facts: set[Fact]) -> None:
    """Reversing a legal table changes no decision."""
    forward, backward = toy_table(*rows), toy_table(*reversed(rows))
    for state, trigger in product(State, Trigger):
        assert forward.row_for(state, trigger, facts) == backward.row_for(state, trigger, facts)


@given(rows=legal_rows())
def test_cells_are_the_assignments_of_the_facts_that_matter(rows: tuple[ToyRow, ...]) -> None:
    """A table lists each state, each trigger and each assignment of the facts looked at there, once."""
    table = toy_table(*rows)
    cells = [(cell.state, cell.trigger, cell.facts) for cell in table.cells()]
    assert len(cells) == len(set(cells))
    expected = {
        (state, trigger, held)
        for state, trigger in product(State, Trigger)
        for held in every_subset(table.facts_at(state, trigger))
    }
    assert set(cells) == expected


# -- looking things up -----------------------------------------------------------------------------------------------


def test_a_row_is_found_by_its_id() -> None:
    """A journal's row id leads back to the row, and an unknown one to a KeyError."""
    assert SPOT_VM.row("E4").outcome == "evicted for the price: deallocated"
    with pytest.raises(KeyError, match="Z9"):
        SPOT_VM.row("Z9")


def test_an_event_of_another_machine_is_illegal() -> None:
    """An event that no row decides raises, with the values that explain it."""
    with pytest.raises(
        IllegalTransitionError, match=r"spot_vm: no row decides 'flip' in state 'Running' \(affordable\)"
    ) as caught:
        SPOT_VM.row_for(
            VmState.RUNNING,
            Trigger.FLIP,  # type: ignore[arg-type]  # the very mistake under test
            SPOT_VM.row("D1").when[:1],
        )
    assert (caught.value.table, caught.value.state, caught.value.trigger) == ("spot_vm", "Running", "flip")
    assert caught.value.facts == {"affordable"}


def test_a_row_converts_to_the_librarys_own_format_and_back() -> None:
    """`as_transition` has every part of a row that decides anything, so that `transitions` alone runs the table."""
    for row in SPOT_VM.rows:
        plain = row.as_transition()
        assert tuple(VmState(state) for state in plain["source"]) == row.source
        assert VmTrigger(plain["trigger"]) is row.trigger
        assert (plain["conditions"], plain["unless"]) == (list(row.when), list(row.unless))
        assert plain["dest"] == (None if row.dest is None else row.dest.value)


def test_the_library_alone_runs_the_rows() -> None:
    """The rows as plain dicts build a `transitions.Machine` that moves as the table says."""

    class Vm:
        """A model whose conditions are looked up by the facts' names."""

        def __init__(self, facts: set[str]) -> None:
            self.facts = facts

        def __getattr__(self, name: str) -> object:
            if name in {fact.value for fact in SPOT_VM.facts}:
                return lambda: name in self.facts
            raise AttributeError(name)

    for cell in SPOT_VM.cells():
        vm = Vm({fact.value for fact in cell.facts})
        Machine(
            vm,
            states=[state.value for state in VmState],
            transitions=[dict(row.as_transition()) for row in SPOT_VM.rows],
            initial=cell.state.value,
            auto_transitions=False,
        )
        vm.trigger(cell.trigger.value)  # type: ignore[operator]  # added to the model by the library
        expected = SPOT_VM.row_for(cell.state, cell.trigger, cell.facts).after(cell.state)
        assert vm.state == expected.value
