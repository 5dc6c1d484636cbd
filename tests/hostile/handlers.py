"""Handlers that trust their messages: what a body holds is read, saved and given back."""

from __future__ import annotations

from fsm.handler import Job, Json


async def echo(job: Job) -> Json:
    """Save the text, and return it."""
    await job.checkpoint({"so far": job.text})
    return {"text": job.text}


async def parse(job: Job) -> Json:
    """Save what the text says as JSON, and return it."""
    value = job.json()
    await job.checkpoint(value)
    return value
