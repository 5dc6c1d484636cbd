"""The delivery protocol's rules are what its code does: exact over every step, and drawn without losing one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fsm import protocol_steps
from fsm.delivery import Delivery, Event, Phase, advance, event_name
from fsm.drawing import Machine, drawing_of, protocol
from fsm.drawing.markdown import render_protocol_markdown
from fsm.drawing.picture import Shape
from fsm.drawing.protocol import ECHOES, ProtocolRule, protocol_picture, protocol_rules
from fsm.job import JOB
from fsm.protocol_steps import ProtocolFact, ProtocolStep
from fsm.record import Record
from tests.fsm.delivery_steps import OWNER, events_for
from tests.fsm.test_drawing_machine import cells, ids_in, said

STEPS = protocol_steps.protocol_steps()
RULES = protocol_rules()
PICTURE = drawing_of(Machine.DELIVERY).picture


def decides(rule: ProtocolRule, step: ProtocolStep) -> bool:
    """Whether a rule is about a step."""
    held = step.facts.issuperset(rule.when) and step.facts.isdisjoint(rule.unless)
    return step.phase in rule.phases and step.event == rule.event and held


def test_every_step_is_decided_by_rules_that_agree() -> None:
    """Each step that was seen has a rule, and whatever rules it has lead where it led, by the same rows."""
    for step in STEPS:
        endings = {(rule.after or step.phase, rule.rows, rule.has_new_goal) for rule in RULES if decides(rule, step)}
        assert endings == {(step.after, step.rows, step.has_new_goal)}, step


def test_every_rule_is_needed() -> None:
    """No rule is there twice, and each decides some step in each of its phases."""
    assert len(set(RULES)) == len(RULES)
    for rule in RULES:
        assert {step.phase for step in STEPS if decides(rule, step)} == set(rule.phases)


def test_no_guard_could_do_without_one_of_its_facts() -> None:
    """Guards are as short as they can be: leave a fact out, and a step that ends otherwise is let in."""
    for rule in RULES:
        for fact in (*rule.when, *rule.unless):
            wider = replace(
                rule,
                when=tuple(one for one in rule.when if one != fact),
                unless=tuple(one for one in rule.unless if one != fact),
            )
            endings = {(step.after, step.rows, step.has_new_goal) for step in STEPS if decides(wider, step)}
            assert len(endings) > 1, (rule, fact)


def test_every_phase_and_every_event_was_seen() -> None:
    """Exploring comes to every phase, and every kind of event happens somewhere."""
    assert {step.phase for step in STEPS} | {step.after for step in STEPS} == set(Phase)
    assert {step.event for step in STEPS} == {event_name_of(kind) for kind in Event.__args__}
    assert {row for step in STEPS for row in step.rows} == {
        row.id for row in JOB.rows if row.verdict == "taken" and row.id not in UNUSED
    } | {"J31"}
    assert {fact for step in STEPS for fact in step.facts} == set(ProtocolFact)


UNUSED = {"J12"}
"""Rows that the protocol never takes: an unbegun delivery is handed back by J1, once its next event comes."""


def event_name_of(kind: type[Event]) -> str:
    return event_name(kind.__new__(kind))


def test_another_exploration_finds_no_other_step() -> None:
    """Walking the protocol with the events of its own tests comes upon steps with the same endings only."""
    known = {(step.phase, step.event, step.after, step.rows) for step in STEPS}
    older = [None, Record(epoch=1, owner=replace(OWNER, token="older"))]
    waiting = [Delivery(epoch=2, owner=OWNER, stored=stored) for stored in (True, False)]
    seen = set(waiting)
    for delivery in waiting:  # it grows
        for event in events_for(delivery, older):
            step = advance(delivery, event, draining=False, decide=JOB.row_for)
            if delivery.phase is not Phase.ENDED:
                rows = tuple(taken.row.id for taken in step.taken)
                assert (delivery.phase, event_name(event), step.delivery.phase, rows) in known
            after = replace(step.delivery, attempt=0)
            if after not in seen:
                seen.add(after)
                waiting.append(after)


def test_a_step_that_facts_do_not_decide_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the code look at something that no fact names, exploring fails instead of drawing half of it."""
    real = protocol_steps._facts

    def blind(delivery: Delivery, event: Event, *, draining: bool) -> frozenset[ProtocolFact]:
        return real(delivery, event, draining=draining) - {ProtocolFact.DRAINING}

    monkeypatch.setattr(protocol_steps, "_facts", blind)
    with pytest.raises(AssertionError, match="the facts do not decide"):
        protocol_steps.protocol_steps.__wrapped__()


def test_steps_that_no_guard_tells_apart_are_found_out() -> None:
    """Two endings of the very same facts have no rule."""
    step = STEPS[0]
    with pytest.raises(AssertionError, match="the same facts end in two ways"):
        protocol._rules([step, replace(step, rows=("J99",))])


# -- the picture -------------------------------------------------------------------------------------------------------


def test_the_picture_shows_every_rule_that_changes_something() -> None:
    """Each such rule's event and rows are on an edge between its phases, or an echo stands for it."""
    edges = {(edge.source, edge.dest): said(edge) for edge in PICTURE.edges if not edge.dotted}
    names = {node.lines[0]: node.name for node in PICTURE.nodes}
    for rule in RULES:
        for phase in rule.phases:
            if rule.is_drawn and not any(echo.covers(phase, rule) for echo in ECHOES):
                dest = names[(rule.after or phase).value]
                label = edges.get((names[phase.value], dest), "") + edges.get(("any_phase", dest), "")
                assert rule.event in label
                assert set(rule.rows) <= ids_in(label)


def test_a_call_that_is_only_made_again_is_not_drawn() -> None:
    """What changes nothing is left to the decision table."""
    again = [rule for rule in RULES if not rule.is_drawn]
    assert {rule.event for rule in again} == {
        "no reply", "renewal due", "renewed", "renewal refused", "renewal unanswered", "time up",
    }  # fmt: skip
    assert all(rule.after is None and not rule.rows for rule in again)


def test_the_phases_begin_and_end() -> None:
    """A delivery begins new and ends once; a node of its own stands for any phase."""
    assert [node.name for node in PICTURE.nodes if node.initial] == ["new"]
    assert [node.name for node in PICTURE.nodes if node.final] == ["ended"]
    assert [node.name for node in PICTURE.nodes if node.shape is Shape.ANY] == ["any_phase"]
    assert "lease gone [not settled] / J16 abandoned" in said(PICTURE.edges[-3])


@pytest.mark.parametrize("echo", ECHOES, ids=lambda echo: echo.event)
def test_an_echo_that_the_code_belies_is_not_drawn(echo: protocol.Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dotted edge says that steps end as those of another phase; where they do not, drawing fails."""
    monkeypatch.setattr(protocol, "ECHOES", (replace(echo, like=Phase.RUNNING, like_event="returned"),))
    with pytest.raises(AssertionError, match="does not end as in running"):
        protocol_picture("Protocol")


def test_the_table_has_every_rule() -> None:
    """The decision table leaves nothing out: phases, event, guard, next phase and rows of each rule."""
    lines = cells(render_protocol_markdown())
    assert [(line[0], line[1], line[4]) for line in lines] == [
        (", ".join(rule.phases), rule.event, ", ".join(rule.rows)) for rule in RULES
    ]
    assert {line[3] for line in lines} == {"same", *(phase.value for phase in Phase)} - {Phase.NEW.value}
