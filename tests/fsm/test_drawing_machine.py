"""Pictures and decision tables show what the tables say, all of it and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fsm.application import APPLICATION
from fsm.drawing import Journey, Machine, drawing_of
from fsm.drawing.dot import render_dot
from fsm.drawing.label import LINE_CHARACTERS, text_of
from fsm.drawing.machine import picture_of
from fsm.drawing.markdown import markdown_table, render_markdown
from fsm.drawing.mermaid import render_mermaid
from fsm.drawing.picture import Edge, Picture
from fsm.job import JOB
from fsm.spot_vm import SPOT_VM
from fsm.table import Verdict
from tests.fsm.machines import ROWS, PlainRow
from tests.fsm.test_table import State, Trigger, toy_row, toy_table

TABLES = ("spot_vm", "application", "job")
PICTURES = {name: drawing_of(Machine(name)).picture for name in TABLES}
REST = toy_row("R1", (State.UP, State.DOWN), Trigger.REST, verdict=Verdict.IGNORED)
TIMES = "\N{MULTIPLICATION SIGN}"


def edges(picture: Picture) -> dict[tuple[str, str], Edge]:
    """The edges of a picture by their ends."""
    found = {(edge.source, edge.dest): edge for edge in picture.edges}
    assert len(found) == len(picture.edges), "two edges between the same states"
    return found


def said(edge: Edge) -> str:
    """An edge's label on one line."""
    return " ".join(text_of(chunk) for clause in edge.label for chunk in clause)


def ids_in(text: str) -> set[str]:
    return set(re.findall(r"\b[A-Z]\d+\b", text))


# -- pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", TABLES)
def test_a_picture_has_exactly_the_taken_rows_edges(machine: str) -> None:
    """Each pair of states that a taken row joins is one edge, and no other pair is."""
    expected = {
        (state, row.dest or state)
        for row in ROWS
        if row.machine == machine and row.verdict == "taken"
        for state in row.source
    }
    assert set(edges(PICTURES[machine])) == expected


TAKEN = [row for row in ROWS if row.verdict == "taken"]


@pytest.mark.parametrize("row", TAKEN, ids=[row.id for row in TAKEN])
def test_every_taken_row_stands_on_its_edges(row: PlainRow) -> None:
    """A row's id, its event and the head of its outcome are read on each edge it makes."""
    for state in row.source:
        label = said(edges(PICTURES[row.machine])[state, row.dest or state])
        assert row.trigger in label
        assert row.id in ids_in(label)
        assert row.outcome.split(":")[0].split(";")[0] in label


def test_refused_and_ignored_rows_are_drawn_on_request_only() -> None:
    """What changes nothing stays out of the picture unless it is asked for."""
    quiet = {row.id for row in ROWS if row.machine == "spot_vm" and row.verdict != "taken"}
    assert quiet.isdisjoint(ids_in(render_mermaid(PICTURES["spot_vm"])))
    assert quiet <= ids_in(render_mermaid(picture_of(SPOT_VM, "All", verdicts=tuple(Verdict))))


def test_a_guard_stands_in_full_on_its_edge() -> None:
    """What must hold, what must not, and what several rows have in common are all told apart."""
    assert said(edges(PICTURES["spot_vm"])["Running", "Stopped"]) == (
        "Evict [not policy Delete] [not capacity available] / E2 evicted for capacity "
        "[capacity available, not affordable] / E4 evicted for the price Deallocate / O1 deallocated by the operator"
    )
    assert said(edges(PICTURES["application"])["Recovering", "WarmingUp"]) == (
        "resume [store answered] / A3 fresh, A4 recreated, A5 redeployed, A6 restarted, A7 resumed"
    )


def test_a_disputed_row_is_drawn_as_disputed() -> None:
    """A doubt in the table is visible in the picture and explained in the decision table."""
    assert "S4 (disputed) deleted" in said(edges(PICTURES["spot_vm"])["Stopped", "Deleted"])
    assert "**Disputed**: Azure refuses the start" in render_markdown(SPOT_VM)


