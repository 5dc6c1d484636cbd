"""`spotfsm prune`: remove the records of jobs that ended long ago."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from adapters import wiring
from adapters.addresses import Credential, StorageAddresses, find_storage
from adapters.cli import options
from adapters.cli.output import counted, show_json
from adapters.cli.service import asking
from fsm.errors import ConfigurationError

PRUNE_TIMEOUT_S = 3600.0
"""A container may hold millions of records; interrupted, a prune is simply done again."""
_DAY_S = 86400.0
_EXAMPLE = "Example: spotfsm prune --store https://ACCOUNT.blob.core.windows.net/jobs --older-than 30d"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prune", epilog=f"{_EXAMPLE}\n\n{options.ADDRESSES}")(_prune)


def _prune(
    *,
    queue: options.Queue = None,
    store: options.Store = None,
    older_than: Annotated[
        float,
        options.setting(
            "--older-than",
            "How long ago the message's delete was confirmed, at least: longer than any worker may have been "
            "frozen with the message in its memory.",
            metavar="TIME",
            parser=options.duration(0.0, 3650 * _DAY_S),
            show_default="7d",
        ),
    ] = 7 * _DAY_S,
    as_json: options.AsJson = False,
    credential: options.CredentialOption = Credential.MANAGED_IDENTITY,
    client_id: options.ClientId = None,
    _config: options.Config = None,
) -> None:
    """Remove the records of completed and poisoned jobs whose messages are surely gone.

    Workers never remove a record: it is what keeps a job from running twice. Keys of --json: queue, pruned.
    """
    addresses = find_storage(queue, store, credential=credential, client_id=client_id)
    if addresses.store is None:
        raise ConfigurationError("--store", "there is none to prune", "Name the store that the workers use.")
    name, pruned = asyncio.run(_remove(addresses, timedelta(seconds=older_than)))
    if as_json:
        show_json({"queue": name, "pruned": pruned})
    else:
        print(f"pruned {counted(pruned, 'record')} of {name}")


async def _remove(addresses: StorageAddresses, older_than: timedelta) -> tuple[str, int]:
    async with wiring.open_storage(addresses) as storage:
        assert storage.store is not None
        await storage.check_embedded()
        with asking("--store", if_missing="Check the address."):
            pruned = await storage.store.prune(storage.queue.name, older_than=older_than, timeout_s=PRUNE_TIMEOUT_S)
        return storage.queue.name, pruned
