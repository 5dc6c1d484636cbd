"""Endpoints of telemetry on loopback, which take what exporters really send: a good one, and bad ones of each kind."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from adapters.dev.certificate import Certificate

KEY = "5b8ad3a2-6f0c-4f34-9a05-0b3f1d2c7e61"
"""An instrumentation key that must be seen in what is sent, and nowhere else."""
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request."""

    path: str
    body: bytes
    authorization: str


@dataclass(slots=True, kw_only=True)
class Receiver:
    """An endpoint, and what it was sent."""

    port: int
    scheme: str = "http"
    requests: list[Sent] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def connection_string(self) -> str:
        return f"InstrumentationKey={KEY};IngestionEndpoint={self.url}/"

    # -- Application Insights ---------------------------------------------------------------------------------------

    def envelopes(self, base_type: str) -> list[dict[str, Any]]:
        """The telemetry items of one type, as Application Insights would file them."""
        found: list[dict[str, Any]] = []
        for request in tuple(self.requests):
            if request.path == "/v2.1/track":
                found += json.loads(request.body)
        return [one for one in found if one["data"]["baseType"] == base_type]

    # -- OTLP -------------------------------------------------------------------------------------------------------

    def spans(self) -> list[Span]:
        found = []
        for request in tuple(self.requests):
            if request.path == "/v1/traces":
                message = ExportTraceServiceRequest.FromString(request.body)
                found += [span for one in message.resource_spans for scope in one.scope_spans for span in scope.spans]
        return found

    def metric_names(self) -> set[str]:
        found = set()
        for request in tuple(self.requests):
            if request.path == "/v1/metrics":
                message = ExportMetricsServiceRequest.FromString(request.body)
                found |= {m.name for one in message.resource_metrics for s in one.scope_metrics for m in s.metrics}
        return found


def wait_until(holds: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S) -> None:
    """Wait until it holds.

    Raises:
        AssertionError: it does not in time.
    """
    give_up_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up_s, f"{what} never came"
        time.sleep(0.02)


@contextmanager
def receiver(status: int = 200, *, certificate: Certificate | None = None) -> Iterator[Receiver]:
    """An endpoint that takes everything, or answers everything with this status; with a certificate over https."""
    taken = Receiver(port=0, scheme="http" if certificate is None else "https")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            authorization = self.headers.get("Authorization", "")
            taken.requests.append(Sent(path=self.path, body=body, authorization=authorization))
            count = len(json.loads(body)) if self.path == "/v2.1/track" else 0
            answer = b""
            if self.path == "/v2.1/track":
                answer = json.dumps({"itemsReceived": count, "itemsAccepted": count, "errors": []}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        taken.port = server.server_port
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.chain, certificate.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield taken
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def silent_receiver() -> Iterator[Receiver]:
    """An endpoint that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield Receiver(port=listening.getsockname()[1])


@contextmanager
def dead_receiver() -> Iterator[Receiver]:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    yield Receiver(port=port)
