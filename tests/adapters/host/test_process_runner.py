"""Plain handlers in worker processes: what they may ask, how processes are used, and every way of losing one."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import sys
import time
import venv
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.host import process_child, telling
from adapters.host.children import Children
from adapters.host.process_runner import CHILD_FILE, ProcessRunner
from fsm import handler
from fsm.errors import Evicted, HandlerFailedError
from fsm.handler import Json
from fsm.ports import JobRunner
from tests.adapters.host.runners import PATIENCE_S, PLAIN, Control, Kind, beating, is_still, job, opened


@pytest.fixture
async def runner() -> AsyncIterator[JobRunner]:
    """With no process as yet."""
    async with opened(Kind.PLAIN) as made:
        yield made


async def pid_of_next(runner: JobRunner, *, for_s: float = 0.0) -> int:
    """Which process does the next job."""
    return int(await runner.run(job({"do": "pid", "for_s": for_s}), Control()))


def test_a_plain_handler_is_handed_what_a_coroutine_is() -> None:
    """Both jobs have the same names, `Evicted` among them."""

    def face(cls: type) -> set[str]:
        return {name for name in dir(cls) if not name.startswith("_")}

    assert face(process_child.Job) == face(handler.Job) >= {"checkpoint", "deadline", "checkpoint_soon", "Evicted"}


def test_the_child_is_for_any_python() -> None:
    """It is Python 3.9, and imports the standard library alone."""
    tree = ast.parse(CHILD_FILE.read_text(), feature_version=(3, 9))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names | {"__future__"}


async def test_another_interpreter_can_be_named(tmp_path: Path) -> None:
    """The handler runs in the environment whose Python is named, without anything of the worker's."""
    venv.create(tmp_path / "other", symlinks=True)
    runner = ProcessRunner(PLAIN, Children(), python=str(tmp_path / "other" / "bin" / "python"))
    try:
        assert await runner.run(job({"do": "prefix"}), Control()) == f'"{tmp_path}/other"'
    finally:
        await runner.close()


# -- processes ---------------------------------------------------------------------------------------------------------


async def test_a_process_is_used_again_and_another_started_when_it_is_busy(runner: JobRunner) -> None:
    """Two jobs after each other share a process, two at once do not, and none is started that is not needed."""
    first = await pid_of_next(runner)
    assert await pid_of_next(runner) == first
    pids = await asyncio.gather(*(pid_of_next(runner, for_s=0.3) for _ in range(3)))
    assert len(set(pids)) == 3
    assert set(await asyncio.gather(*(pid_of_next(runner, for_s=0.3) for _ in range(3)))) == set(pids)


async def test_a_failed_job_leaves_its_process(runner: JobRunner) -> None:
    """An exception is no reason to start another process."""
    first = await pid_of_next(runner)
    with pytest.raises(HandlerFailedError):
        await runner.run(job({"do": "raise", "text": "no"}), Control())
    with pytest.raises(Evicted):
        await runner.run(job({"do": "count", "to": 3, "pause_s": 0}), Control(evicts_at=1))
    assert await pid_of_next(runner) == first


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ({"do": "os._exit", "code": 0}, "exited with 0"),
        ({"do": "os._exit", "code": 7}, "exited with 7"),
        ({"do": "crash"}, "was ended by SIGSEGV"),
        ({"do": "signal itself", "number": signal.SIGKILL}, r"was ended by SIGKILL \(out of memory, perhaps\)"),
        ({"do": "hang up"}, "closed its connection"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_job_that_takes_its_process_down_has_failed_alone(
    runner: JobRunner, order: dict[str, Json], told: str
) -> None:
    """The job is told how its process ended, a neighbour goes on, and so do the jobs after it."""
    neighbour = asyncio.create_task(pid_of_next(runner, for_s=0.3))
    with pytest.raises(HandlerFailedError, match=told):
        await runner.run(job(order), Control())
    await neighbour
    assert await pid_of_next(runner) > 0


async def test_a_process_that_died_while_idle_is_replaced(runner: JobRunner) -> None:
    """The job after it does not notice."""
    first = await pid_of_next(runner)
    os.kill(first, signal.SIGKILL)
    await asyncio.sleep(0.1)
    assert await pid_of_next(runner) != first


async def test_a_job_over_its_memory_fails_alone() -> None:
    """It is ended with the reason, before it fills the machine; a small job goes on."""
    async with opened(Kind.PLAIN, memory_bytes_max=150 * 2**20) as runner:
        neighbour = asyncio.create_task(pid_of_next(runner, for_s=0.5))
        with pytest.raises(HandlerFailedError, match=r"occupied \d+ MiB of memory, over --job-memory"):
            await runner.run(job({"do": "fill", "bytes": 300 * 2**20}), Control())
        await neighbour


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module:handle", "cannot be imported"),
        (f"{PLAIN}_not_there", "has no"),
        ("tests.adapters.host.handlers_async:handle", "is a coroutine function"),
    ],
)
async def test_a_handler_that_cannot_be_imported_there_fails_the_job(name: str, told: str) -> None:
    """The worker could import it, or never tried to: the job says what is wrong."""
    runner = ProcessRunner(name, Children())
    try:
        with pytest.raises(HandlerFailedError, match=told):
            await runner.run(job({}), Control())
    finally:
        await runner.close()


