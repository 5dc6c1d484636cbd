"""Labels say everything, in lines that are narrow enough, and break where a reader can bear it."""

from __future__ import annotations

from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm.drawing.arrows import Arrow, Signs, atoms, joined, label_of, signs
from fsm.drawing.label import LINE_CHARACTERS, Chunk, clause, event, guard, row, text_of, wrapped
from tests.fsm.machines import every_subset


class Letter(StrEnum):
    """Facts."""

    A = "a"
    B = "b"
    C = "c"


FACTS = tuple(Letter)
WORDS = st.text(alphabet="abc", min_size=1, max_size=8)


def lines(*arrows: Arrow, width: float = LINE_CHARACTERS) -> list[str]:
    return [text_of(line) for line in wrapped(label_of(arrows, FACTS), width)]


def arrow(name: str, when: str = "", unless: str = "", rows: tuple[Chunk, ...] = ()) -> Arrow:
    return Arrow(event=name, signs=signs(when, unless), rows=rows)


def test_a_label_is_written_as_uml_has_it() -> None:
    """Event, guard in brackets, a stroke, the row with the head of its outcome."""
    assert lines(arrow("go", "a", "b", (row("R1", "gone: far away"),))) == ["go [a, not b] / R1 gone"]
    assert lines(arrow("go", rows=(row("R1", "gone; far away"),))) == ["go / R1 gone"]
    assert lines(arrow("go", "a")) == ["go [a]"]


def test_what_rows_have_in_common_stands_once() -> None:
    """The common part of several guards stands at the event, the rest at each row."""
    both = arrow("go", "ab", rows=(row("R1", "one"),)), arrow("go", "a", "bc", rows=(row("R2", "two"),))
    assert lines(*both) == ["go [a]", "[b] / R1 one", "[not b, not c] / R2 two"]


def test_guards_that_differ_in_a_sign_are_one() -> None:
    """Rows whose guards cover both signs of a fact are drawn without it."""
    both = arrow("go", "ab", rows=(row("R1", "one"),)), arrow("go", "a", "b", rows=(row("R2", "two"),))
    assert lines(*both) == ["go [a] / R1 one, R2 two"]
    assert joined([arrow("go", "a"), arrow("rest", "", "a")]) == [arrow("go", "a"), arrow("rest", "", "a")]


def test_one_outcome_under_several_guards_is_told_once() -> None:
    """Guards of the same rows are one pair of brackets where that can be read in one way only."""
    same = (row("R1", "one"),)
    each = [arrow("go", name, rows=same) for name in FACTS]
    assert lines(*each) == ["go [a or b or c] / R1 one"]
    assert lines(arrow("go", "ab", rows=same), arrow("go", "ac", rows=same)) == ["go [a]", "[b or c] / R1 one"]
    assert lines(arrow("go", "ab", rows=same), arrow("go", "c", rows=same)) == ["go", "[a, b] / R1 one", "[c] / R1 one"]


def test_an_outcome_without_a_row_is_told_beside_one_with_a_row() -> None:
    """Where some guards of an event take a row and others none, both are said."""
    mixed = arrow("go", "ab", rows=(row("R1", "one"),)), arrow("go", "c")
    assert lines(*mixed) == ["go", "[a, b] / R1 one", "[c] / no row"]
    assert lines(arrow("go", "ab"), arrow("go", "c")) == ["go", "[a, b]", "[c]"]


def test_a_drawn_path_counts_its_rows() -> None:
    """A row that was taken says how often."""
    assert text_of(row("R1", "one", times=3)) == "R1 \N{MULTIPLICATION SIGN}3 one"


def test_a_line_breaks_between_its_parts_first() -> None:
    """Event, guard and row each stay on a line of their own as long as one can hold them."""
    label = (clause([event("depart"), guard(["with luggage", "before noon"])], [row("R1", "left for good")]),)
    assert [text_of(line) for line in wrapped(label, 30)] == [
        "depart",
        "[with luggage, before noon]",
        "/ R1 left for good",
    ]
    assert [text_of(line) for line in wrapped(label, 16)] == [
        "depart", "[with luggage,", "before noon]", "/ R1 left for", "good",
    ]  # fmt: skip


def test_a_stroke_never_ends_a_line() -> None:
    """The stroke stays with the row it announces."""
    label = (clause([event("go")], [row("R1", "somewhere far away")]),)
    assert [text_of(line) for line in wrapped(label, 9)] == ["go", "/ R1 somewhere", "far away"]


def test_a_clause_without_anything_has_no_line() -> None:
    """An edge that says nothing is drawn without a label."""
    assert wrapped((clause([], []),), 10) == ()


@given(
    texts=st.lists(st.tuples(WORDS, st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=4)), max_size=4),
    width=st.integers(1, 40),
)
def test_breaking_lines_loses_and_adds_nothing(texts: list[tuple[str, list[str], list[str]]], width: int) -> None:
    """However narrow, all pieces are there in their order, and only a single piece makes a line wider than asked."""
    label = tuple(
        clause([event(name), guard(held)], [row(f"R{place}", " ".join(outcome))])
        for place, (name, held, outcome) in enumerate(texts)
    )
    broken = wrapped(label, width)
    assert [piece for line in broken for piece in line] == [
        piece for part in label for chunk in part for piece in chunk
    ]
    assert all(len(text_of(line)) <= width or len(line) == 1 or line[0].text == "/" for line in broken)


GUARDS = st.fixed_dictionaries(dict.fromkeys(Letter, st.sampled_from([True, False, None])))


def holds(guarded: Signs, held: frozenset[Letter]) -> bool:
    return all((fact in held) is sign for fact, sign in guarded)


@given(guards=st.lists(GUARDS, max_size=6))
def test_joining_arrows_loses_and_adds_nothing(guards: list[dict[Letter, bool | None]]) -> None:
    """However arrows are joined, some guard holds for the same facts as before, and all rows stay."""
    arrows = [
        Arrow(
            event="go",
            signs=frozenset((fact, sign) for fact, sign in one.items() if sign is not None),
            rows=(row(f"R{place}", "gone"),),
        )
        for place, one in enumerate(guards)
    ]
    made = joined(arrows)
    for held in every_subset(FACTS):
        assert any(holds(one.signs, held) for one in made) == any(holds(one.signs, held) for one in arrows)
    assert sorted(text_of(chunk) for one in made for chunk in one.rows) == sorted(
        text_of(chunk) for one in arrows for chunk in one.rows
    )


@pytest.mark.parametrize("order", [FACTS, FACTS[::-1]])
def test_facts_stand_in_the_order_of_their_declaration(order: tuple[Letter, ...]) -> None:
    """What must hold comes first, then what must not."""
    assert atoms(signs("ca", "b"), order) == [*(fact for fact in order if fact in "ca"), "not b"]
