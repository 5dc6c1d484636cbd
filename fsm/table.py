"""A state machine as a table of rows.

Theory of operation
-------------------
A row says: in these states, on this trigger, when these facts hold and those do not, go there. Facts are named atoms,
so a guard is a conjunction a program can enumerate, and a *cell* is one state, one trigger and one assignment of the
atoms that this state and trigger look at. A table is legal when every cell is decided by exactly one row:

* *disjoint*: two guards of the same state and trigger overlap unless one atom stands in both with opposite signs;
* *total*: disjoint guards cover the cube of their n atoms exactly when the sizes of their sub-cubes add up to 2^n.

Both tests are exact and need no enumeration, so that every table is checked whenever it is built. There is no row for
"everything else": what is ignored is said, with its reason, row by row.

`fsm.engine` compiles a table to a ``transitions`` machine; `Table.row_for` is the same decision as a plain lookup. That
the two agree in every cell is a test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations, product
from typing import Generic, TypedDict, TypeVar

from fsm.errors import IllegalTableError, IllegalTransitionError

StateT = TypeVar("StateT", bound=StrEnum)
TriggerT = TypeVar("TriggerT", bound=StrEnum)
FactT = TypeVar("FactT", bound=StrEnum)


class Verdict(StrEnum):
    """What a row does with its event."""

    TAKEN = "taken"
    """The event does its work; the state may change."""
    IGNORED = "ignored"
    """Late, doubled or without meaning here: nothing changes, and that is right."""
    REFUSED = "refused"
    """Asked for and not granted: nothing changes, and the one who asked is told why."""


class TransitionDict(TypedDict):
    """A row as ``transitions.Machine.add_transition`` takes it; ``dest`` None is an internal transition."""

    trigger: str
    source: list[str]
    dest: str | None
    conditions: list[str]
    unless: list[str]


@dataclass(frozen=True, kw_only=True)  # not slotted: a frozen slotted generic cannot be built through its alias on 3.11
class Row(Generic[StateT, TriggerT, FactT]):
    """One row of a table.

    Attributes:
        id: stands in the journal for every change this row makes.
        source: the states it applies to.
        trigger: the event.
        when: facts that must hold.
        unless: facts that must not hold.
        dest: the next state, or None for "the same".
        verdict: whether the event is taken, ignored or refused.
        outcome: what a person is told.
        why: the reason the row exists.
        rests_on: the page, promise or rule the row rests on.
        disputed: why the row may be wrong and stands all the same; empty for a row nobody disputes.
    """

    id: str
    source: tuple[StateT, ...]
    trigger: TriggerT
    when: tuple[FactT, ...] = ()
    unless: tuple[FactT, ...] = ()
    dest: StateT | None = None
    verdict: Verdict = Verdict.TAKEN
    outcome: str
    why: str
    rests_on: str = ""
    disputed: str = ""

    def matches(self, facts: Collection[FactT]) -> bool:
        """Whether the guard holds for these facts."""
        return all(fact in facts for fact in self.when) and not any(fact in facts for fact in self.unless)

    def overlaps(self, other: Row[StateT, TriggerT, FactT]) -> bool:
        """Whether some assignment of facts satisfies both guards."""
        opposed = (set(self.when) & set(other.unless)) | (set(self.unless) & set(other.when))
        return not opposed

    def after(self, state: StateT) -> StateT:
        """The state that follows `state` when this row is taken."""
        return state if self.dest is None else self.dest

    def as_transition(self) -> TransitionDict:
        """The row in the format of the ``transitions`` library."""
        return {
            "trigger": self.trigger.value,
            "source": [state.value for state in self.source],
            "dest": None if self.dest is None else self.dest.value,
            "conditions": [fact.value for fact in self.when],
            "unless": [fact.value for fact in self.unless],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell(Generic[StateT, TriggerT, FactT]):
    """One state, one trigger, and one assignment of the facts that matter there."""

    state: StateT
    trigger: TriggerT
    facts: frozenset[FactT]


@dataclass(frozen=True, kw_only=True)
class Table(Generic[StateT, TriggerT, FactT]):
    """A legal table: building one that is not total and deterministic raises.

    Attributes:
        name: as it stands in journals and pictures.
        states, triggers, facts: the closed sets the rows draw from.
        initial: the state a fresh machine is in.
        final: states that no row leaves.
        rows: in the order people read them; the order decides nothing.

    Raises:
        IllegalTableError: on an overlap, a gap, a dead row, a doubled id or an unknown name.
    """

    name: str
    states: type[StateT]
    triggers: type[TriggerT]
    facts: type[FactT]
    initial: StateT
    final: tuple[StateT, ...] = ()
    rows: tuple[Row[StateT, TriggerT, FactT], ...]
    _by_cell: dict[tuple[StateT, TriggerT], tuple[Row[StateT, TriggerT, FactT], ...]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        grouped: defaultdict[tuple[StateT, TriggerT], list[Row[StateT, TriggerT, FactT]]] = defaultdict(list)
        for row in self.rows:
            for state in row.source:
                grouped[state, row.trigger].append(row)
        object.__setattr__(self, "_by_cell", {place: tuple(rows) for place, rows in grouped.items()})
        misnamed = tuple(self._name_faults())  # over unknown names the other checks make no sense
        if faults := misnamed or (*self._row_faults(), *self._cell_faults()):
            raise IllegalTableError(self.name, faults)

    def row_for(self, state: StateT, trigger: TriggerT, facts: Collection[FactT]) -> Row[StateT, TriggerT, FactT]:
        """The one row that decides this event.

        Raises:
            IllegalTransitionError: when the state or the trigger is not the table's own.
        """
        for row in self._by_cell.get((state, trigger), ()):
            if row.matches(facts):
                return row
        raise IllegalTransitionError(self.name, str(state), str(trigger), frozenset(facts))

    def facts_at(self, state: StateT, trigger: TriggerT) -> tuple[FactT, ...]:
        """The facts that some row looks at in this state on this trigger, in the order they are declared."""
        named = {fact for row in self._by_cell.get((state, trigger), ()) for fact in (*row.when, *row.unless)}
        return tuple(fact for fact in self.facts if fact in named)

    def cells(self) -> Iterator[Cell[StateT, TriggerT, FactT]]:
        """Every cell of the table."""
        for state, trigger in product(self.states, self.triggers):
            atoms = self.facts_at(state, trigger)
            for signs in product((False, True), repeat=len(atoms)):
                held = frozenset(atom for atom, sign in zip(atoms, signs, strict=True) if sign)
                yield Cell(state=state, trigger=trigger, facts=held)

    def row(self, row_id: str) -> Row[StateT, TriggerT, FactT]:
        """The row with this id.

        Raises:
            KeyError: no such row.
        """
        for row in self.rows:
            if row.id == row_id:
                return row
        raise KeyError(row_id)

    def _name_faults(self) -> Iterator[str]:
        """Names that are not of the closed sets: types alone do not stop a value from elsewhere."""
        known_states, known_triggers, known_facts = set(self.states), set(self.triggers), set(self.facts)
        for state in (self.initial, *self.final):
            if state not in known_states:
                yield f"unknown state {str(state)!r} among the initial and final ones"
        for row in self.rows:
            for state in (*row.source, *(() if row.dest is None else (row.dest,))):
                if state not in known_states:
                    yield f"row {row.id} names the unknown state {str(state)!r}"
            if row.trigger not in known_triggers:
                yield f"row {row.id} names the unknown trigger {str(row.trigger)!r}"
            for fact in (*row.when, *row.unless):
                if fact not in known_facts:
                    yield f"row {row.id} names the unknown fact {str(fact)!r}"

    def _row_faults(self) -> Iterator[str]:
        """Rows that are doubled, that can never be taken, or that leave a final state."""
        seen: set[str] = set()
        for row in self.rows:
            if row.id in seen:
                yield f"row id {row.id} stands twice"
            seen.add(row.id)
            if not row.source:
                yield f"row {row.id} is dead: it has no source state"
            if contradicted := set(row.when) & set(row.unless):
                yield f"row {row.id} is dead: it wants {str(sorted(contradicted)[0])!r} both true and false"
            if len(set(row.source)) != len(row.source):
                yield f"row {row.id} names a source state twice"
            if row.verdict is not Verdict.TAKEN and row.dest is not None:
                yield f"row {row.id} is {row.verdict} and yet changes the state"
            for state in row.source:
                if state in self.final and row.after(state) != state:
                    yield f"row {row.id} leaves the final state {str(state)!r}"

    def _cell_faults(self) -> Iterator[str]:
        """Overlaps and gaps, by the sizes of sub-cubes (see the module's theory of operation)."""
        for state, trigger in product(self.states, self.triggers):
            rows = [row for row in self._by_cell.get((state, trigger), ()) if not set(row.when) & set(row.unless)]
            clashes = [(one, two) for one, two in combinations(rows, 2) if one.overlaps(two)]
            for one, two in clashes:
                yield f"rows {one.id} and {two.id} overlap in {str(state)!r} on {str(trigger)!r}"
            atoms = len({fact for row in rows for fact in (*row.when, *row.unless)})
            covered = sum(2 ** (atoms - len({*row.when, *row.unless})) for row in rows)
            if not clashes and covered != 2**atoms:
                yield f"gap in {str(state)!r} on {str(trigger)!r}: {self._first_gap(state, trigger)}"

    def _first_gap(self, state: StateT, trigger: TriggerT) -> str:
        """The first undecided assignment of a cell, in words."""
        atoms = self.facts_at(state, trigger)
        for signs in product((False, True), repeat=len(atoms)):
            held = frozenset(atom for atom, sign in zip(atoms, signs, strict=True) if sign)
            if not any(row.matches(held) for row in self._by_cell.get((state, trigger), ())):
                return ", ".join(f"{'' if atom in held else 'not '}{atom}" for atom in atoms) or "no row at all"
        raise AssertionError("a gap was counted that enumeration does not find")
