"""The Azurite of the tests leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.azurite import Azurite

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.azurite


def is_running(pid: int) -> bool:
    """Whether the process is there and not only waiting to be reaped."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_it_answers_while_the_block_lasts() -> None:
    """Both services answer inside the block, and the process has gone after it."""
    with Azurite() as azurite:
        pid = azurite.pid
        for url in (azurite.queue_url("jobs"), azurite.blob_url("records")):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(url, timeout=10)
    assert not is_running(pid)


def test_two_do_not_meet() -> None:
    """Two at the same time have ports of their own."""
    with Azurite() as one, Azurite() as two:
        assert len({azurite.queue_url("jobs") for azurite in (one, two)}) == 2


def test_it_dies_with_its_starter() -> None:
    """A starter that is killed outright takes its Azurite with it."""
    program = """
        import os, signal
        from tests.azurite import Azurite

        with Azurite() as azurite:
            print(azurite.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    starter = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, env=environment
    )
    assert starter.returncode == -signal.SIGKILL
    pid = int(starter.stdout)
    give_up_s = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < give_up_s:
        time.sleep(0.01)
    assert not is_running(pid)
