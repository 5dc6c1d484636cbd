"""Drawings of the tables, as text: Mermaid pictures, Markdown decision tables, and the README's blocks.

Pure and byte-stable: the order of everything comes from the tables, never from a set. What is refused or ignored
changes no state and is left out of the pictures; the decision tables show every row.

In a picture, the rows that lead from one state to another share one edge. Two of them whose guards differ in the sign
of one fact only are drawn as one, without that fact: that is exact, and repeated until no such pair is left.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import assert_never

from fsm.application import APPLICATION
from fsm.errors import ConfigurationError
from fsm.job import JOB
from fsm.joint import (
    AFTER_APPLICATION,
    AFTER_JOB,
    AFTER_VM,
    Consequence,
    Coupling,
    DropJobs,
    FireApplication,
    FireJobs,
    JointRow,
)
from fsm.promises import Promise
from fsm.spot_vm import SPOT_VM
from fsm.table import FactT, Row, StateT, Table, TriggerT, Verdict

LABEL_WIDTH = 27
"""Characters in a line of a label: Mermaid would break a longer one at any space."""
_NO_BREAK = "\N{NO-BREAK SPACE}"


# -- one machine as a picture --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrow:
    """Rows of one edge that are drawn as one: the event, each fact with its sign, and the rows' ids."""

    trigger: str
    signs: frozenset[tuple[str, bool]]
    ids: tuple[str, ...]

    def joined(self, other: _Arrow) -> _Arrow | None:
        """Both as one, if their guards differ in one sign only."""
        apart = self.signs ^ other.signs
        if self.trigger != other.trigger or len(apart) != 2 or len({fact for fact, _ in apart}) != 1:
            return None
        return _Arrow(trigger=self.trigger, signs=self.signs & other.signs, ids=(*self.ids, *other.ids))


def render_mermaid(table: Table[StateT, TriggerT, FactT], *, verdicts: Collection[Verdict] = (Verdict.TAKEN,)) -> str:
    """A table as a Mermaid state diagram.

    Args:
        table: what to draw.
        verdicts: the rows to draw, by what they do with their event.
    """
    lines = ["stateDiagram-v2", f"    [*] --> {table.initial.value}"]
    for source in table.states:
        for dest in table.states:
            rows = [row for row in table.rows if source in row.source and row.after(source) == dest]
            drawn = [_arrow(row) for row in rows if row.verdict in verdicts]
            if drawn:
                label = "<br/>".join(_label(_merged(drawn), [fact.value for fact in table.facts]))
                lines.append(f"    {source.value} --> {dest.value} : {label}")
    return _text(*lines, *(f"    {state.value} --> [*]" for state in table.final))


def _arrow(row: Row[StateT, TriggerT, FactT]) -> _Arrow:
    signs = {(fact.value, True) for fact in row.when} | {(fact.value, False) for fact in row.unless}
    name = f"{row.id} (disputed)" if row.disputed else row.id
    return _Arrow(trigger=row.trigger.value, signs=frozenset(signs), ids=(name,))


def _merged(arrows: Sequence[_Arrow]) -> list[_Arrow]:
    """The arrows with every pair joined that can be, until none is left."""
    for one, two in combinations(arrows, 2):
        if both := one.joined(two):
            return _merged([both if arrow is one else arrow for arrow in arrows if arrow is not two])
    return list(arrows)


def _label(arrows: Sequence[_Arrow], facts: Sequence[str]) -> list[str]:
    """An edge's label, line by line: what the arrows of an event have in common stands once, at the event."""
    lines: list[str] = []
    for trigger in dict.fromkeys(arrow.trigger for arrow in arrows):
        alike = [arrow for arrow in arrows if arrow.trigger == trigger]
        common = frozenset.intersection(*(arrow.signs for arrow in alike))
        if len(alike) == 1:
            lines += _wrapped(f"{trigger}{_bracketed(common, facts)} {_ids(alike[0].ids)}")
            continue
        lines += _wrapped(f"{trigger}{_bracketed(common, facts)}")
        for arrow in alike:
            lines += _wrapped(f"{_ids(arrow.ids)}{_bracketed(arrow.signs - common, facts)}")
    return lines


def _words(signs: Collection[tuple[str, bool]], facts: Sequence[str]) -> list[str]:
    """A guard, fact by fact: what must hold first, and each in the order of its declaration."""
    held = [fact for fact in facts if (fact, True) in signs]
    return held + [f"not {fact}" for fact in facts if (fact, False) in signs]


