"""The drawings show what the tables say, all of it and nothing else, and are the same bytes everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm import drawing
from fsm.application import APPLICATION
from fsm.drawing import (
    LABEL_WIDTH,
    generated_files,
    readme_blocks,
    refreshed,
    render_joint_markdown,
    render_joint_mermaid,
    render_markdown,
    render_mermaid,
)
from fsm.errors import ConfigurationError
from fsm.job import JOB
from fsm.joint import AFTER_APPLICATION, AFTER_JOB, AFTER_VM
from fsm.promises import Promise
from fsm.spot_vm import SPOT_VM
from fsm.table import Verdict
from tests.fsm.machines import ROWS, PlainRow, every_subset
from tests.fsm.test_table import Fact, State, Trigger, toy_row, toy_table

ROOT = Path(drawing.__file__).parent.parent
PICTURES = {
    "spot_vm": render_mermaid(SPOT_VM),
    "application": render_mermaid(APPLICATION),
    "job": render_mermaid(JOB),
}
ARROW = re.compile(r"    (\S+) --> (\S+) : (.+)")
REST = toy_row("R1", (State.UP, State.DOWN), Trigger.REST, verdict=Verdict.IGNORED)


def arrows(picture: str) -> dict[tuple[str, str], str]:
    """The labelled edges of a picture."""
    found = [match.groups() for match in map(ARROW.fullmatch, picture.splitlines()) if match]
    edges = {(source, dest): label for source, dest, label in found}
    assert len(edges) == len(found), "two edges between the same states"
    return edges


# -- pictures of one machine -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", PICTURES)
def test_a_picture_has_exactly_the_taken_rows_edges(machine: str) -> None:
    """Each pair of states that a taken row joins is one edge, and no other pair is."""
    expected = {
        (state, row.dest or state)
        for row in ROWS
        if row.machine == machine and row.verdict == "taken"
        for state in row.source
    }
    assert set(arrows(PICTURES[machine])) == expected


TAKEN = [row for row in ROWS if row.verdict == "taken"]


@pytest.mark.parametrize("row", TAKEN, ids=[row.id for row in TAKEN])
def test_every_taken_row_stands_on_its_edges(row: PlainRow) -> None:
    """A row's id and its event are read on each edge it makes."""
    for state in row.source:
        label = arrows(PICTURES[row.machine])[state, row.dest or state].replace("<br/>", " ")
        assert row.trigger in label
        assert row.id in ids_in(label)


def ids_in(text: str) -> set[str]:
    return set(re.findall(r"\b[A-Z]\d+\b", text))


def test_refused_and_ignored_rows_are_drawn_on_request_only() -> None:
    """What changes nothing stays out of the picture unless it is asked for."""
    quiet = {row.id for row in ROWS if row.machine == "spot_vm" and row.verdict != "taken"}
    assert quiet.isdisjoint(ids_in(PICTURES["spot_vm"]))
    assert quiet <= ids_in(render_mermaid(SPOT_VM, verdicts=tuple(Verdict)))


def test_initial_and_final_states_are_marked() -> None:
    """A picture says where a machine begins and, if it ends, where."""
    assert "    [*] --> Received\n" in PICTURES["job"]
    ends = re.findall(r"    (\w+) --> \[\*\]\n", PICTURES["job"])
    assert ends == ["Completed", "Released", "Poisoned", "Abandoned"]
    assert "--> [*]" not in PICTURES["spot_vm"] + PICTURES["application"]


def test_a_disputed_row_is_drawn_as_disputed() -> None:
    """A doubt in the table is visible in the picture and explained in the decision table."""
    assert "S4 (disputed)" in PICTURES["spot_vm"]
    assert "**Disputed**: Azure refuses the start" in render_markdown(SPOT_VM)


@pytest.mark.parametrize("machine", PICTURES)
def test_labels_are_narrow_enough_to_read(machine: str) -> None:
    """No line of a label is wider than what Mermaid sets in one line."""
    for label in arrows(PICTURES[machine]).values():
        assert all(len(line) <= LABEL_WIDTH for line in label.split("<br/>"))


def test_a_guard_stands_in_full_on_its_edge() -> None:
    """What must hold, what must not, and what several rows have in common are all told apart."""
    assert arrows(PICTURES["spot_vm"])["Running", "Stopped"] == (
        "Evict [not policy Delete]<br/>E2 [not capacity available]<br/>E4 [capacity available,<br/>not affordable]"
        "<br/>Deallocate O1"
    )
    assert (
        arrows(PICTURES["application"])["Recovering", "WarmingUp"] == "resume [store answered]<br/>A3, A4, A5, A6, A7"
    )


