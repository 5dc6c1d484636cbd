"""Commands: their files, their exit codes, their signals, and everything that they can leave behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from adapters.host import children
from adapters.host.children import Children
from adapters.host.command_runner import EXIT_INTERRUPTED, CommandRunner
from adapters.host.outcome import ERROR_CHARS_MAX
from adapters.host.watchdog import kill_marked
from fsm.errors import Evicted, HandlerFailedError
from fsm.handler import Json
from fsm.ports import JobInput, JobRunner
from tests.adapters.host.runners import PATIENCE_S, Control, Kind, beating, is_still, job, opened

SLOW_LOOK_S = 0.3
_BEATS = "while :; do echo beat >> $1; sleep 0.01; done"


@pytest.fixture
async def runner() -> AsyncIterator[JobRunner]:
    """Of the contract's command."""
    async with opened(Kind.COMMAND) as made:
        yield made


async def run_shell(script: str, text: str = "", control: Control | None = None) -> str:
    """Run a shell script as the command."""
    runner = CommandRunner(["sh", "-c", script], Children())
    try:
        given = JobInput(job_id="job-1", text=text, progress=None, attempt=1, evictions=0)
        return await runner.run(given, control or Control())
    finally:
        await runner.close()


# -- the result --------------------------------------------------------------------------------------------------------


async def test_a_command_that_exits_with_0_is_done() -> None:
    """Without a result file its result is null, even if it never reads its message."""
    assert await run_shell("true", text="x" * 200_000) == "null"


async def test_a_command_reads_its_message_and_writes_its_result() -> None:
    """Any program will do that can read and write files."""
    assert await run_shell('cat > "$SPOTFSM_RESULT_FILE"', text='{"b": 1, "a": 2}') == '{"a":2,"b":1}'


@pytest.mark.parametrize("made", ["touch", "mkdir", "mkfifo"])
async def test_a_result_file_that_holds_no_json_fails_the_job(made: str) -> None:
    """An empty file, a directory and a named pipe are none, and are not waited for."""
    with pytest.raises(HandlerFailedError, match="result file"):
        await run_shell(f'{made} "$SPOTFSM_RESULT_FILE"')


async def test_a_command_that_is_not_there_fails_the_job() -> None:
    """The reason is the system's; nothing is left open."""
    runner = CommandRunner(["./no-such-command"], Children())
    with pytest.raises(HandlerFailedError, match=r"cannot be started: .*No such file"):
        await runner.run(job({}), Control())
    await runner.close()


