"""A relay between a client and Azurite that can swallow a reply after the service has acted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Relay:
    """Passes bytes on both ways.

    Attributes:
        swallowing: while true, whatever the service answers ends the client's connection instead.
        swallowed: how many replies that was.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path
        self.swallowing = False
        self.swallowed = 0
        self.url = ""
        self._relayed: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str) -> AsyncIterator[Relay]:
        """Relay to the service at `url`; the relay's own `url` has the same path."""
        relay = cls(url)
        server = await asyncio.start_server(relay._relay, "127.0.0.1", 0)
        relay.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{relay._path}"
        try:
            yield relay
        finally:
            server.close()
            for task in relay._relayed:
                task.cancel()
            await asyncio.gather(*relay._relayed, return_exceptions=True)
            await server.wait_closed()

    async def _relay(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relayed.add(task)
        from_service, to_service = await asyncio.open_connection(self._host, self._port)
        try:
            with contextlib.suppress(ConnectionError):
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pass_on(from_client, to_service))
                    both.create_task(self._answer(from_service, to_client))
        except BaseExceptionGroup:
            pass  # one side went away
        finally:
            self._relayed.discard(task)
            for writer in (to_client, to_service):
                writer.transport.abort()

    async def _answer(self, from_service: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        while data := await from_service.read(65_536):
            if self.swallowing:
                self.swallowed += 1
                raise ConnectionAbortedError
            to_client.write(data)
            await to_client.drain()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
