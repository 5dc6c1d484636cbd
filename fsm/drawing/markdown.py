"""Decision tables in Markdown: every row, whatever it does with its event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fsm.drawing.arrows import atoms, signs
from fsm.drawing.joint import consequence, joint_rules
from fsm.drawing.journey import JointJourney, Journey
from fsm.drawing.protocol import protocol_rules
from fsm.job import JOB
from fsm.protocol_steps import ProtocolFact
from fsm.table import FactT, StateT, Table, TriggerT, Verdict


def render_markdown(table: Table[StateT, TriggerT, FactT], journey: Journey | None = None) -> str:
    """Every row of a table; with a journey, also how often it was taken."""
    rows = []
    for row in table.rows:
        after = "same" if row.dest is None else row.dest.value
        verdict = "" if row.verdict is Verdict.TAKEN else f", {row.verdict.value}"
        guard = atoms(signs(row.when, row.unless), [fact.value for fact in table.facts])
        why = f"{row.why}. **Disputed**: {row.disputed}" if row.disputed else row.why
        states = ", ".join(state.value for state in row.source)
        cells = [row.id, states, row.trigger.value, ", ".join(guard), f"{after}{verdict}", row.outcome, why]
        taken = [] if journey is None else [str(journey.times(row.id))]
        rows.append((*cells, row.rests_on, *taken))
    head = ("id", "state", "trigger", "guard", "next", "outcome", "why", "rests on")
    return markdown_table(head if journey is None else (*head, "taken"), rows)


def render_joint_markdown(journey: JointJourney | None = None) -> str:
    """Every joint rule; with a journey, also how often it decided."""
    rows = []
    for r in joint_rules():
        moved = (r.id, r.machine, r.leaves, r.enters, ", ".join(r.guard))
        taken = () if journey is None else (str(journey.rules.get(r.id, 0)),)
        rows.append((*moved, consequence(r.fires), r.outcome, r.why, r.rests_on, *taken))
    head = ("id", "machine", "from", "to", "guard", "sets off", "outcome", "why", "rests on")
    return markdown_table(head if journey is None else (*head, "taken"), rows)


def render_protocol_markdown() -> str:
    """Every rule of the delivery protocol."""
    facts = list(ProtocolFact)
    rows = [
        (
            ", ".join(rule.phases),
            rule.event,
            ", ".join(atoms(signs(rule.when, rule.unless), facts)),
            "same" if rule.after is None else rule.after,
            ", ".join(rule.rows),
            ", ".join(JOB.row(row_id).outcome for row_id in rule.rows),
        )
        for rule in protocol_rules()
    ]
    return markdown_table(("phase", "event", "guard", "next", "rows of the job table", "outcome"), rows)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; a vertical bar in a cell is written so that it stays within its cell."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)
