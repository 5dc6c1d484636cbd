"""One table as a picture.

What is refused or ignored changes no state and is left out, unless the drawn path came by; the decision tables show
every row. The rows that lead from one state to another share one edge.
"""

from __future__ import annotations

from collections.abc import Collection

from fsm.drawing.arrows import Arrow, label_of, signs
from fsm.drawing.journey import Journey
from fsm.drawing.label import TIMES, row
from fsm.drawing.picture import Edge, Node, Picture, node_name
from fsm.table import FactT, Row, StateT, Table, TriggerT, Verdict

READING = "event [guard] / row and outcome; a double border is an end"
PATH_READING = f"{READING}; {TIMES} is how often the path came by"


def picture_of(
    table: Table[StateT, TriggerT, FactT],
    title: str,
    *,
    verdicts: Collection[Verdict] = (Verdict.TAKEN,),
    journey: Journey | None = None,
) -> Picture:
    """A table as a picture.

    Args:
        table: what to draw.
        title: for people.
        verdicts: the rows to draw, by what they do with their event.
        journey: a path to draw into the picture, with whatever rows it took.
    """
    path = journey or Journey()
    nodes = tuple(
        Node(
            name=node_name(state.value),
            lines=(state.value,),
            initial=state == table.initial,
            final=state in table.final,
            visits=path.visits.get(state.value, 0),
            present=path.present.get(state.value, 0),
        )
        for state in table.states
    )
    edges = []
    for source in table.states:
        for dest in table.states:
            rows = [one for one in table.rows if source in one.source and one.after(source) == dest]
            counts = {one.id: path.rows.get((source.value, one.id), 0) for one in rows}
            drawn = [_arrow(one, counts[one.id]) for one in rows if one.verdict in verdicts or counts[one.id]]
            if drawn:
                edges.append(
                    Edge(
                        source=node_name(source.value),
                        dest=node_name(dest.value),
                        label=label_of(drawn, [fact.value for fact in table.facts]),
                        taken=any(counts.values()),
                    )
                )
    return Picture(
        name=table.name,
        title=title,
        reading=READING if journey is None else PATH_READING,
        nodes=nodes,
        edges=tuple(edges),
        is_path=journey is not None,
    )


def _arrow(one: Row[StateT, TriggerT, FactT], times: int) -> Arrow:
    name = f"{one.id} (disputed)" if one.disputed else one.id
    return Arrow(
        event=one.trigger.value,
        signs=signs((fact.value for fact in one.when), (fact.value for fact in one.unless)),
        rows=(row(name, one.outcome, times=times),),
    )
