"""Replay line by line: sums, numbers, kinds and fields; journals that are cut off, and merged in any order."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsm.application import APPLICATION
from fsm.job import JOB
from fsm.journal import FORMAT, Line, parse_line
from fsm.journal_kinds import FIELDS, ROW_FIELDS, Kind, flaw_in
from fsm.ports import JsonScalar
from fsm.promises import Promise
from fsm.replay import CHECKS, replay
from fsm.replay.rows import row_by_row
from fsm.spot_vm import SPOT_VM
from tests.fsm.test_replay import eventful_world
from tests.journal_checks import lines_in


@pytest.fixture(scope="module")
def texts() -> Sequence[str]:
    """Three processes' lines: a withdrawn notice, a kill, failures, a poison and a stop."""
    return tuple(eventful_world().journal.lines)


@pytest.fixture(scope="module")
def journal(texts: Sequence[str]) -> Sequence[Line]:
    return lines_in(texts)


def first_fault(lines: Sequence[Line]) -> Line | None:
    faults = replay(lines).faults
    return faults[0].line if faults else None


def renumbered(texts: Sequence[str], source: str) -> list[str]:
    """The lines with one process's numbers mended, and nothing else."""
    mended, n = [], 0
    for text in texts:
        if f'"source": "{source}"' in text:
            n += 1
            mended.append(f'{{"n": {n}, {text.split(", ", maxsplit=1)[1]}')
        else:
            mended.append(text)
    return mended


# -- sums --------------------------------------------------------------------------------------------------------------


def test_a_line_left_out_is_noticed_however_the_numbers_are_mended(
    texts: Sequence[str], journal: Sequence[Line]
) -> None:
    """Whichever line is taken out and the later ones renumbered, the next line of its process is the first fault."""
    for number, line in enumerate(journal):
        behind = [at for at in range(number + 1, len(journal)) if journal[at].source == line.source]
        if behind:  # a last line that is missing is a journal that is cut off
            left = lines_in(renumbered([*texts[:number], *texts[number + 1 :]], line.source))
            accused = next(row_by_row([one for one in left if one.source == line.source]), None)
            assert accused is not None, line
            assert accused[0] is left[behind[0] - 1], line


def test_a_changed_character_is_noticed_at_its_line(texts: Sequence[str]) -> None:
    """Whichever character of a line is replaced: it is the first fault, or no line of its process any more."""
    draw = Random(0)
    for _ in range(400):
        number = draw.randrange(len(texts))
        place, other = draw.randrange(len(texts[number])), chr(draw.randrange(32, 127))
        changed = texts[number][:place] + other + texts[number][place + 1 :]
        line = parse_line(changed)
        if line is None or changed == texts[number]:
            continue
        before, behind = lines_in(texts[:number]), lines_in(texts[number + 1 :])
        own = parse_line(texts[number])
        assert own is not None
        accused = first_fault([*before, line, *behind])
        if line.source == own.source:
            assert accused is line, changed
        else:
            assert accused in (line, next((one for one in behind if one.source == own.source), None)), changed


def test_lines_without_sums_are_judged_by_the_rest(journal: Sequence[Line]) -> None:
    """A journal of format 1 has no sums: that is no fault, and a sum that is missing among others is one."""
    assert first_fault([replace(line, sum="", digest=0) for line in journal]) is None
    bare = replace(journal[7], sum="", digest=0)
    assert first_fault([*journal[:7], bare, *journal[8:]]) is bare


def test_a_sum_that_was_stripped_from_a_journal_with_sums_is_missed() -> None:
    """The first line of a process says its format: from format 2 on it has a sum."""
    head = Line(source="a", n=1, at=EPOCH, kind=Kind.JOURNAL, fields={"format": FORMAT, "pid": 1})
    assert [why for _, why in row_by_row([head])] == ["its sum is missing"]
    assert list(row_by_row([replace(head, fields={"format": 1, "pid": 1})])) == []
    assert [why for _, why in row_by_row([replace(head, fields={"format": 0, "pid": 1})])] == ["there is no format 0"]


