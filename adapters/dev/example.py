"""A handler to try things out with: a few steps, each of them short and checkpointed."""

from __future__ import annotations

import asyncio

from fsm.handler import Job, Json

STEPS = 5
STEP_S = 0.05


async def handle(job: Job) -> Json:
    """Take the steps that an earlier run has not taken."""
    done = job.progress or 0
    assert isinstance(done, int)
    for step in range(done, STEPS):
        await asyncio.sleep(STEP_S)
        await job.checkpoint(step + 1)
    return {"steps": STEPS}
