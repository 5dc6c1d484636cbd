"""`spotfsm doctor`: is everything in place for a worker? One line a check, with a remedy where it is not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from adapters import wiring
from adapters.addresses import Credential, find_storage
from adapters.cli import options
from adapters.cli.checks import Examined, examine
from adapters.cli.exits import EXIT_FAILED
from adapters.cli.findings import Finding, Verdict
from adapters.cli.output import one_line, show_json
from adapters.telemetry.backends import Backend

_EXAMPLE = "Example: spotfsm doctor --queue https://ACCOUNT.queue.core.windows.net/jobs"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog=f"{_EXAMPLE}\n\n{options.ADDRESSES}")(_doctor)


def _doctor(
    *,
    queue: options.Queue = None,
    store: options.Store = None,
    imds: options.Imds = None,
    journal: options.JournalFile = None,
    handler: Annotated[
        str | None,
        options.setting("--handler", "A handler, module:function, to import as well.", metavar="NAME"),
    ] = None,
    telemetry: options.Telemetry = Backend.NONE,
    as_json: options.AsJson = False,
    credential: options.CredentialOption = Credential.MANAGED_IDENTITY,
    client_id: options.ClientId = None,
    boot_id_file: options.BootIdFile = wiring.BOOT_ID_FILE,
    _config: options.Config = None,
) -> int:
    """Check Python, IMDS, identity, queue, store, permissions, disks and telemetry, as a worker would use them.

    Harmless: messages are neither received nor put, and the one thing written is a presence of the instance "doctor".
    Exit code 1 if a check fails. Keys of --json: healthy, checks (a list of name, verdict, text, remedy).
    """
    addresses = find_storage(queue, store, credential=credential, client_id=client_id)
    examined = Examined(
        addresses=addresses,
        imds=wiring.find_imds(imds, addresses),
        boot_id_file=boot_id_file,
        journal_file=None if journal is None else Path(os.path.realpath(journal)),
        handler=handler,
        telemetry=telemetry,
    )
    findings = asyncio.run(examine(examined))
    healthy = all(finding.verdict is not Verdict.FAIL for finding in findings)
    if as_json:
        show_json({"healthy": healthy, "checks": [finding.report() for finding in findings]})
    else:
        _show(findings)
    return 0 if healthy else EXIT_FAILED


def _show(findings: Sequence[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        sentence = one_line(f"{finding.text}. {finding.remedy}")
        print(f"{finding.verdict.value:<4}  {finding.name:<{width}}  {sentence}")
