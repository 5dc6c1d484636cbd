"""Exploring a handler: every step is struck, a killed handler is dead, and what is compared is what it left."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import tempfile
import threading
import time
from contextlib import chdir, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm.handler import Job, Json
from simulator.explore import (
    EndlessError,
    Explored,
    Handler,
    Onlooker,
    Progress,
    StepKind,
    Subject,
    UndisturbedError,
    Way,
    explore,
)
from simulator.explore.comparing import Outcome, differences
from simulator.explore.places import Files, Places
from simulator.explore.plain import PlainJob

NAMES = st.text("abc", min_size=1, max_size=3)
CONTENTS = st.dictionaries(st.builds("/".join, st.lists(NAMES, min_size=1, max_size=3)), st.binary(max_size=20))


def explored(
    handler: Handler,
    *,
    text: str = "{}",
    runs_max: int = 2000,
    run_s_max: float = 60.0,
    files: frozenset[str] = frozenset({__file__}),
    onlooker: Onlooker | None = None,
) -> Explored:
    """Explore a handler that stands in this file."""
    subject = Subject(load=lambda: handler, files=files, text=text)
    return explore(subject, runs_max=runs_max, run_s_max=run_s_max, onlooker=onlooker)


def append(line: str) -> None:
    with Path("log.txt").open("a") as log:
        log.write(line + "\n")


def lines() -> list[Json]:
    return [*Path("log.txt").read_text().splitlines()] if Path("log.txt").exists() else []


def write(name: str) -> None:
    Path(name).write_text("written")


def remove(name: str) -> None:
    Path(name).unlink(missing_ok=True)


def make(directory: str) -> None:
    Path(directory).mkdir()


async def careful(job: Job) -> Json:
    """Each effect is looked for before it is made."""
    for number in range(3):
        await asyncio.sleep(1)
        if str(number) not in lines():
            append(str(number))
    return lines()


async def saves_first(job: Job) -> Json:
    done = job.progress if isinstance(job.progress, int) else 0
    for number in range(done, 2):
        await job.checkpoint(number + 1)
        append(str(number))
    return "done"


async def cleans_up(job: Job) -> Json:
    """What a dead process would still do must not be seen."""
    try:
        await asyncio.sleep(1)
        write("working.txt")
        await asyncio.sleep(1)
    finally:
        remove("working.txt")
        write("finally.txt")
    return 1


async def holds_on(job: Job) -> Json:
    """Catches all it can, and waits in `finally`."""
    for _ in range(3):
        try:
            await asyncio.sleep(1)
        except BaseException:
            write("caught.txt")
            raise
        finally:
            await asyncio.sleep(0)
    return 1


async def keeps_on_the_vm(job: Job) -> Json:
    scratch = Path(tempfile.gettempdir()) / "part"
    if job.progress is None:
        scratch.write_text("half")
        await job.checkpoint("half")
    return scratch.read_text()


async def refuses_a_second_time(job: Job) -> Json:
    make("made")
    await asyncio.sleep(1)
    return 1


async def long(job: Job) -> Json:
    for _ in range(40):
        await asyncio.sleep(1)
    return 1


async def failing(job: Job) -> Json:
    raise ValueError("no such page")


COUNTS = iter(range(1000))


async def never_the_same(job: Job) -> Json:
    return next(COUNTS)


def test_an_idempotent_handler_passes() -> None:
    """One that looks before it acts survives a kill at each of its steps."""
    found = explored(careful)
    assert found.ok, found.findings
    assert found.kills == found.steps
    assert found.notices > 0
    assert found.result == '["0","1","2"]'


def test_a_checkpoint_before_its_effect_is_named() -> None:
    """What is saved too early is lost by a kill right after the save: that very step is named."""
    found = explored(saves_first)
    (first, *_) = [finding for finding in found.findings if finding.way is Way.KILL]
    assert first.differences == ("log.txt has 1 lines instead of 2: '0' is missing",)
    assert first.step.kind in (StepKind.WAIT, StepKind.SAVED)
    assert "await job.checkpoint(number + 1)" in str(first)


def test_a_killed_handler_does_nothing_more() -> None:
    """Neither `finally` nor `except` of a dead process reaches the outside; only a later run's does."""
    found = explored(holds_on)
    assert not any("caught.txt is there" in text for one in found.findings if one.way is Way.KILL
                   for text in one.differences)  # fmt: skip
    assert explored(cleans_up).ok


