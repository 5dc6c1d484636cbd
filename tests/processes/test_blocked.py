"""A handler that blocks the event loop for good: the worker says so while it lasts, and can still be stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

HANDLER = """
import time

async def handle(job):
    time.sleep(1000)
"""
PATIENCE_S = 60.0


def _start(directory: Path) -> subprocess.Popen[bytes]:
    (directory / "blocking.py").write_text(HANDLER)
    command = [sys.executable, "-m", "adapters.cli"]
    subprocess.run([*command, "enqueue", "one"], cwd=directory, check=True, capture_output=True)
    worker = [*command, "worker", "--handler", "blocking:handle", "--journal", "j.jsonl", "--stop-grace", "2s"]
    return subprocess.Popen(worker, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _wait_for(journal: Path, text: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not journal.exists() or text not in journal.read_text():
        assert time.monotonic() < deadline_s, f"{text} does not come"
        time.sleep(0.1)


@pytest.mark.parametrize("blows", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=["SIGTERM", "Ctrl-C twice"])
def test_a_blocked_worker_says_so_and_ends_when_told(tmp_path: Path, blows: list[signal.Signals]) -> None:
    """The journal says that the loop is blocked; a stop ends the process with one line, and the message is kept."""
    worker = _start(tmp_path)
    try:
        _wait_for(tmp_path / "j.jsonl", '"loop_blocked"')
        for blow in blows:
            worker.send_signal(blow)
            time.sleep(0.2)
        _, err = worker.communicate(timeout=PATIENCE_S)
    finally:
        worker.kill()
    assert worker.returncode == 1
    assert err.decode().splitlines()[-1].startswith("a handler blocks the event loop")
    status = subprocess.run(
        [sys.executable, "-m", "adapters.cli", "status", "--json"], cwd=tmp_path, check=True, capture_output=True
    )
    assert json.loads(status.stdout)["queued"] == 1
