"""A path through one of the machines, counted for drawing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fsm.delivery import Phase
from fsm.job import JOB, JobState
from fsm.joint import AFTER_JOB
from fsm.journal import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """Where machines of one table went.

    Attributes:
        rows: how often a row was taken in a state, by the state and the row's id.
        visits: how often a state was come to; a machine's first state counts.
        present: how many machines stand in a state at the end.
    """

    rows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    visits: Mapping[str, int] = field(default_factory=dict)
    present: Mapping[str, int] = field(default_factory=dict)

    def times(self, row_id: str) -> int:
        """How often a row was taken, in whatever state."""
        return sum(times for (_, taken), times in self.rows.items() if taken == row_id)


def journey_of(machine: str, lines: Iterable[Line], *, job: str | None = None) -> Journey:
    """The path of a table's machines through journals, whose lines are in order within a process.

    Every process is an application of its own, every delivery a job machine, and every VM of a simulated platform one.

    Args:
        machine: the table's name.
        lines: of one journal or of several.
        job: the id of the only message to look at; then only its newest delivery is present.
    """
    rows: Counter[tuple[str, str]] = Counter()
    visits: Counter[str] = Counter()
    stands: dict[tuple[str, str, int], str] = {}
    for line in lines:
        if line.machine == machine and (job is None or line.job == job):
            before, after = line.text("from"), line.text("to")
            one = (line.source, line.job or line.text("vm"), line.epoch)
            if one not in stands:
                visits[before] += 1
            if before != after:
                visits[after] += 1
            rows[before, line.row] += 1
            stands[one] = after
    newest = max((epoch for _, _, epoch in stands), default=0)
    present = Counter(state for (_, _, epoch), state in stands.items() if job is None or epoch == newest)
    return Journey(rows=rows, visits=visits, present=present)


@dataclass(frozen=True, slots=True, kw_only=True)
class JointJourney:
    """What the joint rules decided. Between moves a joint machine stands nowhere: each of its machines does.

    Attributes:
        rules: how often each rule decided a move.
        rows: how often each row was taken that is one of the moves.
    """

    rules: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)


def joint_journey_of(lines: Iterable[Line]) -> JointJourney:
    """What journals say of the joint rules.

    A line says which rule decided its move. Of a job's begin there is one rule only, which no line has to say; its end
    is put to the rules when the delivery is settled.
    """
    rules: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    begins = AFTER_JOB.rule_for(JobState.RECEIVED, JobState.RUNNING, all_settled=False)
    assert begins is not None
    for line in lines:
        if said := line.text("joint_rule"):
            rules[said] += 1
        if line.row and line.text("from") != line.text("to"):
            rows[line.row] += 1
            if line.machine == JOB.name and line.text("to") == JobState.RUNNING:
                rules[begins.id] += 1
    return JointJourney(rules=rules, rows=rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolJourney:
    """Where deliveries went in their protocol.

    Attributes:
        steps: how often a step was taken, by its phase, its event, the next phase and the row taken, if one was.
        visits: how often a phase was come to.
        present: how many deliveries are in a phase at the end.
    """

    steps: Mapping[tuple[str, str, str, str], int] = field(default_factory=dict)
    visits: Mapping[str, int] = field(default_factory=dict)
    present: Mapping[str, int] = field(default_factory=dict)


def protocol_journey_of(lines: Iterable[Line], *, job: str | None = None) -> ProtocolJourney:
    """The steps of deliveries, as their lines tell them: a killed one is seen as far as its last line.

    Args:
        lines: of one journal or of several; where the beginning of a delivery is cut off, its first step is not drawn.
        job: the id of the only message to look at.
    """
    steps: Counter[tuple[str, str, str, str]] = Counter()
    visits: Counter[str] = Counter()
    stands: dict[tuple[str, str, int], str] = {}
    whole: dict[str, bool] = {}
    for line in lines:
        whole.setdefault(line.source, line.n == 1)
        told = [step.partition(": ") for step in line.text("steps").split("; ") if step]
        if not told or (job is not None and line.job != job):
            continue
        one = (line.source, line.job, line.epoch)
        if one not in stands and (whole[line.source] or told[0][0] == "received"):
            stands[one] = Phase.NEW
            visits[Phase.NEW] += 1
        for number, (event, _, after) in enumerate(told, start=1):
            if one in stands:
                steps[stands[one], event, after, line.row if number == len(told) else ""] += 1
            if after != stands.get(one):
                visits[after] += 1
            stands[one] = after
    newest = max((epoch for _, _, epoch in stands), default=0)
    present = Counter(phase for (_, _, epoch), phase in stands.items() if job is None or epoch == newest)
    return ProtocolJourney(steps=steps, visits=visits, present=present)
