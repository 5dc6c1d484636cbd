"""What `spotfsm doctor` looks at. Every check is harmless and ends with findings, never with an error."""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import packages_distributions
from pathlib import Path

from adapters import wiring
from adapters.addresses import NONE, StorageAddresses
from adapters.host.disks import KeptFile, read_mounts, warnings
from fsm.errors import ConfigurationError, DeniedError, LeaseLostError, MissingError, PlatformError, SpotfsmError
from fsm.ports import VmIdentity, WorkQueue
from fsm.record import Presence

IMDS_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 30.0
"""A first token may take half a minute."""
PACKAGES = ("fsm", "adapters", "simulator")
"""Names under which somebody else's package may be installed as well."""
DISTRIBUTION = "spotfsm"
_NO_MESSAGE = "00000000-0000-4000-8000-000000000000"
_NO_RECEIPT = "AgAAAAMAAAAAAAAAAAAAAAAAAAA="
"""Of the form of a real one, and of no message: what is done with it is refused, which shows that it may be done."""
_PYTHON_MIN = (3, 11)


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found; `text` and `remedy` are sentences, the first without its full stop."""

    name: str
    verdict: Verdict
    text: str
    remedy: str = ""

    def report(self) -> dict[str, str]:
        """The finding for programs."""
        return {"name": self.name, "verdict": self.verdict.value, "text": self.text, "remedy": self.remedy}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The settings to be checked."""

    addresses: StorageAddresses
    imds: str
    boot_id_file: Path
    journal_file: Path | None
    handler: str | None


def _ok(name: str, text: str) -> Finding:
    return Finding(name=name, verdict=Verdict.OK, text=text)


def _warn(name: str, text: str, remedy: str) -> Finding:
    return Finding(name=name, verdict=Verdict.WARN, text=text, remedy=remedy)


def _fail(name: str, text: str, remedy: str) -> Finding:
    return Finding(name=name, verdict=Verdict.FAIL, text=text, remedy=remedy)


def _misconfigured(name: str, error: ConfigurationError) -> Finding:
    return _fail(name, f"{error.setting}: {error.problem}", error.remedy)


async def examine(examined: Examined) -> list[Finding]:
    """Run every check, one after the other."""
    findings = [*check_python(), *check_names(Path.cwd())]
    if examined.handler is not None:
        findings.append(check_handler(examined.handler))
    vm_findings, identity = await _check_vm(examined)
    findings += vm_findings
    findings += check_disks(examined, identity)
    findings += [finding async for finding in _check_storage(examined.addresses, identity)]
    return findings


# -- this machine -----------------------------------------------------------------------------------------------------


def check_python() -> Iterator[Finding]:
    """The interpreter, and whether it is the program's own."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _PYTHON_MIN:
        yield _fail("python", f"Python {version} is too old", "Use 3.11 or newer.")
    elif sys.prefix == sys.base_prefix:
        remedy = "Install spotfsm into a virtual environment of its own."
        yield _warn("python", f"Python {version} outside of a virtual environment", remedy)
    else:
        yield _ok("python", f"Python {version} in {sys.prefix}")


def check_names(directory: Path) -> Iterator[Finding]:
    """Whether somebody else's modules have our names, installed or in the directory that handlers are imported from."""
    installed = packages_distributions()
    home = Path(__file__).resolve().parents[2]
    clashes = []
    for package in PACKAGES:
        others = sorted(set(installed.get(package, ())) - {DISTRIBUTION})
        if others:
            clashes.append(f"{package!r} is installed by {', '.join(others)} too")
        local = directory / package
        if directory.resolve() != home and (local.is_dir() or local.with_suffix(".py").is_file()):
            clashes.append(f"{local} hides behind the package of the same name")
    for clash in clashes:
        yield _fail("names", clash, "Use a virtual environment of its own, and other names for your modules.")
    if not clashes:
        yield _ok("names", "no other package is called " + ", ".join(PACKAGES))


def check_handler(handler: str) -> Finding:
    """Whether the handler can be imported."""
    try:
        wiring.open_job_runner(wiring.Handling(handler=handler))
    except ConfigurationError as exc:
        return _misconfigured("handler", exc)
    return _ok("handler", f"{handler} can be imported")


def check_disks(examined: Examined, identity: VmIdentity | None) -> Iterator[Finding]:
    """Whether an eviction of this VM would take the files with it."""
    files = [*examined.addresses.files]
    if examined.journal_file is not None:
        files.append(KeptFile(setting="--journal", path=examined.journal_file, holds="its lines"))
    if not files:
        yield _ok("disks", "nothing is kept on this VM")
    elif identity is None:
        yield _warn("disks", "unknown: this VM's eviction policy could not be asked for", "See imds.")
    else:
        found = warnings(files, read_mounts(), identity)
        for warning in found:
            yield _warn("disks", warning.text, warning.remedy)
        if not found:
            policy = identity.eviction_policy or "none, as far as this machine knows"
            yield _ok("disks", f"nothing is lost with this VM (eviction policy: {policy})")


# -- the VM -----------------------------------------------------------------------------------------------------------


