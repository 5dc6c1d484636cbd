"""Every error spotfsm raises, in one tree.

::

    SpotfsmError
    ├── MisuseError              we are wrong: a table or a call breaks the core's own rules
    │   ├── IllegalTableError    a table that overlaps, has a gap, or names what does not exist
    │   └── IllegalTransitionError  an event that no row of the table decides
    ├── ConfigurationError       the user is wrong: names the setting and the remedy (exit 2)
    ├── PlatformError            the world misbehaves; the call may be tried again
    │   ├── ReplyLostError       no usable reply: the effect may or may not have happened
    │   ├── ThrottledError       429 or 503: refused for now, with the time to wait where it is known
    │   ├── DeniedError          401 or 403: a role is missing, or has not arrived yet
    │   ├── MissingError         the queue, container, file or VM is not there
    │   ├── RefusedError         Azure will not do this with the VM: for its price, for capacity, for quota
    │   └── BadReplyError        a reply that is not of the documented shape
    ├── RaceLostError            somebody else was faster; never tried again
    │   ├── LeaseLostError       the message is gone or its pop receipt is stale
    │   └── VersionConflictError the record changed since it was read
    ├── MessageRejectedError     a message that cannot be decoded or is over the size limit
    └── JobError                 what happens to a handler
        ├── HandlerFailedError   the handler raised, exited or hung
        └── Evicted              raised inside a handler: saved, now let go
"""

from __future__ import annotations

from enum import StrEnum


class SpotfsmError(Exception):
    """The root: catch it to catch everything spotfsm raises on purpose."""


class MisuseError(SpotfsmError):
    """The core was used against its rules: a bug of the caller."""


class IllegalTableError(MisuseError):
    """A table that is not total, not deterministic, or names what does not exist.

    Args:
        table: the table's name.
        faults: one sentence a fault, each naming the rows or the cell.
    """

    def __init__(self, table: str, faults: tuple[str, ...]) -> None:
        super().__init__(f"table {table!r} does not build: " + "; ".join(faults))
        self.table = table
        self.faults = faults


class IllegalTransitionError(MisuseError):
    """An event for which the table has no cell. The state is unchanged."""

    def __init__(self, table: str, state: str, trigger: str, facts: frozenset[str]) -> None:
        known = ", ".join(sorted(facts)) or "no facts"
        super().__init__(f"{table}: no row decides {trigger!r} in state {state!r} ({known})")
        self.table = table
        self.state = state
        self.trigger = trigger
        self.facts = facts


class ConfigurationError(SpotfsmError):
    """A setting that cannot work.

    Args:
        setting: the name a user would change, as on the command line (``--queue``).
        problem: what is wrong, without a full stop.
        remedy: what to do about it.
    """

    def __init__(self, setting: str, problem: str, remedy: str) -> None:
        super().__init__(f"{setting}: {problem}. {remedy}")
        self.setting = setting
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[ConfigurationError], tuple[str, str, str]]:
        """Come whole out of another process."""
        return type(self), (self.setting, self.problem, self.remedy)


class PlatformError(SpotfsmError):
    """The platform did not do what was asked; trying again may help."""


class ReplyLostError(PlatformError):
    """No usable reply arrived: the effect may or may not have happened."""


class ThrottledError(PlatformError):
    """The service refuses for now.

    Args:
        retry_after_s: what the service asked for, or None.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeniedError(PlatformError):
    """Not authenticated or not allowed. A fresh role assignment takes minutes to arrive."""


class MissingError(PlatformError):
    """The queue, the container, the file or the VM does not exist."""


class RefusalCause(StrEnum):
    """Why Azure will not do something with a VM; each wants another answer."""

    PRICE = "price"
    """The max price is below the current one: raise it, or wait until the price falls."""
    CAPACITY = "capacity"
    """There is no room for this size here: try again later, or another size or place."""
    QUOTA = "quota"
    """The subscription's limit is reached: ask for more, or free some; waiting does not help."""
    OTHER = "other"


class RefusedError(PlatformError):
    """Azure refused what was asked of a VM; nothing has changed.

    Args:
        message: what was asked, and what Azure said.
        cause: what kind of refusal it is.
        code: Azure's own word for it, or an empty text.
    """

    def __init__(self, message: str, *, cause: RefusalCause, code: str = "") -> None:
        super().__init__(message)
        self.cause = cause
        self.code = code


class BadReplyError(PlatformError):
    """A reply that does not have the documented shape; it is never read as "nothing"."""


class RaceLostError(SpotfsmError):
    """Another worker was faster. Not a fault, and never tried again."""


class LeaseLostError(RaceLostError):
    """The message is gone, or the pop receipt is not its newest."""


class VersionConflictError(RaceLostError):
    """The record is not at the version the write was conditional on."""


class MessageRejectedError(SpotfsmError):
    """A message that cannot be a job: undecodable, or over the size limit."""


class JobError(SpotfsmError):
    """What can happen to a handler."""


class HandlerFailedError(JobError):
    """The handler raised, exited or hung. The text is for people, and bounded."""


class Evicted(JobError):  # noqa: N818 -- handlers read it as a fact, not as a fault
    """Raised by ``job.checkpoint`` after saving, when the VM is being reclaimed: return or let it pass."""
