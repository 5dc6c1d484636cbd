"""The delivery protocol as rules between its phases, and as a picture.

The rules are the shortest guards that tell its steps apart (`fsm.protocol_steps`). An event that is decided
alike in every phase has rules for all its phases at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations

from fsm.delivery import Phase
from fsm.drawing.arrows import Arrow, label_of, signs
from fsm.drawing.journey import ProtocolJourney
from fsm.drawing.label import TIMES, Ink, Label, Piece, clause, event, guard, row
from fsm.drawing.picture import Edge, Node, Picture, Shape, node_name
from fsm.job import JOB
from fsm.protocol_steps import ProtocolFact, ProtocolStep, protocol_steps

NAME = "delivery"
READING = "event [guard] / rows of the job table; dotted: goes on as from there; a call made again is not drawn"
PATH_READING = f"{READING}; {TIMES} is how often, a killed delivery as far as its last line"
PHASES_DRAWN_MAX = 4
"""A rule of more phases than this is drawn once, from a node that stands for them."""
_ANY = "any_phase"
_FACTS = tuple(ProtocolFact)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolRule:
    """Steps of the protocol that end alike.

    Attributes:
        phases: where they happen.
        event: what happens.
        when, unless: the facts that tell them from others on the same event.
        after: the next phase; None for the same.
        rows: the rows of the job table taken.
        has_new_goal: whether the next call is for something else than the last one.
    """

    phases: tuple[Phase, ...]
    event: str
    when: tuple[ProtocolFact, ...]
    unless: tuple[ProtocolFact, ...]
    after: Phase | None
    rows: tuple[str, ...]
    has_new_goal: bool

    @property
    def is_drawn(self) -> bool:
        """Whether anything changes; a call that is only made again is left to the decision table."""
        return self.after is not None or bool(self.rows) or self.has_new_goal


@cache
def protocol_rules() -> tuple[ProtocolRule, ...]:
    """Every rule: phase by phase in their order, those of several phases at the first of them."""
    families: defaultdict[str, list[ProtocolStep]] = defaultdict(list)
    for step in protocol_steps():
        families[step.event].append(step)
    rules = [rule for steps in families.values() for rule in _rules_of_event(steps)]
    order = list(Phase)
    return tuple(sorted(rules, key=lambda rule: order.index(rule.phases[0])))


def protocol_picture(title: str, journey: ProtocolJourney | None = None) -> Picture:
    """The protocol as a picture, with the path of deliveries if there is one."""
    path = journey or ProtocolJourney()
    drawn: defaultdict[tuple[str, str], list[ProtocolRule]] = defaultdict(list)
    for rule in protocol_rules():
        for phase in rule.phases:
            if rule.is_drawn and not any(echo.covers(phase, rule) for echo in ECHOES):
                everywhere = len(rule.phases) > PHASES_DRAWN_MAX and rule.after is not None
                source = _ANY if everywhere else node_name(phase.value)
                drawn[source, node_name((rule.after or phase).value)].append(rule)
    states = [
        Node(
            name=node_name(phase.value),
            lines=(phase.value,),
            initial=phase is Phase.NEW,
            final=phase is Phase.ENDED,
            visits=path.visits.get(phase.value, 0),
            present=path.present.get(phase.value, 0),
        )
        for phase in Phase
    ]
    whole = Node(name=_ANY, lines=("any phase",), shape=Shape.ANY)
    order = [node.name for node in (*states, whole)]
    edges = [
        Edge(
            source=source,
            dest=dest,
            label=label_of([_arrow(rule, _phases_from(source, rule), path) for rule in dict.fromkeys(rules)], _FACTS),
            taken=any(_times(rule, _phases_from(source, rule), path) for rule in rules),
        )
        for (source, dest), rules in sorted(drawn.items(), key=lambda item: tuple(map(order.index, item[0])))
    ]
    echoes: defaultdict[tuple[str, str], list[Echo]] = defaultdict(list)
    for echo in ECHOES:
        assert echo.holds()
        echoes[node_name(echo.phase.value), node_name(echo.like.value)].append(echo)
    dotted = [
        Edge(
            source=source,
            dest=dest,
            label=tuple(clause for echo in alike for clause in echo.label),
            dotted=True,
            taken=any(echo.is_in(path) for echo in alike),
        )
        for (source, dest), alike in echoes.items()
    ]
    return Picture(
        name=NAME,
        title=title,
        reading=READING if journey is None else PATH_READING,
        nodes=(*states, whole),
        edges=(*edges, *dotted),
        is_path=journey is not None,
    )


def _phases_from(source: str, rule: ProtocolRule) -> tuple[Phase, ...]:
    """The phases of a rule that an edge from this node stands for."""
    return rule.phases if source == _ANY else tuple(phase for phase in rule.phases if node_name(phase.value) == source)


def _times(rule: ProtocolRule, phases: Collection[Phase], path: ProtocolJourney) -> int:
    """How often a path went by what a rule tells, as far as its phase, its event, its end and its row tell."""
    return sum(
        times
        for (phase, event, after, row), times in path.steps.items()
        if phase in phases
        and (event, after) == (rule.event, rule.after or phase)
        and rule.rows == ((row,) if row else ())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """Steps of one phase that end as those of another phase do; drawn as one dotted edge to it.

    Attributes:
        phase, event, kinds: the steps: in this phase, on this event, with one of these facts if any are named.
        like, like_event: the phase and the event that end alike.
    """

    phase: Phase
    event: str
    kinds: frozenset[ProtocolFact] = frozenset()
    like: Phase
    like_event: str

    def covers(self, phase: Phase, rule: ProtocolRule) -> bool:
        """Whether the rule tells of these steps, when it is about this phase."""
        named = not self.kinds or bool(self.kinds & set(rule.when))
        return phase is self.phase and rule.event == self.event and named

    @property
    def label(self) -> Label:
        kinds = " or ".join(fact for fact in ProtocolFact if fact in self.kinds)
        as_if = (*(Piece(word, Ink.OUTCOME) for word in ("as", "if")), Piece(self.like_event, Ink.EVENT))
        return (clause([event(self.event), guard([kinds] if kinds else [])], [as_if]),)

    def is_in(self, path: ProtocolJourney) -> bool:
        """Whether a path has a step that ends so; what was found is not noted, so only if no other step ends so."""
        ends: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
        for step in protocol_steps():
            if (step.phase, step.event) == (self.phase, self.event):
                ends[not self.kinds or bool(self.kinds & step.facts)].add((step.after.value, "".join(step.rows)))
        return any(
            (phase, event) == (self.phase, self.event) and (after, row) in ends[True] - ends[False]
            for phase, event, after, row in path.steps
        )

    def holds(self) -> bool:
        """Whether the code agrees.

        Raises:
            AssertionError: it does not.
        """
        likes = [step for step in protocol_steps() if (step.phase, step.event) == (self.like, self.like_event)]
        varying = frozenset(_varying(likes))
        for step in protocol_steps():
            if (step.phase, step.event) == (self.phase, self.event) and (not self.kinds or self.kinds & step.facts):
                endings = {(like.after, like.rows) for like in likes if like.facts & varying == step.facts & varying}
                assert endings == {(step.after, step.rows)}, f"{step} does not end as in {self.like}"
        return True


ECHOES = (
    Echo(
        phase=Phase.READING_BACK,
        event="found",
        kinds=frozenset({ProtocolFact.AS_WRITTEN}),
        like=Phase.WRITING,
        like_event="written",
    ),
    Echo(phase=Phase.READING_BACK, event="time up", like=Phase.WRITING, like_event="time up"),
    Echo(
        phase=Phase.READING_BACK,
        event="found",
        kinds=frozenset({ProtocolFact.OPEN, ProtocolFact.RELEASED, ProtocolFact.DONE, ProtocolFact.POISONED}),
        like=Phase.READING_RECORD,
        like_event="found",
    ),
)


def _arrow(rule: ProtocolRule, phases: Collection[Phase], path: ProtocolJourney) -> Arrow:
    times = _times(rule, phases, path)
    rows = tuple(row(row_id, JOB.row(row_id).outcome, times=times) for row_id in rule.rows)
    return Arrow(event=rule.event, signs=signs(rule.when, rule.unless), rows=rows)


# -- the shortest guards -------------------------------------------------------------------------------------------

_Ending = tuple[Phase | None, tuple[str, ...], bool]


def _rules_of_event(steps: Sequence[ProtocolStep]) -> list[ProtocolRule]:
    """The rules of an event: of all its phases together where they are many and decide alike, or phase by phase."""
    phases = tuple(dict.fromkeys(step.phase for step in steps))
    endings: defaultdict[frozenset[ProtocolFact], set[_Ending]] = defaultdict(set)
    for step in steps:
        endings[step.facts].add(_ending(step))
    if len(phases) > PHASES_DRAWN_MAX and all(len(found) == 1 for found in endings.values()):
        return _rules(steps)
    return _together(rule for phase in phases for rule in _rules([step for step in steps if step.phase is phase]))


def _together(rules: Iterable[ProtocolRule]) -> list[ProtocolRule]:
    """Rules that differ in their phases only, as one."""
    phases: defaultdict[ProtocolRule, list[Phase]] = defaultdict(list)
    for rule in rules:
        phases[replace(rule, phases=())].extend(rule.phases)
    return [replace(rule, phases=tuple(phase for phase in Phase if phase in found)) for rule, found in phases.items()]


def _rules(steps: Sequence[ProtocolStep]) -> list[ProtocolRule]:
    """Rules that cover these steps, each with the shortest guard that lets in no step that ends otherwise."""
    varying = _varying(steps)
    rules = []
    for ending in dict.fromkeys(_ending(step) for step in steps):
        others = {step.facts for step in steps if _ending(step) != ending}
        left = [step for step in steps if _ending(step) == ending]
        while left:
            guard = _shortest(left, others, varying)
            inside = [step for step in left if _is_in(guard, step.facts)]
            rules.append(
                ProtocolRule(
                    phases=tuple(phase for phase in Phase if any(step.phase is phase for step in inside)),
                    event=left[0].event,
                    when=tuple(fact for fact, holds in guard if holds),
                    unless=tuple(fact for fact, holds in guard if not holds),
                    after=ending[0],
                    rows=ending[1],
                    has_new_goal=ending[2],
                )
            )
            left = [step for step in left if step not in inside]
    return rules


def _varying(steps: Sequence[ProtocolStep]) -> list[ProtocolFact]:
    """The facts that hold before some of these steps and not before others."""
    return [fact for fact in ProtocolFact if len({fact in step.facts for step in steps}) > 1]


def _ending(step: ProtocolStep) -> _Ending:
    return None if step.after is step.phase else step.after, step.rows, step.has_new_goal


_Guard = tuple[tuple[ProtocolFact, bool], ...]


def _shortest(
    left: Sequence[ProtocolStep], others: Collection[frozenset[ProtocolFact]], varying: Sequence[ProtocolFact]
) -> _Guard:
    """The shortest guard around the first step that keeps the others out; of those, the widest and the plainest."""
    signed = tuple((fact, fact in left[0].facts) for fact in varying)
    for size in range(len(varying) + 1):
        guards = [guard for guard in combinations(signed, size) if not any(_is_in(guard, other) for other in others)]
        if guards:
            return min(guards, key=lambda guard: (-sum(_is_in(guard, step.facts) for step in left), _negations(guard)))
    raise AssertionError("the same facts end in two ways")


def _is_in(guard: _Guard, facts: frozenset[ProtocolFact]) -> bool:
    return all((fact in facts) is holds for fact, holds in guard)


def _negations(guard: _Guard) -> int:
    return sum(not holds for _, holds in guard)
