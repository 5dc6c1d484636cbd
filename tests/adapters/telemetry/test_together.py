"""Several workers asked at one port: the one that is worst off answers, whichever it is."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from adapters.cli.instances import RESTART
from adapters.telemetry.health import Answer, Health
from adapters.telemetry.server import WatchServer
from adapters.telemetry.together import ABSENT_S_MAX, ASK_S_MAX, Together
from adapters.telemetry.watching import LOOPBACK
from fsm.application import AppState

LEASE_S = 10.0


@dataclass(slots=True)
class Beside:
    """Workers, and where the second and the third serve their health."""

    silent_s: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    state: AppState = AppState.PROCESSING
    now_s: float = 1000.0
    servers: list[WatchServer] = field(default_factory=list)

    def health(self, number: int) -> Health:
        return Health(state=lambda: self.state.value, silent_s=lambda: self.silent_s[number], lease_s=LEASE_S)

    @property
    def ports(self) -> list[int]:
        return [int(server.url.rpartition(":")[2]) for server in self.servers]

    def together(self) -> Together:
        return Together(self.health(0).alive, address=LOOPBACK, ports=self.ports, clock_s=lambda: self.now_s)


@pytest.fixture
def beside() -> Iterator[Beside]:
    """Three workers that are well."""
    made = Beside()
    with ExitStack() as stack:
        for number in (1, 2):
            server = WatchServer(LOOPBACK, 0, health=made.health(number), render=lambda _: (b"", ""))
            made.servers.append(stack.enter_context(server))
        yield made


@pytest.mark.parametrize("ill", [0, 1, 2])
def test_one_that_is_ill_makes_all_of_them_ill(beside: Beside, ill: int) -> None:
    """Whichever it is, and no longer than it is; the reason says which and why."""
    together = beside.together()
    assert together.alive() == Answer(good=True, state="Processing", reason="the worker is alive")
    beside.silent_s[ill] = LEASE_S + 1
    answer = together.alive()
    assert not answer.good
    assert "must not block" in answer.reason
    assert (f"the worker at port {beside.ports[ill - 1]}: " in answer.reason) == (ill > 0)
    beside.silent_s[ill] = 0.0
    assert together.alive().good


@pytest.mark.parametrize("state", AppState)
def test_no_state_of_any_is_ill(beside: Beside, state: AppState) -> None:
    """An eviction drains them all, and is no reason to replace the VM."""
    beside.state = state
    assert beside.together().alive().good


def test_one_that_died_has_its_time_to_be_started_again(beside: Beside) -> None:
    """Absent for as long as its parent may pause it is not ill, longer it is; once it was back its time begins anew."""
    assert 2 * RESTART.most_s <= ABSENT_S_MAX
    together, (port, _) = beside.together(), beside.ports
    for _ in range(2):
        first = beside.servers[0]
        first.__exit__(None, None, None)
        for later_s, good in ((0.0, True), (ABSENT_S_MAX, True), (0.5, False)):
            beside.now_s += later_s
            answer = together.alive()
            assert answer.good is good
        assert answer.reason == f"no worker has answered at port {port} for {ABSENT_S_MAX + 0.5:.0f} s"
        beside.servers[0] = WatchServer(LOOPBACK, port, health=beside.health(1), render=lambda _: (b"", ""))
        beside.servers[0].__enter__()
        assert together.alive().good
    beside.servers[0].__exit__(None, None, None)


def test_somebody_else_at_its_port_is_no_worker(beside: Beside) -> None:
    """What answers otherwise is as absent as what does not answer, and nothing it says gets out."""
    for said in ((404, b"{}"), (200, b"\xff"), (200, b"[]"), (200, b'{"state": 1}')):
        together = beside.together()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(http.client.HTTPResponse, "read", lambda *_, said=said: said[1])
            assert together.alive().good
            beside.now_s += ABSENT_S_MAX + 1
            assert not together.alive().good


def test_the_server_answers_for_all_at_a_path_of_its_own(beside: Beside) -> None:
    """Alone it answers for itself; in time for a prober that asks each five seconds."""
    assert 2 * ASK_S_MAX < 5
    beside.silent_s[2] = LEASE_S + 1
    for ports, status in ((beside.ports, 503), ((), 200)):
        server = WatchServer("0.0.0.0", 0, health=beside.health(0), render=lambda _: (b"", ""), beside=ports)
        with server:
            for path, expected in (("/healthz/all", status), ("/healthz", 200)):
                connection = http.client.HTTPConnection(LOOPBACK, int(server.url.rpartition(":")[2]), timeout=10)
                connection.request("GET", path)
                answer = connection.getresponse()
                body = json.loads(answer.read())
                connection.close()
                assert answer.status == expected
                assert body["ApplicationHealthState"] == ("Healthy" if expected == 200 else "Unhealthy")
