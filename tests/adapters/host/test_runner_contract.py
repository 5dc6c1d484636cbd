"""The contract of `JobRunner`, held by all three kinds of runners with handlers that do the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.host.outcome import ERROR_CHARS_MAX
from fsm.errors import Evicted, HandlerFailedError
from fsm.handler import Json
from fsm.ports import JobRunner
from fsm.record import RECORD_BYTES_MAX
from tests.adapters.host.runners import Control, Kind, beating, is_still, job, opened


@pytest.fixture(params=Kind)
async def runner(request: pytest.FixtureRequest) -> AsyncIterator[JobRunner]:
    """One of each kind."""
    async with opened(request.param) as made:
        yield made


@pytest.mark.parametrize(
    "progress", [None, 0, "", "é\u2028\N{SNOWMAN}", [1, {"a": None}], 12.5], ids=lambda value: repr(value)[:20]
)
async def test_a_handler_is_given_the_whole_job(runner: JobRunner, progress: Json) -> None:
    """Id, body, progress, attempt and evictions arrive as they are; the result comes back as canonical JSON."""
    given = job(
        {"do": "tell", "more": "é\u2028\N{SNOWMAN}\ud800"}, progress=None if progress is None else json.dumps(progress)
    )
    result = await runner.run(given, Control())
    told = {
        "attempt": 2,
        "evictions": 1,
        "id": "job-1",
        "progress": progress,
        "text": given.text,
    }
    assert result == json.dumps(told, separators=(",", ":"))


async def test_what_is_saved_is_saved_in_order(runner: JobRunner) -> None:
    """Each checkpoint that a handler leaves time for is durable before the next, and before the result."""
    control = Control()
    assert await runner.run(job({"do": "count", "to": 3, "pause_s": 0.25}), control) == '"counted"'
    assert control.saved == ["1", "2", "3"]


async def test_an_eviction_is_told_after_saving(runner: JobRunner) -> None:
    """A checkpoint during which a drain begins is the last: the handler lets go, and has not failed."""
    control = Control(evicts_at=2)
    with pytest.raises(Evicted):
        await runner.run(job({"do": "count", "to": 1000, "pause_s": 0.3}), control)
    assert control.saved == ["1", "2"]


FAILURES: tuple[tuple[Json, str], ...] = (
    ({"do": "raise", "text": "no such page"}, "ValueError: no such page"),
    ({"do": "raise", "text": "z" * 10 * ERROR_CHARS_MAX}, "zzz"),
    ({"do": "exit", "code": 3}, "3"),
    ({"do": "nonsense"}, "not JSON"),
    ({"do": "large", "bytes": RECORD_BYTES_MAX}, "over"),
    ({"do": "large progress", "bytes": RECORD_BYTES_MAX}, "over"),
    ({"do": "deep", "levels": 100_000}, "not JSON"),
)
"""What a handler may do wrong, and what is told of it."""


async def test_a_failure_is_told_in_bounded_words_and_the_next_job_runs(runner: JobRunner) -> None:
    """However a handler fails, it is said why, and the runner goes on."""
    for order, told in FAILURES:
        with pytest.raises(HandlerFailedError) as failed:
            await runner.run(job(order), Control())
        assert told in str(failed.value)
        assert len(str(failed.value)) <= ERROR_CHARS_MAX
    assert await runner.run(job({"do": "large", "bytes": 3}), Control()) == '"xxx"'


async def test_a_result_may_be_as_large_as_a_record(runner: JobRunner) -> None:
    """The limit itself is allowed."""
    assert len(await runner.run(job({"do": "large", "bytes": RECORD_BYTES_MAX - 2}), Control())) == RECORD_BYTES_MAX


async def test_it_has_let_go_when_a_cancelled_run_ends(runner: JobRunner, tmp_path: Path) -> None:
    """Cancellation interrupts, and nothing of the handler goes on afterwards."""
    run = asyncio.create_task(runner.run(job({"do": "beat", "file": str(tmp_path / "beat")}), Control()))
    await beating(tmp_path / "beat")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await is_still(tmp_path / "beat")


async def test_a_time_limit_is_a_cancellation_like_any_other(runner: JobRunner, tmp_path: Path) -> None:
    """`asyncio.timeout` around a run raises TimeoutError, as it does around anything that can be cancelled."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await runner.run(job({"do": "beat", "file": str(tmp_path / "beat")}), Control())


async def test_jobs_run_side_by_side(runner: JobRunner, tmp_path: Path) -> None:
    """One that fails and one that is cancelled disturb no other."""
    counting, other = Control(), Control()
    runs = [
        asyncio.create_task(runner.run(job({"do": "count", "to": 2, "pause_s": 0.4}), counting)),
        asyncio.create_task(runner.run(job({"do": "raise", "text": "no"}), other)),
        asyncio.create_task(runner.run(job({"do": "beat", "file": str(tmp_path / "beat")}), other)),
    ]
    await beating(tmp_path / "beat")
    runs[2].cancel()
    ended = await asyncio.gather(*runs, return_exceptions=True)
    assert ended[0] == '"counted"'
    assert isinstance(ended[1], HandlerFailedError)
    assert isinstance(ended[2], asyncio.CancelledError)
    assert (counting.saved, other.saved) == (["1", "2"], [])