def _bracketed(signs: Collection[tuple[str, bool]], facts: Sequence[str]) -> str:
    """A guard in brackets; nothing for no guard. The spaces within a fact do not break."""
    words = ", ".join(word.replace(" ", _NO_BREAK) for word in _words(signs, facts))
    return f" [{words}]" if words else ""


def _ids(ids: Sequence[str]) -> str:
    """Row ids, kept on one line if they fit on one."""
    words = ", ".join(ids)
    return words.replace(" ", _NO_BREAK) if len(words) <= LABEL_WIDTH else words


def _wrapped(line: str) -> list[str]:
    return [part.replace(_NO_BREAK, " ") for part in textwrap.wrap(line, LABEL_WIDTH)]


# -- the joint rules as a picture ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """A joint rule in words, and the rows of its own machine that make one of its moves, by their event."""

    id: str
    machine: str
    leaves: str
    enters: str
    guard: str
    fires: Consequence | None
    outcome: str
    why: str
    rests_on: str
    made_by: Mapping[str, tuple[str, ...]]

    @property
    def box(self) -> str:
        return f'["{self.machine}:<br/>{self.leaves}<br/>to {self.enters}"]'


def render_joint_mermaid() -> str:
    """The joint rules as a Mermaid flowchart.

    A box is a move of a machine, a rounded box is what the move sets off, and a dotted edge names the rows by which
    that leads to a next move.
    """
    rules = [(rule, rule.fires) for rule in _rules() if rule.fires is not None]
    boxes = dict.fromkeys(box for rule, fires in rules for box in (rule.box, _effect_box(fires)))
    names = {box: f"n{place}" for place, box in enumerate(boxes)}
    solid = [
        f'    {names[rule.box]} -- "{" ".join(filter(None, [rule.id, rule.guard]))}" --> {names[_effect_box(fires)]}'
        for rule, fires in rules
    ]
    dotted = [
        f'    {names[_effect_box(fires)]} -. "{", ".join(ids)}" .-> {names[rule.box]}'
        for _, fires in rules
        for rule, _ in rules
        for trigger, ids in rule.made_by.items()
        if _event(fires) == (rule.machine, trigger)
    ]
    nodes = [f"    {name}{box}" for box, name in names.items()]
    return _text("flowchart LR", *nodes, *dict.fromkeys(solid + dotted))


def _rules() -> list[_Rule]:
    return [*_in_words(AFTER_VM), *_in_words(AFTER_APPLICATION), *_in_words(AFTER_JOB)]


def _in_words(coupling: Coupling[StateT, TriggerT, FactT]) -> list[_Rule]:
    return [
        _Rule(
            id=rule.id,
            machine=coupling.table.name,
            leaves=_names(rule.leaves),
            enters=_names(rule.enters),
            guard=", ".join([*(fact.value for fact in rule.when), *(f"not {fact.value}" for fact in rule.unless)]),
            fires=rule.fires,
            outcome=rule.outcome,
            why=rule.why,
            rests_on=rule.rests_on,
            made_by=_made_by(coupling, rule),
        )
        for rule in coupling.rows
    ]


def _made_by(coupling: Coupling[StateT, TriggerT, FactT], rule: JointRow[StateT]) -> Mapping[str, tuple[str, ...]]:
    made: dict[str, tuple[str, ...]] = {}
    for row in coupling.table.rows:
        if any(state in rule.leaves and row.after(state) in rule.enters for state in row.source):
            made[row.trigger.value] = (*made.get(row.trigger.value, ()), row.id)
    return made


def _effect_box(fires: Consequence) -> str:
    return f'(["{_effect(fires)}"])'


def _effect(fires: Consequence | None) -> str:
    """A consequence in words."""
    match fires:
        case None:
            return "nothing"
        case FireApplication(trigger=trigger):
            return f"application: {trigger.value}"
        case FireJobs(trigger=trigger):
            return f"each unsettled job: {trigger.value}"
        case DropJobs():
            return "each unsettled job vanishes"
        case _:
            assert_never(fires)


def _event(fires: Consequence) -> tuple[str, str] | None:
    """The machine that a consequence puts an event to, and the event."""
    match fires:
        case FireApplication(trigger=trigger):
            return APPLICATION.name, trigger.value
        case FireJobs(trigger=trigger):
            return JOB.name, trigger.value
        case DropJobs():
            return None
        case _:
            assert_never(fires)