def test_many_ids_are_broken_like_any_text() -> None:
    """An edge of more rows than a line holds still has a narrow label."""
    guards = [(held, tuple(fact for fact in Fact if fact not in held)) for held in every_subset(tuple(Fact))]
    rows = [
        toy_row(f"LONG{place}", (State.UP, State.DOWN), Trigger.FLIP, tuple(held), unless)
        for place, (held, unless) in enumerate(guards)
    ]
    label = arrows(render_mermaid(toy_table(*rows, REST)))["up", "up"]
    assert label == "flip LONG0, LONG1, LONG2,<br/>LONG4, LONG3, LONG5, LONG6,<br/>LONG7"


def test_rows_without_a_guard_have_no_brackets() -> None:
    """An event that always does its work is drawn bare."""
    table = toy_table(toy_row("F1", (State.UP, State.DOWN), Trigger.FLIP, dest=State.DOWN), REST)
    assert arrows(render_mermaid(table)) == {("up", "down"): "flip F1", ("down", "down"): "flip F1"}


@given(guards=st.lists(st.fixed_dictionaries(dict.fromkeys(Fact, st.sampled_from([True, False, None]))), max_size=6))
def test_joining_arrows_loses_and_adds_nothing(guards: list[dict[Fact, bool | None]]) -> None:
    """However the rows of an edge are joined, they hold together for the same assignments of the facts as before."""
    rows = [
        toy_row(
            f"T{number}",
            (State.UP,),
            Trigger.FLIP,
            when=tuple(fact for fact, sign in guard.items() if sign is True),
            unless=tuple(fact for fact, sign in guard.items() if sign is False),
        )
        for number, guard in enumerate(guards)
    ]
    joined = drawing._merged([drawing._arrow(row) for row in rows])
    for held in every_subset(tuple(Fact)):
        signs = {(fact.value, fact in held) for fact in Fact}
        assert any(arrow.signs <= signs for arrow in joined) == any(row.matches(held) for row in rows)
    assert sorted(row_id for arrow in joined for row_id in arrow.ids) == [row.id for row in rows]


def test_rows_of_different_events_are_never_joined() -> None:
    """Two guards that would make one still belong to two events."""
    flip = drawing._arrow(toy_row("F1", (State.UP,), Trigger.FLIP, when=(Fact.A,)))
    rest = drawing._arrow(toy_row("R1", (State.UP,), Trigger.REST, unless=(Fact.A,)))
    assert drawing._merged([flip, rest]) == [flip, rest]


# -- the joint picture -------------------------------------------------------------------------------------------------


def test_the_joint_picture_shows_every_rule_that_sets_something_off() -> None:
    """Each rule with a consequence is an edge with its guard; the others are in the decision table only."""
    picture = render_joint_mermaid()
    fired = [rule_id for rule_id, fires in _rules() if fires]
    assert re.findall(r'-- "(C\d+)', picture) == fired
    assert '-- "C4 not all settled" -->' in picture


def _rules() -> list[tuple[str, bool]]:
    vm = [(rule.id, rule.fires is not None) for rule in AFTER_VM.rows]
    application = [(rule.id, rule.fires is not None) for rule in AFTER_APPLICATION.rows]
    return vm + application + [(rule.id, rule.fires is not None) for rule in AFTER_JOB.rows]


def test_the_joint_picture_shows_what_follows_from_what() -> None:
    """A VM that goes takes the worker along by row A39, an interrupted job is released by J12 or J28."""
    nodes = dict(re.findall(r"    (n\d+)[\[(]+\"(.+?)\"", render_joint_mermaid()))
    dotted = re.findall(r'    (n\d+) -\. "(.+)" \.-> (n\d+)', render_joint_mermaid())
    assert [(nodes[source], ids, nodes[dest].split("<br/>")[0]) for source, ids, dest in dotted] == [
        ("application: vm_gone", "A39", "application:"),
        ("each unsettled job: interrupt", "J12, J28", "job:"),
    ]


# -- decision tables ---------------------------------------------------------------------------------------------------


def cells(markdown: str) -> list[list[str]]:
    """The rows of a Markdown table, without its head."""
    return [line.strip("|").split("|") for line in markdown.splitlines()[2:]]


