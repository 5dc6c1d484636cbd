"""Rows that share an edge, put together into its label.

Two rows of an edge whose guards differ in the sign of one fact only are drawn as one, without that fact: that is exact,
and repeated until no such pair is left. What the rows of an event have in common then stands once, at the event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from fsm.drawing.label import Chunk, Clause, Ink, Label, Piece, clause, event, guard

Signs = frozenset[tuple[str, bool]]
"""Facts, each with whether it must hold."""

_NO_ROW: tuple[Chunk, ...] = ((Piece("no row", Ink.OUTCOME),),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """Rows of one edge that are drawn as one: the event, each fact with its sign, and the rows with their outcomes."""

    event: str
    signs: Signs
    rows: tuple[Chunk, ...]

    def joined(self, other: Arrow) -> Arrow | None:
        """Both as one, if their guards differ in one sign only."""
        apart = self.signs ^ other.signs
        if self.event != other.event or len(apart) != 2 or len({fact for fact, _ in apart}) != 1:
            return None
        return Arrow(event=self.event, signs=self.signs & other.signs, rows=(*self.rows, *other.rows))


def signs(when: Iterable[str], unless: Iterable[str]) -> Signs:
    """A guard as facts with their signs."""
    return frozenset({(fact, True) for fact in when} | {(fact, False) for fact in unless})


def atoms(guarded: Signs, facts: Sequence[str]) -> list[str]:
    """A guard in words, fact by fact: what must hold first, and each in the order of its declaration."""
    held = [fact for fact in facts if (fact, True) in guarded]
    return held + [f"not {fact}" for fact in facts if (fact, False) in guarded]


def joined(arrows: Sequence[Arrow]) -> list[Arrow]:
    """The arrows with every pair joined that can be, until none is left."""
    for one, two in combinations(arrows, 2):
        if both := one.joined(two):
            return joined([both if arrow is one else arrow for arrow in arrows if arrow is not two])
    return list(arrows)


def label_of(arrows: Sequence[Arrow], facts: Sequence[str]) -> Label:
    """The label of an edge with these arrows."""
    clauses: list[Clause] = []
    drawn = joined(arrows)
    for name in dict.fromkeys(arrow.event for arrow in drawn):
        alike = [arrow for arrow in drawn if arrow.event == name]
        common = frozenset.intersection(*(arrow.signs for arrow in alike))
        head = event(name), guard(atoms(common, facts))
        rests = [rest for same in _by_rows(alike) for rest in _either(same, common, facts)]
        if len(rests) == 1 and not rests[0][0]:
            clauses.append(clause(head, rests[0][1]))
        elif len(rests) == 1 and not common:
            clauses.append(clause([event(name), rests[0][0]], rests[0][1]))
        else:
            none = _NO_ROW if any(rows for _, rows in rests) else ()
            clauses += [clause(head, ()), *(clause([rest], rows or none) for rest, rows in rests)]
    return tuple(clauses)


def _by_rows(arrows: Sequence[Arrow]) -> list[list[Arrow]]:
    """Arrows with the same outcome side by side."""
    found: dict[tuple[Chunk, ...], list[Arrow]] = {}
    for arrow in arrows:
        found.setdefault(arrow.rows, []).append(arrow)
    return list(found.values())


def _either(arrows: Sequence[Arrow], common: Signs, facts: Sequence[str]) -> list[tuple[Chunk, tuple[Chunk, ...]]]:
    """What guards of one outcome add to what is common: in one pair of brackets if they differ in one fact each."""
    shared = frozenset.intersection(*(arrow.signs for arrow in arrows))
    each = [atoms(arrow.signs - shared, facts) for arrow in arrows]
    if len(arrows) > 1 and all(len(words) == 1 for words in each):
        choice = " or ".join(words[0] for words in each)
        return [(guard([*atoms(shared - common, facts), choice]), arrows[0].rows)]
    return [(guard(atoms(arrow.signs - common, facts)), arrow.rows) for arrow in arrows]