async def _check_vm(examined: Examined) -> tuple[list[Finding], VmIdentity | None]:
    """IMDS, or the host in its place: who this VM is, and whether evictions would be announced."""
    name = "imds"
    try:
        async with wiring.open_vm(examined.imds, boot_id_file=examined.boot_id_file) as vm:
            identity = await vm.metadata.identity(timeout_s=IMDS_TIMEOUT_S)
            if examined.imds.lower() == NONE:
                text = f"none: {identity.name} learns of an eviction only by being killed, which loses nothing"
                return [_ok(name, text)], identity
            findings = [
                _ok(
                    name,
                    f"{examined.imds} says {identity.name}, priority {identity.priority or 'unknown'}, "
                    f"eviction policy {identity.eviction_policy or 'none'}",
                )
            ]
            try:
                document = await vm.events.poll(timeout_s=IMDS_TIMEOUT_S)
                findings.append(_ok("events", f"Scheduled Events answer; {len(document.events)} stand"))
            except PlatformError as exc:
                remedy = "Run doctor again: the first call of a VM may take two minutes."
                findings.append(_warn("events", str(exc), remedy))
            return findings, identity
    except ConfigurationError as exc:
        return [_misconfigured(name, exc)], None
    except PlatformError as exc:
        return [_fail(name, str(exc), "Run it on the VM, or use --imds none off Azure.")], None


# -- the queue and the store ------------------------------------------------------------------------------------------


async def _check_storage(addresses: StorageAddresses, identity: VmIdentity | None) -> AsyncIterator[Finding]:
    """Token, queues, store, and what may be done with them."""
    async with AsyncExitStack() as stack:
        try:
            storage = await stack.enter_async_context(wiring.open_storage(addresses))
        except ConfigurationError as exc:
            yield _misconfigured("storage", exc)
            return
        except PlatformError as exc:
            yield _fail("storage", str(exc), "Try again; another process may hold the file.")
            return
        if addresses.needs_token:
            token = await _finding("token", storage.fetch_token(timeout_s=CALL_TIMEOUT_S), "Azure gave a token")
            yield token
            if token.verdict is not Verdict.OK:
                return
        queue = await _finding("queue", storage.queue.length(timeout_s=CALL_TIMEOUT_S), f"{storage.queue.name} answers")
        yield queue
        if queue.verdict is Verdict.OK:
            yield await _check_permission("leases", _renewal(storage.queue), "leases can be renewed", _RENEW_REMEDY)
            yield await _check_permission(
                "deletes", _deletion(storage.queue), "messages can be deleted", _DELETE_REMEDY
            )
            yield await _check_lifetimes(storage.queue)
        poison = storage.poison_queue
        yield await _finding("poison queue", poison.length(timeout_s=CALL_TIMEOUT_S), f"{poison.name} answers")
        if storage.store is None:
            yield _warn("store", "none: see what that costs in the README", "Name one with --store.")
            return
        vm_id = "doctor" if identity is None else identity.vm_id
        presence = Presence(vm_id=vm_id, vm_name=vm_id, boot_id="doctor", instance="doctor", process=str(uuid.uuid4()))
        written = storage.store.write_presence(presence, timeout_s=CALL_TIMEOUT_S)
        yield await _finding("store", written, "can be written")
        counted = storage.store.totals(storage.queue.name, timeout_s=CALL_TIMEOUT_S)
        yield await _finding("records", counted, "can be counted")


async def _check_lifetimes(queue: WorkQueue) -> Finding:
    """Whether somebody puts messages that the queue will drop; to look takes the right to read."""
    name = "lifetimes"
    try:
        expiring = await queue.expiring(timeout_s=CALL_TIMEOUT_S)
    except DeniedError as exc:
        return _fail(name, str(exc), "Grant messages/read on the queue.")
    except SpotfsmError as exc:
        return _warn(name, f"cannot be told: {exc}", "Try again later.")
    if expiring:
        remedy = "Put messages with a time to live of -1, as `spotfsm enqueue` does."
        return _warn(name, f"{expiring} of the first waiting messages will be dropped when their time is over", remedy)
    return _ok(name, "no waiting message has a time to live")


_RENEW_REMEDY = (
    "Grant messages/write on the queue: the role Storage Queue Data Message Processor does not have it, "
    "Storage Queue Data Contributor and the README's custom role do."
)
_DELETE_REMEDY = "Grant messages/process/action on the queue."


async def _finding(name: str, call: Awaitable[object], text: str) -> Finding:
    """Await a call, and say what came of it."""
    try:
        await call
    except MissingError as exc:
        return _fail(name, str(exc), wiring.IF_NOT_CREATED)
    except DeniedError as exc:
        remedy = (
            "Grant the role; a new one takes some minutes to arrive. With several identities name one by --client-id."
        )
        return _fail(name, str(exc), remedy)
    except ConfigurationError as exc:
        return _misconfigured(name, exc)
    except SpotfsmError as exc:
        return _fail(name, str(exc), "Check the address, and try again later.")
    return _ok(name, text)


async def _check_permission(name: str, call: Awaitable[object], text: str, remedy: str) -> Finding:
    """Try something on a message that does not exist: to be told so is to be allowed."""
    try:
        await call
    except LeaseLostError:
        return _ok(name, text)
    except DeniedError as exc:
        return _fail(name, str(exc), remedy)
    except SpotfsmError as exc:
        return _warn(name, f"cannot be told: {exc}", "Try again later.")
    return _warn(name, "cannot be told: a message that does not exist was taken", "Check the address.")


def _renewal(queue: WorkQueue) -> Awaitable[object]:
    return queue.renew(_NO_MESSAGE, _NO_RECEIPT, visibility_timeout_s=60, timeout_s=CALL_TIMEOUT_S)


def _deletion(queue: WorkQueue) -> Awaitable[object]:
    return queue.delete(_NO_MESSAGE, _NO_RECEIPT, timeout_s=CALL_TIMEOUT_S)
