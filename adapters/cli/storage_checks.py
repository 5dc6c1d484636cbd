"""What `spotfsm doctor` asks of the queues and the store: whether they answer, and what a worker may do with them.

A permission is found out by trying what takes it on a message that does not exist: to be told so is to be allowed.
The one thing written is a presence, which stands for nobody.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack

from adapters import wiring
from adapters.addresses import StorageAddresses
from adapters.cli.findings import Finding, Verdict, fail, misconfigured, ok, warn
from adapters.cli.permissions import ROLES, Permission
from fsm.errors import ConfigurationError, DeniedError, LeaseLostError, MissingError, PlatformError, SpotfsmError
from fsm.ports import JobStore, VmIdentity, WorkQueue
from fsm.record import Presence

CALL_TIMEOUT_S = 30.0
"""A first token may take half a minute."""
_SETTINGS = {"queue": "--queue", "poison queue": "--queue", "store": "--store", "records": "--store"}
_NO_MESSAGE = "00000000-0000-4000-8000-000000000000"
_NO_RECEIPT = "AgAAAAMAAAAAAAAAAAAAAAAAAAA="
"""Of the form of a real one, and of no message."""


async def check_storage(addresses: StorageAddresses, identity: VmIdentity | None) -> AsyncIterator[Finding]:
    """Token, queues, store, and what may be done with them."""
    async with AsyncExitStack() as stack:
        try:
            storage = await stack.enter_async_context(wiring.open_storage(addresses))
        except ConfigurationError as exc:
            yield misconfigured("storage", exc)
            return
        except PlatformError as exc:
            yield fail("storage", str(exc), "Try again; another process may hold the file.")
            return
        if addresses.needs_token:
            token = await _check_token(storage)
            yield token
            if token.verdict is not Verdict.OK:
                return
        async for finding in _check_queue(storage.queue):
            yield finding
        async for finding in _check_poison_queue(storage.poison_queue):
            yield finding
        if storage.store is None:
            yield warn("store", "none: see what that costs in the README", "Name one with --store.")
            return
        async for finding in _check_store(storage.store, storage.queue.name, identity):
            yield finding


async def _check_token(storage: wiring.Storage) -> Finding:
    name = "token"
    try:
        await storage.fetch_token(timeout_s=CALL_TIMEOUT_S)
    except DeniedError as exc:
        remedy = "Assign an identity to the VM; with several of them, name one by --client-id."
        return fail(name, str(exc), remedy)
    except SpotfsmError as exc:
        return fail(name, str(exc), "Run it on the VM, or use --credential default elsewhere.")
    return ok(name, "Azure gave a token")


async def _check_queue(queue: WorkQueue) -> AsyncIterator[Finding]:
    """A queue that may not be counted may be worked all the same; one that does not answer is asked nothing else."""
    name = "queue"
    try:
        await queue.length(timeout_s=CALL_TIMEOUT_S)
    except DeniedError as exc:
        yield _failed(name, exc, Permission.COUNT_MESSAGES)
    except SpotfsmError as exc:
        yield _failed(name, exc, Permission.COUNT_MESSAGES)
        return
    else:
        yield ok(name, f"{queue.name} answers")
    yield await _tried("leases", _renewal(queue), "leases can be renewed", Permission.WRITE_MESSAGES)
    deletion = queue.delete(_NO_MESSAGE, _NO_RECEIPT, timeout_s=CALL_TIMEOUT_S)
    yield await _tried("deletes", deletion, "messages can be received and deleted", Permission.PROCESS_MESSAGES)
    yield await _check_lifetimes(queue)


async def _check_poison_queue(queue: WorkQueue) -> AsyncIterator[Finding]:
    counted = queue.length(timeout_s=CALL_TIMEOUT_S)
    answer = await _asked("poison queue", counted, f"{queue.name} answers", Permission.COUNT_MESSAGES)
    yield answer
    if answer.verdict is Verdict.OK:
        yield await _check_poison_puts(queue)


async def _check_poison_puts(queue: WorkQueue) -> Finding:
    """Whether poisoned messages can be put: whoever may renew may put, but the right to put alone would do.

    A put cannot be tried without a message that somebody then has to take away.
    """
    finding = await _tried("poison puts", _renewal(queue), "messages can be put there", Permission.WRITE_MESSAGES)
    if finding.verdict is not Verdict.FAIL:
        return finding
    remedy = f"{finding.remedy} A worker can do with {Permission.PUT_MESSAGES}, which cannot be tried."
    return warn(finding.name, f"cannot be told: {finding.text}", remedy)


async def _check_store(store: JobStore, queue: str, identity: VmIdentity | None) -> AsyncIterator[Finding]:
    vm_id = "doctor" if identity is None else identity.vm_id
    presence = Presence(vm_id=vm_id, vm_name=vm_id, boot_id="doctor", instance="doctor", process=str(uuid.uuid4()))
    written = store.write_presence(presence, timeout_s=CALL_TIMEOUT_S)
    yield await _asked("store", written, "can be written", Permission.WRITE_BLOBS)
    counted = store.totals(queue, timeout_s=CALL_TIMEOUT_S)
    yield await _asked("records", counted, "can be read and counted", Permission.READ_BLOBS)


async def _check_lifetimes(queue: WorkQueue) -> Finding:
    """Whether somebody puts messages that the queue will drop. To look takes a right that a worker does not need."""
    name = "lifetimes"
    try:
        expiring = (await queue.peek(timeout_s=CALL_TIMEOUT_S)).expiring
    except DeniedError as exc:
        return warn(name, f"cannot be told: {exc}", f"{_grant(Permission.LOOK_AT_MESSAGES)} A worker can do without.")
    except SpotfsmError as exc:
        return warn(name, f"cannot be told: {exc}", "Try again later.")
    if expiring:
        remedy = "Put messages with a time to live of -1, as `spotfsm enqueue` does."
        return warn(name, f"{expiring} of the first waiting messages will be dropped when their time is over", remedy)
    return ok(name, "no waiting message has a time to live")


async def _asked(name: str, call: Awaitable[object], text: str, permission: Permission) -> Finding:
    """Ask, and say what came of it."""
    try:
        await call
    except SpotfsmError as exc:
        return _failed(name, exc, permission)
    return ok(name, text)


def _failed(name: str, error: SpotfsmError, permission: Permission) -> Finding:
    """What an error means, and what to do about it."""
    match error:
        case ConfigurationError():
            return misconfigured(name, error)
        case MissingError():
            return fail(name, str(error), wiring.IF_NOT_CREATED)
        case DeniedError():
            return fail(name, str(error), _grant(permission))
        case _:
            return fail(name, str(error), f"Check {_SETTINGS[name]}, and try again later.")


async def _tried(name: str, call: Awaitable[object], text: str, permission: Permission) -> Finding:
    """Try something on a message that does not exist."""
    try:
        await call
    except LeaseLostError:
        return ok(name, text)
    except DeniedError as exc:
        return fail(name, str(exc), _grant(permission))
    except SpotfsmError as exc:
        return warn(name, f"cannot be told: {exc}", "Try again later.")
    return warn(name, "cannot be told: a message that does not exist was taken", "Check the address.")


def _renewal(queue: WorkQueue) -> Awaitable[object]:
    return queue.renew(_NO_MESSAGE, _NO_RECEIPT, visibility_timeout_s=60, timeout_s=CALL_TIMEOUT_S)


def _grant(permission: Permission) -> str:
    """The remedy of a refusal: the right, and the built-in roles that have it."""
    return f"Grant {permission} ({ROLES[permission]}); a new role takes some minutes to arrive."
