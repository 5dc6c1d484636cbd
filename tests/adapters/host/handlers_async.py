"""What the contract's handlers do, as a coroutine."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from fsm.handler import Job, Json


async def handle(job: Job) -> Json:
    """Do what the body says."""
    order: Any = job.json()
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
                await job.checkpoint(step + 1)
                await asyncio.sleep(order["pause_s"])
            return "counted"
        case "raise":
            raise ValueError(order["text"])
        case "exit":
            sys.exit(order["code"])
        case "nonsense":
            return {1, 2}  # type: ignore[return-value]  # that is the nonsense
        case "large":
            return "x" * int(order["bytes"])
        case "large progress":
            await job.checkpoint("x" * order["bytes"])
        case "deep":
            value: Json = []
            for _ in range(order["levels"]):
                value = [value]
            return value
        case "beat":
            while True:
                append(Path(order["file"]))
                await asyncio.sleep(0.01)
    return None


def append(file: Path) -> None:
    """One beat."""
    with file.open("a") as stream:
        stream.write("x")
