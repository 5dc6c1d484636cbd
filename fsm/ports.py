"""What the worker needs of the world, as contracts.

Each docstring is the contract, and one suite holds every adapter to it.
Every call that leaves the process takes a `timeout_s` and raises `fsm.errors.ReplyLostError` when it runs out: what was
asked for may then have happened or not. Nothing of an SDK crosses a port.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from fsm.journal_kinds import Kind
from fsm.notices import EventsDocument
from fsm.record import Presence, Record
from fsm.spot_vm import Terms, VmState

JsonScalar = str | int | float | bool | None
PEEK_MAX = 32
"""The most waiting messages that one look shows. [`fsm.sources.PEEK_MESSAGES`]"""


# -- the queue -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One delivery of a message, as received.

    Attributes:
        message_id: a UUID the queue chose; the same for every delivery of the message.
        text: the body as it lies on the queue, undecoded.
        dequeue_count: 1 for the first delivery; rises with each receive, never with a renewal.
        pop_receipt: the right to renew, release and delete; only the newest works.
        expires_at: when the queue drops the message by itself, or None for never.
    """

    message_id: str
    text: str
    dequeue_count: int
    pop_receipt: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peeked:
    """What a look at a queue showed.

    Attributes:
        waiting: messages that could be received at that moment; `PEEK_MAX` stands for that many or more.
        expiring: those among them that have a time to live: the queue will drop them by itself.
    """

    waiting: int
    expiring: int


class WorkQueue(Protocol):
    """A queue with leases, as Azure Storage Queue has them: at least once, in no order, no dead letters.

    A received message is invisible for its visibility timeout and then delivered again, with a dequeue count one
    higher. A pop receipt stays good after the timeout until somebody receives the message again; a renewal replaces
    it.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The queue's name, part of every record's key."""

    @abstractmethod
    async def receive(self, *, max_messages: int, visibility_timeout_s: float, timeout_s: float) -> Sequence[Message]:
        """Lease up to `max_messages` (1 to 32) visible messages; empty when none is visible. One request.

        A lost reply may have leased messages nobody knows of: they come back after the visibility timeout.

        Raises:
            ReplyLostError, ThrottledError, DeniedError, MissingError (no such queue).
        """

    @abstractmethod
    async def renew(self, message_id: str, pop_receipt: str, *, visibility_timeout_s: float, timeout_s: float) -> str:
        """Hide the message for `visibility_timeout_s` from now and return the new pop receipt; the old one is void.

        With 0 the message is visible again at once: that is how a message is released.

        Raises:
            LeaseLostError: the receipt is not the newest, or the message is gone.
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def delete(self, message_id: str, pop_receipt: str, *, timeout_s: float) -> None:
        """Delete the message.

        Raises:
            LeaseLostError: the receipt is not the newest, or the message is gone.
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def put(self, text: str, *, timeout_s: float) -> str:
        """Put a message that never expires and return its id. Not idempotent: putting twice makes two messages.

        Raises:
            MessageRejectedError: the text is over the queue's limit, or holds what the queue cannot carry.
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def length(self, *, timeout_s: float) -> int:
        """How many messages there are, leased ones included; approximate on Azure, exact elsewhere.

        Raises:
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def peek(self, *, timeout_s: float) -> Peeked:
        """Count the waiting messages, up to `PEEK_MAX` of them.

        A look, not a lease: nothing is hidden, and no dequeue count rises. What `length` cannot do, it does: it tells
        what waits from what is leased.

        Raises:
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def create(self, *, timeout_s: float) -> None:
        """Create the queue if it does not exist.

        Raises:
            ReplyLostError, ThrottledError, DeniedError.
        """


# -- the job store ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """A record and the version it was read at."""

    record: Record
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTotals:
    """How many records of one queue stand in each status.

    Attributes:
        running: claimed. A first delivery claims with its first checkpoint or its result, and is not seen before; a job
            whose worker was killed is seen until it is received again.
        released: handed back.
        checkpointed: those of the released that have progress saved.
        completed: done.
        poisoned: given up.
    """

    running: int
    released: int
    checkpointed: int
    completed: int
    poisoned: int


class JobStore(Protocol):
    """Small documents with conditional writes. Keys are a queue's name and a message's id."""

    @abstractmethod
    async def read(self, queue: str, message_id: str, *, timeout_s: float) -> StoredRecord | None:
        """The record, or None if there is none. What one process wrote, every other reads from then on.

        Raises:
            BadReplyError: what is stored is not a record.
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def write(
        self, queue: str, message_id: str, record: Record, *, expected: str | None, timeout_s: float
    ) -> str:
        """Write if the record is at version `expected` (None: if it does not exist), and return the new version.

        Raises:
            VersionConflictError: it is at another version, exists, or does not exist.
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def read_presence(self, vm_id: str, instance: str, *, timeout_s: float) -> Presence | None:
        """Who last wrote a presence for this instance of this VM.

        Raises:
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def read_presence_named(self, vm_name: str, instance: str, *, timeout_s: float) -> Presence | None:
        """Who last wrote a presence under this VM name, whatever its vmId: tells a recreated VM from a new one.

        Raises:
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def write_presence(self, presence: Presence, *, timeout_s: float) -> None:
        """Write the presence of (vm_id, instance), unconditionally; also the newest of (vm_name, instance).

        Raises:
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def confirm_deleted(self, queue: str, message_ids: Sequence[str], *, timeout_s: float) -> None:
        """Note that the queue confirmed these messages' deletes: their records may be pruned one day. Idempotent.

        Raises:
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def prune(self, queue: str, *, older_than: timedelta, timeout_s: float) -> int:
        """Remove the terminal records whose delete was confirmed at least that long ago, and return how many.

        Raises:
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def totals(self, queue: str, *, timeout_s: float) -> RecordTotals:
        """How many of the queue's records stand in each status.

        Raises:
            ReplyLostError, ThrottledError, DeniedError, MissingError.
        """

    @abstractmethod
    async def create(self, *, timeout_s: float) -> None:
        """Create the container or the tables if they do not exist.

        Raises:
            ReplyLostError, ThrottledError, DeniedError.
        """


