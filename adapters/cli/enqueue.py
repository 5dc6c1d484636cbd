"""`spotfsm enqueue`: put messages on the queue, many at once, and none of them twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated

import typer

from adapters import wiring
from adapters.addresses import Credential, StorageAddresses, find_storage
from adapters.cli import options
from adapters.cli.exits import EXIT_FAILED, EXIT_MISUSE
from adapters.cli.messages import Messages
from adapters.cli.output import counted, say, show_json
from adapters.cli.service import CALL_TIMEOUT_S, asking
from fsm.backoff import CALL_RETRY
from fsm.errors import DeniedError, MessageRejectedError, MissingError, PlatformError, ThrottledError
from fsm.messages import Encoding, encode_body
from fsm.ports import WorkQueue

PUTS_AT_ONCE = 64
THROTTLED_MAX = 10
"""A put that was refused as often as this is given up; being refused, it was not done."""
UNKNOWN_MAX = PUTS_AT_ONCE
"""With as many lost replies the service is taken for gone, and no further message is put."""
PROGRESS_EVERY_S = 2.0
COUNT_MAX = 1_000_000_000
_SHOWN_MAX = 10
_EXAMPLE = "Example: spotfsm enqueue '{\"book\": {n}}' --count 100"
_IF_MISSING = "Add --create to create it, or check the address."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("enqueue", epilog=f"{_EXAMPLE}\n\n{options.ADDRESSES}")(_enqueue)


def _enqueue(
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="The messages.")] = None,
    *,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", metavar="FILE", help="Put each line of this file that is not empty; - is standard input."
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            metavar="N",
            parser=options.whole(1, COUNT_MAX),
            help="Put each message N times, {n} in it replaced by 1 to N; without a message, the numbers alone.",
        ),
    ] = None,
    create: Annotated[
        bool,
        typer.Option(
            "--create",
            help="Create the queue, its poison queue and the store where they are missing, on Azure too; may stand "
            "without a message.",
        ),
    ] = False,
    queue: options.Queue = None,
    store: options.Store = None,
    message_encoding: options.MessageEncoding = Encoding.TEXT,
    as_json: options.AsJson = False,
    credential: options.CredentialOption = Credential.MANAGED_IDENTITY,
    client_id: options.ClientId = None,
    _config: options.Config = None,
) -> int:
    """Put messages on the queue; they never expire.

    No other command creates a queue or a store: an embedded one is created where it is missing; on Azure that takes
    --create, and a role that a worker need not have. --create without a message creates, and puts nothing.

    A put whose reply was lost may have been done: it is reported and not repeated, for two messages are two jobs.
    Keys of --json: queue, put, unknown (lost replies), rejected (not put), ids (in the order of the messages).
    """
    addresses = find_storage(queue, store, credential=credential, client_id=client_id)
    outcome = _Outcome(keep_ids=as_json)
    try:
        bodies = Messages(texts or (), file, count, none_will_do=create).bodies()
        name = asyncio.run(_put_all(addresses, bodies, outcome, encoding=message_encoding, create=create))
    except KeyboardInterrupt:
        say(f"interrupted: {outcome.put} put, {outcome.unknown} unknown")
        raise
    if as_json:
        ids = [message_id for _, message_id in sorted(outcome.ids.items())]
        counts = {"put": outcome.put, "unknown": outcome.unknown, "rejected": outcome.rejected}
        show_json({"queue": name, **counts, "ids": ids})
    else:
        print(f"put {counted(outcome.put, 'message')} on {name}")
    if outcome.unknown:
        say(f"replies lost: {outcome.unknown}; those messages may be on the queue or not, and were not put again")
    if outcome.gave_up:
        say(f"the queue does not answer any more: messages from number {outcome.taken + 1} on were not put")
    if outcome.rejected:
        return EXIT_MISUSE
    return EXIT_FAILED if outcome.unknown else 0


@dataclass(slots=True, kw_only=True)
class _Outcome:
    """What became of the messages so far; `taken` counts all that were begun with."""

    keep_ids: bool
    taken: int = 0
    put: int = 0
    unknown: int = 0
    rejected: int = 0
    ids: dict[int, str] = field(default_factory=dict)

    @property
    def gave_up(self) -> bool:
        return self.unknown >= UNKNOWN_MAX

    def note(self, problem: str) -> None:
        """Say what went wrong with one message; after some, no more."""
        said = self.unknown + self.rejected
        if said <= _SHOWN_MAX:
            say(f"warning: {problem}")
        elif said == _SHOWN_MAX + 1:
            say("warning: and so on; only their number is told from here")


async def _put_all(
    addresses: StorageAddresses, bodies: AsyncIterator[str], outcome: _Outcome, *, encoding: Encoding, create: bool
) -> str:
    """Put every message, `PUTS_AT_ONCE` at a time, and return the queue's name."""
    async with wiring.open_storage(addresses) as storage:
        with asking("--create" if create else "--queue", if_missing=_IF_MISSING):
            await storage.create(on_azure=create)
        with asking("--queue", if_missing=_IF_MISSING):
            try:
                async with asyncio.TaskGroup() as tasks:
                    progress = tasks.create_task(_show_progress(outcome))
                    inbox: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue(maxsize=PUTS_AT_ONCE)
                    for _ in range(PUTS_AT_ONCE):
                        tasks.create_task(_put_some(storage.queue, inbox, outcome, encoding))
                    async for body in bodies:
                        if outcome.gave_up:
                            break
                        outcome.taken += 1
                        await inbox.put((outcome.taken, body))
                    for _ in range(PUTS_AT_ONCE):
                        await inbox.put(None)
                    progress.cancel()
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None
        return storage.queue.name


async def _put_some(
    queue: WorkQueue, inbox: asyncio.Queue[tuple[int, str] | None], outcome: _Outcome, encoding: Encoding
) -> None:
    """Put one message after the other until there are no more."""
    while (message := await inbox.get()) is not None:
        number, body = message
        try:
            message_id = await _put(queue, encode_body(body, encoding))
        except MessageRejectedError as exc:
            outcome.rejected += 1
            outcome.note(f"message {number} was not put: {exc}")
        except (MissingError, DeniedError, ThrottledError):
            raise
        except PlatformError as exc:
            outcome.unknown += 1
            outcome.note(f"the reply for message {number} was lost: {exc}")
        else:
            outcome.put += 1
            if outcome.keep_ids:
                outcome.ids[number] = message_id


async def _put(queue: WorkQueue, text: str) -> str:
    """Put one message; again only where the service said that it did not take it."""
    for attempt in range(1, THROTTLED_MAX):
        try:
            return await queue.put(text, timeout_s=CALL_TIMEOUT_S)
        except ThrottledError as exc:
            pause_s = CALL_RETRY.pause_s(attempt, draw=random.random())  # noqa: S311 -- spreads pauses, guards nothing
            await asyncio.sleep(max(pause_s, exc.retry_after_s or 0.0))
    return await queue.put(text, timeout_s=CALL_TIMEOUT_S)


async def _show_progress(outcome: _Outcome) -> None:
    """Say how far it is, every few seconds."""
    began_s = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        say(f"{outcome.put} put, {outcome.put / (time.monotonic() - began_s):.0f} a second")