def test_the_temporary_directory_is_the_vms() -> None:
    """Who resumes from a file on the VM's own disk does not find it on the next VM."""
    found = explored(keeps_on_the_vm)
    assert not found.ok
    assert "FileNotFoundError" in found.findings[0].differences[0]


def test_an_error_on_the_second_run_is_a_finding() -> None:
    """A handler that cannot be run twice is poisoned in the end, and the error is told."""
    found = explored(refuses_a_second_time)
    assert any("FileExistsError" in text for text in found.findings[0].differences)
    assert "the job is poisoned" in found.findings[0].differences


def test_too_many_steps_are_thinned_out() -> None:
    """First passes come first, the number of runs is bounded, and what was left out is counted."""
    found = explored(long, runs_max=15)
    assert found.kills + found.notices == 15
    assert found.left_out > 0


@pytest.mark.parametrize(
    ("handler", "complaint"), [(failing, "it fails: ValueError: no such page"), (never_the_same, "something else")]
)
def test_without_a_sound_undisturbed_run_there_is_nothing_to_compare(handler: Handler, complaint: str) -> None:
    """One that fails by itself, or differs each time, is refused."""
    with pytest.raises(UndisturbedError, match=complaint):
        explored(handler)


def plain(job: PlainJob) -> Json:
    """Ten minutes of work."""
    done = job.progress if isinstance(job.progress, int) else 0
    for number in range(done, 3):
        time.sleep(200)
        write(f"{number}.txt")
        job.checkpoint(number + 1)
    return [job.text, 3]


def plain_appends(job: PlainJob) -> Json:
    try:
        for number in range(job.progress if isinstance(job.progress, int) else 0, 3):
            append(str(number))
            job.checkpoint(number + 1)
    finally:
        job.checkpoint_soon  # noqa: B018 -- a dead handler may ask, too
    return 3


def test_a_plain_function_is_struck_like_a_coroutine() -> None:
    """Lines, sleeps and checkpoints are its steps, and what it sleeps costs no time."""
    began_s = time.monotonic()
    found = explored(plain, text="abc")
    assert time.monotonic() - began_s < 100
    assert found.ok, found.findings
    assert found.result == '["abc",3]'
    assert found.kills == found.steps > 15
    assert found.notices > 0


def test_a_plain_function_that_is_not_idempotent_is_named() -> None:
    """The step between the effect and its checkpoint is found, and no thread outlives it."""
    threads = threading.active_count()
    found = explored(plain_appends)
    assert found.findings[0].differences == ("log.txt has 4 lines instead of 3: '0' once too often",)
    assert "job.checkpoint(number + 1)" in str(found.findings[0])
    assert threading.active_count() == threads


# -- handlers that do not end -----------------------------------------------------------------------------------------


async def sleeps_for_ever(job: Job) -> Json:
    while True:  # noqa: ASYNC110 -- this is what is wrong with it
        await asyncio.sleep(1)


async def waits_for_ever(job: Job) -> Json:
    await asyncio.Event().wait()
    return 1


async def spins(job: Job) -> Json:
    while True:
        pass


async def blocks(job: Job) -> Json:
    time.sleep(3600)  # noqa: ASYNC251 -- this is what is wrong with it
    return 1


async def waits_whatever_is_raised(job: Job) -> Json:
    for _ in range(100_000):
        with suppress(BaseException):
            await asyncio.sleep(3600)
    return 1


async def spins_on_its_way_out(job: Job) -> Json:
    try:
        await asyncio.Event().wait()
    finally:
        while True:
            pass


def plain_spins(job: PlainJob) -> Json:
    while True:
        pass


def plain_sleeps_for_ever(job: PlainJob) -> Json:
    while True:
        time.sleep(1)


ENDLESS = [
    sleeps_for_ever,
    waits_for_ever,
    spins,
    blocks,
    waits_whatever_is_raised,
    spins_on_its_way_out,
    plain_spins,
    plain_sleeps_for_ever,
]


@pytest.mark.parametrize("files", [frozenset({__file__}), frozenset()], ids=["traced", "in-a-library"])
@pytest.mark.parametrize("handler", ENDLESS)
def test_a_handler_that_never_ends_is_told_as_such(handler: Handler, files: frozenset[str]) -> None:
    """However it does not end: what it waits for, loops over or catches; and nothing of it goes on."""
    before = (Path.cwd(), threading.active_count(), sys.gettrace(), signal.getsignal(signal.SIGINT))
    with pytest.raises(
        EndlessError, match=r"undisturbed, it has not ended after \d+ s, [\d,]+ steps and [\d,]+ [sh] of"
    ):
        explored(handler, run_s_max=0.3, files=files)
    assert (Path.cwd(), threading.active_count(), sys.gettrace(), signal.getsignal(signal.SIGINT)) == before