# -- the VM ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class VmIdentity:
    """What instance metadata says of this VM, and the host of its boot.

    Attributes:
        name: `compute.name`, the name that stands in an event's resources.
        eviction_policy: "Deallocate", "Delete", or "" on a VM that is not Spot.
        priority: "Spot", "Regular", "" where unknown, or a newer value.
    """

    vm_id: str
    name: str
    boot_id: str
    priority: str
    eviction_policy: str


class InstanceMetadata(Protocol):
    """Who this VM is."""

    @abstractmethod
    async def identity(self, *, timeout_s: float) -> VmIdentity:
        """Ask once at start.

        Raises:
            ReplyLostError, ThrottledError, BadReplyError.
        """


class ScheduledEvents(Protocol):
    """What Azure is about to do to this VM and to others of its set."""

    @abstractmethod
    async def poll(self, *, timeout_s: float) -> EventsDocument:
        """The document as it stands. An error is never "no event".

        The very first call of a VM may take two minutes, in which later calls must not wait for it.

        Raises:
            ReplyLostError, ThrottledError, BadReplyError.
        """

    @abstractmethod
    async def acknowledge(self, event_id: str, *, timeout_s: float) -> None:
        """Let the event start now. It may start before this returns. Idempotent.

        Raises:
            ReplyLostError, ThrottledError, BadReplyError.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class VmView:
    """A Spot VM as its operator sees it from outside.

    Attributes:
        state: the state of the Spot VM table that this is.
        power: the platform's own word, such as `running`, `stopped` (shut down inside, allocated and paid all the same)
            or `deallocating`.
        priority: "Spot", "Regular", "" where it is not told, or a newer value.
        terms: what was agreed to; None for a VM that is not Spot.
        provisioning: what became of the last change, such as `succeeded` or `failed/SkuNotAvailable`.
        os: `linux`, `windows`, or "" where it is not told.
    """

    state: VmState
    power: str
    priority: str
    terms: Terms | None
    size: str = ""
    region: str = ""
    zone: str = ""
    provisioning: str = ""
    os: str = ""


class VmControl(Protocol):
    """What an operator may ask of one Spot VM, from outside of it.

    Every change is idempotent and waited for, but for an eviction. What is asked here is not checked against the Spot
    VM table first (see `fsm.orders`): what the platform refuses is raised, and has changed nothing.
    """

    @abstractmethod
    async def look(self, *, timeout_s: float) -> VmView:
        """The VM as it is. One that never was, or is no more, is absent: no error.

        Raises:
            ReplyLostError, ThrottledError, DeniedError, BadReplyError.
        """

    @abstractmethod
    async def start(self, *, timeout_s: float) -> None:
        """Allocate and start; returns when it runs.

        Raises:
            RefusedError: for the price, for capacity, for quota.
            MissingError: there is no such VM.
            ReplyLostError: not known to be done in time; it may go on.
            ThrottledError, DeniedError.
        """

    @abstractmethod
    async def deallocate(self, *, timeout_s: float) -> None:
        """Stop, and give the compute back; returns when it is. The disks stay. Raises as `start` does."""

    @abstractmethod
    async def reprice(self, max_price_usd_per_h: Decimal, *, timeout_s: float) -> None:
        """Change the max price, which has to be one that `Terms` takes. Raises as `start` does."""

    @abstractmethod
    async def simulate_eviction(self, *, timeout_s: float) -> None:
        """Have the VM evicted, as its policy says: really. Returns when that is accepted; it goes minutes later.

        Raises as `start` does.
        """


# -- the handler -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """What a handler is given to begin with.

    Attributes:
        text: the decoded body.
        progress: the last checkpoint as JSON text, or None on a first run.
        attempt: the delivery's dequeue count.
        evictions: how many deliveries of this job an eviction ended.
    """

    job_id: str
    text: str
    progress: str | None
    attempt: int
    evictions: int


class JobControl(Protocol):
    """What a running handler may ask of the worker."""

    @abstractmethod
    async def checkpoint(self, progress: str) -> None:
        """Save the progress (canonical JSON); it is durable when this returns.

        Raises:
            Evicted: saved, and the VM is being reclaimed: let go.
            ValueError: over `fsm.record.RECORD_BYTES_MAX`.
        """

    @abstractmethod
    def deadline_s(self) -> float | None:
        """When the worker will let go of the job, on the monotonic clock; None until a notice or a stop."""

    @abstractmethod
    def checkpoint_soon(self) -> bool:
        """Whether a notice, a freeze or a rebalance recommendation makes an early checkpoint worth its price."""


class JobRunner(Protocol):
    """Runs one handler: in the loop, in a worker process, or as a child process.

    Cancellation interrupts the handler; it has let go when `run` ends. A runner never outlives its `close`.
    """

    @abstractmethod
    async def run(self, job: JobInput, control: JobControl) -> str:
        """Run the handler once and return its result as canonical JSON.

        Raises:
            HandlerFailedError: it raised, exited, or returned what is not JSON; the text is bounded.
            Evicted: it let go after a checkpoint.
        """

    @abstractmethod
    async def close(self) -> None:
        """End whatever still runs, and free it."""


# -- the process -----------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Wall time for records, monotonic time for durations."""

    @abstractmethod
    def now(self) -> datetime:
        """The wall clock, aware and UTC."""

    @abstractmethod
    def monotonic_s(self) -> float:
        """Seconds that never go back; the event loop's own clock."""


class Randomness(Protocol):
    """Seeded offline, the system's in production."""

    @abstractmethod
    def uniform(self, low: float, high: float) -> float:
        """A float between the two."""

    @abstractmethod
    def token(self) -> str:
        """An unguessable id: two calls never return the same."""


class Signals(Protocol):
    """What the operator tells the process."""

    @abstractmethod
    def listen(self, on_stop: Callable[[str], None]) -> None:
        """Call `on_stop` with the signal's name at each SIGTERM and SIGINT from now on, in the loop's thread."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening."""


class Journal(Protocol):
    """Every row taken and every causal mark, in order. A line is on its way to the disk before its effect is."""

    @abstractmethod
    def write(self, kind: Kind, fields: Mapping[str, JsonScalar]) -> None:
        """Append one entry. Never blocks for long and never raises: a full disk must not stop the drain."""

    @abstractmethod
    def close(self) -> None:
        """Flush and close."""
