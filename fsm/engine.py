"""Compiles a table to a ``transitions`` machine, and guards against that library's pitfalls in one place.

``transitions`` 0.9.3 takes the first matching row silently, compares guards with ``== True``, reports no misspelt
source, guard or initial state, has a quadratic ``add_model``, and swallows errors in ``on_exception`` and
``finalize_event``. So:

* `Table` has already proved the rows disjoint, total and well named, so that "first" is "only";
* guards return real booleans;
* one undecorated model is driven through ``machine.events[trigger].trigger(model)``; ``add_model`` is not called;
* no ``on_exception`` and no ``finalize_event`` is set: an error reaches the caller.

The synchronous ``Machine`` decides; nothing is awaited here (``AsyncMachine`` swallows cancellation). What it decides
depends on state, trigger and facts alone, all of closed sets, so that it is asked once and its answer is kept: a worker
meets some thirty different questions, thousands of times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Generic, cast

from transitions import EventData, Machine

from fsm.errors import IllegalTransitionError
from fsm.table import FactT, Row, StateT, Table, TriggerT


class _Model:
    """What the ``transitions`` machine moves: a state, the facts of the event at hand, and the row it took."""

    __slots__ = ("facts", "row_id", "state")

    def __init__(self, state: str) -> None:
        self.state = state
        self.facts: Collection[str] = ()
        self.row_id = ""


class Engine(Generic[StateT, TriggerT, FactT]):
    """Runs a table on ``transitions``.

    One engine serves any number of machines of its table: `fire` is told the state and returns the row, and its caller
    keeps the state. It is not safe to share between threads.
    """

    def __init__(self, table: Table[StateT, TriggerT, FactT]) -> None:
        self.table = table
        self._model = _Model(table.initial.value)
        self._decided: dict[tuple[StateT, TriggerT, frozenset[FactT]], Row[StateT, TriggerT, FactT]] = {}
        self._rows = {row.id: row for row in table.rows}
        self._machine = Machine(
            model=None,
            states=[state.value for state in table.states],
            initial=table.initial.value,
            auto_transitions=False,
            queued=False,
            send_event=True,
        )
        for row in table.rows:
            transition = row.as_transition()
            self._machine.add_transition(
                trigger=transition["trigger"],
                source=list(transition["source"]),
                dest=transition["dest"],
                conditions=[_holds(fact) for fact in transition["conditions"]],
                unless=[_holds(fact) for fact in transition["unless"]],
                after=partial(_take, row.id),
            )

    def fire(
        self, state: StateT, trigger: TriggerT, facts: Collection[FactT] = frozenset()
    ) -> Row[StateT, TriggerT, FactT]:
        """Decide one event.

        Raises:
            IllegalTransitionError: when no row decides it; nothing has changed.
        """
        asked = (state, trigger, frozenset(facts))
        row = self._decided.get(asked)
        if row is None:
            row = self._decided[asked] = self._decide(state, trigger, facts)
        return row

    def _decide(self, state: StateT, trigger: TriggerT, facts: Collection[FactT]) -> Row[StateT, TriggerT, FactT]:
        """Have the machine decide."""
        model = self._model
        model.state, model.facts, model.row_id = state.value, facts, ""
        event = self._machine.events.get(trigger.value)
        if event is None or state.value not in event.transitions or not event.trigger(model):
            raise IllegalTransitionError(self.table.name, str(state), str(trigger), frozenset(facts))
        row = self._rows[model.row_id]
        assert row.after(state) == model.state, f"row {row.id} and the machine disagree about the next state"
        return row


def _holds(fact: str) -> Callable[[EventData], bool]:
    """A condition in the library's form: does the event at hand bring this fact?"""

    def condition(event: EventData) -> bool:
        return fact in _model_of(event).facts

    return condition


def _take(row_id: str, event: EventData) -> None:
    """Leave the row that was taken on the model."""
    _model_of(event).row_id = row_id


def _model_of(event: EventData) -> _Model:
    """The model behind an event, which the library types as any object."""
    return cast("_Model", event.model)
