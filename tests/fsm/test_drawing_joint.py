"""The joint rules' picture and table show every rule, and what follows from what."""

from __future__ import annotations

from fsm.drawing.joint import joint_picture, joint_rules
from fsm.drawing.markdown import render_joint_markdown
from fsm.drawing.mermaid import render_mermaid
from fsm.drawing.picture import Shape
from fsm.joint import AFTER_APPLICATION, AFTER_JOB, AFTER_VM
from tests.fsm.test_drawing_machine import cells, said

PICTURE = joint_picture("Joint")
LINES = {node.name: node.lines for node in PICTURE.nodes}
RULES = [
    *((rule.id, rule.fires is not None) for rule in AFTER_VM.rows),
    *((rule.id, rule.fires is not None) for rule in AFTER_APPLICATION.rows),
    *((rule.id, rule.fires is not None) for rule in AFTER_JOB.rows),
]
"""Every rule, and whether it sets something off."""


def test_the_picture_shows_every_rule() -> None:
    """Each rule is an edge with its guard and outcome; the eight that set nothing off on purpose say so."""
    shown = [said(edge) for edge in PICTURE.edges if not edge.dotted]
    assert [next(word for word in label.split() if word.startswith("C")) for label in shown] == [
        rule_id for rule_id, _ in RULES
    ]
    nothing = [said(edge) for edge in PICTURE.edges if LINES[edge.dest] == ("nothing",)]
    assert [label for label in shown if label in nothing] == nothing
    assert len(nothing) == sum(not fires for _, fires in RULES) == 8
    assert shown[3:5] == [
        "[not all settled] / C4 every job is interrupted, begun or not",
        "[all settled] / C5 drained at once",
    ]


def test_a_rule_leads_from_its_move_to_what_it_sets_off() -> None:
    """A VM that stops running takes the worker with it."""
    edge = next(edge for edge in PICTURE.edges if "C2" in said(edge))
    assert LINES[edge.source] == ("spot_vm:", "Running", "to Stopped, Deleted")
    assert LINES[edge.dest] == ("application: vm_gone",)


def test_the_picture_shows_what_follows_from_what() -> None:
    """A VM that goes takes the worker along by row A39, an interrupted job is released by J12 or J28."""
    dotted = [(LINES[edge.source][0], said(edge), LINES[edge.dest][0]) for edge in PICTURE.edges if edge.dotted]
    assert dotted == [
        ("application: recover", "A1", "application:"),
        ("application: vm_gone", "A39", "application:"),
        ("each unsettled job: interrupt", "J12, J28", "job:"),
        ("application: drained", "A26, A27, A28", "application:"),
    ]


def test_moves_and_effects_look_different() -> None:
    """A box is a move, a rounded box an effect, in Mermaid as well."""
    assert not PICTURE.is_machine
    assert {node.shape for node in PICTURE.nodes} == {Shape.MOVE, Shape.EFFECT}
    mermaid = render_mermaid(PICTURE)
    assert mermaid.startswith("flowchart LR\n")
    assert '    n1(["application: recover"])\n' in mermaid
    assert '    n3 -. "A39" .-> n9\n' in mermaid


def test_the_table_has_every_rule() -> None:
    """What a move does not set off is said too."""
    lines = cells(render_joint_markdown())
    assert [line[0] for line in lines] == [rule_id for rule_id, _ in RULES] == [rule.id for rule in joint_rules()]
    assert [line[5] == "nothing" for line in lines] == [not fires for _, fires in RULES]
    assert {line[5] for line in lines if line[0] == "C6"} == {"each unsettled job vanishes"}
