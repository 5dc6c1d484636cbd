"""The handler of `spotfsm demo`: renders the pages of a book, one after the other, and checkpoints after each.

What it does to the world is a line when it begins a page and one when the page is done, appended to a file: a page that
was begun twice was rendered twice, wholly or in part.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from fsm.handler import Job, Json

EFFECTS_VARIABLE = "SPOTFSM_DEMO_EFFECTS"
"""Names the file that the pages are noted in."""


async def handle(job: Job) -> Json:
    """Render what is still missing of the book `{"book": 7, "pages": 8, "page_s": 0.1}`."""
    book = job.json()
    assert isinstance(book, dict)
    pages, page_s = book["pages"], book["page_s"]
    assert isinstance(pages, int)
    assert isinstance(page_s, int | float)
    done = job.progress or 0
    assert isinstance(done, int)
    for page in range(done, pages):
        _note(job.id, page, "began")
        await asyncio.sleep(page_s)
        _note(job.id, page, "done")
        await job.checkpoint(page + 1)
    return {"pages": pages}


def _note(job_id: str, page: int, event: str) -> None:
    """Append a line, whole: several workers may be writing."""
    line = json.dumps({"job": job_id, "step": page, "event": event, "at_s": time.time(), "pid": os.getpid()}) + "\n"
    file = os.open(Path(os.environ[EFFECTS_VARIABLE]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
