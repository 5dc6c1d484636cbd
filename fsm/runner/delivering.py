"""One delivery, from receive to its end: performs the calls that `fsm.delivery` asks for and feeds the replies back."""

from __future__ import annotations

import asyncio
import math
from typing import assert_never

from fsm.backoff import CALL_RETRY, FAILURE_PAUSE_S_MAX, Backoff, asked_pause_s
from fsm.delivery import (
    Call,
    Checkpointed,
    Delete,
    Delivery,
    Done,
    Event,
    Failed,
    Found,
    Interrupted,
    LeaseGone,
    NoReply,
    Phase,
    PresenceFound,
    PutPoison,
    ReadPresence,
    ReadRecord,
    Received,
    Refused,
    Release,
    Renew,
    RenewalDue,
    RenewalRefused,
    RenewalUnanswered,
    Renewed,
    Returned,
    Taken,
    TimeUp,
    WriteRecord,
    Written,
    advance,
    event_name,
)
from fsm.errors import (
    Evicted,
    HandlerFailedError,
    LeaseLostError,
    MessageRejectedError,
    PlatformError,
    VersionConflictError,
)
from fsm.job import JOB, JobState, JobTrigger
from fsm.joint import AFTER_JOB
from fsm.journal_kinds import Kind
from fsm.messages import decode_body, poison_body
from fsm.ports import JobControl, JobInput, Message
from fsm.record import RECORD_BYTES_MAX, Owner
from fsm.runner.workplace import Workplace

PAUSE_S_MIN = 0.05
"""However late it is, a service gets this long before a call is made again."""
_PROGRESS_CHARS_IN_JOURNAL = 200
STEPS_MAX = 40
"""So many steps of the protocol wait for the delivery's next line; more, in an outage, get a line of their own."""


