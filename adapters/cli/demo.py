"""`spotfsm demo`: the main job on the embedded default, played through in under a minute.

Everything is real but Azure: the worker is a process of its own that takes jobs from an SQLite file, it reads Scheduled
Events over HTTP, and "the VM is taken" is a SIGKILL of its process group. This process plays Azure: it announces
evictions through the IMDS twin, takes the VM and brings it back, as the same VM or as a new one, and in the end works
out a receipt.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from adapters.addresses import find_storage
from adapters.cli.demo_screen import DemoScreen
from adapters.cli.demo_stage import PlayedVm, Return, Stage
from adapters.cli.options import AsJson
from adapters.cli.receipt import Receipt, make_receipt
from adapters.host.journal_lines import JournalFollower, Line, read_journals
from adapters.sqlite.history import keep_history, read_history, recordings
from adapters.twin.server import serve_twin
from adapters.wiring import open_storage
from fsm.application import APPLICATION, AppState
from fsm.errors import SpotfsmError
from fsm.job import JobState
from fsm.record import Status
from fsm.replay import replay

JOBS = 100
PAGES = (6, 7, 8, 9, 10)
PAGE_S = 0.12
GIVE_UP_S = 170.0
"""A demo that is not over by then is stuck."""
_LOOK_S = 0.05
_CALL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """One thing that Azure does to the VM.

    Attributes:
        after: how many jobs are completed before it.
        notice_s: how long before the end it is announced; None for not at all.
        back: as what the worker comes back.
    """

    after: int
    notice_s: float | None
    back: Return


STORY = (
    Interruption(after=10, notice_s=5, back=Return.REDEPLOYED),
    Interruption(after=30, notice_s=None, back=Return.REDEPLOYED),
    Interruption(after=50, notice_s=2, back=Return.RECREATED),
    Interruption(after=65, notice_s=None, back=Return.RECREATED),
    Interruption(after=80, notice_s=None, back=Return.RESTARTED),
)
"""Two evictions with notice, two without, and a crash of the worker alone."""


class DemoFailedError(SpotfsmError):
    """The demo could not be played to its end; says where the evidence lies."""


class Demo:
    """One playing of the story."""

    def __init__(self, stage: Stage, vm: PlayedVm, screen: DemoScreen, follower: JournalFollower) -> None:
        self._stage = stage
        self._vm = vm
        self._screen = screen
        self._follower = follower
        self._completed: set[str] = set()
        self._handed_back = 0

    async def play(self) -> None:
        """Every interruption in its turn, and then to the end.

        Raises:
            DemoFailedError: a worker ended before its time.
        """
        await self._vm.start()
        for interruption in STORY:
            while len(self._completed) < interruption.after:
                await self._look()
                self._expect_running()
            await self._interrupt(interruption)
        while self._vm.exit_status is None:
            await self._look()
        await self._look()
        if self._vm.exit_status != 0:
            self._expect_running()

    async def _interrupt(self, interruption: Interruption) -> None:
        notice_s = interruption.notice_s
        if notice_s is not None:
            self._screen.say(f"[yellow]Azure announces an eviction in {notice_s:g} s[/]")
            self._vm.announce(notice_s)
            taken_at_s = time.monotonic() + notice_s
            while time.monotonic() < taken_at_s:
                await self._look()
        await self._vm.take(evicted=interruption.back is not Return.RESTARTED)
        match notice_s, interruption.back:
            case _, Return.RESTARTED:
                self._screen.say("[red]the worker is killed (SIGKILL), the VM goes on[/]")
            case None, _:
                self._screen.say("[red]the VM is taken without notice (SIGKILL)[/]")
            case _:
                self._screen.say("[red]the VM is taken as announced (SIGKILL)[/]")
        await self._vm.come_back(interruption.back)

    def _expect_running(self) -> None:
        if self._vm.exit_status is not None:
            said = self._stage.output.read_text(errors="replace").strip().splitlines()
            raise DemoFailedError(f"the worker ended with {self._vm.exit_status}: {said[-1] if said else 'no output'}")

    async def _look(self) -> None:
        """See what the journals say by now."""
        for line in self._follower.new_lines():
            self._tell(line)
        self._screen.completed(len(self._completed))
        await asyncio.sleep(_LOOK_S)

    def _tell(self, line: Line) -> None:
        """What a line means to a person."""
        if line.job and line.text("to") == JobState.COMPLETED:
            self._completed.add(line.job)
        elif line.job and line.text("to") == JobState.RELEASED:
            self._handed_back += 1
        elif line.kind == "origin":
            self._screen.say(f"[green]a worker is up: {line.text('origin')}[/]")
        elif line.kind == "notice":
            left_s = float(line.fields["left_s"] or 0.0)
            self._screen.say(f"[yellow]the worker reads the notice: the VM may go in {left_s:.1f} s[/]")
        elif line.machine == APPLICATION.name and line.text("to") == AppState.DRAINED != line.text("from"):
            self._screen.say(f"[yellow]the worker has drained; {self._handed_back} jobs are handed back[/]")
            self._handed_back = 0
        elif line.kind == "stop":
            self._screen.say(f"[green]the worker stops: {line.text('reason')}[/]")


async def _play(stage: Stage, console: Console) -> Receipt:
    """Enqueue, play, and work out the receipt.

    Raises:
        DemoFailedError: it did not come to its end.
    """
    pages_of = await _enqueue(stage)
    with DemoScreen(console, jobs=JOBS) as screen, JournalFollower(stage.journal) as follower:
        screen.say(f"{JOBS} jobs wait in an SQLite queue; the worker starts on a fresh VM")
        began_s = time.monotonic()
        async with serve_twin(boot_id_file=stage.boot_id_file) as twin:
            vm = PlayedVm(stage, twin)
            try:
                async with asyncio.timeout(GIVE_UP_S):
                    await Demo(stage, vm, screen, follower).play()
            except TimeoutError as exc:
                raise DemoFailedError(f"the demo was not over after {GIVE_UP_S:g} s") from exc
            finally:
                await vm.destroy()
        took_s = time.monotonic() - began_s
    lines = read_journals(stage.journal)
    return make_receipt(
        statuses=await _statuses(stage, pages_of),
        recordings=recordings(read_history(stage.database)),
        steps=sum(pages_of.values()),
        effects=stage.effects,
        lines=lines,
        illegal_lines=len(replay(lines).faults),
        lives=vm.lives,
        took_s=took_s,
    )


async def _enqueue(stage: Stage) -> dict[str, int]:
    """Put the jobs and return how many pages each has, by id."""
    pages_of: dict[str, int] = {}
    async with open_storage(find_storage(stage.queue, stage.store)) as storage:
        await storage.create(on_azure=False)
        for book in range(JOBS):
            pages = PAGES[book % len(PAGES)]
            body = json.dumps({"book": book, "pages": pages, "page_s": PAGE_S})
            pages_of[await storage.queue.put(body, timeout_s=_CALL_TIMEOUT_S)] = pages
    keep_history(stage.database)
    return pages_of


async def _statuses(stage: Stage, job_ids: Collection[str]) -> dict[str, Status | None]:
    """What the store says of each job; a job without a record is lost."""
    async with open_storage(find_storage(stage.queue, stage.store)) as storage:
        store, queue = storage.store, storage.queue.name
        assert store is not None
        found = {job_id: await store.read(queue, job_id, timeout_s=_CALL_TIMEOUT_S) for job_id in job_ids}
    return {job_id: None if stored is None else stored.record.status for job_id, stored in found.items()}


def run_demo(console: Console) -> Receipt:
    """Play the demo in a temporary directory and return the receipt.

    Ctrl-C and SIGTERM end it; no process and no file is left behind. Where it fails, the files are kept.

    Raises:
        DemoFailedError: it did not come to its end; the message says where the files are.
        KeyboardInterrupt: it was told to end.
    """
    directory = Path(tempfile.mkdtemp(prefix="spotfsm-demo-"))
    try:
        receipt = asyncio.run(_until_told(_play(Stage(directory=directory), console)))
    except DemoFailedError as exc:
        raise DemoFailedError(f"{exc}; its files are in {directory}") from exc
    except BaseException:
        shutil.rmtree(directory)
        raise
    if receipt.kept_the_promises:
        shutil.rmtree(directory)
    else:
        console.print(f"[bold red]a promise was broken; the evidence is in {directory}[/]")
    return receipt


async def _until_told(play: Coroutine[None, None, Receipt]) -> Receipt:
    """End in good order on SIGTERM too, as asyncio does on SIGINT."""
    task = asyncio.ensure_future(play)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _demo(as_json: AsJson = False) -> None:
    """Run 100 jobs through evictions and kills, on the embedded default, and show a receipt.

    Takes about half a minute, needs no Azure and leaves nothing behind. Ends with 1 if a job was lost or
    recorded twice, or if a line of the journals is illegal.

    The keys of --json: jobs, completed, poisoned, lost, recorded_twice, steps, steps_redone, seconds_redone,
    evictions_with_notice, evictions_without_notice, process_kills, notices (announced_s, left_s), recoveries (origin,
    first_job_after_s), illegal_lines (of the journals, by the replay), took_s.
    """
    receipt = run_demo(Console(stderr=True))
    if as_json:
        print(receipt.to_json())
    else:
        Console().print(receipt.to_table())
    if not receipt.kept_the_promises:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog="Example: spotfsm demo --json")(_demo)