def _names(states: Iterable[StateT]) -> str:
    return ", ".join(state.value for state in states)


# -- decision tables -----------------------------------------------------------------------------------------------


def render_markdown(table: Table[StateT, TriggerT, FactT]) -> str:
    """Every row of a table, as Markdown."""
    rows = []
    for row in table.rows:
        after = "same" if row.dest is None else row.dest.value
        verdict = "" if row.verdict is Verdict.TAKEN else f", {row.verdict.value}"
        guard = ", ".join(_words(_arrow(row).signs, [fact.value for fact in table.facts]))
        why = f"{row.why}. **Disputed**: {row.disputed}" if row.disputed else row.why
        rows.append(
            (row.id, _names(row.source), row.trigger.value, guard, f"{after}{verdict}", row.outcome, why, row.rests_on)
        )
    return _markdown(("id", "state", "trigger", "guard", "next", "outcome", "why", "rests on"), rows)


def render_joint_markdown() -> str:
    """Every joint rule, as Markdown."""
    rows = [
        (r.id, r.machine, r.leaves, r.enters, r.guard, _effect(r.fires), r.outcome, r.why, r.rests_on) for r in _rules()
    ]
    return _markdown(("id", "machine", "from", "to", "guard", "sets off", "outcome", "why", "rests on"), rows)


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return _text(*(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines))


def _text(*lines: str) -> str:
    return "\n".join(lines) + "\n"


# -- what `spotfsm draw` writes ------------------------------------------------------------------------------------

_MARKER = "<!-- generated: "
_BLOCK = re.compile(rf"{_MARKER}(?P<name>\S+) -->(?:(?!{_MARKER}).)*?<!-- end generated -->", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    """A machine, drawn both ways."""

    name: str
    title: str
    picture: str
    rows: str

    @property
    def fenced(self) -> str:
        return f"```mermaid\n{self.picture}```\n"

    @property
    def page(self) -> str:
        note = "Generated from the tables in `fsm/` by `spotfsm draw`; changes here are overwritten."
        return f"# {self.title}\n\n{note}\n\n{self.fenced}\n{self.rows}"


@cache
def _drawings() -> tuple[_Drawing, ...]:
    joint = render_joint_mermaid(), render_joint_markdown()
    return (
        _Drawing(name="spot_vm", title="The Spot VM", picture=render_mermaid(SPOT_VM), rows=render_markdown(SPOT_VM)),
        _Drawing(
            name="application",
            title="The application",
            picture=render_mermaid(APPLICATION),
            rows=render_markdown(APPLICATION),
        ),
        _Drawing(name="job", title="The job", picture=render_mermaid(JOB), rows=render_markdown(JOB)),
        _Drawing(name="joint", title="The joint rules", picture=joint[0], rows=joint[1]),
    )


def generated_files() -> Mapping[str, str]:
    """Every generated file: its path from the repository's root, and its text."""
    files: dict[str, str] = {}
    for drawing in _drawings():
        files[f"diagrams/{drawing.name}.mmd"] = drawing.picture
        files[f"diagrams/{drawing.name}.md"] = drawing.page
    return files


def readme_blocks() -> Mapping[str, str]:
    """The README's generated blocks by name, each with its markers: the pictures, and the promises."""
    bodies = {drawing.name: drawing.fenced for drawing in _drawings()}
    bodies["promises"] = _markdown(("promise", "in words"), [(f"`{p.value}`", p.sentence) for p in Promise])
    return {name: f"{_MARKER}{name} -->\n{body}<!-- end generated -->" for name, body in bodies.items()}


def refreshed(readme: str) -> str:
    """The README with each of its generated blocks as it should be; a block without a marker is not added.

    Raises:
        ConfigurationError: a marker names no block, or has no end.
    """
    blocks = readme_blocks()
    marked = [found["name"] for found in _BLOCK.finditer(readme)]
    remedy = f"Write <!-- generated: NAME --> and <!-- end generated -->, with one of {', '.join(blocks)}."
    if unknown := [name for name in marked if name not in blocks]:
        raise ConfigurationError("README.md", f"no generated block is named {unknown[0]!r}", remedy)
    if len(marked) != readme.count(_MARKER):
        raise ConfigurationError("README.md", "a generated block has no end", remedy)
    return _BLOCK.sub(lambda found: blocks[found["name"]], readme)
