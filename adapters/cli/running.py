"""Running a worker in this process: its loop, its journal, its receipt, and its end, whoever would prevent it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

from adapters import wiring
from adapters.addresses import StorageAddresses
from adapters.cli.exits import EXIT_FAILED
from adapters.cli.failures import report
from adapters.cli.log import Log, LogFormat
from adapters.cli.output import counted, show_json, show_table
from adapters.cli.watch import Watch
from adapters.host.imports import uncollected
from adapters.host.pulse import Heartbeat
from adapters.imds.turns import Turn
from adapters.telemetry.watching import Watched, Watching, watched_by
from fsm.ports import JobRunner
from fsm.runner import Tally, Worker, WorkerSettings

LETTING_GO_S = 1.0
"""How long a handler may take to let go, after the worker is done, before the process ends without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a worker works."""

    addresses: StorageAddresses
    imds: str
    boot_id_file: Path
    journal_file: Path | None
    log: LogFormat = LogFormat.TEXT
    watching: Watching = field(default_factory=Watching)
    turn: Turn | None = None
    """Its turn to ask IMDS, where it is one of several on this VM."""


Receipt: TypeAlias = dict[str, str | int | float | None]


def run_alone(place: Place, settings: WorkerSettings, handling: wiring.Handling, *, as_json: bool) -> int:
    """Run the only worker of its name, print its receipt, and return the exit code.

    Raises:
        ConfigurationError: another one of this name runs.
        SpotfsmError: as `run_worker` does.
    """

    def show(receipt: Receipt) -> None:
        show_receipts([receipt], place, as_json=as_json, several=False)

    with only_this(place, settings):
        return run_worker(place, settings, handling, as_json=as_json, tell=show)


def only_this(place: Place, settings: WorkerSettings) -> AbstractContextManager[None]:
    """Be the only worker of this name.

    Raises:
        ConfigurationError: another one runs.
    """
    return wiring.only_worker(
        place.addresses, imds=place.imds, boot_id_file=place.boot_id_file, instance=settings.instance
    )


def run_worker(
    place: Place,
    settings: WorkerSettings,
    handling: wiring.Handling,
    *,
    as_json: bool,
    tell: Callable[[Receipt], None],
) -> int:
    """Run a worker to its end, tell its receipt, and return the exit code.

    With `as_json` whatever a handler prints goes to stderr: stdout is the receipt's.

    Raises:
        SpotfsmError: the worker cannot begin, or cannot go on.
    """
    began_s = time.monotonic()
    shared = place.turn is not None
    log = Log(form=place.log.resolved(), worker=settings.instance, shared=shared)
    watch = Watch(interactive=sys.stderr.isatty() and not shared, log=log)
    if place.addresses.without_store is not None:
        watch.warn(place.addresses.without_store)
    with ExitStack() as stack:
        if as_json:
            stack.enter_context(redirect_stdout(sys.stderr))
        tally, hung = _work(place, settings, handling, watch)
    receipt: Receipt = {
        "queue": place.addresses.queue.name,
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
        "margin_s": watch.margin_s,
        "redone_s": round(watch.redone_s, 3),
        "stopped_by": watch.stopped_by,
        "hung": hung,
        "seconds": round(time.monotonic() - began_s, 3),
    }
    tell(receipt)
    if hung:
        _leave(hung, EXIT_FAILED, watch)
    return 0


def show_receipts(receipts: Sequence[Receipt], place: Place, *, as_json: bool, several: bool) -> None:
    """Print what workers did: as JSON one object, or a list of them where several run on this VM.

    Where the log is JSON, for programs, a receipt is an event like any other, and no table stands among them.
    """
    if as_json:
        show_json(list(receipts) if several else receipts[0])
        return
    for number, receipt in enumerate(receipts):
        if place.log.resolved() is LogFormat.JSON:
            log = Log(form=LogFormat.JSON, worker=str(receipt["instance"]))
            log.tell("the worker has ended", event="receipt", fields=receipt)
            continue
        if number:
            print()
        show_table((name.replace("_", " "), value) for name, value in receipt.items())


def _work(place: Place, settings: WorkerSettings, handling: wiring.Handling, watch: Watch) -> tuple[Tally, int]:
    """Run the worker, and return what it did and how many of its tasks will not end.

    Raises:
        SpotfsmError: the worker cannot begin, or cannot go on.
    """
    job_runner = wiring.open_job_runner(handling)
    heartbeat = Heartbeat()
    watched = watched_by(
        place.watching,
        worker=settings.instance,
        lease_s=settings.visibility_timeout_s,
        silent_s=heartbeat.silent_s,
        complain=partial(watch.fail, once="telemetry"),
    )
    with watched as by:
        if by.url is not None:
            watch.tell(
                f"watched at {by.url}: /healthz, /healthz/all, /readyz, /metrics",
                event="watched",
                fields={"url": by.url},
            )
        return _run(place, settings, job_runner=job_runner, watch=watch, watched=by, heartbeat=heartbeat)


def _run(
    place: Place,
    settings: WorkerSettings,
    *,
    job_runner: JobRunner,
    watch: Watch,
    watched: Watched,
    heartbeat: Heartbeat,
) -> tuple[Tally, int]:
    """Run the loop to its end."""
    journal_file = None if place.journal_file is None else Path(os.path.realpath(place.journal_file))
    journal = wiring.open_journal(journal_file, watch.observe, *watched.observers)

    async def work() -> Tally:
        async with watch.shown(), AsyncExitStack() as stack:
            ports = wiring.open_ports(
                place.addresses,
                imds=place.imds,
                boot_id_file=place.boot_id_file,
                job_runner=job_runner,
                journal=journal,
                journal_file=journal_file,
                stop_grace_s=settings.stop_grace_s,
                heartbeat=heartbeat,
                turn=place.turn,
            )
            with uncollected():  # the SDKs come in here
                opened = await stack.enter_async_context(ports)
            worker = Worker(opened, settings)
            watch.follow(lambda: worker.tally)
            if place.watching.backlog_s is not None and watched.measures is not None:
                from adapters.telemetry.backlog import keep_backlog

                counting = keep_backlog(opened, watched.measures, every_s=place.watching.backlog_s)
                stack.callback(asyncio.create_task(counting).cancel)
            return await worker.run()

    runner, hung = asyncio.Runner(), 0
    try:
        try:
            tally = runner.run(work())
        except BaseException as exc:
            hung = runner.run(_end_the_rest())
            if hung:
                _leave(hung, report(exc, watch.log), watch)
            raise
        hung = runner.run(_end_the_rest())
    finally:
        if not hung:  # closing it waits for every task, however long
            runner.close()
        journal.close()
    return tally, hung


async def _end_the_rest() -> int:
    """Cancel whatever still runs in this loop, and return how much of it will not end."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if not rest:
        return 0
    ended, running = await asyncio.wait(rest, timeout=LETTING_GO_S)
    for task in ended:
        if not task.cancelled():
            task.exception()  # seen: what is left of an abandoned job concerns nobody
    return len(running)


def _leave(hung: int, code: int, watch: Watch) -> None:
    """End the process from outside of the loop, in which handlers will not let go."""
    text = f"{counted(hung, 'handler')} did not let go when told to; the process ends without waiting any longer"
    watch.tell(text, event="hung", fields={"hung": hung})
    sys.stdout.flush()
    os._exit(code)
