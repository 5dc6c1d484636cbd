"""`spotfsm status`: how many messages wait, and what became of the others; once, or for as long as somebody watches."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, TypeAlias

import typer

from adapters import wiring
from adapters.addresses import Credential, StorageAddresses, find_storage
from adapters.cli import options
from adapters.cli.output import show_json, show_table
from adapters.cli.service import CALL_TIMEOUT_S, asking
from adapters.cli.status_view import follow
from fsm.backlog import Backlog, backlog_of

_EXAMPLE = (
    "Example: spotfsm status --queue sqlite:///spotfsm.db#jobs --json\n\n"
    "Example: spotfsm status --watch --interval 10s --json >> backlog.jsonl"
)
Counts: TypeAlias = dict[str, str | int | bool | None]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", epilog=f"{_EXAMPLE}\n\n{options.ADDRESSES}")(_status)


def _status(
    *,
    queue: options.Queue = None,
    store: options.Store = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C, a live view on a terminal.")] = False,
    interval: Annotated[
        float,
        options.setting(
            "--interval",
            "How often --watch counts; a store on Azure lists every record each time.",
            metavar="TIME",
            parser=options.duration(0.1, 86400.0),
            show_default="2s",
        ),
    ] = 2.0,
    as_json: options.AsJson = False,
    credential: options.CredentialOption = Credential.MANAGED_IDENTITY,
    client_id: options.ClientId = None,
    _config: options.Config = None,
) -> None:
    """Count the jobs of a queue.

    Keys of --json: queue (its name), queued (messages, waiting or leased), waiting (can be received now; exact if
    waiting_exact, an estimate of 32 or more if not), leased (the rest: with workers, under what is left of a killed
    worker's lease, or pausing after a failure), expiring (of the first 32 that wait, those that somebody put with a
    time to live: the queue drops them when it is over), poisoned (messages in the poison queue), and from the store,
    null without one: running (claimed; a first delivery claims with its first checkpoint, and a job whose worker was
    killed counts until it is received again), released (handed back), checkpointed (those of them that go on from
    saved progress), completed, poisoned_records (given up, whether or not their message still lies in the poison
    queue).

    With --watch --json one such object a line, and when it was counted: at.
    """
    addresses = find_storage(queue, store, credential=credential, client_id=client_id)
    if watch:
        try:
            asyncio.run(_watch(addresses, interval_s=interval, as_json=as_json))
        except KeyboardInterrupt:
            return
    counts = asyncio.run(_count_once(addresses))
    if as_json:
        show_json(counts)
        return
    shown = dict(counts)
    if not shown.pop("waiting_exact"):
        shown["waiting"] = f"about {shown['waiting']}"
    if not shown["expiring"]:
        del shown["expiring"]
    if shown["poisoned_records"] == shown["poisoned"]:
        del shown["poisoned_records"]
    show_table((name.replace("_", " "), value) for name, value in shown.items())


async def _count_once(addresses: StorageAddresses) -> Counts:
    async with wiring.open_storage(addresses) as storage:
        return {"queue": storage.queue.name, **asdict(await _count(storage))}


async def _watch(addresses: StorageAddresses, *, interval_s: float, as_json: bool) -> None:
    async with wiring.open_storage(addresses) as storage:
        await follow(storage.queue.name, lambda: _count(storage), interval_s=interval_s, as_json=as_json)


async def _count(storage: wiring.Storage) -> Backlog:
    with asking("--queue", if_missing=wiring.IF_NOT_CREATED):
        length = await storage.queue.length(timeout_s=CALL_TIMEOUT_S)
        peeked = await storage.queue.peek(timeout_s=CALL_TIMEOUT_S)
        poisoned = await storage.poison_queue.length(timeout_s=CALL_TIMEOUT_S)
    totals = None
    if storage.store is not None:
        with asking("--store", if_missing=f"{wiring.IF_NOT_CREATED} Use --store none to do without."):
            totals = await storage.store.totals(storage.queue.name, timeout_s=CALL_TIMEOUT_S)
    return backlog_of(length=length, peeked=peeked, poisoned=poisoned, totals=totals)
