"""What the workers of these tests run. Every handler notes what it does in a file that it only ever appends to."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from fsm.handler import Job, Json

EFFECTS_VARIABLE = "TEST_EFFECTS"
"""Names the file that effects are appended to."""


def note(job: Job, event: str, value: Json = None) -> None:
    """Append one line, whole."""
    line = {"job": job.id, "attempt": job.attempt, "pid": os.getpid(), "event": event, "value": value}
    file = os.open(Path(os.environ[EFFECTS_VARIABLE]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)


def _number(job: Job, name: str, default: float) -> float:
    body = job.json()
    value = body.get(name, default) if isinstance(body, dict) else default
    assert isinstance(value, int | float)
    return value


async def steps(job: Job) -> Json:
    """Do `{"steps": n, "step_s": s, "fails": k}`: n steps with a checkpoint after each; the first k tries fail."""
    count, step_s = int(_number(job, "steps", 5)), _number(job, "step_s", 0.05)
    done = job.progress or 0
    assert isinstance(done, int)
    note(job, "began", done)
    for step in range(done, count):
        await asyncio.sleep(step_s)
        if job.attempt <= _number(job, "fails", 0) and step >= count // 2:
            raise RuntimeError("fails as it was told to")
        await job.checkpoint(step + 1)
        note(job, "saved", step + 1)
    return {"steps": count}


async def long(job: Job) -> Json:
    """Go on until told otherwise, and checkpoint often."""
    done = job.progress or 0
    assert isinstance(done, int)
    note(job, "began", done)
    while True:
        await asyncio.sleep(0.02)
        done += 1
        await job.checkpoint(done)


async def quick(job: Job) -> Json:
    """Be done at once."""
    note(job, "began")
    return None


async def misbehave(job: Job) -> Json:
    """Do what the body says, once it is begun: the ways in which handlers go wrong."""
    note(job, "began")
    match job.text:
        case "raise":
            raise ValueError("as it was told to")
        case "hang":
            await asyncio.sleep(3600)
        case "exit":
            sys.exit(3)
        case "die":
            os._exit(3)
        case "die once" if job.attempt == 1:
            os._exit(3)
        case "ignore" if job.attempt == 1:
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    note(job, "ignored")
        case "block" if job.attempt == 1:
            time.sleep(4)  # noqa: ASYNC251 -- that is the misbehaviour
        case "not json":
            return {"a set": {1, 2}}  # type: ignore[dict-item]  # that is the misbehaviour
        case _:
            pass
    return job.text


async def modules(_job: Job) -> Json:
    """Tell what the worker's process has imported."""
    return list[Json](sorted(sys.modules))
