"""`row_by_row`: is each line of a process what the tables, the joint rules and the protocol let follow the last one?

The lines of one process are read in their order. What they say of themselves comes first (number, sum, kind and
fields), then what the tables say of them, then what must have been before. From the first line of a process on
everything is known; where lines are missing it is not, and then nothing is presumed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache

from fsm.application import APPLICATION, ORIGIN_OF_ROW, AppFact, AppState
from fsm.delivery import Phase
from fsm.errors import IllegalTransitionError
from fsm.job import ENDED, JOB, JobState
from fsm.joint import AFTER_APPLICATION, AFTER_JOB, AFTER_VM, Coupling
from fsm.journal import FORMAT, FORMATS, UNREADABLE, Line
from fsm.journal_kinds import Kind, flaw_in
from fsm.notices import Severity
from fsm.protocol_steps import protocol_steps
from fsm.spot_vm import SPOT_VM
from fsm.table import FactT, StateT, Table, TriggerT

Accusation = tuple[Line, str]
"""A line and what is wrong with it."""
DRAINED = frozenset({"A26", "A27", "A28"})
"""The rows by which a drain ends."""
_REMEMBERED = 4096


def by_source(lines: Iterable[Line]) -> Mapping[str, Sequence[Line]]:
    """The lines of each process, in its own order."""
    grouped: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        grouped[line.source].append(line)
    return grouped


def row_by_row(lines: Sequence[Line]) -> Iterator[Accusation]:
    """Lines that are missing or changed, rows that no table would have taken, and states out of nowhere."""
    for own in by_source(lines).values():
        reading = _Reading(has_sums=any(line.sum for line in own))
        for line in own:
            for why in reading.read(line):
                yield line, why


class _Reading:
    """What is known of one process from the lines that were read."""

    def __init__(self, *, has_sums: bool) -> None:
        self._has_sums = has_sums
        self._last: Line | None = None
        self._forget(whole=False)

    def _forget(self, *, whole: bool) -> None:
        """Begin anew: at a process's first line everything is known, behind a gap nothing is."""
        self._whole = whole
        self._counts = whole
        self._received = self._settled = self._asked_for = 0
        self._asked = self._asked_in_processing = False
        self._deliveries: set[tuple[str, int]] = set()
        self._ended: set[tuple[str, int]] = set()
        self._shown: set[tuple[str, int]] = set()
        self._states: dict[tuple[str, str, int], str] = {}
        self._phases: dict[tuple[str, int], str] = {}
        self._standing: set[str] = set()
        self._reclaiming: set[str] = set()
        self._undrained: set[str] = set()
        self._stopping = False
        self._origin = ""

    def read(self, line: Line) -> Iterator[str]:
        """What is wrong with the next line."""
        if line.kind == UNREADABLE:
            yield line.text("why") or "not a line of a journal"
            return
        yield from self._in_its_place(line)
        self._last = line
        flaw = flaw_in(line.kind, line.fields)
        if flaw is not None:
            yield flaw
            self._forget(whole=False)
            return
        match line.kind:
            case Kind.JOURNAL:
                if line.n != 1:
                    yield "a process begins once"
                if line.fields["format"] not in FORMATS:
                    yield f"there is no format {line.text('format')}"
                if line.fields["format"] == FORMAT and not self._has_sums:
                    yield _NO_SUM
                self._counts = self._counts and line.fields.get("format") == FORMAT
            case Kind.RECEIVE:
                self._asked = True
                self._asked_for = int(line.text("asked"))
                in_processing = self._states.get((APPLICATION.name, "", 0)) == AppState.PROCESSING
                self._asked_in_processing = self._asked_in_processing or in_processing
            case Kind.RECEIVED:
                if self._whole and int(line.text("count")) > self._asked_for:
                    yield f"{line.text('count')} messages are received, and {self._asked_for} were asked for"
                self._received += int(line.text("count"))
                self._asked_for = 0
            case Kind.NOTICE | Kind.NOTICE_GONE | Kind.STOP | Kind.ACKNOWLEDGED:
                yield from self._signal(line)
            case Kind.STILL_HERE:
                state = self._states.get((APPLICATION.name, "", 0), AppState.DRAINED)
                if state != AppState.DRAINED:
                    yield f"still here as one that is drained, and the worker is {state}"
            case Kind.ORIGIN:
                if self._origin and line.text("origin") != self._origin:
                    yield f"the row before it says {self._origin}, and the line says {line.text('origin')}"
            case Kind.RELEASED:
                yield from self._shows(line)
            case Kind.ROW:
                yield from self._row(line)
            case Kind.STEPS:
                yield from self._steps(line, ())
            case Kind.SETTLED:
                yield from self._settles(line)

    # -- numbers and sums ---------------------------------------------------------------------------------------------

    def _in_its_place(self, line: Line) -> Iterator[str]:
        before = self._last
        if before is None:
            self._forget(whole=line.n == 1)
            if line.n == 1 and line.sum and not line.follows(""):
                yield _CHANGED
        elif line.n != before.n + 1:
            self._forget(whole=line.n == 1)
            yield f"line {line.n} of this process follows its line {before.n}"
        elif line.sum and before.sum and not line.follows(before.sum):
            yield _CHANGED
        if self._has_sums and not line.sum:
            yield _NO_SUM

    # -- notices and signals ------------------------------------------------------------------------------------------

    def _signal(self, line: Line) -> Iterator[str]:
        """What the facts of the application's rows come from."""
        event_id = line.text("event_id")
        match line.kind:
            case Kind.NOTICE:
                self._standing.add(event_id)
                if line.text("severity") == Severity.RECLAIM:
                    self._reclaiming.add(event_id)
                    self._undrained.add(event_id)
            case Kind.NOTICE_GONE:
                if self._whole and event_id not in self._standing:
                    yield f"notice {event_id} vanishes, and never stood"
                self._standing.discard(event_id)
                self._reclaiming.discard(event_id)
            case Kind.ACKNOWLEDGED:
                if event_id in self._undrained:
                    yield f"notice {event_id} is acknowledged before the drain is over"
            case Kind.STOP:
                self._stopping = True

    def _facts(self, line: Line) -> Iterator[str]:
        """Facts that earlier lines contradict; where lines are missing, they cannot."""
        held = line.text("facts").split(", ")
        for fact, holds in (
            (AppFact.NOTICE_PENDING, bool(self._reclaiming)),
            (AppFact.STOP_REQUESTED, self._stopping),
        ):
            if self._whole and (fact in held) is not holds:
                yield f"the lines before it say that {str(fact)!r} {'holds' if holds else 'does not hold'}"
        if line.row in DRAINED:
            self._undrained.clear()
        if line.row in ORIGIN_OF_ROW:
            self._origin = ORIGIN_OF_ROW[line.row].value

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _row(self, line: Line) -> Iterator[str]:
        machine = line.machine
        why = _DECIDES[machine](line.text("from"), line.text("trigger"), line.text("facts"))(line)
        if why is not None:
            yield why
        one = (machine, line.job or line.text("vm"), line.epoch)
        expected = self._states.get(one, _INITIAL[machine] if self._whole else line.text("from"))
        if line.text("from") != expected:
            yield f"row {line.row} starts in {line.text('from')}, and its machine was in {expected}"
        if machine == JOB.name:
            yield from self._row_of_delivery(line)
        elif why is None:
            if machine == APPLICATION.name and line.text("to") == AppState.PROCESSING != line.text("from"):
                self._asked_in_processing = False
            if machine == APPLICATION.name:
                yield from self._facts(line)
            left = self._received - self._settled
            if self._counts and left and line.row in DRAINED:
                yield f"drained, and {left} of {self._received} deliveries are not settled"
            settled = self._all_settled(in_processing=line.text("from") == AppState.PROCESSING)
            yield from _joint_faults(line, _RULES[machine](line.text("from"), line.text("to")), settled=settled)
        self._states[one] = line.text("to")

    def _row_of_delivery(self, line: Line) -> Iterator[str]:
        delivery = (line.job, line.epoch)
        self._deliveries.add(delivery)
        if self._counts and len(self._deliveries) > self._received:
            yield f"a delivery of job {line.job}, and only {self._received} messages were received"
            self._counts = False
        if delivery in self._ended:
            yield f"epoch {line.epoch} of job {line.job} was settled before"
        yield from self._steps(line, (line.row,))

    def _shows(self, line: Line) -> Iterator[str]:
        delivery = (line.job, line.epoch)
        unseen = JobState.RECEIVED if self._whole else JobState.RELEASED
        known = self._states.get((JOB.name, *delivery), unseen)
        if known != JobState.RELEASED:
            yield f"epoch {line.epoch} of job {line.job} is shown again, and was {known}"
        if delivery in self._shown:
            yield f"epoch {line.epoch} of job {line.job} was shown again before"
        self._shown.add(delivery)

    def _settles(self, line: Line) -> Iterator[str]:
        delivery, state = (line.job, line.epoch), line.text("state")
        known = self._states.get((JOB.name, *delivery), None if not self._whole else JOB.initial.value)
        if state not in ENDED:
            yield f"a delivery is settled in one of {', '.join(ENDED)}, not in {state!r}"
            return
        if known is not None and state != known:
            yield f"epoch {line.epoch} of job {line.job} is said to be settled as {state}, and was {known}"
        if delivery in self._ended:
            yield f"epoch {line.epoch} of job {line.job} is settled again"
        self._ended.add(delivery)
        self._settled += 1
        settled = self._all_settled(in_processing=self._states.get((APPLICATION.name, "", 0)) == AppState.PROCESSING)
        yield from _joint_faults(line, _RULES[JOB.name](JobState.RUNNING, state), settled=settled)
        yield from self._steps(line, ())

    def _all_settled(self, *, in_processing: bool) -> bool | None:
        """Whether no delivery is unsettled and no receive in flight; None where the lines do not tell.

        An empty reply to a receive leaves no line: only a worker that never asked is sure to have none in flight.
        """
        if self._counts and self._received > self._settled:
            return False
        if in_processing and self._asked_in_processing:
            return False
        return True if self._counts and not self._asked else None

    # -- steps of the protocol ----------------------------------------------------------------------------------------

    def _steps(self, line: Line, rows: tuple[str, ...]) -> Iterator[str]:
        """Steps that the protocol does not have; the rows were taken on the last of them."""
        delivery = (line.job, line.epoch)
        steps = [step for step in line.text("steps").split("; ") if step]
        phase = self._phases.get(delivery, Phase.NEW.value if self._whole else "")
        for number, step in enumerate(steps, start=1):
            event, _, after = step.partition(": ")
            taken = rows if number == len(steps) else ()
            if phase and (phase, event, after, taken) not in _known_steps():
                yield f"the protocol does not go from {phase!r} by {event!r} to {after!r}, taking {taken or 'no row'}"
            phase = after
        if steps:
            self._phases[delivery] = phase


