"""Searches the joint machine: safety in every state, liveness from every state, no row that stands for nothing.

*Safety* is judged on every step. *Liveness* is judged on the calm steps alone: what happens while capacity and price
are there, calls are answered and nobody wants the VM gone. If the calm steps form no circle short of the goal and never
run out before it, every calm run ends there, from every state that anything at all can lead to: more than weak fairness
asks for, which would forgive a circle that some other calm step leads out of. What the store knows of a worker does not
change while it calms down, so each origin is judged by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fsm.application import AppState
from fsm.checker.circles import first_circle
from fsm.checker.joint import KNOWN, Joint, Machines, Step, Turn, steps
from fsm.checker.report import Check, Finding
from fsm.checker.words import told_again
from fsm.joint import RECEIVING
from fsm.promises import Promise

Edges = dict[Joint, dict[Joint, Step]]
"""Where the steps of one kind lead, and by which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """What an exploration saw.

    Attributes:
        states, steps: how many.
        taken: the ids of all rows and joint rules that were taken.
        findings: the promises that are broken, each by its shortest trace.
    """

    states: int
    steps: int
    taken: frozenset[str]
    findings: tuple[Finding, ...]


class JointSearch:
    """Explores the joint machine breadth first."""

    def __init__(self, machines: Machines, *, jobs_max: int = 2) -> None:
        self._machines = machines
        self._jobs_max = jobs_max
        self._came_by: dict[Joint, tuple[Joint, str] | None] = {}
        self._edges: dict[Joint, list[tuple[Step, Joint]]] = {}
        self._findings: dict[str, Finding] = {}
        self._taken: set[str] = set()
        self._steps = 0

    def run(self, *, stop_at_first: bool = False) -> Explored:
        """Everything that can be reached, judged; or everything up to the first finding."""
        start = Joint(self._machines.vm.initial, self._machines.application.initial)
        self._came_by[start] = None
        waiting = [start]
        for state in waiting:
            edges = self._edges[state] = []
            for step in steps(self._machines, state, jobs_max=self._jobs_max):
                turn = self._take(state, step)
                if turn.state not in self._came_by:
                    self._came_by[turn.state] = (state, turn.line)
                    waiting.append(turn.state)
                if turn.state != state:
                    edges.append((step, turn.state))
            if stop_at_first and self._findings:
                return self._explored()
        self._judge_liveness()
        return self._explored()

    def _explored(self) -> Explored:
        return Explored(
            states=len(self._came_by),
            steps=self._steps,
            taken=frozenset(self._taken),
            findings=tuple(self._findings.values()),
        )

    def _take(self, state: Joint, step: Step) -> Turn:
        turn = self._turn(state, step)
        turn.judge()
        self._steps += 1
        self._taken.update(turn.rows)
        for promise, what in turn.breaches:
            self._note(promise, what, state, turn.line)
        return turn

    def _judge_liveness(self) -> None:
        """Whatever the store knows of this worker, it works again in the end, and its drains end."""

        def works(state: Joint) -> bool:
            return state.app in RECEIVING and not state.wanted_gone

        def drained(state: Joint) -> bool:
            return state.app in (AppState.DRAINED, AppState.OFFLINE)

        draining = [state for state in self._came_by if state.app is AppState.EVICTED and state.wanted_gone]
        for origin in range(len(KNOWN) + 1):
            self._must_lead(self._kept(origin, patient=False), list(self._came_by), works, "to work")
            self._must_lead(self._kept(origin, patient=True), draining, drained, "to the end of its drain")

    def _kept(self, origin: int, *, patient: bool) -> Edges:
        """The calm steps, or the patient ones, of a worker of this origin."""
        return {
            state: {
                after: step
                for step, after in edges
                if (step.patient if patient else step.calm) and step.origin in (None, origin)
            }
            for state, edges in self._edges.items()
        }

    def _must_lead(self, edges: Edges, origins: list[Joint], goal: Callable[[Joint], bool], where: str) -> None:
        """Every run along these edges, from every origin, ends at the goal: no dead end and no circle before it."""
        found = dict.fromkeys(origin for origin in origins if not goal(origin))
        waiting = list(found)
        for state in waiting:
            if not edges[state]:
                self._note(Promise.ALWAYS_COMES_BACK, f"from here nothing leads {where}", state, _standing(state))
                return
            fresh = [after for after in edges[state] if after not in found and not goal(after)]
            found.update(dict.fromkeys(fresh))
            waiting.extend(fresh)
        numbers = {state: number for number, state in enumerate(waiting)}
        circle = first_circle([[numbers[after] for after in edges[state] if after in numbers] for state in waiting])
        if circle:
            states = [waiting[number] for number in circle]
            turns = [
                self._turn(one, edges[one][other]) for one, other in zip(states, (*states[1:], states[0]), strict=True)
            ]
            lines = [turn.line for turn in turns]
            lines.append(f"From here {told_again(len(lines))} can come again and again.")
            self._note(Promise.ALWAYS_COMES_BACK, f"from here it can go in circles, never {where}", states[0], *lines)

    def _turn(self, state: Joint, step: Step) -> Turn:
        turn = Turn(self._machines, state, step.name)
        step.event(turn)
        return turn

    def _note(self, promise: str, what: str, state: Joint, *last: str) -> None:
        if promise in self._findings:
            return
        lines = list(reversed(last))
        came = self._came_by[state]
        while came is not None:
            lines.append(came[1])
            came = self._came_by[came[0]]
        self._findings[promise] = Finding(promise=promise, what=what, trace=tuple(reversed(lines)))

    @property
    def graph(self) -> dict[Joint, frozenset[tuple[str, Joint]]]:
        """Where every step leads, for each state."""
        return {state: frozenset((step.name, after) for step, after in edges) for state, edges in self._edges.items()}


def _standing(state: Joint) -> str:
    """The last line of a story that stops: how things stand."""
    wanted = [word for word, holds in (("noticed", state.notice), ("told to stop", state.stop)) if holds]
    jobs = ", ".join(state.jobs) or "no job"
    asked = ["a receive in flight"] if state.receiving else []
    stands = ", ".join([f"the VM is {state.vm}", f"the application {state.app}", *wanted, jobs, *asked])
    return f"From here nothing happens by itself: {stands}."


def explore_joint(machines: Machines, *, jobs_max: int = 2) -> Explored:
    """Explore the joint machine of these tables."""
    return JointSearch(machines, jobs_max=jobs_max).run()


def check_joint(machines: Machines | None = None) -> Check:
    """The joint machine keeps its promises, and no row of it stands for nothing."""
    machines = Machines() if machines is None else machines
    explored = explore_joint(machines)
    rows = [row.id for table in (machines.vm, machines.application, machines.job) for row in table.rows]
    rules = [
        rule.id
        for coupling in (machines.after_vm, machines.after_application, machines.after_job)
        for rule in coupling.rows
    ]
    idle = [
        Finding(promise="every row is taken somewhere", what=f"{row_id} never is")
        for row_id in (*rows, *rules)
        if row_id not in explored.taken
    ]
    counts = {"states": explored.states, "steps": explored.steps, "rows": len(rows), "joint rules": len(rules)}
    return Check(name="joint machine", counts=counts, findings=(*explored.findings, *idle))
