"""The pytest plugin as a user meets it: a directory of their own, a pytest process of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")
JOBS = "import asyncio\n\nasync def handle(job):\n    await asyncio.sleep(1)\n    return job.json()\n"


def readme_block(beginning: str) -> str:
    """The Python block of the README that has this line, as a reader would paste it."""
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    (found,) = (block for block in blocks if beginning in block)
    return str(found)


@dataclass(frozen=True)
class Ended:
    """A pytest run that has ended."""

    code: int
    out: str
    summary: str

    def counted(self, outcome: str) -> int:
        found = re.search(rf"(\d+) {outcome}", self.summary)
        return int(found[1]) if found else 0


def pytest_in(directory: Path, *arguments: str) -> Ended:
    """Run pytest there, as somebody would who has installed spotfsm and nothing else of ours."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(command, cwd=directory, env=environment, text=True, capture_output=True, check=False)
    return Ended(done.returncode, done.stdout + done.stderr, done.stdout.rstrip().rpartition("\n")[2])


ASYNCIO = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=session")
NO_ASYNCIO = ("-p", "no:asyncio")


@pytest.mark.parametrize("arguments", [ASYNCIO, NO_ASYNCIO], ids=["with-pytest-asyncio", "without"])
def test_the_example_of_the_readme_passes_as_pasted(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Who pastes both files and runs pytest sees both tests pass, warnings as errors, pytest-asyncio or not."""
    (tmp_path / "jobs.py").write_text(readme_block("async def render"))
    example = readme_block("test_a_page_that_was_saved")
    (tmp_path / "test_jobs.py").write_text(example)
    ended = pytest_in(tmp_path, "-W", "error", *arguments)
    assert (ended.code, ended.counted("passed")) == (0, 2), ended.out


BROKEN = """
import pytest
from hypothesis import given, settings
from simulator.examples.{module} import handle
from simulator.testing import SpotWorld, before_checkpoint
from simulator.testing import strategies as st

@pytest.mark.spot(handler=handle)
def test_at_a_step(spot_world, spot_eviction, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = spot_world.put()
    spot_eviction(at=before_checkpoint(2))
    spot_world.run()
    assert job.result == {{"invoices": 3}}

@settings(deadline=None, print_blob=True, database=None, phases=settings.default.phases[:-1])
@given(evictions=st.evictions(calls=(), number_max=3, within_s=4))
def test_anywhere(evictions, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, SpotWorld(handle, evictions=evictions) as world:
        patch.chdir(tmp_path_factory.mktemp("outside"))
        job = world.put()
        world.run()
        assert job.result == {{"invoices": 3}}
"""


def test_the_broken_example_is_caught(tmp_path: Path) -> None:
    """The handler that a kill leads astray fails both ways, and the failure tells what happened and replays."""
    (tmp_path / "test_broken.py").write_text(BROKEN.format(module="invoices_broken"))
    ended = pytest_in(tmp_path)
    assert (ended.code, ended.counted("failed")) == (1, 2), ended.out
    for part in (
        "What happened in this world:",
        "vm-1 Evict: evicted for capacity",
        "runs job 1 from 1, delivery 2",
        "SpotWorld(handle, seed=0)",
        "evictions=[Eviction(at=",
        "@reproduce_failure(",
    ):
        assert part in ended.out, part


def test_the_example_done_right_passes(tmp_path: Path) -> None:
    """The same tests pass with the handler that does it right: they fail for its fault, and not for theirs."""
    (tmp_path / "test_right.py").write_text(BROKEN.format(module="invoices_right"))
    ended = pytest_in(tmp_path)
    assert (ended.code, ended.counted("passed")) == (0, 2), ended.out


SABOTAGED = """
import pytest
from simulator.testing import after_checkpoint

async def handle(job):
    for page in range(job.progress or 0, 3):
        await job.checkpoint(page + 1)

@pytest.fixture(autouse=True)
def sabotaged(monkeypatch):
    from fsm.delivery import Delivery
    from tests.simulator.sabotages import SABOTAGES
    next(one for one in SABOTAGES if one.name == "delete before record").patch(monkeypatch)

@pytest.mark.spot(handler=handle)
def test_that_asserts_nothing(spot_world):
    spot_world.put()
    spot_world.run()
"""


def test_a_broken_promise_fails_a_test_that_asserts_nothing(tmp_path: Path) -> None:
    """A worker that deletes before it records is caught by a user's test, which names the promise."""
    (tmp_path / "test_sabotaged.py").write_text(SABOTAGED)
    (tmp_path / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[3])!r})\n")
    ended = pytest_in(tmp_path)
    assert (ended.code, ended.counted("failed")) == (1, 1), ended.out
    assert "BrokenPromiseError: nothing_lost at " in ended.out


MISUSED = """
import pytest
from jobs import handle

def test_without_a_handler(spot_world):
    pass

@pytest.mark.spot(handler=handle, vms=3, seed=11)
class TestMarks:
    def test_the_class_is_asked(self, spot_world):
        assert len(spot_world.vm_states) == 3
        assert spot_world.seed == 11

    @pytest.mark.spot(vms=2)
    def test_the_nearest_mark_wins(self, spot_world):
        assert len(spot_world.vm_states) == 2

@pytest.mark.spot(handler=handle)
def test_the_seed_is_the_command_lines(spot_world):
    assert spot_world.seed == 7

@pytest.mark.spot(handler=handle)
async def test_in_a_loop(spot_world):
    with pytest.raises(RuntimeError, match="as a plain `def`"):
        spot_world.put()
"""


def test_marks_seed_and_misuse(tmp_path: Path) -> None:
    """Marks add up, the seed comes from the command line, a missing handler and an `async def` are told in a line."""
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "test_misused.py").write_text(MISUSED)
    ended = pytest_in(tmp_path, "--spotfsm-seed", "7", "--strict-markers", *ASYNCIO)
    assert (ended.counted("passed"), ended.counted("error")) == (4, 1), ended.out
    assert "spot_world needs a handler: @pytest.mark.spot(handler=handle)" in ended.out


def test_the_plugin_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    """A run that asks for no fixture imports neither the simulator's world nor Hypothesis nor the core."""
    (tmp_path / "test_other.py").write_text(
        "import sys\n\ndef test_nothing():\n"
        "    assert 'simulator.pytest_plugin' in sys.modules\n"
        "    loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "    assert not loaded & {'fsm', 'adapters', 'transitions', 'azure', 'httpx'}\n"
        "    assert not {name for name in sys.modules if name.startswith('simulator.')} - {'simulator.pytest_plugin'}\n"
    )
    ended = pytest_in(tmp_path)
    assert (ended.code, ended.counted("passed")) == (0, 1), ended.out


def test_worlds_need_no_hypothesis() -> None:
    """Worlds can be used under any test runner: only the strategies need Hypothesis."""
    code = "import sys, simulator.testing; assert 'hypothesis' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
