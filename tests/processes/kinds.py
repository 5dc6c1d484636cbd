"""What workers of these tests run in child processes: the same work as a plain function, and as a command by path.

The body says what to do: `{"do": "steps", "steps": n, "step_s": s}` by default. Every step is noted in the file of
effects, with the process that made it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_GRANDCHILD = """
import os, sys, time
while True:
    with open(os.environ["TEST_EFFECTS"], "a") as stream:
        stream.write(sys.argv[1] + chr(10))
    time.sleep(0.02)
"""


def note(job: str, event: str, value: Any = None) -> None:
    """Append one line, whole."""
    line = {"job": job, "pid": os.getpid(), "event": event, "value": value}
    file = os.open(os.environ["TEST_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, (json.dumps(line) + "\n").encode())
    os.close(file)


def work(job: str, order: Any, progress: Any, attempt: int, save: Callable[[int], None]) -> Any:
    """Do what the body says, however it is run."""
    note(job, "began", progress)
    match order.get("do", "steps"):
        case "steps":
            for step in range(progress or 0, order["steps"]):
                time.sleep(order["step_s"])
                save(step + 1)
                note(job, "saved", step + 1)
        case "hold" if attempt == 1:
            until_s = time.monotonic() + order["for_s"]
            while time.monotonic() < until_s:
                sum(range(100_000))
        case "die":
            os._exit(9)
        case "fill":
            held = [bytearray(b"x" * 2**20) for _ in range(order["mebibytes"])]
            time.sleep(60)
            del held
        case "hang":
            time.sleep(3600)
        case "stubborn" if attempt == 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
        case "with another" if attempt == 1:
            line = json.dumps({"job": job, "pid": 0, "event": "beat", "value": None})
            subprocess.Popen([sys.executable, "-c", _GRANDCHILD, line])
            for step in range(1000):
                time.sleep(0.05)
                save(step + 1)
    return {"done": order}


def handle(job: Any) -> Any:
    """As a plain function."""
    return work(job.id, job.json(), job.progress, job.attempt, job.checkpoint)


def main() -> None:
    """As a command."""
    progress = Path(os.environ["SPOTFSM_PROGRESS_FILE"])

    def save(step: int) -> None:
        beside = progress.with_name("next")
        beside.write_text(str(step))
        beside.replace(progress)

    began = json.loads(progress.read_text()) if progress.exists() else None
    order = json.load(sys.stdin)
    result = work(os.environ["SPOTFSM_JOB_ID"], order, began, int(os.environ["SPOTFSM_ATTEMPT"]), save)
    Path(os.environ["SPOTFSM_RESULT_FILE"]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
