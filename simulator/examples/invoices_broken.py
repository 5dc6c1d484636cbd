"""A handler that looks right, and passes every test in which nobody kills it.

Try: spotfsm explore simulator.examples.invoices_broken:handle
"""

import asyncio
from pathlib import Path

from fsm.handler import Job, Json

CUSTOMERS = ("Ada", "Emmy", "Grace")


async def handle(job: Job) -> Json:
    """Write an invoice for each customer into one ledger, and checkpoint after each."""
    done = job.progress if isinstance(job.progress, int) else 0
    total = 0
    for number in range(done, len(CUSTOMERS)):
        await asyncio.sleep(1.0)  # the work
        with Path("ledger.txt").open("a") as ledger:  # noqa: ASYNC230 -- short
            ledger.write(f"invoice {number}: {CUSTOMERS[number]}\n")
        total += 1
        await job.checkpoint(number + 1)
    return {"invoices": total}
