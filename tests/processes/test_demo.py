"""The demo, as a newcomer runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

DEMO = (sys.executable, "-m", "adapters.cli", "demo", "--json")


def _environment(temporary: Path) -> dict[str, str]:
    """A newcomer's, with one thing set that must not reach the demo's own workers."""
    return {**os.environ, "TMPDIR": str(temporary), "SPOTFSM_STORE": "none"}


@pytest.mark.timeout(240)
def test_the_demo_shows_a_receipt_without_a_loss(tmp_path: Path) -> None:
    """100 jobs survive two evictions with notice, two without and a crash; nothing is lost or left over."""
    ended = subprocess.run(DEMO, env=_environment(tmp_path), capture_output=True, text=True, check=False, timeout=200)
    assert ended.returncode == 0, ended.stderr
    receipt = json.loads(ended.stdout)
    counted = {name: receipt[name] for name in ("jobs", "completed", "lost", "recorded_twice", "poisoned")}
    assert counted == {"jobs": 100, "completed": 100, "lost": 0, "recorded_twice": 0, "poisoned": 0}
    assert (receipt["evictions_with_notice"], receipt["evictions_without_notice"]) == (2, 2)
    assert receipt["process_kills"] == 1
    origins = [recovery["origin"] for recovery in receipt["recoveries"]]
    assert origins == ["redeployed", "redeployed", "recreated", "recreated", "restarted"]
    assert all(recovery["first_job_after_s"] is not None for recovery in receipt["recoveries"])
    assert 0 < receipt["steps_redone"] < receipt["steps"]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C in the middle ends the demo with 130, in one line at most, without a process or a file left."""
    with subprocess.Popen(
        DEMO, env=_environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stderr is not None
        while "a worker is up" not in (said := demo.stderr.readline()):
            assert said, "the demo ended early"
        (directory,) = tmp_path.iterdir()
        demo.send_signal(signal.SIGINT)
        _, rest = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
    give_up_s = time.monotonic() + 10.0
    while _workers_on(directory):
        assert time.monotonic() < give_up_s, "a worker is left"
        time.sleep(0.05)


def _workers_on(directory: Path) -> list[str]:
    """The processes that name this directory in their command."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if str(directory) in command:
            found.append(process.name)
    return found
