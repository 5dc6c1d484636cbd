"""The worker's life: recover, resume, warm up, process, drain; and again, when a notice is withdrawn.

Each state of the application machine has one coroutine here that does what the state is for and returns when the state
has changed. What changes it is put to the table by `Situation`.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TypeVar

from fsm.application import ORIGIN_OF_ROW, AppFact, AppState, AppTrigger
from fsm.backoff import START_RETRY
from fsm.errors import ConfigurationError, DeniedError, MissingError, PlatformError
from fsm.journal import TEXT_MAX
from fsm.journal_kinds import Kind
from fsm.ports import VmIdentity
from fsm.record import Presence, process_name
from fsm.runner.delivering import Delivering
from fsm.runner.leases import keep_leases
from fsm.runner.receiving import Receiver
from fsm.runner.settings import Ports, WorkerSettings
from fsm.runner.situation import Situation
from fsm.runner.tally import Tally
from fsm.runner.watching import Watch
from fsm.runner.workplace import Workplace
from fsm.table import Verdict

Answer = TypeVar("Answer")

IDENTITY_PATIENCE_S = 300.0
"""How long instance metadata is waited for. IMDS asks for up to 70 s; updates of the host's agent have been seen to
take some minutes. [`fsm.sources.INSTANCE_METADATA`]"""
DENIED_PATIENCE_S = 600.0
"""How long a missing permission is waited for: a new role takes minutes to arrive. [`fsm.sources.ROLE_ASSIGNMENTS`]"""
SETTLE_S_MAX = 5.0
SETTLE_SHARE = 0.4
"""The end of a drain belongs to handing back: at most `SETTLE_S_MAX`, at most this share of a short notice."""
SAVE_SHARE = 0.3
"""The share of that end in which a store that does not answer is no longer waited for."""
STILL_HERE_EVERY_S = 1.0
STILL_HERE_S_MAX = 600.0
"""How often, and how long at most, a drained worker notes that its VM is still there. Two and a half minutes have been
seen after an ordered eviction."""
STOP_AT_ONCE_S = 1.0
"""What a second Ctrl-C leaves for handing back."""


class Worker:
    """One worker process. `run` it once."""

    def __init__(self, ports: Ports, settings: WorkerSettings) -> None:
        self._ports = ports
        self._settings = settings
        self._clock = ports.clock
        self.tally = Tally()
        self._situation = Situation(
            journal=ports.journal, clock=ports.clock, tally=self.tally, all_settled=self._all_settled
        )
        self._deliveries: dict[Delivering, asyncio.Task[None]] = {}
        self._receiving: asyncio.Task[None] | None = None
        self._crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._identifying: asyncio.Timeout | None = None
        self._interrupts = 0
        self._denied_since_s: float | None = None

    @property
    def state(self) -> AppState:
        """Where the worker stands."""
        return self._situation.state

    @property
    def hung(self) -> int:
        """Handlers that did not let go when they were told to: their process must be ended from outside the loop."""
        return len(self._deliveries)

    async def run(self) -> Tally:
        """Work until a stop, or until the queue is empty if so set.

        Raises:
            ConfigurationError: the queue, the store or IMDS cannot be used as set.
        """
        self._ports.signals.listen(self._on_signal)
        background: list[asyncio.Task[None]] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                identity = await self._identify()
                if identity is None:
                    return self.tally
                place = self._open(identity)
                background.append(tasks.create_task(Watch(place).run()))
                background.append(tasks.create_task(keep_leases(place, self._deliveries.keys())))
                background.append(tasks.create_task(self._wait_for_crash()))
                await self._live(place)
                for task in background:
                    task.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # the one reason, not the group that carried it
                raise group.exceptions[0] from None
            raise
        finally:
            if self._receiving is not None:
                self._receiving.cancel()
            for delivery in self._deliveries.values():
                delivery.cancel()
            self._ports.signals.close()
        return self.tally

    def _open(self, identity: VmIdentity) -> Workplace:
        """Say who we are, and make the place where deliveries are worked."""
        process = process_name(self._clock.monotonic_s(), self._ports.randomness.token())
        place = Workplace(
            ports=self._ports,
            settings=self._settings,
            situation=self._situation,
            tally=self.tally,
            identity=identity,
            process=process,
        )
        self._ports.journal.write(
            Kind.WORKER,
            {
                "vm_name": identity.name,
                "vm_id": identity.vm_id,
                "boot_id": identity.boot_id,
                "instance": self._settings.instance,
                "process": process,
                "queue": self._ports.queue.name,
                "store": self._ports.store is not None,
            },
        )
        return place

    def _on_signal(self, name: str) -> None:
        """SIGTERM and a first SIGINT drain; a second SIGINT stops at once."""
        if name == "SIGINT":
            self._interrupts += 1
        grace_s = STOP_AT_ONCE_S if self._interrupts > 1 else self._settings.stop_grace_s
        self._situation.request_stop(name, grace_s=grace_s)
        if self._identifying is not None and not self._identifying.expired():
            self._identifying.reschedule(asyncio.get_running_loop().time())

    async def _live(self, place: Workplace) -> None:
        """Go from state to state until the process may end."""
        self._situation.fire(AppTrigger.RECOVER, {AppFact.VM_RUNNING})
        if self._situation.stop is not None:
            self._situation.fire(AppTrigger.SHUTDOWN)
        while self._situation.state is not AppState.OFFLINE:
            match self._situation.state:
                case AppState.RECOVERING:
                    await self._recover(place)
                case AppState.WARMING_UP:
                    await self._warm_up()
                case AppState.PROCESSING:
                    await self._process(place)
                case AppState.EVICTED:
                    await self._drain(place)
                case AppState.DRAINED:
                    await self._wait_for_the_end(place)

    # -- coming up --------------------------------------------------------------------------------------------------

    async def _identify(self) -> VmIdentity | None:
        """Ask instance metadata who this VM is; None if a stop came first."""
        started_s, attempt = self._clock.monotonic_s(), 0
        while self._situation.stop is None:
            try:
                return await self._ask_for_identity()
            except TimeoutError:
                return None
            except PlatformError as exc:
                self._ports.journal.write(Kind.CALL_FAILED, {"call": "identity", "text": str(exc)[:TEXT_MAX]})
                if self._clock.monotonic_s() - started_s > IDENTITY_PATIENCE_S:
                    remedy = "Check the address, or use --imds none off Azure."
                    raise ConfigurationError("--imds", f"no answer from instance metadata ({exc})", remedy) from exc
                attempt += 1
            await self._pause(attempt)
        return None

    async def _ask_for_identity(self) -> VmIdentity:
        """One call of instance metadata.

        Raises:
            TimeoutError: a stop came first.
            PlatformError: there is no usable answer.
        """
        try:
            async with asyncio.timeout(None) as self._identifying:
                return await self._ports.metadata.identity(timeout_s=self._settings.call_timeout_s)
        finally:
            self._identifying = None  # a stop that comes in a pause has no limit to bring forward

    async def _recover(self, place: Workplace) -> None:
        """Look up who was here before, and say that this process is here now."""
        attempt = 0
        while self._situation.is_in(AppState.RECOVERING):
            try:
                facts = await self._find_origin(place)
            except PlatformError as exc:
                self._judge(exc, "--store", "Create it with `spotfsm enqueue --create`, or check the address.")
                place.note_failure("presence", None, exc)
                facts = set()
            if not self._situation.is_in(AppState.RECOVERING):
                return
            row = self._situation.fire(AppTrigger.RESUME, facts)
            if row.verdict is Verdict.TAKEN:
                self._ports.journal.write(Kind.ORIGIN, {"origin": ORIGIN_OF_ROW[row.id].value})
                return
            attempt += 1
            await self._pause(attempt)

    async def _find_origin(self, place: Workplace) -> set[AppFact]:
        """Compare this process with the presence that was left, and leave its own.

        Raises:
            PlatformError: the store does not answer.
        """
        store, facts = self._ports.store, {AppFact.STORE_ANSWERED}
        if store is None:
            return facts
        me, timeout_s = place.identity, self._settings.call_timeout_s
        read = asyncio.gather(
            store.read_presence(me.vm_id, self._settings.instance, timeout_s=timeout_s),
            store.read_presence_named(me.name, self._settings.instance, timeout_s=timeout_s),
        )
        found = await self._answer_in(AppState.RECOVERING, read)
        if found is None:
            return facts
        before = found[0] or found[1]
        if before is not None:
            same_vm = before.vm_id == me.vm_id
            same_boot = same_vm and before.boot_id == me.boot_id
            facts.add(AppFact.SEEN_BEFORE)
            facts.update({AppFact.SAME_VM} if same_vm else ())
            facts.update({AppFact.SAME_BOOT} if same_boot else ())
            facts.update({AppFact.SAME_PROCESS} if before.process == place.process else ())
        presence = Presence(
            vm_id=me.vm_id,
            vm_name=me.name,
            boot_id=me.boot_id,
            instance=self._settings.instance,
            process=place.process,
        )
        await store.write_presence(presence, timeout_s=timeout_s)
        return facts

    async def _warm_up(self) -> None:
        """Make sure that the queues answer before anything is received."""
        attempt = 0
        while self._situation.is_in(AppState.WARMING_UP):
            facts = {AppFact.HEALTHY}
            timeout_s = self._settings.call_timeout_s
            queues = (self._ports.queue, self._ports.poison_queue)
            counted = asyncio.gather(*(queue.length(timeout_s=timeout_s) for queue in queues), return_exceptions=True)
            answers = await self._answer_in(AppState.WARMING_UP, counted)
            if answers is None:
                return
            for queue, answer in zip(queues, answers, strict=True):
                if isinstance(answer, PlatformError):
                    self._judge(answer, "--queue", "Create it with `spotfsm enqueue --create`, or check the address.")
                    call, text = f"length of {queue.name}", str(answer)[:TEXT_MAX]
                    self._ports.journal.write(Kind.CALL_FAILED, {"call": call, "text": text})
                    facts.clear()
                elif isinstance(answer, BaseException):
                    raise answer
            if not self._situation.is_in(AppState.WARMING_UP):
                return
            self._situation.fire(AppTrigger.START, facts)
            if self._situation.is_in(AppState.WARMING_UP):
                attempt += 1
                await self._pause(attempt)

    async def _answer_in(self, state: AppState, question: asyncio.Future[Answer]) -> Answer | None:
        """What is answered to a question that changes nothing; None as soon as a notice or a stop ends the state.

        A service that is slow must not hold up a drain that has nothing else to wait for.
        """

        def answered(question: asyncio.Future[Answer]) -> None:
            if not question.cancelled():
                question.exception()  # of an answer that came too late, or never, nobody needs to hear
            self._situation.stir()

        question.add_done_callback(answered)  # it reads even what comes when this wait itself has been cancelled twice
        try:
            while not question.done() and self._situation.is_in(state):
                await self._situation.anything()
            return question.result() if question.done() else None
        finally:
            if not question.done():
                question.cancel()
                await asyncio.wait([question])

    def _judge(self, error: PlatformError, setting: str, remedy: str) -> None:
        """Tell a wrong setting from an outage; a missing permission is given some minutes to arrive.

        Raises:
            ConfigurationError: waiting will not help.
        """
        if isinstance(error, MissingError):
            raise ConfigurationError(setting, str(error), remedy) from error
        if not isinstance(error, DeniedError):
            self._denied_since_s = None
            return
        now_s = self._clock.monotonic_s()
        self._denied_since_s = now_s if self._denied_since_s is None else self._denied_since_s
        if now_s - self._denied_since_s > DENIED_PATIENCE_S:
            remedy = "Run `spotfsm doctor` to see which role is missing."
            raise ConfigurationError(setting, str(error), remedy) from error

    # -- working ----------------------------------------------------------------------------------------------------

    async def _process(self, place: Workplace) -> None:
        """Receive until something else is due."""
        if self._receiving is not None:  # of the time before a notice that was withdrawn
            await asyncio.wait([self._receiving])
        self._receiving = asyncio.create_task(Receiver(place, partial(self._start, place)).run())
        self._receiving.add_done_callback(self._note_crash)
        while self._situation.working:
            await self._situation.change()

    def _start(self, place: Workplace, delivery: Delivering) -> None:
        """Work a delivery in a task of its own.

        Not in a task group: a handler that will not let go must not hold up the drain of all the others.
        """
        task = asyncio.create_task(self._deliver(place, delivery))
        task.add_done_callback(self._note_crash)
        self._deliveries[delivery] = task

    async def _deliver(self, place: Workplace, delivery: Delivering) -> None:
        try:
            await delivery.run()
        finally:
            del self._deliveries[delivery]
            place.leave(delivery)

    def _note_crash(self, task: asyncio.Task[None]) -> None:
        self._situation.stir()
        if not task.cancelled() and (crash := task.exception()) and not self._crash.done():
            self._crash.set_exception(crash)

    async def _wait_for_crash(self) -> None:
        """Raise what a task of ours raised: a bug, which must not go unseen."""
        await self._crash

    # -- going down -------------------------------------------------------------------------------------------------

    async def _drain(self, place: Workplace) -> None:
        """Settle every delivery by the deadline: first what is safe, then what fits, and what is left is abandoned."""
        began_s = self._clock.monotonic_s()
        while not self._all_settled():
            deadline_s = self._situation.deadline_s
            if deadline_s is None:
                await self._situation.anything()
                continue
            settle_s = min(SETTLE_S_MAX, SETTLE_SHARE * max(0.0, deadline_s - began_s))
            now_s = self._clock.monotonic_s()
            if now_s >= deadline_s:
                for delivery in tuple(self._deliveries):
                    delivery.lose_lease()
                break
            steps = (deadline_s - settle_s, deadline_s - SAVE_SHARE * settle_s, deadline_s)
            if now_s >= steps[0]:
                for delivery in tuple(self._deliveries):
                    delivery.interrupt_handler()
            if now_s >= steps[1]:
                for delivery in tuple(self._deliveries):
                    delivery.stop_saving()
            await self._situation.anything(timeout_s=min(step for step in steps if step > now_s) - now_s)
        await place.confirm_deletes(timeout_s=place.call_timeout_s)
        if self._situation.state is AppState.EVICTED:
            self._situation.fire(AppTrigger.DRAINED)

    def _all_settled(self) -> bool:
        """Whether no receive is in flight and every delivery has ended."""
        received = self._receiving is None or self._receiving.done()
        return received and all(delivery.ended for delivery in self._deliveries)

    async def _wait_for_the_end(self, place: Workplace) -> None:
        """Drained: end if that was asked for, let the event start if it may, and wait for what comes."""
        if self._situation.stop is not None:
            self._situation.fire(AppTrigger.EXIT)
            return
        if self._settings.acknowledge:
            for notice in self._situation.notices.reclaiming:
                try:
                    await self._ports.events.acknowledge(notice.event.event_id, timeout_s=place.call_timeout_s)
                    self._ports.journal.write(Kind.ACKNOWLEDGED, {"event_id": notice.event.event_id})
                except PlatformError as exc:
                    place.note_failure("acknowledge", None, exc)
        await self._stay()

    async def _stay(self) -> None:
        """Wait to be taken, brought back to work or stopped; the marks tell how long a notice really was."""
        drained_s = self._clock.monotonic_s()
        while self._situation.state is AppState.DRAINED and self._situation.stop is None:
            for_s = self._clock.monotonic_s() - drained_s
            if for_s < STILL_HERE_S_MAX:
                self._ports.journal.write(Kind.STILL_HERE, {"drained_for_s": round(for_s, 3)})
                await self._situation.change(timeout_s=STILL_HERE_EVERY_S)
            else:
                await self._situation.change()

    async def _pause(self, attempt: int) -> None:
        """Pause before trying again; cut short by any change."""
        draw = self._ports.randomness.uniform(0.0, 1.0)
        await self._situation.change(timeout_s=START_RETRY.pause_s(attempt, draw=draw))