def test_initial_and_final_states_are_marked() -> None:
    """A picture says where a machine begins and, if it ends, where; in every format."""
    for name, initial, ends in (
        ("job", "Received", ["Completed", "Released", "Poisoned", "Abandoned"]),
        ("spot_vm", "NotDeployed", []),
        ("application", "Offline", []),
    ):
        mermaid, dot = render_mermaid(PICTURES[name]), render_dot(PICTURES[name])
        assert re.findall(r"    \[\*\] --> (\w+)\n", mermaid) == [initial]
        assert re.findall(r"    (\w+) --> \[\*\]\n", mermaid) == ends
        assert re.findall(r'    "\(start\)" -> "(\w+)"\n', dot) == [initial]
        assert re.findall(r'    "(\w+)" \[.*peripheries="2"', dot) == ends


# -- Mermaid and DOT ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", Machine)
def test_labels_are_narrow_enough_to_read(machine: Machine) -> None:
    """No line of a label is wider than what Mermaid sets in one line, but for what cannot be broken."""
    for line in render_mermaid(drawing_of(machine).picture).splitlines():
        if " : " in line:
            for part in line.split(" : ")[1].split("<br/>"):
                assert len(part) <= LINE_CHARACTERS or part.startswith("/ ") or " " not in part.strip("[],"), part


@pytest.mark.parametrize("machine", Machine)
def test_no_label_ends_before_its_time(machine: Machine) -> None:
    """Mermaid would end a label at a colon or a semicolon: there is none in one."""
    for edge in drawing_of(machine).picture.edges:
        assert set(said(edge)).isdisjoint(":;\n"), said(edge)


STATE_EDGE = re.compile(r"    (?P<source>\w+) --> (?P<dest>\w+) : (?P<label>.+)")
FLOW_EDGE = re.compile(r'    (?P<source>\w+) (?:--|-\.) "(?P<label>.+)" \.?-{1,2}> (?P<dest>\w+)')
DOT_EDGE = re.compile(r'    "(?P<source>\w+)" -> "(?P<dest>\w+)" \[label="(?P<label>(?:[^"\\]|\\.)*)".*\]')


@pytest.mark.parametrize("machine", Machine)
def test_a_text_format_shows_every_edge_once(machine: Machine) -> None:
    """In Mermaid and in DOT each edge is there with all its rows, and there is nothing besides."""
    picture = drawing_of(machine).picture
    expected = [(edge.source, edge.dest, ids_in(said(edge))) for edge in picture.edges]
    mermaid_edge = STATE_EDGE if picture.is_machine else FLOW_EDGE
    for text, pattern in ((render_mermaid(picture), mermaid_edge), (render_dot(picture), DOT_EDGE)):
        found = [match for match in map(pattern.fullmatch, text.splitlines()) if match]
        shown = [(edge["source"], edge["dest"], ids_in(re.sub(r"<br/>|\\l", " ", edge["label"]))) for edge in found]
        assert shown == expected


def test_quotes_and_backslashes_stay_in_their_label() -> None:
    """A text in DOT cannot end its own quotes."""
    flip = replace(toy_row("F1", (State.UP, State.DOWN), Trigger.FLIP), outcome='a "b" \\c')
    assert r'label="flip / F1 a \"b\" \\c\l"' in render_dot(picture_of(toy_table(flip, REST), "Toy"))


# -- decision tables ---------------------------------------------------------------------------------------------------


