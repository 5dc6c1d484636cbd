"""Running a worker in this process: its loop, its journal, its receipt, and its end, whoever would prevent it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from adapters import wiring
from adapters.addresses import StorageAddresses
from adapters.cli.exits import EXIT_FAILED
from adapters.cli.failures import report
from adapters.cli.output import counted, say, show_json, show_table
from adapters.cli.watch import Watch
from fsm.runner import Tally, Worker, WorkerSettings

LETTING_GO_S = 1.0
"""How long a handler may take to let go, after the worker is done, before the process ends without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a worker works."""

    addresses: StorageAddresses
    imds: str | None
    boot_id_file: Path
    journal_file: Path | None


def run_worker(place: Place, settings: WorkerSettings, handler: str, *, as_json: bool) -> int:
    """Run a worker to its end, print its receipt, and return the exit code.

    With `as_json` whatever a handler prints goes to stderr: stdout is the receipt's.

    Raises:
        SpotfsmError: the worker cannot begin, or cannot go on.
    """
    began_s = time.monotonic()
    watch = Watch(interactive=sys.stderr.isatty())
    if place.addresses.without_store is not None:
        watch.warn(place.addresses.without_store)
    with ExitStack() as stack:
        if as_json:
            stack.enter_context(redirect_stdout(sys.stderr))
        tally, hung = _work(place, settings, handler, watch)
    receipt: dict[str, str | int | float | None] = {
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
    if as_json:
        show_json(receipt)
    else:
        show_table((name.replace("_", " "), value) for name, value in receipt.items())
    if hung:
        _leave(hung, EXIT_FAILED)
    return 0


def _work(place: Place, settings: WorkerSettings, handler: str, watch: Watch) -> tuple[Tally, int]:
    """Run the worker, and return what it did and how many of its tasks will not end.

    Raises:
        SpotfsmError: the worker cannot begin, or cannot go on.
    """
    job_runner = wiring.open_job_runner(handler)
    journal_file = None if place.journal_file is None else Path(os.path.realpath(place.journal_file))
    journal = wiring.open_journal(journal_file, watch.observe)

    async def work() -> Tally:
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
