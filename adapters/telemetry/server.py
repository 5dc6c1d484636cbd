"""A small HTTP server for those who watch: `/healthz`, `/healthz/all`, `/readyz` and `/metrics`.

It answers from threads of its own, so that a handler that blocks the event loop cannot make it silent; only native code
that holds the interpreter can. It reads nothing but a request's first line and headers, changes nothing, and listens on
loopback unless told otherwise: who may connect may read.

The answers suit the application health extension of VMs and scale sets in both of its modes: status 200 is healthy and
503 is not, and the body has the `ApplicationHealthState` of the rich one.
[https://learn.microsoft.com/azure/virtual-machine-scale-sets/virtual-machine-scale-sets-health-extension, read 2026-11]
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, Self

from adapters.telemetry.health import Answer, Health
from adapters.telemetry.together import Together
from fsm.errors import ConfigurationError

CONNECTION_S_MAX = 5.0
"""How long a connection may last, however it fills the time: each has one answer, which takes milliseconds."""
CONNECTIONS_MAX = 16
"""Connections at once; one more is closed."""
_ANYWHERE: Mapping[str, str] = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- nothing is bound here
"""Where somebody who listens everywhere is asked from here."""
_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"

Render = Callable[[str], tuple[bytes, str]]
"""Given what the asker accepts, the measures as text, and the text's type."""


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int, health: Health, together: Together, render: Render) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.health = health
        self.together = together
        self.render = render
        self._since_s: dict[socket.socket, float] = {}
        super().__init__((address, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._since_s) < CONNECTIONS_MAX:
            self._since_s[request] = time.monotonic()
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._since_s.pop(request, None)

    def service_actions(self) -> None:
        """Ten times a second: cut off whoever keeps a place by saying a little now and then."""
        for connection, since_s in tuple(self._since_s.items()):
            if time.monotonic() - since_s > CONNECTION_S_MAX:
                with suppress(OSError):  # it has just ended
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up is gone, and nobody needs to hear of it."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = CONNECTION_S_MAX
    server_version = "spotfsm"
    sys_version = ""

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/healthz":
                self._answer(self.server.health.alive())
            case "/healthz/all":
                self._answer(self.server.together.alive())
            case "/readyz":
                self._answer(self.server.health.ready())
            case "/metrics":
                text, content_type = self.server.render(self.headers.get("Accept", ""))
                self._send(HTTPStatus.OK, text, content_type)
            case _:
                self._send(HTTPStatus.NOT_FOUND, b"there are /healthz, /healthz/all, /readyz and /metrics\n", _TEXT)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, answer: Answer) -> None:
        body = {
            "ApplicationHealthState": "Healthy" if answer.good else "Unhealthy",
            "state": answer.state,
            "reason": answer.reason,
        }
        status = HTTPStatus.OK if answer.good else HTTPStatus.SERVICE_UNAVAILABLE
        self._send(status, json.dumps(body).encode() + b"\n", _JSON)

    def _send(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """A probe every five seconds is no event."""


class WatchServer:
    """Listens from its making, and answers while it is entered; a context manager.

    Args:
        address: of the host's own, such as 127.0.0.1.
        port: 0 for any that is free.
        health: answers for the worker.
        beside: the ports of the workers under the same parent, for whom it answers as well if it is asked for all.
        render: the measures.

    Raises:
        ConfigurationError: nobody can listen there.
    """

    def __init__(self, address: str, port: int, *, health: Health, render: Render, beside: Sequence[int] = ()) -> None:
        together = Together(health.alive, address=_ANYWHERE.get(address, address), ports=beside)
        try:
            self._server = _Server(address, port, health, together, render)
        except (OSError, OverflowError) as exc:
            problem = f"{address} port {port} cannot be listened on: {getattr(exc, 'strerror', None) or exc}"
            remedy = "Choose another port, or an address of this machine by --health-address."
            raise ConfigurationError("--health-port", problem, remedy) from exc
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="watched", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        shown = f"[{host!s}]" if self._server.address_family is socket.AF_INET6 else str(host)
        return f"http://{shown}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
