"""A storage service made of canned replies: what it is asked is kept, what it answers is told, and how it breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlsplit

ACCOUNT = "devstoreaccount1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply.

    Attributes:
        missing_bytes: how many bytes more its length promises than are sent before the connection breaks.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    missing_bytes: int = 0

    @classmethod
    def error(cls, status: int, code: str, **headers: str) -> Self:
        """An error as the service sends it."""
        text = f"{code} happened.\nRequestId:1\nTime:2026-11-23T00:00:00Z"
        body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{text}</Message></Error>'
        known = {"x-ms-error-code": code, "content-type": "application/xml"}
        return cls(status=status, headers={**known, **headers}, body=body.encode())


class Broken:
    """Ways of not answering."""


RESET = Broken()
"""The connection is closed without a byte."""
SILENT = Broken()
"""The request is read, and nothing comes."""

Answering = Callable[[Request], Reply | Broken]


class Loopback:
    """A server on loopback; `answer` may be replaced at any time."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.answer: Answering = lambda _request: Reply.error(500, "InternalError")
        self._port = 0
        self._open: set[asyncio.StreamWriter] = set()

    def always(self, reply: Reply | Broken) -> None:
        """Answer everything alike, from now on, and forget what was asked."""
        self.requests.clear()
        self.answer = lambda _request: reply

    def queue_url(self, name: str = "jobs") -> str:
        return f"http://127.0.0.1:{self._port}/{ACCOUNT}/{name}"

    def blob_url(self, container: str = "records") -> str:
        return f"http://127.0.0.1:{self._port}/{ACCOUNT}/{container}"

    @classmethod
    @asynccontextmanager
    async def serving(cls) -> AsyncIterator[Loopback]:
        """Serve until the block ends."""
        loopback = cls()
        server = await asyncio.start_server(loopback._serve, "127.0.0.1", 0, limit=2**24)
        loopback._port = server.sockets[0].getsockname()[1]
        try:
            yield loopback
        finally:
            server.close()
            for writer in loopback._open:
                writer.transport.abort()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._exchange(reader, writer):
                pass
        self._open.discard(writer)
        writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; say whether the connection is still good."""
        request = await _read_request(reader)
        self.requests.append(request)
        reply = self.answer(request)
        if reply is SILENT:
            await reader.read()
            return False
        if not isinstance(reply, Reply):
            return False
        length = len(reply.body) + reply.missing_bytes
        headers = {"content-length": str(length), **reply.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body = b"" if request.method == "HEAD" else reply.body
        writer.write(f"HTTP/1.1 {reply.status} Said\r\n{head}\r\n".encode("latin-1") + body)
        await writer.drain()
        return reply.missing_bytes == 0


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method=method, target=target, headers=headers, body=body)