async def test_an_id_that_no_environment_can_hold_fails_the_job(runner: JobRunner) -> None:
    """A zero byte is one of the few things that a queue could hand on and a process cannot take."""
    with pytest.raises(HandlerFailedError, match="cannot be started"):
        await runner.run(job({}, job_id="a\0b"), Control())


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_a_failure_is_told_with_the_end_of_standard_error(
    runner: JobRunner, capfd: pytest.CaptureFixture[str]
) -> None:
    """However much a command says, the error is bounded and has its last words; all of it is passed on."""
    with pytest.raises(HandlerFailedError, match=r"exited with 1: .*the last words$") as failed:
        await runner.run(job({"do": "say much", "lines": 50}), Control())
    assert len(str(failed.value)) <= ERROR_CHARS_MAX
    assert capfd.readouterr().err.count("y" * 1000) == 50


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ({"do": "os._exit", "code": 7}, "exited with 7"),
        ({"do": "crash"}, "was ended by SIGSEGV"),
        ({"do": "signal itself", "number": signal.SIGKILL}, "was ended by SIGKILL"),
        ({"do": "save and exit", "progress": "{", "code": 1, "says": "why"}, "exited with 1: why"),
        ({"do": "nonsense progress"}, "progress file is not JSON"),
        ({"do": "pipe for progress"}, "progress file cannot be read: it is not a regular file"),
        ({"do": "save and exit", "progress": "{", "code": EXIT_INTERRUPTED}, "progress file is not JSON"),
        ({"do": "exit", "code": EXIT_INTERRUPTED}, "nothing interrupted it and it saved no progress"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_any_other_end_is_a_failure(runner: JobRunner, order: dict[str, Json], told: str) -> None:
    """It is said how the command ended, or what cannot be used of what it wrote."""
    with pytest.raises(HandlerFailedError, match=told):
        await runner.run(job(order), Control())


async def test_a_command_may_ask_to_be_resumed(runner: JobRunner) -> None:
    """Exit code 75 after progress is an interruption, and the progress is saved first."""
    control = Control()
    order: Json = {"do": "save and exit", "progress": "[3]", "code": EXIT_INTERRUPTED}
    with pytest.raises(Evicted):
        await runner.run(job(order), control)
    assert control.saved == ["[3]"]


async def test_a_failing_command_keeps_its_progress(runner: JobRunner) -> None:
    """What it saved before it failed counts, however short before."""
    control = Control()
    with pytest.raises(HandlerFailedError):
        await runner.run(job({"do": "save and exit", "progress": "[3]", "code": 1}), control)
    assert control.saved == ["[3]"]


async def test_a_job_over_its_memory_fails() -> None:
    """It is ended with the reason."""
    async with opened(Kind.COMMAND, memory_bytes_max=150 * 2**20) as runner:
        with pytest.raises(HandlerFailedError, match=r"occupied \d+ MiB of memory, over --job-memory"):
            await runner.run(job({"do": "fill", "bytes": 300 * 2**20}), Control())


async def test_memory_is_counted_for_all_that_a_command_started() -> None:
    """Two halves that are each under the limit are together over it."""
    half = "import time; held = [bytearray(b'x' * 2**20) for _ in range(100)]; time.sleep(60)"
    runner = CommandRunner(
        ["sh", "-c", f'python3 -c "{half}" & python3 -c "{half}"'], Children(memory_bytes_max=150 * 2**20)
    )
    try:
        with pytest.raises(HandlerFailedError, match="--job-memory"):
            await runner.run(job({}), Control())
    finally:
        await runner.close()


async def test_memory_is_counted_for_who_left_the_group_and_for_nobody_else(tmp_path: Path) -> None:
    """A session of its own is no way out of the limit, nor out of the end that follows; another's job goes on."""
    beat, go = tmp_path / "beat", tmp_path / "go"
    half = "import time; held = [bytearray(b'x' * 2**20) for _ in range(100)]; time.sleep(60)"
    kept = Children(memory_bytes_max=150 * 2**20)
    fat = CommandRunner(
        ["sh", "-c", f'(setsid sh -c \'{_BEATS}\' beat {beat} & setsid python3 -c "{half}" &) ; python3 -c "{half}"'],
        kept,
    )
    thin = CommandRunner(["sh", "-c", f"setsid sleep 60 & until [ -e {go} ]; do sleep 0.01; done"], kept)
    other = asyncio.create_task(thin.run(job({}), Control()))
    try:
        with pytest.raises(HandlerFailedError, match="--job-memory"):
            await fat.run(job({}), Control())
        assert beat.exists()
        assert await is_still(beat)
        go.touch()
        assert await other == "null"
    finally:
        await fat.close()


# -- progress ----------------------------------------------------------------------------------------------------------


async def test_progress_that_stands_is_not_saved_again(runner: JobRunner) -> None:
    """A resumed command that has nothing new to say costs no write."""
    control = Control()
    await runner.run(job({"do": "tell"}, progress="[3]"), control)
    assert control.saved == []


async def test_a_file_that_is_written_in_place_is_read_when_it_is_whole(runner: JobRunner) -> None:
    """Whoever does not replace the file is looked at twice before the job fails."""
    control = Control()
    await runner.run(job({"do": "write in place", "times": 5}), control)
    assert control.saved == ['"' + "whole" * 1000 + '"']


# -- letting go --------------------------------------------------------------------------------------------------------


async def test_a_drain_is_told_at_once(runner: JobRunner, tmp_path: Path) -> None:
    """The command gets SIGTERM and finds the deadline in a file; what it then saves is made durable."""
    control = Control()
    order: Json = {"do": "on SIGTERM", "code": EXIT_INTERRUPTED, "file": str(tmp_path / "ready")}
    run = asyncio.create_task(runner.run(job(order), control))
    await beating(tmp_path / "ready")
    control.drain(within_s=20.0)
    with pytest.raises(Evicted):
        await run
    (saved,) = control.saved
    assert float(saved) - time.time() == pytest.approx(20.0, abs=5.0)


@pytest.mark.parametrize(("code", "done"), [(0, True), (1, False), (128 + signal.SIGTERM, False)])
async def test_after_sigterm_only_0_is_done(runner: JobRunner, tmp_path: Path, code: int, *, done: bool) -> None:
    """Whatever else a command ends with once it was told to end, it has been interrupted and has not failed."""
    control = Control()
    order: Json = {"do": "on SIGTERM", "code": code, "file": str(tmp_path / "ready")}
    run = asyncio.create_task(runner.run(job(order), control))
    await beating(tmp_path / "ready")
    control.drain(within_s=PATIENCE_S)
    if done:
        assert await run == "null"
    else:
        with pytest.raises(Evicted):
            await run


async def test_a_stubborn_command_runs_on_until_the_cutoff(runner: JobRunner, tmp_path: Path) -> None:
    """One that ignores SIGTERM may go on, and is gone when the worker cancels its run."""
    control = Control()
    run = asyncio.create_task(runner.run(job({"do": "stubborn", "file": str(tmp_path / "beat")}), control))
    await beating(tmp_path / "beat")
    control.drain(within_s=PATIENCE_S)
    await asyncio.sleep(SLOW_LOOK_S)
    assert not await is_still(tmp_path / "beat")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await is_still(tmp_path / "beat")


async def test_what_a_cancelled_command_saved_last_is_saved(runner: JobRunner, tmp_path: Path) -> None:
    """Progress that it saves on SIGTERM, when nobody will look again, is not lost with the process."""
    control = Control()
    order: Json = {"do": "on cancellation", "file": str(tmp_path / "ready"), "progress": "[7]"}
    run = asyncio.create_task(runner.run(job(order), control))
    await beating(tmp_path / "ready")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert control.saved == ["[7]"]


@pytest.mark.parametrize("stay", [True, False])
async def test_what_a_command_started_ends_with_it(runner: JobRunner, tmp_path: Path, *, stay: bool) -> None:
    """Whether it is cancelled or done, no process of its group goes on."""
    order: Json = {"do": "start others", "file": str(tmp_path / "beat"), "stay": stay}
    run = asyncio.create_task(runner.run(job(order), Control()))
    await beating(tmp_path / "beat")
    if stay:
        run.cancel()
    await asyncio.wait([run])
    assert await is_still(tmp_path / "beat")


async def test_a_command_that_is_ended_takes_along_who_left_its_group(tmp_path: Path) -> None:
    """A session of its own is no way out of an interrupted job, which somebody else may be doing by then."""
    beat = tmp_path / "beat"
    runner = CommandRunner(["sh", "-c", f"setsid sh -c '{_BEATS}' beat {beat} & wait"], Children())
    run = asyncio.create_task(runner.run(job({}), Control()))
    await beating(beat)
    run.cancel()
    await asyncio.wait([run])
    assert await is_still(beat)
    await runner.close()


async def test_many_that_are_ended_at_once_cost_few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain that ends thirty stubborn jobs looks through the processes of the host a few times, not thirty."""
    looks: list[int] = []

    def look(marks: Collection[str]) -> None:
        looks.append(len(marks))
        kill_marked(marks)

    monkeypatch.setattr(children, "kill_marked", look)
    runner = CommandRunner(["sleep", "60"], Children())
    runs = [asyncio.create_task(runner.run(job({}), Control())) for _ in range(30)]
    while len(runner._children._running) < len(runs):  # noqa: ASYNC110 -- they come up
        await asyncio.sleep(0.01)
    for run in runs:
        run.cancel()
    await asyncio.wait(runs)
    assert sum(looks) == len(runs)
    assert len(looks) < 10
    await runner.close()


async def test_whoever_stays_behind_is_gone_with_the_worker(tmp_path: Path) -> None:
    """A daemon may outlive the job that started it, and not the worker, however that ends."""
    beat = tmp_path / "beat"
    script = f"setsid sh -c '{_BEATS}' beat {beat} & until [ -s {beat} ]; do sleep 0.01; done"
    runner = CommandRunner(["sh", "-c", script], Children())
    await runner.run(job({}), Control())
    await beating(beat)
    before = beat.stat().st_size
    while beat.stat().st_size == before:  # noqa: ASYNC110 -- another process's file; a test has a time limit
        await asyncio.sleep(0.01)
    await runner.close()
    assert await is_still(beat)


async def test_somebody_who_escaped_with_standard_error_is_not_waited_for() -> None:
    """A daemon in a session of its own may hold the pipe for ever."""
    began_s = time.monotonic()
    await run_shell("setsid sleep 20 & true")
    assert time.monotonic() - began_s < 15.0


# -- the directory -----------------------------------------------------------------------------------------------------


async def test_a_jobs_directory_is_private_and_goes_with_it(runner: JobRunner) -> None:
    """Nobody else can enter it, and nothing of it is left, whatever the command put there."""
    told = json.loads(await runner.run(job({"do": "litter"}), Control()))
    assert stat.S_IMODE(told["mode"]) == 0o700
    directory = told["directory"]
    assert not os.access(directory, os.F_OK)
    parent = os.path.dirname(directory)  # noqa: PTH120 -- nothing is looked at
    assert stat.S_IMODE(os.stat(parent).st_mode) == 0o700  # noqa: PTH116
    await runner.close()
    assert not os.access(parent, os.F_OK)


async def test_nothing_of_many_jobs_is_left_open(runner: JobRunner) -> None:
    """Files and processes are closed as jobs end."""
    await runner.run(job({"do": "large", "bytes": 1}), Control())
    before = open_files()
    await asyncio.gather(*(runner.run(job({"do": "large", "bytes": 1}), Control()) for _ in range(5)))
    assert open_files() == before


def open_files() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
