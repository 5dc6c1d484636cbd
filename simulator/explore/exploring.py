"""Explores a handler: undisturbed first, then struck at each of its steps, in a world of its own each time.

Each run has the production worker, a queue, a job store and one VM at a time. When the VM is taken, another one takes
the message up after its lease has run out, with a process that knows nothing of the first.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from fsm.errors import SpotfsmError
from fsm.ports import VmIdentity
from fsm.runner import WorkerSettings
from simulator.explore.comparing import Outcome, differences
from simulator.explore.driving import Handler, SteppedRunner
from simulator.explore.places import Places
from simulator.explore.plain import virtual_sleep
from simulator.explore.steps import Step, StepKind, Watch, Way
from simulator.loop import virtually
from simulator.observing import Observer
from simulator.process import Ending, Process
from simulator.vm import SimulatedVm
from simulator.world import World

NOTICE_S = 30.0
UNDISTURBED_S_MAX = 7 * 86_400.0
"""A handler may take a week of virtual time."""
LONGER_S = 3600.0
"""By how much a struck run may take longer than three undisturbed ones: leases run out, failures are tried again."""

OnProgress = Callable[[int, int], None]
"""Told before each run: how many are done, and how many there are."""


class UndisturbedError(SpotfsmError):
    """The handler cannot be explored: it fails, or does something else each time, with nobody disturbing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is explored.

    Attributes:
        load: imports the handler anew, each time it is called.
        files: the user's source files; their lines are steps.
        text: the message.
        given: files and directories that stand in its working directory.
    """

    load: Callable[[], Handler]
    files: frozenset[str]
    text: str
    given: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A step at which the handler goes astray.

    Attributes:
        differences: what is not as in the undisturbed run, a sentence each.
        times: at how many strikes the like comes out, this one included.
    """

    step: Step
    way: Way
    differences: tuple[str, ...]
    times: int

    def __str__(self) -> str:
        after = f", after {self.step.before}" if self.step.before else ""
        again = f", pass {self.step.passing}" if self.step.passing > 1 else ""
        more = self.times - 1
        often = f" (the like at {more} more step{'s' if more > 1 else ''})" if more else ""
        where = f"{self.step.kind.value} {self.step.where}{after}{again}"
        return f"{self.way.value} {where}: {'; '.join(self.differences)}{often}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """What came of exploring one message.

    Attributes:
        steps: of the undisturbed run.
        kills, notices: how many runs were struck in which way.
        left_out: how many strikes were not tried, because there were too many.
    """

    text: str
    result: str | None
    steps: int
    kills: int
    notices: int
    left_out: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return not self.findings


def explore(subject: Subject, *, runs_max: int = 2000, on_progress: OnProgress | None = None) -> Explored:
    """Run a handler undisturbed, then once for each step and way to strike at it.

    Args:
        subject: the handler and its message.
        runs_max: with more strikes than this, later passes of the same place are left out.
        on_progress: told before each run.

    Raises:
        UndisturbedError: there is nothing to compare with.
    """
    with tempfile.TemporaryDirectory(prefix="spotfsm-explore-") as root:  # one for all runs: paths are the same in each
        return _explore(subject, Path(root), runs_max, on_progress)


def _explore(subject: Subject, root: Path, runs_max: int, on_progress: OnProgress | None) -> Explored:
    base, steps = _undisturbed(subject, root)
    strikes = list(_strikes(steps))
    chosen = sorted(_fewer(strikes, runs_max), key=lambda strike: strike[0].number)
    astray: list[Finding] = []
    for done, (step, way) in enumerate(chosen):
        if on_progress is not None:
            on_progress(done, len(chosen))
        _, outcome = _run(subject, root, (step.number, way), within_s=3 * base.took_s + LONGER_S)
        found = tuple(differences(base, outcome))
        if found:
            astray.append(Finding(step=step, way=way, differences=found, times=1))
    return Explored(
        text=subject.text,
        result=base.result,
        steps=len(steps),
        kills=sum(way is Way.KILL for _, way in chosen),
        notices=sum(way is Way.NOTICE for _, way in chosen),
        left_out=len(strikes) - len(chosen),
        findings=tuple(_grouped(astray)),
    )


def _undisturbed(subject: Subject, root: Path) -> tuple[Outcome, list[Step]]:
    steps, base = _run(subject, root, None, within_s=UNDISTURBED_S_MAX)
    if base.errors:
        raise UndisturbedError(f"undisturbed, it fails: {base.errors[0]}")
    if base.end != "completed":
        raise UndisturbedError(f"undisturbed, it is {base.end}")
    _, again = _run(subject, root, None, within_s=UNDISTURBED_S_MAX)
    unlike = "; ".join(differences(base, again))
    if unlike:
        raise UndisturbedError(f"undisturbed, it does something else each time: {unlike}")
    return base, steps


def _strikes(steps: Sequence[Step]) -> Iterator[tuple[Step, Way]]:
    """Between two lines nobody can tell the handler anything: there it is only killed."""
    for step in steps:
        yield step, Way.KILL
        if step.kind in (StepKind.WAIT, StepKind.CHECKPOINT, StepKind.SAVED):
            yield step, Way.NOTICE


def _fewer(strikes: list[tuple[Step, Way]], runs_max: int) -> list[tuple[Step, Way]]:
    """The first passes of every place before the later ones."""
    return sorted(strikes, key=lambda strike: (strike[0].passing, strike[0].number))[:runs_max]


def _grouped(findings: Sequence[Finding]) -> Iterator[Finding]:
    """The first pass of each place speaks for the later ones, and the first place for others with the same outcome.

    A kill speaks before a notice: it needs no worker that reacts.
    """
    places: dict[tuple[object, ...], list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: finding.way is Way.NOTICE):
        places.setdefault((finding.step.place, finding.way), []).append(finding)
    outcomes: dict[tuple[str, ...], list[list[Finding]]] = {}
    for passes in places.values():
        outcomes.setdefault(passes[0].differences, []).append(passes)
    for alike in outcomes.values():
        first = alike[0][0]
        times = sum(map(len, alike))
        yield Finding(step=first.step, way=first.way, differences=first.differences, times=times)


# -- one run ----------------------------------------------------------------------------------------------------------


def _run(
    subject: Subject, root: Path, target: tuple[int, Way] | None, *, within_s: float
) -> tuple[list[Step], Outcome]:
    places = Places(root, subject.given)
    with places.entered(), virtual_sleep():
        return virtually(partial(_live, subject, places, target, within_s))


async def _live(
    subject: Subject, places: Places, target: tuple[int, Way] | None, within_s: float
) -> tuple[list[Step], Outcome]:
    """One VM, and after it another, until the message is gone."""
    settled = asyncio.Event()
    world = World(observers=[_WhenDeleted(settled)])
    watch = Watch(subject.files, places, target)
    message_id = world.queues.put(world.queue_name, subject.text)
    vm, process = _start(world, subject, watch, 1)
    watch.notify = partial(_announce, world, vm)
    await _first(settled, watch.struck, within_s=within_s)
    if watch.struck.is_set():
        if process.alive and target is not None and target[1] is Way.NOTICE:
            await _first(settled, within_s=NOTICE_S)
        await process.kill(Ending.EVICTED)
        if not settled.is_set():
            places.new_vm()
            _, process = _start(world, subject, watch, 2)
            await _first(settled, within_s=within_s)
    took_s = world.clock.monotonic_s()
    await process.kill()
    return watch.steps, _outcome(world, message_id, watch, places, took_s if settled.is_set() else None)


def _start(world: World, subject: Subject, watch: Watch, number: int) -> tuple[SimulatedVm, Process]:
    name = f"vm-{number}"
    vm = SimulatedVm(
        VmIdentity(vm_id=name, name=name, boot_id=f"{name}-boot", priority="Spot", eviction_policy="Delete")
    )

    def runner(whose: Callable[[], Process]) -> SteppedRunner:
        return SteppedRunner(subject.load, whose, watch)

    return vm, world.start(vm, runner, WorkerSettings(concurrency=1))


def _announce(world: World, vm: SimulatedVm) -> None:
    vm.notify("explored", not_before=world.clock.now() + timedelta(seconds=NOTICE_S))


async def _first(*events: asyncio.Event, within_s: float) -> None:
    """Wait until one of them is set, or the time is over."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _outcome(world: World, message_id: str, watch: Watch, places: Places, took_s: float | None) -> Outcome:
    record = world.store.look(world.queue_name, message_id)
    poisoned = world.queues.length(f"{world.queue_name}-poison") > 0
    end = "never done" if took_s is None else "poisoned" if poisoned else "completed"
    return Outcome(
        end=end,
        result=None if record is None else record.result,
        files=places.files(),
        errors=tuple(watch.errors),
        took_s=took_s or 0.0,
    )


class _WhenDeleted(Observer):
    """Tells when the message has found its end."""

    def __init__(self, settled: asyncio.Event) -> None:
        self._settled = settled

    def deleted(self, _message_id: str) -> None:
        self._settled.set()
