"""What all deliveries of a worker share: its ports, its situation, its job table, and who is at work."""

from __future__ import annotations

from typing import Protocol

from fsm.engine import Engine
from fsm.errors import PlatformError, SpotfsmError
from fsm.job import JOB
from fsm.journal import TEXT_MAX
from fsm.journal_kinds import Kind
from fsm.ports import JsonScalar, VmIdentity
from fsm.runner.settings import Ports, WorkerSettings
from fsm.runner.situation import Situation
from fsm.runner.tally import Tally

CALL_TIMEOUT_S_MIN = 0.05
"""However late it is, a call gets this long."""
SETTLING_MAX = 64
"""Deliveries whose handler has let go and whose last calls are on their way; past it nothing is received."""


class AtWork(Protocol):
    """What the workplace needs to know of a delivery."""

    @property
    def message_id(self) -> str: ...

    def lose_lease(self) -> None: ...


class Workplace:
    """The shared state of one worker process.

    Attributes:
        process: a token of this process, in its presence and in every claim.
        store_answers: whether the last call on the store was answered; while it was not, nothing is received.
    """

    def __init__(
        self,
        *,
        ports: Ports,
        settings: WorkerSettings,
        situation: Situation,
        tally: Tally,
        identity: VmIdentity,
        process: str,
    ) -> None:
        self.ports = ports
        self.settings = settings
        self.situation = situation
        self.identity = identity
        self.process = process
        self.decide = Engine(JOB).fire
        self.tally = tally
        self.store_answers = True
        self.active: dict[str, AtWork] = {}
        self._occupying: set[AtWork] = set()
        self._unconfirmed: list[str] = []

    # -- who is at work ---------------------------------------------------------------------------------------------

    def take(self, delivery: AtWork) -> None:
        """Note a new delivery; an older one of the same message in this process is abandoned."""
        older = self.active.get(delivery.message_id)
        if older is not None:
            older.lose_lease()
        self.active[delivery.message_id] = delivery
        self._occupying.add(delivery)
        self.tally.received += 1

    def let_go(self, delivery: AtWork) -> None:
        """Note that a handler has let go: its place is free before its message is settled."""
        self._occupying.discard(delivery)
        self.situation.stir()

    def leave(self, delivery: AtWork) -> None:
        """Note the end of a delivery."""
        self._occupying.discard(delivery)
        if self.active.get(delivery.message_id) is delivery:
            del self.active[delivery.message_id]
        self.situation.stir()

    @property
    def free(self) -> int:
        """How many more messages can start now."""
        settling = len(self.active) - len(self._occupying)
        return max(0, min(self.settings.concurrency - len(self._occupying), SETTLING_MAX - settling))

    @property
    def call_timeout_s(self) -> float:
        """The time limit of a call, which shrinks as the deadline of a drain nears."""
        most_s, deadline_s = self.settings.call_timeout_s, self.situation.deadline_s
        if deadline_s is None:
            return most_s
        return min(most_s, max(CALL_TIMEOUT_S_MIN, deadline_s - self.ports.clock.monotonic_s()))

    # -- deletes that the queue confirmed -----------------------------------------------------------------------------

    def confirm_later(self, message_id: str) -> None:
        """Remember that the queue confirmed this delete, so that the record may be pruned one day."""
        if self.ports.store is not None:
            self._unconfirmed.append(message_id)

    @property
    def unconfirmed(self) -> int:
        """How many confirmed deletes the store does not know of yet."""
        return len(self._unconfirmed)

    async def confirm_deletes(self, *, timeout_s: float) -> None:
        """Tell the store of confirmed deletes. What cannot be told is dropped: its records are merely never pruned."""
        store, message_ids = self.ports.store, tuple(self._unconfirmed)
        if store is None or not message_ids:
            return
        self._unconfirmed.clear()
        try:
            await store.confirm_deleted(self.ports.queue.name, message_ids, timeout_s=timeout_s)
        except PlatformError as exc:
            self.note_failure("confirm_deleted", None, exc)

    # -- the journal --------------------------------------------------------------------------------------------------

    def note(self, kind: Kind, job: str, *, epoch: int) -> None:
        """Note something that is no row of a table."""
        self.ports.journal.write(kind, {"job": job, "epoch": epoch})

    def note_failure(self, call: str, job: str | None, error: SpotfsmError) -> None:
        """Note a call that went wrong; the protocol decides what comes of it."""
        fields: dict[str, JsonScalar] = {"call": call, "error": type(error).__name__}
        if job is not None:
            fields["job"] = job
        fields["text"] = str(error)[:TEXT_MAX]
        self.ports.journal.write(Kind.CALL_FAILED, fields)