def cells(markdown: str) -> list[list[str]]:
    """The rows of a Markdown table, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()[2:]]


DECISIONS = {
    "spot_vm": render_markdown(SPOT_VM),
    "application": render_markdown(APPLICATION),
    "job": render_markdown(JOB),
}


@pytest.mark.parametrize("machine", TABLES)
def test_a_decision_table_has_every_row_and_every_column(machine: str) -> None:
    """Nothing is left out of a decision table: one line a row, eight cells a line."""
    lines = cells(DECISIONS[machine])
    rows = [row for row in ROWS if row.machine == machine]
    assert [line[0] for line in lines] == [row.id for row in rows]
    assert {len(line) for line in lines} == {8}
    for line, row in zip(lines, rows, strict=True):
        assert line[1:3] == [", ".join(row.source), row.trigger]
        assert set(filter(None, line[3].split(", "))) == row.when | {f"not {fact}" for fact in row.unless}
        assert line[5] == row.outcome


def test_a_decision_table_tells_verdicts_apart() -> None:
    """Staying by doing its work, by being ignored and by being refused read differently."""
    after = {line[0]: line[4] for line in cells(DECISIONS["spot_vm"])}
    assert (after["O7"], after["D4"], after["D2"], after["O1"]) == ("same", "same, ignored", "same, refused", "Stopped")


def test_a_bar_in_a_text_does_not_break_the_table() -> None:
    """A vertical bar is written so that Markdown keeps it within its cell."""
    assert markdown_table(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x&#124;y | z |\n"


# -- a path in a picture -----------------------------------------------------------------------------------------------

JOURNEY = Journey(
    rows={("Offline", "A1"): 3, ("Recovering", "A8"): 2, ("Recovering", "A3"): 1},
    visits={"Offline": 3, "Recovering": 3, "WarmingUp": 1},
    present={"Recovering": 2, "WarmingUp": 1},
)
ON_PATH = picture_of(APPLICATION, "A path", journey=JOURNEY)


def test_a_path_is_told_by_counts() -> None:
    """Rows say how often they were taken, states how often they were come to and who is there."""
    remarks = {node.name: node.remark for node in ON_PATH.nodes}
    assert remarks == {
        "Offline": f"{TIMES}3", "Recovering": f"{TIMES}3, 2 are here now", "WarmingUp": f"{TIMES}1, now here",
        "Processing": "", "Evicted": "", "Drained": "",
    }  # fmt: skip
    assert said(edges(ON_PATH)["Offline", "Recovering"]) == f"recover [VM running] / A1 {TIMES}3 up"
    assert f"A3 {TIMES}1 fresh, A4 recreated" in said(edges(ON_PATH)["Recovering", "WarmingUp"])


def test_a_path_shows_what_it_was_refused() -> None:
    """A refused or ignored row that was taken is drawn, although the picture leaves it out otherwise."""
    assert said(edges(ON_PATH)["Recovering", "Recovering"]) == (
        f"resume [not store answered] / A8 {TIMES}2 the store does not answer"
    )


def test_a_path_stands_out() -> None:
    """In Mermaid and in DOT, states and edges that were passed look different from those that were not."""
    mermaid, dot = render_mermaid(ON_PATH), render_dot(ON_PATH)
    assert re.findall(r"    class (\w+) (\w+)\n", mermaid) == [
        ("Offline", "visited"), ("Recovering", "present"), ("WarmingUp", "present"),
    ]  # fmt: skip
    assert f'    state "Offline<br/>{TIMES}3" as Offline\n' in mermaid
    assert re.findall(r'    "(\w+)" \[.*fillcolor="gold"', dot) == ["Recovering", "WarmingUp"]
    bold = {(edge.source, edge.dest) for edge in ON_PATH.edges if edge.taken}
    assert bold == {("Offline", "Recovering"), ("Recovering", "Recovering"), ("Recovering", "WarmingUp")}
    assert set(re.findall(r'    "(\w+)" -> "(\w+)" .*penwidth="3"', dot)) == bold
    assert "penwidth" not in render_dot(PICTURES["application"])
    assert "class" not in render_mermaid(PICTURES["application"])


def test_a_decision_table_counts_a_path() -> None:
    """Each row says how often it was taken, in whatever states."""
    lines = cells(render_markdown(APPLICATION, JOURNEY))
    taken = {line[0]: line[8] for line in lines}
    assert {len(line) for line in lines} == {9}
    assert (taken["A1"], taken["A8"], taken["A3"], taken["A2"]) == ("3", "2", "1", "0")
