"""The proxy's faults are what they say; and workers behind it, for half a minute. `make hardening` runs a long one."""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.azurite import Azurite
from tests.proxy.campaign import Campaign
from tests.proxy.faults import AFTER, Fault, Kind, Weather
from tests.proxy.server import faulty

REQUESTS = 1200
BODY = b"<a body of some length/>"
PATIENCE_S = 20.0
PATH = "/jobs/messages?popreceipt=a%2Bb%3D"


class Drawn(Weather):
    """Weather in which every request meets the same fault."""

    def __init__(self, fault: Fault | None) -> None:
        super().__init__(random.Random(0))
        self.fault = fault

    def strike(self, *_request: object) -> Fault | None:
        return self.fault


class Service(BaseHTTPRequestHandler):
    """Counts the requests that take effect, in its server's `paths`."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        self.send_response(201)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """The service, in threads of its own."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Service)
        self.paths: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def service() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(url: str, path: str) -> tuple[int, bytes] | None:
    """What comes back, or None for nothing usable."""
    with closing(HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)) as connection:
        try:
            connection.request("PUT", path, body=b"x")
            reply = connection.getresponse()
            return reply.status, reply.read()
        except (HTTPException, ConnectionError):
            return None


@pytest.mark.parametrize("kind", Kind)
def test_a_fault_is_what_it_says(service: Server, kind: Kind) -> None:
    """The effect is made or not, and something usable comes back or not, as the fault's name has it."""
    drawn = Weather(random.Random(0))._fault(kind)
    fault = replace(drawn, delay_s=min(drawn.delay_s, 0.2))
    with faulty(service.url, Drawn(fault)) as url:
        came = asked(url, PATH)
    assert service.paths == [PATH] * (kind in AFTER or kind is Kind.LATE)
    match kind:
        case Kind.SLOW:
            assert came == (201, BODY)
        case _ if fault.status:
            assert came is not None
            assert came[0] == fault.status
            assert fault.code.encode() in came[1]
        case _:
            assert came is None


def test_without_a_fault_nothing_is_changed(service: Server) -> None:
    """In good weather the reply is the service's own."""
    with faulty(service.url, Drawn(None)) as url:
        assert asked(url, PATH) == (201, BODY)
    assert service.paths == [PATH]


def test_what_is_late_is_waited_for(service: Server) -> None:
    """No effect is still on its way when the proxy has gone."""
    with faulty(service.url, Drawn(Fault(kind=Kind.LATE, delay_s=60.0))) as url:
        assert asked(url, PATH) is None
        assert service.paths == []
    assert service.paths == [PATH]


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_workers_lose_nothing_and_record_nothing_twice_whatever_becomes_of_their_requests(azurite: Azurite) -> None:
    """While every seventh request goes wrong, drains included: every job ends once, and the worker never."""
    seed = secrets.randbelow(1_000_000)
    replay = f"python -m tests.proxy --requests {REQUESTS} --seed {seed}"
    verdict = Campaign(requests=REQUESTS, seed=seed, replay=replay, tell=lambda _text: None).run(azurite)
    assert verdict.weather.requests >= REQUESTS
    assert verdict.weather.faults.total() > REQUESTS / 20
    assert len(verdict.weather.faults) > len(Kind) / 2
