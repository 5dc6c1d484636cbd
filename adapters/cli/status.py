"""`spotfsm status`: how many messages wait, and what became of the others."""

from __future__ import annotations

import asyncio

import typer

from adapters import wiring
from adapters.addresses import Credential, StorageAddresses, find_storage
from adapters.cli import options
from adapters.cli.output import show_json, show_table
from adapters.cli.service import CALL_TIMEOUT_S, asking

_EXAMPLE = "Example: spotfsm status --queue sqlite:///spotfsm.db#jobs --json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", epilog=f"{_EXAMPLE}\n\n{options.ADDRESSES}")(_status)


def _status(
    *,
    queue: options.Queue = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
    credential: options.CredentialOption = Credential.MANAGED_IDENTITY,
    client_id: options.ClientId = None,
    _config: options.Config = None,
) -> None:
    """Count the jobs of a queue.

    Keys of --json: queue (its name), queued (messages that wait or are leased: Azure does not tell them apart),
    expiring (of the first 32 that wait, those that somebody put with a time to live: the queue drops them when it is
    over), poisoned (messages in the poison queue), and from the store, null without one: running (claimed; a job
    whose worker was killed counts until it is received again), released, completed, poisoned_records (given up,
    whether or not their message still lies in the poison queue).
    """
    addresses = find_storage(queue, store, credential=credential, client_id=client_id)
    counts = asyncio.run(_count(addresses))
    if as_json:
        show_json(counts)
        return
    shown = dict(counts)
    if not shown["expiring"]:
        del shown["expiring"]
    if shown["poisoned_records"] == shown["poisoned"]:
        del shown["poisoned_records"]
    show_table((name.replace("_", " "), value) for name, value in shown.items())


async def _count(addresses: StorageAddresses) -> dict[str, str | int | None]:
    async with wiring.open_storage(addresses) as storage:
        with asking("--queue", if_missing=wiring.IF_NOT_CREATED):
            queued = await storage.queue.length(timeout_s=CALL_TIMEOUT_S)
            expiring = await storage.queue.expiring(timeout_s=CALL_TIMEOUT_S)
            poisoned = await storage.poison_queue.length(timeout_s=CALL_TIMEOUT_S)
        totals = None
        if storage.store is not None:
            with asking("--store", if_missing=f"{wiring.IF_NOT_CREATED} Use --store none to do without."):
                totals = await storage.store.totals(storage.queue.name, timeout_s=CALL_TIMEOUT_S)
        return {
            "queue": storage.queue.name,
            "queued": queued,
            "expiring": expiring,
            "poisoned": poisoned,
            "running": None if totals is None else totals.running,
            "released": None if totals is None else totals.released,
            "completed": None if totals is None else totals.completed,
            "poisoned_records": None if totals is None else totals.poisoned,
        }