_NO_SUM = "its sum is missing"
_CHANGED = "its sum is wrong: this line was changed, or one before it was left out"


@cache
def _known_steps() -> Collection[tuple[str, str, str, tuple[str, ...]]]:
    return frozenset((step.phase.value, step.event, step.after.value, step.rows) for step in protocol_steps())


def _joint_faults(line: Line, rules: Mapping[bool, str | None], *, settled: bool | None) -> Iterator[str]:
    """A joint rule that is not the one for this move; `settled` is None where both may have been true."""
    said = line.fields.get("joint_rule")
    right = set(rules.values()) if settled is None else {rules[settled]}
    if said not in right:
        named = " or ".join(sorted(str(rule or "none") for rule in right))
        yield f"the joint rule for this move is {named}, and the line says {said or 'none'}"


# -- what the tables say ----------------------------------------------------------------------------------------------

Verdict = Callable[[Line], str | None]
"""What is wrong with a row line whose event is known, or None."""


def _decided_by(table: Table[StateT, TriggerT, FactT]) -> Callable[[str, str, str], Verdict]:
    """How this table judges the row lines of an event: by its state, its trigger and its facts."""

    @lru_cache(maxsize=_REMEMBERED)
    def decide(before: str, trigger: str, facts: str) -> Verdict:
        try:
            state = table.states(before)
            held = {table.facts(fact) for fact in facts.split(", ") if fact}
            row = table.row_for(state, table.triggers(trigger), held)
        except (ValueError, IllegalTransitionError) as exc:
            problem = str(exc)
            return lambda _line: problem
        right = (row.id, row.after(state).value, row.verdict.value)

        def judge(line: Line) -> str | None:
            said = (line.row, line.text("to"), line.text("verdict"))
            if said != right:
                return f"the table decides {_in_words(*right)}, and the line says {_in_words(*said)}"
            if line.fields.get("outcome", row.outcome) != row.outcome:
                return f"the outcome of row {row.id} is {row.outcome!r}, and the line says {line.text('outcome')!r}"
            return None

        return judge

    return decide


def _in_words(row: str, after: str, verdict: str) -> str:
    return f"row {row}, {verdict}, to {after}"


def _rules_of(coupling: Coupling[StateT, TriggerT, FactT]) -> Callable[[str, str], Mapping[bool, str | None]]:
    """The joint rule for a move, whether all is settled or not."""

    @cache
    def rules(left: str, entered: str) -> Mapping[bool, str | None]:
        states = coupling.table.states
        found = {
            settled: coupling.rule_for(states(left), states(entered), all_settled=settled) for settled in (False, True)
        }
        return {settled: None if rule is None else rule.id for settled, rule in found.items()}

    return rules


_DECIDES = {
    APPLICATION.name: _decided_by(APPLICATION),
    JOB.name: _decided_by(JOB),
    SPOT_VM.name: _decided_by(SPOT_VM),
}
_RULES = {
    APPLICATION.name: _rules_of(AFTER_APPLICATION),
    JOB.name: _rules_of(AFTER_JOB),
    SPOT_VM.name: _rules_of(AFTER_VM),
}
_INITIAL = {
    APPLICATION.name: APPLICATION.initial.value,
    JOB.name: JOB.initial.value,
    SPOT_VM.name: SPOT_VM.initial.value,
}