class Delivering(JobControl):
    """One delivery of one message, alive."""

    def __init__(self, place: Workplace, message: Message, *, lease_until_s: float) -> None:
        self._place = place
        self._message = message
        self._pop_receipt = message.pop_receipt
        self._text = ""
        self._delivery = Delivery(
            epoch=message.dequeue_count,
            owner=Owner(
                vm_id=place.identity.vm_id,
                boot_id=place.identity.boot_id,
                instance=place.settings.instance,
                process=place.process,
                token=place.ports.randomness.token(),
            ),
            stored=place.ports.store is not None,
        )
        self._handler_scope: asyncio.Timeout | None = None
        self._store_scope: asyncio.Timeout | None = None
        self._out_of_time = False
        self._saving: asyncio.Task[None] | None = None
        self._one_save_at_a_time = asyncio.Lock()
        self._held_call: asyncio.Future[Call | None] | None = None
        self._asked_pause_s = 0.0
        self._renew_from_s = 0.0
        self._steps: list[str] = []
        self._told = False
        self.lease_until_s = lease_until_s

    @property
    def message_id(self) -> str:
        return self._message.message_id

    @property
    def running(self) -> bool:
        """Whether the handler has begun and not let go."""
        return self._handler_scope is not None

    @property
    def ended(self) -> bool:
        return self._delivery.phase is Phase.ENDED

    @property
    def state(self) -> JobState:
        return self._delivery.state

    # -- the whole life ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Claim, run, settle. Ends when the delivery has ended; raises nothing but cancellation."""
        rejected: str | None = None
        try:
            self._text = decode_body(
                self._message.text, self._place.settings.encoding, bytes_max=self._place.settings.message_bytes_max
            )
        except MessageRejectedError as exc:
            rejected = str(exc)
        if self._message.expires_at is not None:
            self._place.note(Kind.EXPIRES, self.message_id, epoch=self._delivery.epoch)
        try:
            await self._settle(self._step(Received(rejected=rejected)))
            if self._delivery.phase is Phase.RUNNING:
                outcome = await self._run_handler()
                if self._saving is not None:
                    await self._saving
                await self._settle(self._step(outcome))
        finally:
            if self._saving is not None:  # the worker is gone: nobody waits for it any more
                self._saving.cancel()
        if self._delivery.delete_confirmed:
            self._place.confirm_later(self.message_id)

    async def _run_handler(self) -> Event:
        """Run the handler; cancelled at the cutoff of a drain, at the job's time limit, or with the lease."""
        place = self._place
        record = self._delivery.record
        job = JobInput(
            job_id=self.message_id,
            text=self._text,
            progress=None if record is None else record.progress,
            attempt=self._delivery.epoch,
            evictions=0 if record is None else record.counts.evictions,
        )
        limit_s = place.settings.job_timeout_s
        failure: str
        try:
            async with asyncio.timeout(limit_s) as self._handler_scope:
                place.tally.begun += 1
                result = await place.ports.job_runner.run(job, self)
            return Returned(result=result)
        except Evicted:
            return Interrupted(end=place.situation.end_of_interrupted)
        except TimeoutError:
            failure = f"ran for longer than {limit_s} s"
        except HandlerFailedError as exc:
            failure = str(exc)
        finally:
            self._handler_scope = None
            place.let_go(self)
        if self._told:  # whatever it raises while it lets go, an interrupted job has not failed
            return Interrupted(end=place.situation.end_of_interrupted)
        return Failed(error=failure, pause_s=self._failure_pause_s())

    def _failure_pause_s(self) -> float:
        """Doubling with each failure that is known of; without a store, with each delivery."""
        record = self._delivery.record
        if self._delivery.stored:
            failed_before = 0 if record is None else record.counts.failures
        else:
            failed_before = self._delivery.epoch - 1
        first_s = self._place.settings.retry_pause_s
        return Backoff(first_s=first_s, most_s=FAILURE_PAUSE_S_MAX).pause_s(failed_before + 1)

    # -- what the handler may ask (JobControl) ----------------------------------------------------------------------

    async def checkpoint(self, progress: str) -> None:
        if len(progress) > RECORD_BYTES_MAX:
            raise ValueError(f"progress of {len(progress)} bytes is over the limit of {RECORD_BYTES_MAX}")
        async with self._one_save_at_a_time:
            if self._saving is not None:  # of a checkpoint whose caller has stopped waiting for it
                await asyncio.shield(self._saving)
            if self._delivery.phase is Phase.RUNNING:
                # Cancellation must not tear a write from its reply: the save goes on, and `run` waits for it.
                call = self._step(Checkpointed(progress=progress))
                self._saving = asyncio.ensure_future(self._settle(call))
                await asyncio.shield(self._saving)
                self._saving = None
        if self.ended:
            raise Evicted("the lease is lost: another worker has this job")
        if not self._place.situation.working:
            self._told = True
            raise Evicted("saved; the worker is being drained")

    def deadline_s(self) -> float | None:
        return self._place.situation.deadline_s

    def checkpoint_soon(self) -> bool:
        return self._place.situation.checkpoint_soon

    # -- what others tell it ----------------------------------------------------------------------------------------

    def interrupt_handler(self) -> None:
        """Cancel the handler now, at the cutoff of the drain, even if it was told by `Evicted` and stays on."""
        if self._handler_scope is not None and not self._handler_scope.expired():
            self._told = True
            self._handler_scope.reschedule(asyncio.get_running_loop().time())

    def stop_saving(self) -> None:
        """Stop waiting for a store that does not answer, or refuses to: the drain is out of time."""
        if self._store_scope is not None and not self._out_of_time:
            self._out_of_time = True
            self._store_scope.reschedule(asyncio.get_running_loop().time())

    def lose_lease(self) -> None:
        """The lease ran out, or this message came again: not another write."""
        self._step(LeaseGone())

    async def renew(self) -> None:
        """Extend the lease, unless a delete or a release is already on its way, or the queue wants to be left alone."""
        if self._place.ports.clock.monotonic_s() < self._renew_from_s:
            return
        call = self._step(RenewalDue())
        if call is None:
            return
        assert isinstance(call, Renew)
        held = self._step(await self._renewal())
        if held is not None:
            self._let_settling_go_on(held)

    async def _renewal(self) -> Event:
        place = self._place
        visibility_s = place.settings.visibility_timeout_s + place.situation.freeze_s
        asked_s = place.ports.clock.monotonic_s()
        if self._message.expires_at is not None:
            left_s = (self._message.expires_at - place.ports.clock.now()).total_seconds()
            if left_s < visibility_s:
                return self._let_expire()
        try:
            self._pop_receipt = await place.ports.queue.renew(
                self.message_id,
                self._pop_receipt,
                visibility_timeout_s=visibility_s,
                timeout_s=self._place.call_timeout_s,
            )
        except LeaseLostError:
            return RenewalRefused()
        except PlatformError as exc:
            place.note_failure("renew", self.message_id, exc)
            now_s = place.ports.clock.monotonic_s()
            self._renew_from_s = now_s + min(asked_pause_s(exc), (self.lease_until_s - now_s) / 2)
            return RenewalUnanswered()
        self.lease_until_s = asked_s + visibility_s
        place.note(Kind.RENEWED, self.message_id, epoch=self._delivery.epoch)
        return Renewed()

    def _let_expire(self) -> Event:
        """A message put with a time to live cannot be hidden past it; then nobody else can have it either.

        The job runs on: with a store under its fence, without one until the queue refuses the delete.
        """
        self.lease_until_s = math.inf
        return Renewed()

    # -- the protocol -----------------------------------------------------------------------------------------------

    async def _settle(self, call: Call | None) -> None:
        """Make calls until the handler's turn comes or the delivery has ended."""
        while self._delivery.phase not in (Phase.RUNNING, Phase.ENDED):
            if call is None:  # held back by a renewal: its reply, or the end, brings us on
                self._held_call = asyncio.get_running_loop().create_future()
                call = await self._held_call
                self._held_call = None
            elif isinstance(call, ReadRecord | ReadPresence | WriteRecord):
                call = self._step(await self._store_answer(call))
            else:
                call = self._step(await self._answer(call))

    async def _store_answer(self, call: ReadRecord | ReadPresence | WriteRecord) -> Event:
        """What comes of a call on the store, or that the drain has no time left to wait for it."""
        try:
            async with asyncio.timeout(None) as self._store_scope:
                return await self._answer(call)
        except TimeoutError:
            return TimeUp() if self._delivery.phase in (Phase.WRITING, Phase.READING_BACK) else NoReply()
        finally:
            self._store_scope = None

    async def _answer(self, call: Call) -> Event:
        """What comes of a call; one that went unanswered is made again after a pause."""
        if self._delivery.attempt > 0:
            await self._pause()
        return NoReply() if self.ended else await self._perform(call)

    async def _pause(self) -> None:
        """Wait before a call is made again: as long as the service asked for, but half of what is left at most."""
        situation, clock = self._place.situation, self._place.ports.clock
        draw = self._place.ports.randomness.uniform(0.0, 1.0)
        pause_s = max(CALL_RETRY.pause_s(self._delivery.attempt, draw=draw), self._asked_pause_s)
        self._asked_pause_s = 0.0
        until_s = clock.monotonic_s() + pause_s
        while not self.ended:
            now_s, deadline_s = clock.monotonic_s(), situation.deadline_s
            if deadline_s is not None:
                until_s = min(until_s, now_s + max(PAUSE_S_MIN, (deadline_s - now_s) / 2))
            if now_s >= until_s:
                return
            await situation.change(timeout_s=until_s - now_s)

    def _step(self, event: Event) -> Call | None:
        """Let the protocol take one step, note the rows it took, and return the call it asks for."""
        place = self._place
        if self.ended:
            return None
        before = self._delivery
        step = advance(before, event, draining=not place.situation.working, decide=place.decide)
        self._delivery = step.delivery
        self._note_step(event, before)
        for taken in step.taken:
            self._note(taken)
        if step.delivery.phase is Phase.ENDED:
            self._note_end()
            place.tally.ended(self._delivery.state)
            self.interrupt_handler()
            self._let_settling_go_on(None)
        return step.call

    def _let_settling_go_on(self, call: Call | None) -> None:
        """Hand `_settle` the call that a renewal held back, or None to tell it that the delivery has ended."""
        if self._held_call is not None and not self._held_call.done():
            self._held_call.set_result(call)

    def _note_step(self, event: Event, before: Delivery) -> None:
        """Keep a step of the protocol for the next line; one that changes nothing is only a call made again."""
        after = self._delivery
        if after.phase is not before.phase or after.goal is not before.goal or after.state is not before.state:
            self._steps.append(f"{event_name(event)}: {after.phase}")
        if len(self._steps) > STEPS_MAX:
            self._place.ports.journal.write(
                Kind.STEPS, {"job": self.message_id, "epoch": self._delivery.epoch, "steps": self._steps_since()}
            )

    def _steps_since(self) -> str:
        """The steps since the delivery's last line."""
        steps = "; ".join(self._steps)
        self._steps.clear()
        return steps

    def _note_end(self) -> None:
        """The delivery is settled, and its last move is put to the joint rules."""
        rule = AFTER_JOB.rule_for(JobState.RUNNING, self.state, all_settled=self._place.situation.all_settled)
        assert rule is not None
        self._place.ports.journal.write(
            Kind.SETTLED,
            {
                "job": self.message_id,
                "epoch": self._delivery.epoch,
                "state": self.state.value,
                "joint_rule": rule.id,
                "steps": self._steps_since(),
            },
        )

    def _note(self, taken: Taken) -> None:
        fields: dict[str, str | int | None] = {
            "machine": JOB.name,
            "job": self.message_id,
            "epoch": self._delivery.epoch,
            "row": taken.row.id,
            "trigger": taken.trigger.value,
            "from": taken.state_before.value,
            "to": taken.row.after(taken.state_before).value,
            "verdict": taken.row.verdict.value,
            "facts": ", ".join(sorted(taken.facts)),
            "steps": self._steps_since(),
        }
        record = self._delivery.record
        if taken.trigger is JobTrigger.CHECKPOINT:
            self._place.tally.checkpoints += 1
        if taken.trigger is JobTrigger.FAIL:
            self._place.tally.failures += 1
        if record is not None and record.progress is not None:
            fields["progress"] = record.progress[:_PROGRESS_CHARS_IN_JOURNAL]
        if record is not None and taken.row.after(taken.state_before) in (JobState.RELEASED, JobState.POISONED):
            fields["failures"], fields["fruitless_deaths"] = record.counts.failures, record.counts.fruitless_deaths
        if self._delivery.goal is not None and self._delivery.goal.reason:
            fields["reason"] = self._delivery.goal.reason[:_PROGRESS_CHARS_IN_JOURNAL]
        self._place.ports.journal.write(Kind.ROW, fields)

    async def _perform(self, call: Call) -> Event:
        """Make one call on the world and turn its reply into an event."""
        try:
            match call:
                case ReadRecord() | ReadPresence():
                    event = await self._read(call)
                case WriteRecord():
                    event = await self._write(call)
                case PutPoison() | Delete() | Release():
                    event = await self._call_queue(call)
                case Renew():
                    raise AssertionError("renewals go through renew()")
                case _:
                    assert_never(call)
        except (LeaseLostError, VersionConflictError):
            return Refused()
        except (PlatformError, MessageRejectedError) as exc:
            self._place.note_failure(type(call).__name__, self.message_id, exc)
            self._asked_pause_s = asked_pause_s(exc)
            if isinstance(call, ReadRecord | ReadPresence | WriteRecord):
                self._place.store_answers = False
            return NoReply()
        if isinstance(call, ReadRecord | ReadPresence | WriteRecord):
            self._place.store_answers = True
        return event

    async def _read(self, call: ReadRecord | ReadPresence) -> Event:
        store = self._place.ports.store
        assert store is not None
        timeout_s = self._place.call_timeout_s
        if isinstance(call, ReadPresence):
            presence = await store.read_presence(call.owner.vm_id, call.owner.instance, timeout_s=timeout_s)
            return PresenceFound(presence=presence)
        stored = await store.read(self._place.ports.queue.name, self.message_id, timeout_s=timeout_s)
        if stored is None:
            return Found(record=None, version=None)
        return Found(record=stored.record, version=stored.version)

    async def _write(self, call: WriteRecord) -> Event:
        store = self._place.ports.store
        assert store is not None
        version = await store.write(
            self._place.ports.queue.name,
            self.message_id,
            call.record,
            expected=call.expected,
            timeout_s=self._place.call_timeout_s,
        )
        return Written(version=version)

    async def _call_queue(self, call: PutPoison | Delete | Release) -> Event:
        ports, timeout_s = self._place.ports, self._place.call_timeout_s
        match call:
            case PutPoison(reason=reason):
                text = poison_body(
                    queue=ports.queue.name,
                    message_id=self.message_id,
                    body=self._message.text,
                    error=reason,
                    deliveries=self._delivery.epoch,
                )
                await ports.poison_queue.put(text, timeout_s=timeout_s)
            case Delete():
                await ports.queue.delete(self.message_id, self._pop_receipt, timeout_s=timeout_s)
            case Release(pause_s=pause_s):
                await ports.queue.renew(
                    self.message_id, self._pop_receipt, visibility_timeout_s=pause_s, timeout_s=timeout_s
                )
                ports.journal.write(
                    Kind.RELEASED, {"job": self.message_id, "epoch": self._delivery.epoch, "pause_s": pause_s}
                )
            case _:
                assert_never(call)
        return Done()