async def test_an_interpreter_that_is_not_there_fails_the_job() -> None:
    """Nothing is left open."""
    runner = ProcessRunner(PLAIN, Children(), python="/no/such/python")
    with pytest.raises(HandlerFailedError, match="no process can be started"):
        await runner.run(job({}), Control())
    await runner.close()


# -- letting go --------------------------------------------------------------------------------------------------------


async def test_a_cancelled_handler_leaves_through_its_finally(runner: JobRunner, tmp_path: Path) -> None:
    """SIGTERM ends a handler as an exception would."""
    order: Json = {"do": "clean up", "file": str(tmp_path / "beat"), "cleaned": str(tmp_path / "cleaned")}
    run = asyncio.create_task(runner.run(job(order), Control()))
    await beating(tmp_path / "beat")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize("what", ["stubborn", "start others"])
async def test_whatever_a_handler_does_it_is_gone_when_its_run_ends(
    runner: JobRunner, tmp_path: Path, what: str
) -> None:
    """One that ignores SIGTERM is killed after a grace, and so is all that it started."""
    run = asyncio.create_task(runner.run(job({"do": what, "file": str(tmp_path / "beat")}), Control()))
    await beating(tmp_path / "beat")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await is_still(tmp_path / "beat")


@pytest.fixture
def long_grace(monkeypatch: pytest.MonkeyPatch) -> float:
    """A grace that nobody takes for a busy machine, in seconds."""
    monkeypatch.setattr(telling, "GRACE_S_MAX", 30.0)
    return telling.GRACE_S_MAX


async def test_the_grace_shrinks_as_the_deadline_nears(runner: JobRunner, tmp_path: Path, long_grace: float) -> None:
    """With little time left for handing back, a stubborn handler gets little of it."""
    control = Control()
    run = asyncio.create_task(runner.run(job({"do": "stubborn", "file": str(tmp_path / "beat")}), control))
    await beating(tmp_path / "beat")
    control.drain(within_s=0.4)
    run.cancel()
    began_s = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert time.monotonic() - began_s < long_grace / 2


async def test_a_second_cancellation_waits_for_no_grace(runner: JobRunner, tmp_path: Path, long_grace: float) -> None:
    """It kills, and still does not return before the handler is gone."""
    run = asyncio.create_task(runner.run(job({"do": "stubborn", "file": str(tmp_path / "beat")}), Control()))
    await beating(tmp_path / "beat")
    began_s = time.monotonic()
    run.cancel()
    await asyncio.sleep(0.05)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert time.monotonic() - began_s < long_grace / 2
    assert await is_still(tmp_path / "beat")


