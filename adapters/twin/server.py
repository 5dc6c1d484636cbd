"""The twin on a socket.

Thin: a request becomes a value, `answers` or `orders` decide, and the reply goes out in the manner the fault in force
demands. `/metadata` is IMDS; `/twin` is the operator's side, which no Azure VM has: `POST /twin/<order>` with a JSON
object, and `GET /twin/state`.

An order is refused when it comes from a web page (it has an `Origin`): the port is open to every program of this
machine, and a browser is one that strangers write scripts for.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from adapters.twin.answers import Answer, Request, answer
from adapters.twin.faults import FaultKind
from adapters.twin.orders import ORDERS, Reply, obey
from adapters.twin.state import TwinState
from adapters.twin.wire import Json, Moment
from fsm.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
_BODY_BYTES_MAX = 64 * 1024
_SHUTDOWN_S = 1.0
"""How long a request may go on once the twin closes."""


def system_moment() -> Moment:
    """Now, by the system's clocks."""
    return Moment(wall=datetime.now(UTC), at_s=time.monotonic())


class Twin:
    """A twin that serves: its state, its URL and its orders. To be used in its event loop only.

    Args:
        state: to begin with; its boot id is replaced by a fresh one where `boot_id_file` is given.
        boot_id_file: kept at the state's boot id, for workers told to read theirs there.
        moment: the clocks.
    """

    def __init__(self, state: TwinState, *, boot_id_file: Path | None, moment: Callable[[], Moment]) -> None:
        self.url = ""
        self._state = state
        self._boot_id_file = boot_id_file
        self._moment = moment
        self._identity_in_flight = 0
        self._closing = asyncio.Event()
        if boot_id_file is not None:
            self.order("boot")

    @property
    def state(self) -> TwinState:
        """The state as of now."""
        self._state = self._state.at(self._moment())
        return self._state

    def order(self, order: str, fields: Mapping[str, Json] | None = None) -> Reply:
        """Carry out an order as `POST /twin/<order>` does.

        Raises:
            ConfigurationError: the order or one of its fields is unknown or out of range, or the boot id cannot be
                written; nothing changed.
        """
        state, reply = obey(self._state, order, fields or {}, self._moment(), str(uuid.uuid4()))
        if self._boot_id_file is not None and state.boot_id != self._state.boot_id:
            _write_boot_id(self._boot_id_file, state.boot_id)
        self._state = state
        return reply

    def release(self) -> None:
        """Let go of the requests that a fault keeps waiting: the twin closes."""
        self._closing.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        if request.path == "/metadata" or request.path.startswith("/metadata/"):
            return await self._metadata(request)
        return await self._operator(request)

    # -- /metadata -------------------------------------------------------------------------------------------------

    async def _metadata(self, request: web.Request) -> web.StreamResponse:
        """Answer as IMDS, counting the token requests under way."""
        body = await request.read()
        of_identity = request.path.startswith("/metadata/identity/")
        self._identity_in_flight += of_identity
        try:
            asked = Request(
                method=request.method,
                path=request.path,
                query=tuple(request.query.items()),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=body,
                identity_in_flight=self._identity_in_flight,
            )
            self._state, reply = answer(self._state, asked, self._moment())
            return await self._delivered(request, reply)
        finally:
            self._identity_in_flight -= of_identity

    async def _delivered(self, request: web.Request, reply: Answer) -> web.StreamResponse:
        """Send the reply in the manner of its fault."""
        delay_s = 0.0 if reply.fault is None else reply.fault.delay_s
        match None if reply.fault is None else reply.fault.kind:
            case FaultKind.SILENT:
                await self._closing.wait()
                return _cut(request)
            case FaultKind.RESET:
                return _cut(request)
            case FaultKind.SLOW:
                await self._pause(delay_s)
            case FaultKind.DRIP:
                return await self._dripped(request, reply, delay_s)
            case _:
                pass
        return web.Response(status=reply.status, headers=_headers(reply), body=reply.body)

    async def _dripped(self, request: web.Request, reply: Answer, delay_s: float) -> web.StreamResponse:
        """Send the headers at once and the body a byte at a time."""
        response = web.StreamResponse(status=reply.status, headers=_headers(reply))
        response.content_length = len(reply.body)
        await response.prepare(request)
        for place in range(len(reply.body)):
            await self._pause(delay_s)
            await response.write(reply.body[place : place + 1])
        await response.write_eof()
        return response

    async def _pause(self, delay_s: float) -> None:
        """Wait, but not past the twin's end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._closing.wait()

    # -- /twin -----------------------------------------------------------------------------------------------------

    async def _operator(self, request: web.Request) -> web.StreamResponse:
        """Answer an order, or report."""
        path = request.path.rstrip("/")
        if "Origin" in request.headers:
            return _error(HTTPStatus.FORBIDDEN, "orders from web pages are refused")
        if path == "/twin/state" and request.method == "GET":
            return web.json_response(self.state.report(self._moment()))
        if not path.startswith("/twin/"):
            return _error(HTTPStatus.NOT_FOUND, "this is the IMDS twin: it answers below /metadata and /twin")
        if request.method != "POST":
            return _error(HTTPStatus.METHOD_NOT_ALLOWED, "orders are POSTed; GET /twin/state reports")
        order = path.removeprefix("/twin/")
        if order not in ORDERS:
            return _error(HTTPStatus.NOT_FOUND, f"unknown order; known are {', '.join(ORDERS)}")
        return await self._obeyed(order, request)

    async def _obeyed(self, order: str, request: web.Request) -> web.Response:
        try:
            return web.json_response(self.order(order, _fields(await request.read())))
        except ConfigurationError as exc:
            return web.json_response(
                {"error": str(exc), "setting": exc.setting, "problem": exc.problem, "remedy": exc.remedy},
                status=HTTPStatus.BAD_REQUEST,
            )


@asynccontextmanager
async def serve_twin(
    state: TwinState | None = None,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    boot_id_file: Path | None = None,
    moment: Callable[[], Moment] = system_moment,
) -> AsyncIterator[Twin]:
    """Serve a twin for as long as the context lasts.

    Args:
        state: to begin with; a fresh VM by default.
        host: the address to bind. Another one than loopback lets the whole network give orders.
        port: 0 picks a free one; `Twin.url` tells which.
        boot_id_file: written with the VM's boot id, now and at each boot.
        moment: the clocks, for tests.

    Raises:
        ConfigurationError: the address cannot be bound, or the boot id file not be written.
    """
    twin = Twin(state or TwinState(), boot_id_file=boot_id_file, moment=moment)
    application = web.Application(client_max_size=_BODY_BYTES_MAX)
    application.router.add_route("*", "/{path:.*}", twin.handle)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, OverflowError) as exc:
            raise ConfigurationError(
                "--port", f"{host}:{port} cannot be bound ({exc})", "Give a free port, or 0 to let one be picked."
            ) from exc
        bound_host, bound_port = runner.addresses[0][:2]
        twin.url = f"http://[{bound_host}]:{bound_port}" if ":" in bound_host else f"http://{bound_host}:{bound_port}"
        yield twin
    finally:
        twin.release()
        await runner.cleanup()


def _fields(body: bytes) -> Mapping[str, Json]:
    """An order's fields; an empty body has none.

    Raises:
        ConfigurationError: the body is no JSON object.
    """
    try:
        fields: Json = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise ConfigurationError("body", f"not JSON ({exc})", "Send a JSON object.") from exc
    if not isinstance(fields, Mapping):
        raise ConfigurationError("body", "not a JSON object", "Send a JSON object.")
    return fields


def _write_boot_id(file: Path, boot_id: str) -> None:
    """Replace the file in one step: a worker reads the old boot id or the new one, never half of one."""
    fresh = file.with_name(f"{file.name}.new")
    try:
        fresh.write_text(f"{boot_id}\n", encoding="ascii")
        fresh.replace(file)
    except (OSError, UnicodeEncodeError) as exc:
        raise ConfigurationError(
            "--boot-id-file", f"{file} cannot be written ({exc})", "Name a file in a directory that may be written."
        ) from exc


def _headers(reply: Answer) -> dict[str, str]:
    return {"Content-Type": f"{reply.content_type}; charset=utf-8", **(reply.headers or {})}


def _error(status: HTTPStatus, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


def _cut(request: web.Request) -> web.Response:
    """Close the connection without a reply; the one returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
