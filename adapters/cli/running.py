"""Running a worker in this process: its loop, its journal, its receipt, and its end, whoever would prevent it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from adapters import wiring
from adapters.addresses import StorageAddresses
from adapters.cli.exits import EXIT_FAILED
from adapters.cli.failures import report
from adapters.cli.output import counted, say, show_json, show_table
from adapters.cli.watch import Watch
from adapters.host.imports import uncollected
from adapters.imds.turns import Turn
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
        show_receipts([receipt], as_json=as_json, several=False)

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
    if place.turn is None:
        watch = Watch(interactive=sys.stderr.isatty())
    else:  # the terminal is shared
        watch = Watch(interactive=False, speaker=settings.instance)
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
        "stopped_by": watch.stopped_by,
        "hung": hung,
        "seconds": round(time.monotonic() - began_s, 3),
    }
    tell(receipt)
    if hung:
        _leave(hung, EXIT_FAILED)
    return 0


def show_receipts(receipts: Sequence[Receipt], *, as_json: bool, several: bool) -> None:
    """Print what workers did: as JSON one object, or a list of them where several run on this VM."""
    if as_json:
        show_json(list(receipts) if several else receipts[0])
        return
    for number, receipt in enumerate(receipts):
        if number:
            print()
        show_table((name.replace("_", " "), value) for name, value in receipt.items())


def _work(place: Place, settings: WorkerSettings, handling: wiring.Handling, watch: Watch) -> tuple[Tally, int]:
    """Run the worker, and return what it did and how many of its tasks will not end.

    Raises:
        SpotfsmError: the worker cannot begin, or cannot go on.
    """
    job_runner = wiring.open_job_runner(handling)
    journal_file = None if place.journal_file is None else Path(os.path.realpath(place.journal_file))
    journal = wiring.open_journal(journal_file, watch.observe)

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
                turn=place.turn,
            )
            with uncollected():  # the SDKs come in here
                opened = await stack.enter_async_context(ports)
            worker = Worker(opened, settings)
            watch.follow(lambda: worker.tally)
            return await worker.run()

    runner, hung = asyncio.Runner(), 0
    try:
        try:
            tally = runner.run(work())
        except BaseException as exc:
            hung = runner.run(_end_the_rest())
            if hung:
                _leave(hung, report(exc))
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


def _leave(hung: int, code: int) -> None:
    """End the process from outside of the loop, in which handlers will not let go."""
    say(f"{counted(hung, 'handler')} did not let go when told to; the process ends without waiting any longer")
    sys.stdout.flush()
    os._exit(code)