@pytest.mark.parametrize("draining", [True, False])
async def test_sigterm_from_elsewhere_is_a_failure_unless_the_service_stops(
    runner: JobRunner, *, draining: bool
) -> None:
    """A service that stops tells each of its processes; a job that ended for that reason is interrupted."""
    control = Control()
    run = asyncio.create_task(runner.run(job({"do": "signal itself", "number": signal.SIGTERM}), control))
    if draining:
        await asyncio.sleep(0.3)
        control.drain(within_s=PATIENCE_S)
    with pytest.raises(Evicted if draining else HandlerFailedError):
        await run


async def test_closing_ends_what_runs(tmp_path: Path) -> None:
    """A runner's processes do not outlive it, idle or not."""
    async with opened(Kind.PLAIN) as runner:
        idle = await pid_of_next(runner)
        runs = [
            asyncio.create_task(runner.run(job({"do": "stubborn", "file": str(tmp_path / name)}), Control()))
            for name in "ab"
        ]
        for name in "ab":
            await beating(tmp_path / name)
    assert await is_still(tmp_path / "a")
    assert await is_still(tmp_path / "b")
    with pytest.raises(ProcessLookupError):
        os.kill(idle, 0)
    assert all(isinstance(end, HandlerFailedError) for end in await asyncio.gather(*runs, return_exceptions=True))


# -- what a handler may ask --------------------------------------------------------------------------------------------


async def test_a_checkpoint_blocks_until_it_is_durable(runner: JobRunner) -> None:
    """The handler does not go on before the worker says so."""
    control = Control(save_s=0.2)
    began_s = time.monotonic()
    await runner.run(job({"do": "count", "to": 3, "pause_s": 0.0}), control)
    assert time.monotonic() - began_s >= 3 * 0.2
    assert control.saved == ["1", "2", "3"]


async def test_deadline_and_advice_are_asked_for(runner: JobRunner) -> None:
    """They are the worker's, at the moment of asking."""
    control = Control()
    assert await runner.run(job({"do": "ask"}), control) == '{"deadline":null,"soon":false}'
    control.told_s, control.soon = 12.5, True
    assert await runner.run(job({"do": "ask"}), control) == '{"deadline":12.5,"soon":true}'


async def test_evicted_is_caught_by_the_name_the_job_has(runner: JobRunner) -> None:
    """A handler may catch it, and then its result counts."""
    result = await runner.run(job({"do": "catch", "progress": 1}), Control(evicts_at=1))
    assert result == '"caught by its name"'


async def test_a_progress_that_is_no_json_is_the_handlers_mistake(runner: JobRunner) -> None:
    """It raises where it was made, and the process goes on."""
    first = await pid_of_next(runner)
    with pytest.raises(HandlerFailedError, match="TypeError"):
        await runner.run(job({"do": "set"}), Control())
    result = await runner.run(job({"do": "catch", "progress": "x" * 2**23}), Control())
    assert result.startswith('"ValueError: progress of ')
    assert await pid_of_next(runner) == first


async def test_threads_of_a_handler_may_save(runner: JobRunner) -> None:
    """Their questions do not get mixed up."""
    control = Control()
    await runner.run(job({"do": "threads", "count": 20}), control)
    assert sorted(map(int, control.saved)) == list(range(20))


async def test_a_job_that_is_over_saves_nothing(runner: JobRunner) -> None:
    """A job that a handler kept cannot write into the next one's record."""
    control, later = Control(), Control()
    await runner.run(job({"do": "keep"}), control)
    with pytest.raises(HandlerFailedError, match="this job is over"):
        await runner.run(job({"do": "use kept"}), later)
    assert control.saved == later.saved == []


async def test_what_a_handler_prints_goes_to_standard_error(
    runner: JobRunner, capfd: pytest.CaptureFixture[str]
) -> None:
    """The worker's standard output is its receipt's."""
    await runner.run(job({"do": "print"}), Control())
    out, err = capfd.readouterr()
    assert (out, err) == ("", "a word of the handler's\n")


async def test_the_loop_goes_on_while_a_handler_holds_its_interpreter(runner: JobRunner) -> None:
    """A handler that computes without a pause leaves the worker's loop to the worker."""
    run = asyncio.create_task(runner.run(job({"do": "hold", "for_s": 0.6}), Control()))
    ticks = 0
    while not run.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 10
    await run