@pytest.mark.parametrize("machine", PICTURES)
def test_a_decision_table_has_every_row_and_every_column(machine: str) -> None:
    """Nothing is left out of a decision table: one line a row, eight cells a line."""
    markdown = {"spot_vm": render_markdown(SPOT_VM), "application": render_markdown(APPLICATION)}.get(
        machine, render_markdown(JOB)
    )
    lines = cells(markdown)
    assert [line[0].strip() for line in lines] == [row.id for row in ROWS if row.machine == machine]
    assert {len(line) for line in lines} == {8}


def test_a_decision_table_tells_verdicts_apart() -> None:
    """Staying by doing its work, by being ignored and by being refused read differently."""
    after = {line[0].strip(): line[4].strip() for line in cells(render_markdown(SPOT_VM))}
    assert (after["O7"], after["D4"], after["D2"], after["O1"]) == ("same", "same, ignored", "same, refused", "Stopped")


def test_the_joint_table_has_every_rule() -> None:
    """What a move does not set off is said too."""
    lines = cells(render_joint_markdown())
    assert [line[0].strip() for line in lines] == [rule_id for rule_id, _ in _rules()]
    assert [line[5].strip() == "nothing" for line in lines] == [not fires for _, fires in _rules()]
    assert {line[5].strip() for line in lines if line[0].strip() == "C6"} == {"each unsettled job vanishes"}


def test_a_bar_in_a_text_does_not_break_the_table() -> None:
    """A vertical bar is written so that Markdown keeps it within its cell."""
    assert drawing._markdown(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x&#124;y | z |\n"


# -- files and README --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", generated_files())
def test_the_drawings_in_the_repository_are_fresh(path: str) -> None:
    """A change of a table comes with its drawings: run `spotfsm draw`."""
    assert (ROOT / path).read_text(encoding="utf-8") == generated_files()[path]


def test_every_machine_has_a_picture_and_a_page() -> None:
    """Three machines and their joint rules, each drawn both ways."""
    names = ("spot_vm", "application", "job", "joint")
    assert list(generated_files()) == [f"diagrams/{name}.{ending}" for name in names for ending in ("mmd", "md")]
    for name in names:
        assert generated_files()[f"diagrams/{name}.mmd"] in generated_files()[f"diagrams/{name}.md"]


def test_drawings_are_the_same_bytes_under_every_hash_seed() -> None:
    """No order comes from a set: two processes with different hash seeds draw the same."""
    program = "from fsm.drawing import generated_files, readme_blocks; print(generated_files(), readme_blocks())"
    drawn = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert drawn == {f"{generated_files()} {readme_blocks()}\n".encode()}


def marked(name: str, body: str = "old\n") -> str:
    return f"<!-- generated: {name} -->\n{body}<!-- end generated -->"


@given(
    names=st.lists(st.sampled_from(sorted(readme_blocks())), max_size=4), old=st.sampled_from(["", "old\n", "a\n\nb"])
)
def test_a_readme_is_refreshed_between_its_markers_only(names: list[str], old: str) -> None:
    """What a person wrote stays to the letter, each block is replaced, and doing it twice changes nothing."""
    text = "# Title\n" + "".join(f"\nwords <{number}>\n{marked(name, old)}\n" for number, name in enumerate(names))
    fresh = refreshed(text)
    assert fresh == "# Title\n" + "".join(
        f"\nwords <{number}>\n{readme_blocks()[name]}\n" for number, name in enumerate(names)
    )
    assert refreshed(fresh) == fresh


def test_the_promises_are_a_block_of_the_readme() -> None:
    """Each promise is in the README with its condition, word for word."""
    for promise in Promise:
        assert f"| `{promise.value}` | {promise.sentence} |\n" in readme_blocks()["promises"]


def test_an_unknown_block_is_named() -> None:
    """A misspelt marker is an error in one line, with the names there are."""
    with pytest.raises(ConfigurationError, match=r"README\.md: no generated block is named 'spot'\. .*spot_vm"):
        refreshed(marked("spot"))


@pytest.mark.parametrize(
    "text",
    [
        "<!-- generated: job -->\nopen",
        "<!-- generated: job -->\n" + marked("joint"),
        marked("joint") + "\n<!-- generated: job -->",
    ],
)
def test_a_block_without_an_end_is_reported(text: str) -> None:
    """A missing end marker never swallows what a person wrote after it."""
    with pytest.raises(ConfigurationError, match=r"README\.md: a generated block has no end"):
        refreshed(text)
