"""What the contract's handlers do, as a plain function, and what only a process of its own can do to itself."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from adapters.host.process_child import Job

KEPT: list[Job] = []
"""Jobs of earlier runs in this process."""


def handle(job: Job) -> Any:
    """Do what the body says."""
    order = job.json()
    match order["do"]:
        case "tell":
            return {
                "id": job.id,
                "text": job.text,
                "progress": job.progress,
                "attempt": job.attempt,
                "evictions": job.evictions,
            }
        case "count":
            for step in range(order.get("from", 0), order["to"]):
                job.checkpoint(step + 1)
                time.sleep(order["pause_s"])
            return "counted"
        case "raise":
            raise ValueError(order["text"])
        case "exit":
            sys.exit(order["code"])
        case "nonsense":
            return {1, 2}
        case "large":
            return "x" * order["bytes"]
        case "large progress":
            job.checkpoint("x" * order["bytes"])
        case "deep":
            value: Any = []
            for _ in range(order["levels"]):
                value = [value]
            return value
        case "beat":
            beat(order["file"])
        case other:
            return handle_by_itself(job, other, order)
    return None


def handle_by_itself(job: Job, what: str, order: Any) -> Any:
    """What a coroutine in the worker's loop could not do without harm."""
    match what:
        case "pid":
            time.sleep(order.get("for_s", 0.0))
            return os.getpid()
        case "ask":
            return {"deadline": job.deadline, "soon": job.checkpoint_soon}
        case "catch":
            try:
                job.checkpoint(order["progress"])
            except (TypeError, ValueError) as exc:
                return f"{type(exc).__name__}: {exc}"[:200]
            except job.Evicted:
                return "caught by its name"
        case "set":
            job.checkpoint({1, 2})
        case "keep":
            KEPT.append(job)
        case "use kept":
            KEPT[-1].checkpoint("too late")
        case "threads":
            threads = [threading.Thread(target=job.checkpoint, args=(number,)) for number in range(order["count"])]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        case "prefix":
            return sys.prefix
        case "print":
            sys.stdout.write("a word of the handler's\n")
        case "os._exit":
            os._exit(order["code"])
        case "crash":
            ctypes.string_at(0)
        case "signal itself":
            os.kill(os.getpid(), order["number"])
            time.sleep(60)
        case "fill":
            fill(order["bytes"])
        case "hang up":
            for descriptor in range(3, 64):
                try:
                    socket.socket(fileno=descriptor).close()
                except OSError:
                    continue
            time.sleep(60)
        case "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            beat(order["file"])
        case "clean up":
            try:
                beat(order["file"])
            finally:
                Path(order["cleaned"]).touch()
        case "start others":
            subprocess.Popen([sys.executable, "-c", _OTHER, order["file"]])
            time.sleep(60)
        case "hold":
            until_s = time.monotonic() + order["for_s"]
            while time.monotonic() < until_s:
                sum(range(100_000))
    return None


def beat(file: str) -> None:
    """Write into a file for ever."""
    while True:
        with Path(file).open("a") as stream:
            stream.write("x")
        time.sleep(0.01)


def fill(count: int) -> None:
    """Occupy that much memory, for a while."""
    held = [bytearray(b"x" * 2**20) for _ in range(count // 2**20)]
    time.sleep(60)
    del held


_OTHER = """
import sys, time
while True:
    with open(sys.argv[1], "a") as stream:
        stream.write("x")
    time.sleep(0.01)
"""
