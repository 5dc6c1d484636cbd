"""The server for those who watch: small, on loopback, and not to be held up."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from adapters.telemetry.health import Health
from adapters.telemetry.server import CONNECTIONS_MAX, WatchServer
from adapters.telemetry.watching import LOOPBACK
from fsm.application import AppState
from fsm.errors import ConfigurationError

PATIENCE_S = 10.0


class Worker:
    """What the server asks."""

    def __init__(self) -> None:
        self.state = AppState.PROCESSING
        self.silent_s = 0.0


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def server(worker: Worker) -> Iterator[WatchServer]:
    with open_server(worker) as opened:
        yield opened


def open_server(worker: Worker, address: str = LOOPBACK, port: int = 0) -> WatchServer:
    health = Health(state=lambda: worker.state.value, silent_s=lambda: worker.silent_s, lease_s=10.0)
    return WatchServer(address, port, health=health, render=lambda accept: (b"measures\n", f"text/{accept or 'plain'}"))


def connect(server: WatchServer) -> http.client.HTTPConnection:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return http.client.HTTPConnection(host.strip("[]"), int(port), timeout=PATIENCE_S)


def ask(server: WatchServer, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, type and body of an answer."""
    connection = connect(server)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
    connection.close()
    return found


def test_the_health_extension_is_answered_in_both_modes(server: WatchServer, worker: Worker) -> None:
    """200 and Healthy, or 503 and Unhealthy; readiness is a question of its own."""
    for state, silent_s, healthy, ready in (
        (AppState.PROCESSING, 0.0, 200, 200),
        (AppState.EVICTED, 0.0, 200, 503),
        (AppState.DRAINED, 0.0, 200, 503),
        (AppState.PROCESSING, 11.0, 503, 503),
    ):
        worker.state, worker.silent_s = state, silent_s
        status, content_type, body = ask(server, "/healthz")
        assert (status, content_type) == (healthy, "application/json")
        assert json.loads(body)["ApplicationHealthState"] == ("Healthy" if healthy == 200 else "Unhealthy")
        assert json.loads(body)["state"] == state.value
        assert ask(server, "/readyz?probe=1")[0] == ready


def test_there_is_nothing_else(server: WatchServer) -> None:
    """Other paths are not found, other methods are refused, and a HEAD has no body."""
    assert ask(server, "/metrics") == (200, "text/plain", "measures\n")
    assert ask(server, "/metrics", "HEAD") == (200, "text/plain", "")
    assert ask(server, "/") == (
        404,
        "text/plain; charset=utf-8",
        "there are /healthz, /healthz/all, /readyz and /metrics\n",
    )
    assert ask(server, "/healthz/../../etc/passwd")[0] == 404
    assert ask(server, "/healthz", "POST")[0] == 501


def test_only_this_machine_can_connect_unless_told_otherwise(server: WatchServer, worker: Worker) -> None:
    """By default the port is there on loopback's own address and on no other; `::1` and others are to be had."""
    port = int(server.url.rpartition(":")[2])
    for other in ("127.0.0.2", _own_address()):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((other, port), timeout=PATIENCE_S)
    with open_server(worker, "::1") as second:
        assert second.url.startswith("http://[::1]:")
        assert ask(second, "/healthz")[0] == 200
    with open_server(worker, "0.0.0.0") as third:
        socket.create_connection(("127.0.0.2", int(third.url.rpartition(":")[2])), timeout=PATIENCE_S).close()


def _own_address() -> str:
    """An address of this machine that others can reach, or, where there is none, another one of loopback."""
    found = {str(one[4][0]) for one in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    return next((address for address in sorted(found) if not address.startswith("127.")), "127.0.0.3")


@pytest.mark.parametrize("address", ["198.51.100.7", "no such host.invalid"])
def test_an_address_that_is_not_ours_is_a_mistake(worker: Worker, address: str) -> None:
    """It is said in one line that names the setting."""
    with pytest.raises(ConfigurationError, match=r"--health-port: .* cannot be listened on: .*--health-address"):
        open_server(worker, address)


def test_a_port_in_use_is_a_mistake(server: WatchServer, worker: Worker) -> None:
    """Two workers on one port are told apart at once."""
    with pytest.raises(ConfigurationError, match=r"--health-port: 127\.0\.0\.1 port \d+ .*in use"):
        open_server(worker, port=int(server.url.rpartition(":")[2]))


def test_silent_connections_hold_up_nobody_for_long(server: WatchServer) -> None:
    """A few that say nothing leave room for others; too many are cut off, and then the others are heard again."""
    address = LOOPBACK, int(server.url.rpartition(":")[2])
    with ExitStack() as held:
        for _ in range(CONNECTIONS_MAX - 1):
            held.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
        assert ask(server, "/healthz")[0] == 200
        for _ in range(3 * CONNECTIONS_MAX):
            held.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
    assert _heard_again(server)


def test_connections_that_say_a_little_now_and_then_are_cut_off(
    server: WatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a request is drawn out, its place is free again after seconds, and nobody asks for a repair."""
    monkeypatch.setattr("adapters.telemetry.server.CONNECTION_S_MAX", 1.0)
    address = LOOPBACK, int(server.url.rpartition(":")[2])
    with ExitStack() as held:
        slow = [
            held.enter_context(socket.create_connection(address, timeout=PATIENCE_S)) for _ in range(CONNECTIONS_MAX)
        ]
        for connection in slow:
            connection.sendall(b"GET /healthz HTTP/1.0\r\nX: ")
        until_s = time.monotonic() + PATIENCE_S
        while not _answers(server):
            assert time.monotonic() < until_s, "the slow ones still have every place"
            for connection in slow:
                with suppress(OSError):
                    connection.sendall(b"x")
            time.sleep(0.2)


def _answers(server: WatchServer) -> bool:
    try:
        return ask(server, "/healthz")[0] == 200
    except (ConnectionError, http.client.BadStatusLine):
        return False


def _heard_again(server: WatchServer) -> bool:
    return any(_answers(server) for _ in range(100))


def test_noise_is_answered_or_cut_off_and_the_server_lives(server: WatchServer) -> None:
    """Whatever is sent in place of a request, the next request is answered."""
    draw = random.Random(5)
    address = LOOPBACK, int(server.url.rpartition(":")[2])
    noises = [draw.randbytes(draw.randrange(1, 3000)) for _ in range(40)]
    noises += [b"GET " + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 50]
    noises += [b"GET /healthz HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n"]
    for noise in noises:
        with socket.create_connection(address, timeout=PATIENCE_S) as connection:
            connection.sendall(noise)
    assert ask(server, "/healthz")[0] == 200
