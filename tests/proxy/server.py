"""A proxy before one service of Azurite that lets requests meet their faults.

In a thread of its own. What it passes on it passes on whole: method, path as it was signed, headers and body.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from yarl import URL

from tests.proxy.faults import AFTER, RETRY_AFTER_S, Fault, Kind, Weather

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "host", "content-length"})
_BODY_BYTES_MAX = 16 * 1024 * 1024
_DRIPS = 4
_NO_BODY = 204
_ERROR = '<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>as it was drawn</Message></Error>'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One request, whole."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    """One reply, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class FaultyProxy:
    """Passes requests on to one service, or not, or twice as slowly."""

    def __init__(self, target: str, weather: Weather, session: aiohttp.ClientSession, closing: asyncio.Event) -> None:
        self._target = target
        self._weather = weather
        self._session = session
        self._closing = closing
        self._late: set[asyncio.Task[None]] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Let one request meet its fault."""
        asked = _Request(
            method=request.method,
            url=URL(f"{self._target}{request.raw_path}", encoded=True),
            headers=_end_to_end(request.headers),
            body=await request.read(),
        )
        fault = self._weather.strike(request.method, request.raw_path, request.headers)
        if fault is None:
            return _whole(await self._pass_on(asked))
        if fault.kind is Kind.LATE:
            late = asyncio.create_task(self._pass_on_later(asked, fault.delay_s))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
            return _cut(request)
        reply = await self._pass_on(asked) if fault.kind in AFTER else None
        return await self._answer(request, reply, fault)

    async def settle(self) -> None:
        """Let what is late arrive."""
        await asyncio.gather(*self._late)

    async def _answer(self, request: web.Request, reply: _Reply | None, fault: Fault) -> web.StreamResponse:
        """What comes back to the sender."""
        if fault.status:
            return _whole(_error(fault))
        if fault.kind is Kind.SILENT:
            await self._pause(fault.delay_s)
        if reply is None or fault.kind not in (Kind.SLOW, Kind.TORN):
            return _cut(request)
        if fault.kind is Kind.SLOW:
            return await self._dripped(request, reply, fault.delay_s)
        return await _torn(request, reply)

    async def _pass_on(self, asked: _Request) -> _Reply:
        async with self._session.request(
            asked.method, asked.url, headers=asked.headers, data=asked.body or None, allow_redirects=False
        ) as reply:
            body = await reply.read()
        return _Reply(status=reply.status, headers=_end_to_end(reply.headers), body=body)

    async def _pass_on_later(self, asked: _Request, delay_s: float) -> None:
        await self._pause(delay_s)
        await self._pass_on(asked)

    async def _dripped(self, request: web.Request, reply: _Reply, delay_s: float) -> web.StreamResponse:
        """The headers at once, the body in parts; where there is none, all of it late."""
        if not reply.body:
            await self._pause(delay_s)
            return _whole(reply)
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        response.content_length = len(reply.body)
        await response.prepare(request)
        size = -(-len(reply.body) // _DRIPS)
        for start in range(0, len(reply.body), size):
            await self._pause(delay_s / _DRIPS)
            await response.write(reply.body[start : start + size])
        await response.write_eof()
        return response

    async def _pause(self, delay_s: float) -> None:
        """Wait, but not past the proxy's end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._closing.wait()


async def _torn(request: web.Request, reply: _Reply) -> web.StreamResponse:
    """Half of what the length promises; a reply that may have no body is not sent at all."""
    if reply.status == _NO_BODY:
        return _cut(request)
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = len(reply.body) + 1
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    return _cut(request, response)


def _whole(reply: _Reply) -> web.Response:
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


def _error(fault: Fault) -> _Reply:
    """An error as the service sends it."""
    headers = {"x-ms-error-code": fault.code, "Content-Type": "application/xml"}
    if fault.kind is Kind.THROTTLED:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return _Reply(status=fault.status, headers=headers, body=_ERROR.format(code=fault.code).encode())


def _cut(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Close the connection; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


@contextmanager
def faulty(target: str, weather: Weather) -> Iterator[str]:
    """A proxy for as long as the context lasts, and its root; in the end what is late has arrived.

    Args:
        target: the service's root, `http://127.0.0.1:PORT`.
        weather: the faults.
    """
    ready = Future[str]()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        ) as session:
            proxy = FaultyProxy(target, weather, session, stop)
            application = web.Application(client_max_size=_BODY_BYTES_MAX)
            application.router.add_route("*", "/{path:.*}", proxy.handle)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                ready.set_result(f"http://127.0.0.1:{runner.addresses[0][1]}")
                await stop.wait()
                await proxy.settle()
            finally:
                await runner.cleanup()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="faulty-proxy", daemon=True)
    thread.start()
    try:
        yield ready.result(timeout=30)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
