"""Coroutine handlers: what they return, how they fail, and how they are found."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.host.loop_runner import LoopRunner, load_handler
from adapters.host.outcome import ERROR_CHARS_MAX
from fsm.errors import ConfigurationError, Evicted, HandlerFailedError
from fsm.handler import Job, Json
from fsm.ports import JobControl, JobInput

INPUT = JobInput(job_id="id", text='{"n": 3}', progress="[1]", attempt=2, evictions=1)


class Control(JobControl):
    """A worker that keeps every checkpoint, and evicts at the second."""

    def __init__(self) -> None:
        self.saved: list[str] = []

    async def checkpoint(self, progress: str) -> None:
        self.saved.append(progress)
        if len(self.saved) == 2:
            raise Evicted("saved")

    def deadline_s(self) -> float | None:
        return None

    def checkpoint_soon(self) -> bool:
        return False


async def test_a_result_is_canonical_json() -> None:
    """The same result is the same text, so that a record can be compared with what was written."""

    async def handle(job: Job) -> Json:
        return {"b": job.json(), "a": [job.progress, job.attempt, job.evictions]}

    assert await LoopRunner(handle).run(INPUT, Control()) == '{"a":[[1],2,1],"b":{"n":3}}'


@pytest.mark.parametrize("result", [object(), {1, 2}, math.nan, b"bytes"])
async def test_a_result_that_is_no_json_is_a_failure(result: Json) -> None:
    """Nothing is recorded that cannot be read back."""

    async def handle(_: Job) -> Json:
        return result

    with pytest.raises(HandlerFailedError, match="not JSON"):
        await LoopRunner(handle).run(INPUT, Control())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no such page"), "ValueError: no such page (test_loop_runner.py:"),
        (SystemExit(3), "sys.exit(3)"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "cancelled itself"),
        (MemoryError("x" * 10 * ERROR_CHARS_MAX), "MemoryError"),
    ],
)
async def test_whatever_a_handler_raises_is_its_failure_in_bounded_words(error: BaseException, told: str) -> None:
    """No handler ends the worker, and no error is larger than a record bears."""

    async def handle(_: Job) -> Json:
        raise error

    with pytest.raises(HandlerFailedError) as failed:
        await LoopRunner(handle).run(INPUT, Control())
    assert told in str(failed.value)
    assert len(str(failed.value)) <= ERROR_CHARS_MAX


async def test_an_eviction_passes_through() -> None:
    """A handler that lets `Evicted` pass has let go, and has not failed."""
    control = Control()

    async def handle(job: Job) -> Json:
        for page in range(5):
            await job.checkpoint(page)
        return None

    with pytest.raises(Evicted):
        await LoopRunner(handle).run(INPUT, control)
    assert control.saved == ["0", "1"]


async def test_cancelling_the_run_is_no_failure_of_the_handler() -> None:
    """The worker interrupts by cancellation, and must recognise its own."""

    async def handle(_: Job) -> Json:
        await asyncio.Event().wait()
        return None

    run = asyncio.create_task(LoopRunner(handle).run(INPUT, Control()))
    await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_handler_is_found_in_the_working_directory(modules: Path) -> None:
    """`module:function` needs no installation."""
    (modules / "found_jobs.py").write_text("async def handle(job): return 7\n")
    assert load_handler("found_jobs:handle").__name__ == "handle"


@pytest.mark.parametrize(
    ("name", "source", "told"),
    [
        ("jobs", None, "not of the form module:function"),
        (":handle", None, "not of the form module:function"),
        ("no_such_jobs:handle", None, "cannot be imported: ModuleNotFoundError"),
        ("raising_jobs:handle", "raise RuntimeError('no licence')", "cannot be imported: RuntimeError: no licence"),
        ("leaving_jobs:handle", "import sys; sys.exit(4)", "cannot be imported: SystemExit"),
        ("torn_jobs:handle", "def handle(", "cannot be imported: SyntaxError"),
        ("empty_jobs:handle", "", "has no 'handle'"),
        ("plain_jobs:handle", "def handle(job): return 1", "not a coroutine function"),
        ("strange_jobs:handle", "handle = 3", "not a function that returns"),
        ("giving_jobs:handle", "async def handle(job): yield 1", "not a function that returns"),
    ],
)
def test_a_handler_that_cannot_be_used_is_a_setting_to_correct(
    modules: Path, name: str, source: str | None, told: str
) -> None:
    """Each way of being wrong is told apart, in one line that names --handler."""
    if source is not None:
        (modules / f"{name.partition(':')[0]}.py").write_text(source)
    with pytest.raises(ConfigurationError) as refused:
        load_handler(name)
    assert refused.value.setting == "--handler"
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
