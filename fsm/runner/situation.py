"""What the worker knows of its VM and of its operator, and the application machine that judges it.

Notices and signals become facts here; the application table decides; whoever waits is woken. Nothing acts from a
callback.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from fsm.application import APPLICATION, AppFact, AppRow, AppState, AppTrigger
from fsm.engine import Engine
from fsm.job import JobFact
from fsm.joint import AFTER_APPLICATION, facts_of_application
from fsm.journal_kinds import Kind
from fsm.notices import EventsDocument, Notices, Severity
from fsm.ports import Clock, Journal
from fsm.record import End
from fsm.runner.tally import Tally
from fsm.table import Verdict

FREEZE_S_UNKNOWN = 30.0
"""How long a freeze is taken to last if nothing is said; real ones last seconds. [`fsm.sources.SCHEDULED_EVENTS`]"""
FREEZE_S_MAX = 600.0
"""Whatever is announced, no lease is made longer than by this: past it another worker may as well go on."""
DRAIN_S_MIN = 1.0
"""A notice that leaves no time is still used: until the VM is really gone, handing jobs back can only help."""
SHORTENED_S_MIN = 0.1
"""A deadline moves only by more than this: each poll computes it anew, from two clocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A stop that was asked for, and until when it may drain (monotonic)."""

    reason: str
    deadline_s: float


class Situation:
    """The facts about this worker and the state they have led to."""

    def __init__(
        self, *, journal: Journal, clock: Clock, tally: Tally, all_settled: Callable[[], bool] = lambda: True
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._tally = tally
        self._all_settled = all_settled
        self._engine = Engine(APPLICATION)
        self._changed = asyncio.Event()
        self._stirred = asyncio.Event()
        self.state = APPLICATION.initial
        self.notices = Notices()
        self.stop: Stop | None = None
        self._drain_deadline_s: float | None = None
        self._drain_end = End.STOP

    # -- what holds -------------------------------------------------------------------------------------------------

    @property
    def working(self) -> bool:
        """Whether messages may be received and jobs may begin, as the joint rules say."""
        return JobFact.DRAINING not in facts_of_application(self.state)

    @property
    def deadline_s(self) -> float | None:
        """When the drain must be over (monotonic); None while there is none. The earliest one ever set holds."""
        return self._drain_deadline_s

    @property
    def all_settled(self) -> bool:
        """The one fact that joint rules look at: no delivery is unsettled, and no receive is in flight."""
        return self._all_settled()

    @property
    def end_of_interrupted(self) -> End:
        """How a delivery counts that this drain interrupts."""
        return self._drain_end

    @property
    def checkpoint_soon(self) -> bool:
        """Whether some notice, reclaiming or not, or a drain that is on makes an early checkpoint worth its price.

        A drain goes on when its notice has vanished, and a stop by the operator has no notice at all: what is not
        saved by the cutoff is lost all the same.
        """
        return bool(self.notices.standing) or self.state is AppState.EVICTED

    @property
    def freeze_s(self) -> float:
        """How much longer leases must last because of a pending freeze."""
        freezes = [n.event for n in self.notices.standing.values() if n.severity is Severity.FREEZE]
        longest_s = max((event.duration_s or FREEZE_S_UNKNOWN for event in freezes), default=0.0)
        return min(longest_s, FREEZE_S_MAX)

    def _facts(self) -> set[AppFact]:
        facts = set()
        if self.notices.reclaiming:
            facts.add(AppFact.NOTICE_PENDING)
        if self.stop is not None:
            facts.add(AppFact.STOP_REQUESTED)
        return facts

    # -- what becomes known -----------------------------------------------------------------------------------------

    def learn_document(self, document: EventsDocument, *, vm_name: str) -> None:
        """Take a Scheduled Events document in: new notices, vanished ones, and what they lead to."""
        before = self.notices
        now_s = self._clock.monotonic_s()
        self.notices = before.after(document, vm_name=vm_name, now=self._clock.now(), now_s=now_s)
        for event_id, notice in self.notices.standing.items():  # in the document's order, so that a run can be repeated
            if event_id in before.standing:
                continue
            self._tally.notices += 1
            left_s = None if notice.deadline_s is None else round(notice.deadline_s - now_s, 3)
            self._journal.write(
                Kind.NOTICE,
                {
                    "event_id": event_id,
                    "type": notice.event.event_type,
                    "severity": notice.severity.value,
                    "started": notice.event.started,
                    "left_s": left_s,
                },
            )
        for event_id, gone in before.standing.items():
            if event_id not in self.notices.standing:
                self._journal.write(Kind.NOTICE_GONE, {"event_id": event_id, "type": gone.event.event_type})
        if self.notices.reclaiming:
            self._shut_down(End.EVICTION, self.notices.deadline_s)
        elif before.reclaiming and self.state in (AppState.EVICTED, AppState.DRAINED):
            self.fire(AppTrigger.WITHDRAWN)
        if self.notices.standing != before.standing:
            self.wake()

    def request_stop(self, reason: str, *, grace_s: float) -> None:
        """Drain and end; asked again, a shorter grace holds."""
        deadline_s = self._clock.monotonic_s() + grace_s
        if self.stop is not None:
            deadline_s = min(deadline_s, self.stop.deadline_s)
        self.stop = Stop(reason=reason, deadline_s=deadline_s)
        self._journal.write(Kind.STOP, {"reason": reason, "grace_s": grace_s})
        self._shut_down(End.STOP, deadline_s)
        self.wake()

    def _shut_down(self, end: End, deadline_s: float | None) -> None:
        """Enter the drain, or shorten the one that is on."""
        if self.state is AppState.OFFLINE:
            return
        if deadline_s is not None:
            deadline_s = max(deadline_s, self._clock.monotonic_s() + DRAIN_S_MIN)
        if self.state not in (AppState.EVICTED, AppState.DRAINED):
            self._drain_deadline_s, self._drain_end = deadline_s, end
            self.fire(AppTrigger.SHUTDOWN)
        elif deadline_s is not None and deadline_s < (self._drain_deadline_s or math.inf) - SHORTENED_S_MIN:
            self._drain_deadline_s = deadline_s
            self.fire(AppTrigger.SHUTDOWN)

    # -- the machine ------------------------------------------------------------------------------------------------

    def fire(self, trigger: AppTrigger, facts: Iterable[AppFact] = ()) -> AppRow:
        """Put an event to the application table, note the row, and wake whoever waits for a change."""
        known = self._facts().union(facts)
        row = self._engine.fire(self.state, trigger, known)
        before, self.state = self.state, row.after(self.state)
        rule = AFTER_APPLICATION.rule_for(before, self.state, all_settled=self.all_settled)
        self._journal.write(
            Kind.ROW,
            {
                "machine": APPLICATION.name,
                "row": row.id,
                "trigger": trigger.value,
                "from": before.value,
                "to": self.state.value,
                "verdict": row.verdict.value,
                "facts": ", ".join(sorted(known)),
                "outcome": row.outcome,
                "joint_rule": None if rule is None else rule.id,
            },
        )
        if self.state is AppState.RECOVERING:
            self._drain_deadline_s = None
        if row.verdict is Verdict.TAKEN:
            self.wake()
        return row

    def is_in(self, state: AppState) -> bool:
        """Whether the machine is in this state at this moment; it may be in another after any await."""
        return self.state is state

    # -- waiting ----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Wake whoever waits for a change, or for anything at all."""
        self._changed.set()
        self._changed = asyncio.Event()
        self.stir()

    def stir(self) -> None:
        """Wake whoever waits for anything at all: a place has become free, a delivery has ended."""
        self._stirred.set()
        self._stirred = asyncio.Event()

    async def change(self, *, timeout_s: float | None = None) -> None:
        """Wait until the facts or the state change, or the time is over."""
        await _wait(self._changed, timeout_s)

    async def anything(self, *, timeout_s: float | None = None) -> None:
        """Wait until anything happens, or the time is over."""
        await _wait(self._stirred, timeout_s)


async def _wait(event: asyncio.Event, timeout_s: float | None) -> None:
    if timeout_s is None:
        await event.wait()
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