# -- cut off, and merged -----------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=60)
def test_cut_off_anywhere_it_is_legal(journal: Sequence[Line], data: st.DataObject) -> None:
    """Each process's lines cut off at both ends, anywhere: what is missing proves nothing."""
    kept: list[Line] = []
    for own in by_process(journal).values():
        first = data.draw(st.integers(0, len(own)))
        kept += own[first : data.draw(st.integers(first, len(own)))]
    assert replay(kept).faults == ()


@given(data=st.data())
@settings(max_examples=40)
def test_merged_in_any_order_the_verdicts_are_the_same(journal: Sequence[Line], data: st.DataObject) -> None:
    """Several workers' lines in any interleaving, legal and not: the same faults, the same counts."""
    number = data.draw(st.integers(0, len(journal) - 1))
    broken = replace(journal[number], fields={**journal[number].fields, "epoch": 7, "to": "Completed", "asked": None})
    for lines in (journal, [*journal[:number], broken, *journal[number + 1 :]]):
        queues = {source: list(own) for source, own in by_process(lines).items()}
        merged: list[Line] = []
        while queues:
            source = data.draw(st.sampled_from(sorted(queues)))
            merged += queues[source][: (many := data.draw(st.integers(1, 60)))]
            del queues[source][:many]
            if not queues[source]:
                del queues[source]
        was, now = replay(lines), replay(merged)
        assert now.verdicts() == was.verdicts()
        assert {str(fault) for fault in now.faults} == {str(fault) for fault in was.faults}
        assert replace(now, faults=()) == replace(was, faults=())


def by_process(lines: Sequence[Line]) -> dict[str, list[Line]]:
    grouped: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        grouped[line.source].append(line)
    return grouped


# -- kinds and fields --------------------------------------------------------------------------------------------------


def test_the_kinds_are_closed() -> None:
    """Every kind has its fields, every machine its own, and nothing else is a kind."""
    assert set(FIELDS) == set(Kind)
    assert set(ROW_FIELDS) == {APPLICATION.name, JOB.name, SPOT_VM.name}
    assert flaw_in("promise", {}) == "there is no kind 'promise'"


def fields_of(lines: Sequence[Line]) -> Iterator[tuple[int, str]]:
    """One line of each kind and row, and each field without which it is none."""
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(lines):
        if (line.kind, line.row or line.machine) not in seen:
            seen.add((line.kind, line.row or line.machine))
            for name in {**FIELDS[Kind(line.kind)], **ROW_FIELDS.get(line.machine, {})}:
                yield number, name


@pytest.mark.parametrize("spoil", ["missing", "nothing", "a list", "an infinite number", "a truth value", "a text"])
def test_a_spoilt_field_is_one_clear_accusation(journal: Sequence[Line], spoil: str) -> None:
    """A field that is missing or of a wrong type is said at its line, whatever else the promises would make of it."""
    values: dict[str, JsonScalar | list[int]] = {
        "nothing": None, "a list": [1], "an infinite number": float("inf"), "a truth value": True, "a text": "7"
    }  # fmt: skip
    for number, name in fields_of(journal):
        line = journal[number]
        kept = {key: value for key, value in line.fields.items() if key != name}
        fields = kept if spoil == "missing" else {**kept, name: values[spoil]}
        flaw = flaw_in(line.kind, fields)
        spoilt = replace(line, fields=fields)  # type: ignore[arg-type]
        if flaw is None:  # it may be missing, or may be that
            assert replay([*journal[:number], spoilt, *journal[number + 1 :]]).lines == len(journal)
            continue
        faults = replay([*journal[:number], spoilt, *journal[number + 1 :]]).faults
        assert faults[0].line is spoilt
        assert [fault.why for fault in faults if fault.line is spoilt] == [flaw]


