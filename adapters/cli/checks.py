"""What `spotfsm doctor` looks at. Every check is harmless and ends with findings, never with an error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

from adapters import wiring
from adapters.addresses import NONE, StorageAddresses
from adapters.cli.findings import Finding, fail, misconfigured, ok, warn
from adapters.cli.storage_checks import check_storage
from adapters.host.disks import KeptFile, read_mounts, warnings
from adapters.host.journal import check_journal
from adapters.telemetry.backends import CONNECTION_STRING, Backend, check_backend
from fsm.errors import ConfigurationError, PlatformError
from fsm.ports import VmIdentity

IMDS_TIMEOUT_S = 5.0
PACKAGES = ("fsm", "adapters", "simulator")
"""Names under which somebody else's package may be installed as well."""
DISTRIBUTION = "spotfsm"
_PYTHON_MIN = (3, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The settings to be checked."""

    addresses: StorageAddresses
    imds: str
    boot_id_file: Path
    journal_file: Path | None
    handler: str | None
    telemetry: Backend


async def examine(examined: Examined) -> list[Finding]:
    """Run every check, one after the other."""
    findings = [*check_python(), *check_names(Path.cwd())]
    if examined.handler is not None:
        findings.append(check_handler(examined.handler))
    if examined.journal_file is not None:
        findings.append(check_journal_file(examined.journal_file))
    findings += check_telemetry(examined.telemetry)
    vm_findings, identity = await _check_vm(examined)
    findings += vm_findings
    findings += check_disks(examined, identity)
    findings += [finding async for finding in check_storage(examined.addresses, identity)]
    return findings


# -- this machine -----------------------------------------------------------------------------------------------------


def check_python() -> Iterator[Finding]:
    """The interpreter, and whether it is the program's own."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _PYTHON_MIN:
        yield fail("python", f"Python {version} is too old", "Use 3.11 or newer.")
    elif sys.prefix == sys.base_prefix:
        remedy = "Install spotfsm into a virtual environment of its own."
        yield warn("python", f"Python {version} outside of a virtual environment", remedy)
    else:
        yield ok("python", f"Python {version} in {sys.prefix}")


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
        yield fail("names", clash, "Use a virtual environment of its own, and other names for your modules.")
    if not clashes:
        yield ok("names", "no other package is called " + ", ".join(PACKAGES))


def check_handler(handler: str) -> Finding:
    """Whether the handler can be imported."""
    try:
        wiring.open_job_runner(wiring.Handling(handler=handler))
    except ConfigurationError as exc:
        return misconfigured("handler", exc)
    return ok("handler", f"{handler} can be imported")


def check_journal_file(path: Path) -> Finding:
    """Whether a worker could write its journal; nothing is written."""
    try:
        check_journal(path)
    except ConfigurationError as exc:
        return misconfigured("journal", exc)
    return ok("journal", f"{path} can be written")


def check_telemetry(backend: Backend) -> Iterator[Finding]:
    """Whether telemetry can work as it is set; nothing is sent."""
    name = "telemetry"
    if backend is Backend.NONE:
        if os.environ.get(CONNECTION_STRING):
            yield warn(name, f"{CONNECTION_STRING} is set, and --telemetry is none", "Set it to azure-monitor.")
        return
    try:
        yield ok(name, f"goes to {check_backend(backend)}")
    except ConfigurationError as exc:
        yield misconfigured(name, exc)


def check_disks(examined: Examined, identity: VmIdentity | None) -> Iterator[Finding]:
    """Whether an eviction of this VM would take the files with it."""
    files = [*examined.addresses.files]
    if examined.journal_file is not None:
        files.append(KeptFile(setting="--journal", path=examined.journal_file, holds="its lines"))
    if not files:
        yield ok("disks", "nothing is kept on this VM")
    elif identity is None:
        yield warn("disks", "unknown: this VM's eviction policy could not be asked for", "See imds.")
    else:
        found = warnings(files, read_mounts(), identity)
        for warning in found:
            yield warn("disks", warning.text, warning.remedy)
        if not found:
            policy = identity.eviction_policy or "none, as far as this machine knows"
            yield ok("disks", f"nothing is lost with this VM (eviction policy: {policy})")


# -- the VM -----------------------------------------------------------------------------------------------------------


async def _check_vm(examined: Examined) -> tuple[list[Finding], VmIdentity | None]:
    """IMDS, or the host in its place: who this VM is, and whether evictions would be announced."""
    name = "imds"
    try:
        async with wiring.open_vm(examined.imds, boot_id_file=examined.boot_id_file) as vm:
            identity = await vm.metadata.identity(timeout_s=IMDS_TIMEOUT_S)
            if examined.imds.lower() == NONE:
                text = f"none: {identity.name} learns of an eviction only by being killed, which loses nothing"
                return [ok(name, text)], identity
            findings = [
                ok(
                    name,
                    f"{examined.imds} says {identity.name}, priority {identity.priority or 'unknown'}, "
                    f"eviction policy {identity.eviction_policy or 'none'}",
                )
            ]
            try:
                document = await vm.events.poll(timeout_s=IMDS_TIMEOUT_S)
                findings.append(ok("events", f"Scheduled Events answer; {len(document.events)} stand"))
            except PlatformError as exc:
                remedy = "Run doctor again: the first call of a VM may take two minutes."
                findings.append(warn("events", str(exc), remedy))
            return findings, identity
    except ConfigurationError as exc:
        return [misconfigured(name, exc)], None
    except PlatformError as exc:
        return [fail(name, str(exc), "Run it on the VM, or use --imds none off Azure.")], None
