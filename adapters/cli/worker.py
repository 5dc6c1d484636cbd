"""`spotfsm worker`: run jobs until told to stop, or until none is left."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from adapters import wiring
from adapters.addresses import Credential, StorageAddresses, find_storage
from adapters.cli import options
from adapters.cli.exits import EXIT_FAILED
from adapters.cli.output import counted, say, show_json, show_table
from adapters.cli.watch import Watch
from fsm.messages import MESSAGE_BYTES_MAX, Encoding
from fsm.ports import JobRunner
from fsm.runner import Tally, Worker, WorkerSettings

LETTING_GO_S = 1.0
"""How long a handler may take to let go, after the worker is done, before the process ends without it."""
LETTING_GO_LOOKS = 50
_DAY_S = 86400.0
_EXAMPLE = "Example: spotfsm worker --handler jobs:handle --concurrency 16 --until-empty --journal worker.jsonl"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker", epilog=f"{_EXAMPLE}\n\n{options.ADDRESSES}")(_worker)


def _worker(
    *,
    handler: Annotated[
        str,
        options.setting(
            "--handler",
            "The coroutine function that does a job, as module:function; the working directory is searched first.",
            metavar="NAME",
        ),
    ],
    queue: options.Queue = None,
    store: options.Store = None,
    concurrency: Annotated[
        int,
        options.setting(
            "--concurrency", "How many jobs run at once, 1 to 256.", metavar="N", parser=options.whole(1, 256)
        ),
    ] = 8,
    until_empty: Annotated[bool, options.setting("--until-empty", "End once nothing waits or runs.")] = False,
    journal: options.JournalFile = None,
    as_json: options.AsJson = False,
    imds: options.Imds = None,
    instance: options.Instance = "1",
    visibility_timeout: Annotated[
        float,
        options.setting(
            "--visibility-timeout",
            "The lease of a message, renewed at half of it: how long a killed worker's job stays hidden.",
            metavar="TIME",
            parser=options.duration(2.0, 7 * _DAY_S),
            show_default="1m",
        ),
    ] = 60.0,
    job_timeout: Annotated[
        float | None,
        options.setting(
            "--job-timeout",
            "How long a job may run before it counts as failed; as long as it likes by default.",
            metavar="TIME",
            parser=options.duration(0.1, 365 * _DAY_S),
        ),
    ] = None,
    retry_pause: Annotated[
        float,
        options.setting(
            "--retry-pause",
            "The pause after a job's first failure; it doubles with each.",
            metavar="TIME",
            parser=options.duration(0.0, _DAY_S),
            show_default="1s",
        ),
    ] = 1.0,
    stop_grace: Annotated[
        float,
        options.setting(
            "--stop-grace",
            "How long a stop by SIGTERM or SIGINT may drain; keep it under the unit's TimeoutStopSec.",
            metavar="TIME",
            parser=options.duration(0.0, _DAY_S),
            show_default="25s",
        ),
    ] = 25.0,
    idle_poll_max: Annotated[
        float,
        options.setting(
            "--idle-poll-max",
            "The longest pause between looks at an empty queue.",
            metavar="TIME",
            parser=options.duration(0.1, 3600.0),
            show_default="5s",
        ),
    ] = 5.0,
    imds_poll: Annotated[
        float,
        options.setting(
            "--imds-poll",
            "How often Scheduled Events are asked for; IMDS allows 5 requests a second to a whole VM.",
            metavar="TIME",
            parser=options.duration(0.2, 60.0),
            show_default="1s",
        ),
    ] = 1.0,
    message_encoding: options.MessageEncoding = Encoding.TEXT,
    message_bytes_max: Annotated[
        int,
        options.setting(
            "--message-bytes-max",
            "A larger message is poisoned.",
            metavar="N",
            parser=options.whole(1, MESSAGE_BYTES_MAX),
        ),
    ] = MESSAGE_BYTES_MAX,
    acknowledge: Annotated[
        bool,
        options.setting("--acknowledge", "Once drained, let the eviction begin at once instead of at its time."),
    ] = False,
    credential: options.CredentialOption = Credential.MANAGED_IDENTITY,
    client_id: options.ClientId = None,
    boot_id_file: options.BootIdFile = wiring.BOOT_ID_FILE,
    _config: options.Config = None,
) -> int:
    """Run jobs: receive messages, keep their leases, checkpoint, and hand on what an eviction interrupts.

    SIGTERM and Ctrl-C drain: what can be finished is finished, the rest is saved and handed back; a second Ctrl-C
    leaves a second for it. The receipt at the end goes to stdout, everything else to stderr. Keys of --json: queue,
    instance, origin (fresh, recreated, redeployed, restarted), received, begun, completed, released, poisoned,
    abandoned, failures, checkpoints, notices, stopped_by, hung, seconds.
    """
    place = _Place(
        addresses=find_storage(queue, store, credential=credential, client_id=client_id),
        imds=imds,
        boot_id_file=boot_id_file,
        journal_file=journal,
    )
    settings = WorkerSettings(
        instance=instance,
        concurrency=concurrency,
        visibility_timeout_s=visibility_timeout,
        idle_poll_s_max=idle_poll_max,
        imds_poll_s=imds_poll,
        stop_grace_s=stop_grace,
        job_timeout_s=job_timeout,
        retry_pause_s=retry_pause,
        encoding=message_encoding,
        message_bytes_max=message_bytes_max,
        until_empty=until_empty,
        acknowledge=acknowledge,
    )
    return _run(place, settings, wiring.open_job_runner(handler), as_json=as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the worker works."""

    addresses: StorageAddresses
    imds: str | None
    boot_id_file: Path
    journal_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """How a worker ended."""

    queue: str
    tally: Tally
    hung: int