@given(data=st.data())
@settings(max_examples=150)
def test_nothing_in_a_line_raises(journal: Sequence[Line], data: st.DataObject) -> None:
    """Whatever JSON a field holds, a replay ends with a verdict."""
    lines = list(journal)
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=4,
    )
    for _ in range(3):
        number = data.draw(st.integers(0, len(lines) - 1))
        fields: dict[str, object] = dict(lines[number].fields)
        fields[data.draw(st.sampled_from(sorted(fields) or ["x"]))] = data.draw(anything)
        text = json.dumps({"n": lines[number].n, "at": lines[number].at.isoformat(), "source": lines[number].source,
                           "kind": data.draw(st.sampled_from([lines[number].kind, *Kind, "?"])), **fields})  # fmt: skip
        lines[number] = parse_line(text) or lines[number]
    assert set(replay(lines).verdicts()) == set(CHECKS)


# -- tampering that leaves numbers, kinds and fields in order ----------------------------------------------------------

EPOCH = lines_in(
    ['{"n": 1, "at": "2026-01-01T00:00:00+00:00", "source": "a", "kind": "imds_answers"}']
)[0].at  # fmt: skip
Wanted = Callable[[Line], bool]


def row(row_id: str) -> Wanted:
    return lambda line: line.row == row_id


def kind(name: Kind, **fields: JsonScalar) -> Wanted:
    return lambda line: line.kind == name and fields.items() <= line.fields.items()


TAMPERINGS: dict[str, tuple[Wanted, dict[str, JsonScalar], Promise]] = {
    "the joint rule of an idle worker": (row("A20"), {"joint_rule": "C5"}, Promise.ROW_BY_ROW),
    "a joint rule left out": (row("A13"), {"joint_rule": None}, Promise.ROW_BY_ROW),
    "the joint rule of another move": (row("A26"), {"joint_rule": "C11"}, Promise.ROW_BY_ROW),
    "another outcome": (row("A26"), {"outcome": "some jobs are settled"}, Promise.ROW_BY_ROW),
    "the last one settled, of several": (kind(Kind.SETTLED), {"joint_rule": "C14"}, Promise.ROW_BY_ROW),
    "settled as something else": (kind(Kind.SETTLED, state="Released"), {"state": "Completed"}, Promise.ROW_BY_ROW),
    "settled as nothing": (kind(Kind.SETTLED), {"state": "Running"}, Promise.ROW_BY_ROW),
    "a step that the protocol has not": (kind(Kind.SETTLED), {"steps": "written: ended"}, Promise.ROW_BY_ROW),
    "a result that was never written": (row("J21"), {"steps": "returned: deleting"}, Promise.ROW_BY_ROW),
    "a notice that never stood vanishes": (kind(Kind.NOTICE_GONE), {"event_id": "e7"}, Promise.ROW_BY_ROW),
    "an origin that the row does not say": (kind(Kind.ORIGIN), {"origin": "recreated"}, Promise.ROW_BY_ROW),
    "more received than were asked for": (kind(Kind.RECEIVED), {"count": 33}, Promise.ROW_BY_ROW),
    "a failure budget that was not spent": (row("J26"), {"failures": 2}, Promise.EVICTION_IS_NOT_FAILURE),
    "a drain without a cause": (row("A26"), {"row": "A27", "facts": "stop requested"}, Promise.ROW_BY_ROW),
    "a delivery of another epoch is shown again": (kind(Kind.RELEASED), {"epoch": 9}, Promise.ROW_BY_ROW),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampering_is_named_without_its_sum(journal: Sequence[Line], name: str) -> None:
    """What the rows, rules and steps say is judged by itself: the line is named though its sum was made to fit."""
    wanted, changes, promise = TAMPERINGS[name]
    lines = [replace(line, sum="", digest=0) for line in journal]
    number = next((at for at, line in enumerate(lines) if wanted(line)), None)
    assert number is not None, "no such line"
    lines[number] = replace(lines[number], fields={**lines[number].fields, **changes})
    faults = replay(lines).faults
    assert faults, "nothing was found"
    assert faults[0].line is lines[number], faults[0]
    assert faults[0].promise is promise