async def ends_once(job: Job) -> Json:
    await asyncio.sleep(1)
    while job.attempt > 1:
        pass
    await asyncio.sleep(1)
    return 1


def plain_ends_once(job: PlainJob) -> Json:
    time.sleep(1)
    while job.attempt > 1:
        pass
    return 1


@pytest.mark.parametrize("handler", [ends_once, plain_ends_once])
def test_one_that_does_not_end_when_resumed_is_a_finding_and_the_last(handler: Handler) -> None:
    """The step is named, and no hours are spent on finding the same at the next ones."""
    found = explored(handler, run_s_max=1.0)
    (finding,) = found.findings
    assert str(finding).startswith("killed before test_exploring.py:")
    assert "it does not end: stopped after 1 s, " in str(finding)
    assert (found.kills, found.notices) == (1, 0)
    assert found.untried > 3
    assert not found.interrupted


def test_progress_is_told_of_every_run() -> None:
    """How far it is, and where the handler is, however long a run takes."""
    told: list[Progress] = []

    class Told(Onlooker):
        def look(self, progress: Progress) -> None:
            told.append(progress)

    with pytest.raises(EndlessError):
        explored(sleeps_for_ever, run_s_max=1.0, onlooker=Told())
    assert len(told) >= 3
    assert {progress.runs for progress in told} == {None}
    assert [progress.steps for progress in told] == sorted(progress.steps for progress in told)
    assert told[-1].virtual_s > 60
    assert "await asyncio.sleep(1)" in told[-1].run or "while True:" in told[-1].run
    told.clear()
    explored(plain, onlooker=Told())
    assert {progress.done for progress in told} >= {0, told[-1].done}
    assert told[-1].runs is not None
    assert 0 < told[-1].done <= told[-1].runs


async def is_interrupted(job: Job) -> Json:
    await asyncio.sleep(1)
    if job.attempt > 1:
        append("again")
    if job.text == "at once" or job.attempt > 1:
        signal.raise_signal(signal.SIGINT)
    return 1


def test_ctrl_c_leaves_what_was_found() -> None:
    """Findings until then are not lost; before there can be any, it is Ctrl-C as everywhere."""
    found = explored(is_interrupted)
    assert found.interrupted
    assert not found.ok
    assert found.untried > 3
    with pytest.raises(KeyboardInterrupt):
        explored(is_interrupted, text="at once")


async def counts_passes(job: Job) -> Json:
    for _ in range(3000):
        await asyncio.sleep(0)
    return 1


def test_steps_that_will_not_be_struck_are_only_counted() -> None:
    """A loop of a million passes is no reason to run out of memory, and the numbers stay right."""
    whole, thin = explored(counts_passes, runs_max=20), explored(counts_passes, runs_max=10)
    assert whole.steps == thin.steps > 6000
    assert whole.kills + whole.notices + whole.left_out == thin.kills + thin.notices + thin.left_out


# -- what is left -----------------------------------------------------------------------------------------------------


def test_nothing_is_left_behind() -> None:
    """Working directory, temporary directory and tracing are as before, and no file is left open."""
    before = (Path.cwd(), tempfile.gettempdir(), sys.gettrace())
    explored(careful)
    gc.collect()
    assert (Path.cwd(), tempfile.gettempdir(), sys.gettrace()) == before


@given(CONTENTS, CONTENTS)
def test_what_a_dead_process_changed_is_put_back(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """Whatever was written, changed or removed: the directory is as it was at the kill."""
    with tempfile.TemporaryDirectory() as root:
        places = Places(Path(root))
        _write(places, before)
        files = places.files()
        places.restore({})
        _write(places, after)
        places.restore(files)
        assert places.files() == files


def _write(places: Places, contents: dict[str, bytes]) -> None:
    with chdir(places.outside):
        for name, content in contents.items():
            path = Path(name)
            if not path.is_dir() and not any(parent.is_file() for parent in path.parents):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


@given(CONTENTS, CONTENTS)
def test_runs_differ_exactly_if_what_they_left_differs(one: Files, other: Files) -> None:
    """The comparison misses nothing, and invents nothing."""
    found = tuple(differences(_outcome(one), _outcome(other)))
    assert bool(found) == (one != other)


def _outcome(files: Files) -> Outcome:
    return Outcome(end="completed", result="1", files=files, errors=(), took_s=1.0)
