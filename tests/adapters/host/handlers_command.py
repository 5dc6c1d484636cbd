"""What the contract's handlers do, as a command; run by path, without anything of the project's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROGRESS = Path(os.environ.get("SPOTFSM_PROGRESS_FILE", ""))
RESULT = Path(os.environ.get("SPOTFSM_RESULT_FILE", ""))
DEADLINE = Path(os.environ.get("SPOTFSM_DEADLINE_FILE", ""))
_OTHER = "import sys, time\nwhile True:\n    open(sys.argv[1], 'a').write('x')\n    time.sleep(0.01)\n"


def main() -> None:
    """Do what the message says."""
    text = sys.stdin.read()
    order = json.loads(text)
    match order["do"]:
        case "tell":
            told = {
                "id": os.environ["SPOTFSM_JOB_ID"],
                "text": text,
                "progress": json.loads(PROGRESS.read_text()) if PROGRESS.exists() else None,
                "attempt": int(os.environ["SPOTFSM_ATTEMPT"]),
                "evictions": int(os.environ["SPOTFSM_EVICTIONS"]),
            }
            RESULT.write_text(json.dumps(told))
        case "count":
            for step in range(order.get("from", 0), order["to"]):
                save(json.dumps(step + 1))
                time.sleep(order["pause_s"])
            RESULT.write_text('"counted"')
        case "raise":
            raise ValueError(order["text"])
        case "exit":
            sys.exit(order["code"])
        case "nonsense":
            RESULT.write_text("{1, 2}")
        case "large":
            RESULT.write_text(f'"{"x" * order["bytes"]}"')
        case "large progress":
            save(f'"{"x" * order["bytes"]}"')
            time.sleep(60)
        case "deep":
            RESULT.write_text("[" * order["levels"] + "]" * order["levels"])
        case "beat":
            beat(order["file"])
        case other:
            by_itself(other, order)


def by_itself(what: str, order: Any) -> None:
    """What only a command can do."""
    match what:
        case "save and exit":
            save(order["progress"])
            sys.stderr.write(order.get("says", ""))
            sys.exit(order["code"])
        case "on SIGTERM":

            def told(_number: int, _frame: object) -> None:
                save(json.dumps(float(DEADLINE.read_text())))
                sys.exit(order["code"])

            signal.signal(signal.SIGTERM, told)
            Path(order["file"]).write_text("x")
            time.sleep(60)
        case "on cancellation":

            def cancelled(_number: int, _frame: object) -> None:
                save(order["progress"])
                sys.exit(1)

            signal.signal(signal.SIGTERM, cancelled)
            Path(order["file"]).write_text("x")
            time.sleep(60)
        case "write in place":
            for _ in range(order["times"]):
                PROGRESS.write_text("")
                time.sleep(0.02)
                PROGRESS.write_text(f'"{"whole" * 1000}"')
                time.sleep(0.1)
        case "nonsense progress":
            save("{")
            time.sleep(60)
        case "pipe for progress":
            os.mkfifo(PROGRESS)
            time.sleep(60)
        case "litter":
            (PROGRESS.parent / "more").write_text("x")
            Path(os.environ["TMPDIR"], "locked").mkdir(mode=0)
            RESULT.write_text(json.dumps({"directory": str(PROGRESS.parent), "mode": PROGRESS.parent.stat().st_mode}))
        case "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            beat(order["file"])
        case "start others":
            subprocess.Popen([sys.executable, "-c", _OTHER, order["file"]])
            time.sleep(60 if order.get("stay", True) else 0.5)
        case "os._exit":
            os._exit(order["code"])
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "signal itself":
            os.kill(os.getpid(), order["number"])
            time.sleep(60)
        case "fill":
            held = [bytearray(b"x" * 2**20) for _ in range(order["bytes"] // 2**20)]
            time.sleep(60)
            del held
        case "say much":
            for _ in range(order["lines"]):
                sys.stderr.write("y" * 1000 + "\n")
            sys.stderr.write("the last words")
            sys.exit(1)


def save(text: str) -> None:
    """Checkpoint, as commands are asked to."""
    beside = PROGRESS.with_name("mine")
    beside.write_text(text)
    beside.replace(PROGRESS)


def beat(file: str) -> None:
    """Write into a file for ever."""
    while True:
        with Path(file).open("a") as stream:
            stream.write("x")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
