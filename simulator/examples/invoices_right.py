"""The handler of `invoices_broken`, done right: each effect has a key of its own, and all that is returned is resumed.

Try: spotfsm explore simulator.examples.invoices_right:handle
"""

import asyncio
from pathlib import Path

from fsm.handler import Job, Json

CUSTOMERS = ("Ada", "Emmy", "Grace")


async def handle(job: Job) -> Json:
    """Write an invoice for each customer into a file of its own, and checkpoint after each."""
    done = job.progress if isinstance(job.progress, int) else 0
    for number in range(done, len(CUSTOMERS)):
        await asyncio.sleep(1.0)  # the work
        invoice = Path(f"invoice-{number}.txt")
        invoice.write_text(f"{CUSTOMERS[number]}\n")  # noqa: ASYNC240 -- short; and twice is as good as once
        await job.checkpoint(number + 1)
    return {"invoices": len(CUSTOMERS)}