def _run(place: _Place, settings: WorkerSettings, job_runner: JobRunner, *, as_json: bool) -> int:
    """Run the worker in a loop of its own and print the receipt."""
    began_s = time.monotonic()
    watch = Watch(interactive=sys.stderr.isatty())
    journal_file = None if place.journal_file is None else Path(os.path.realpath(place.journal_file))
    journal = wiring.open_journal(journal_file, watch.observe)

    async def work() -> _Outcome:
        async with (
            watch.shown(),
            wiring.open_ports(
                place.addresses,
                imds=wiring.find_imds(place.imds, place.addresses),
                boot_id_file=place.boot_id_file,
                job_runner=job_runner,
                journal=journal,
                journal_file=journal_file,
            ) as ports,
        ):
            worker = Worker(ports, settings)
            watch.follow(lambda: worker.tally)
            tally = await worker.run()
            await _let_go(worker)
            return _Outcome(queue=ports.queue.name, tally=tally, hung=worker.hung)

    try:
        with asyncio.Runner() as loop:
            if place.addresses.without_store is not None:
                watch.warn(place.addresses.without_store)
            outcome = loop.run(work())
            _show_receipt(outcome, watch, settings, seconds=time.monotonic() - began_s, as_json=as_json)
            if outcome.hung:
                stayed = counted(outcome.hung, "handler")
                say(f"{stayed} did not let go when told to; the process ends without waiting any longer")
                journal.close()
                os._exit(EXIT_FAILED)  # nothing inside the process can end them, and the loop would wait for them
    finally:
        journal.close()
    return 0


async def _let_go(worker: Worker) -> None:
    """Give the handlers that were just told to let go a moment to do so."""
    for _ in range(LETTING_GO_LOOKS):
        if not worker.hung:
            return
        await asyncio.sleep(LETTING_GO_S / LETTING_GO_LOOKS)


def _show_receipt(outcome: _Outcome, watch: Watch, settings: WorkerSettings, *, seconds: float, as_json: bool) -> None:
    tally = outcome.tally
    receipt: dict[str, str | int | float | None] = {
        "queue": outcome.queue,
        "instance": settings.instance,
        "origin": watch.origin,
        "received": tally.received,
        "begun": tally.begun,
        "completed": tally.completed,
        "released": tally.released,
        "poisoned": tally.poisoned,
        "abandoned": tally.abandoned,
        "failures": tally.failures,
        "checkpoints": tally.checkpoints,
        "notices": watch.notices,
        "stopped_by": watch.stopped_by,
        "hung": outcome.hung,
        "seconds": round(seconds, 3),
    }
    if as_json:
        show_json(receipt)
    else:
        show_table((name.replace("_", " "), value) for name, value in receipt.items())
