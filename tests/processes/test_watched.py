"""Whole workers as those who watch them see them: through their ports, while they are evicted, blocked and many."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from adapters.telemetry.health import STANDS_STILL_S_MIN
from adapters.telemetry.measures import Measures
from fsm.application import AppState
from fsm.receipts import KILLED, receipts_in
from tests.processes.conftest import MakeVm
from tests.processes.places import Place, SqlitePlace
from tests.processes.spot_vm import PATIENCE_S, SpotVm

pytestmark = pytest.mark.processes

LONG = "tests.processes.handlers:long"
ANY_PORT = ("--health-port", "0")
PROMPT_S = 2.0
"""An answer within this was not held up by the loop."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url: str) -> tuple[int, str]:
    """Status and body."""
    began_s = time.monotonic()
    try:
        with _DIRECT.open(url, timeout=PATIENCE_S) as answer:
            found = answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            found = exc.code, exc.read().decode()
    assert time.monotonic() - began_s < PROMPT_S
    return found


def addresses(vm: SpotVm, count: int = 1) -> list[str]:
    """Where its workers are watched, as they said themselves."""
    wait_for(lambda: len(_said(vm)) >= count)
    return _said(vm)


def _said(vm: SpotVm) -> list[str]:
    return re.findall(r"watched at (http://\S+):", vm.output.read_text())


def wait_for(holds: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    """Wait until it holds.

    Raises:
        AssertionError: it does not in time.
    """
    give_up_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up_s, "it never came"
        time.sleep(0.02)


def metric(text: str, name: str) -> float:
    """A sample of the Prometheus text."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"{name} is not in {text}"
    return float(found[1])


def test_an_eviction_makes_a_worker_unready_and_not_unhealthy(place: Place, make_vm: MakeVm) -> None:
    """While it drains and while it waits for the end, 200 for the repairer and 503 for whoever sends work."""
    vm = make_vm(place, handler=LONG, more=(*ANY_PORT, "--queue-metrics", "1s"))
    jobs = [place.put("{}") for _ in range(3)]
    vm.start()
    for job in jobs:
        vm.await_row("J19", job=job)
    (url,) = addresses(vm)
    assert (ask(f"{url}/healthz")[0], ask(f"{url}/readyz")[0]) == (200, 200)
    wait_for(lambda: 'spotfsm_backlog{jobs="leased"} 3.0' in ask(f"{url}/metrics")[1])
    vm.twin.evict(notice_s=20)
    vm.await_state(AppState.EVICTED)
    status, body = ask(f"{url}/healthz")
    assert (status, json.loads(body)["ApplicationHealthState"]) == (200, "Healthy")
    vm.await_state(AppState.DRAINED)
    vm.await_line(lambda line: line.kind == "still_here" and float(line.text("drained_for_s")) >= 1)
    assert (ask(f"{url}/healthz")[0], ask(f"{url}/readyz")[0]) == (200, 503)
    text = ask(f"{url}/metrics")[1]
    assert metric(text, 'spotfsm_state{state="Drained"}') == 1
    assert metric(text, 'spotfsm_ended_total{end="released"}') == 3
    assert metric(text, 'spotfsm_drains_total{cause="eviction"}') == 1
    assert 0 < metric(text, 'spotfsm_drain_margin_seconds{cause="eviction"}') < 20
    assert metric(text, "spotfsm_notice_received_seconds") >= 1
    assert re.search(r"drained \S+ after the notice, \S+ of it left, 3 released", vm.output.read_text())


def test_the_metrics_are_the_journals(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """Counted anew from the journal of a worker that met failures and poison, they are what its receipt says."""
    vm = make_vm(sqlite, more=("--json", "--retry-pause", "0s"))
    for _ in range(10):
        sqlite.put(json.dumps({"steps": 4, "step_s": 0.01}))
    sqlite.put(json.dumps({"steps": 4, "step_s": 0.01, "fails": 2}))
    sqlite.put("not json")
    vm.start("--until-empty")
    assert vm.wait() == 0
    output = vm.output.read_text()
    receipt = json.loads(output[output.index("{\n") :])
    measures = Measures("1", silent_s=lambda: 0.0)
    vm.look()
    for line in vm.lines:
        measures.observe(line.kind, line.fields)
    found = {(one.measure.name, one.labels): one.value for one in measures.samples()}
    for end in ("completed", "released", "poisoned", "abandoned"):
        assert found["spotfsm_ended", (end,)] == receipt[end], end
    for name in ("received", "begun", "checkpoints", "failures"):
        assert found[f"spotfsm_{name}", ()] == receipt[name], name
    assert found["spotfsm_running", ()] == 0
    assert (receipt["completed"], receipt["poisoned"], receipt["failures"]) == (11, 1, 7)


def test_a_blocked_worker_answers_at_once_that_it_is_unhealthy(
    sqlite: SqlitePlace, make_vm: MakeVm, tmp_path: Path
) -> None:
    """A handler that blocks the loop for good makes neither answer late; once its leases are over, both say no."""
    (tmp_path / "blocking.py").write_text("import time\n\nasync def handle(job):\n    time.sleep(1000)\n")
    vm = make_vm(sqlite, handler="blocking:handle", visibility_timeout_s=2.0, more=ANY_PORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        sqlite.put("x")
        vm.start()
    (url,) = addresses(vm)
    vm.await_line(lambda line: line.row in ("J6", "J7", "J8"))
    blocked_s = time.monotonic()
    assert ask(f"{url}/healthz")[0] == 200, "not yet"
    wait_for(lambda: ask(f"{url}/healthz")[0] == 503)
    assert time.monotonic() - blocked_s > STANDS_STILL_S_MIN - 1.0
    status, body = ask(f"{url}/readyz")
    assert (status, json.loads(body)["ApplicationHealthState"]) == (503, "Unhealthy")
    assert "must not block" in json.loads(body)["reason"]
    wait_for(lambda: metric(ask(f"{url}/metrics")[1], "spotfsm_loop_blocked_total") == 1)


def test_each_of_several_workers_is_watched_at_its_own_port(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """Three instances have three ports and three names; those of given ports follow each other."""
    vm = make_vm(sqlite, more=(*ANY_PORT, "--instances", "3"))
    vm.start()
    urls = addresses(vm, 3)
    for url in urls:
        wait_for(lambda url=url: ask(f"{url}/readyz")[0] == 200)  # type: ignore[misc]
    names = {re.search(r'spotfsm_worker\{.*worker="([^"]+)"', ask(f"{url}/metrics")[1]) for url in urls}
    assert {found[1] for found in names if found is not None} == {"1-1", "1-2", "1-3"}


def test_one_port_tells_of_any_instance_that_is_ill(sqlite: SqlitePlace, make_vm: MakeVm, tmp_path: Path) -> None:
    """The first is asked for all: one whose event loop is blocked makes them ill, whichever it is."""
    (tmp_path / "blocking.py").write_text("import time\n\nasync def handle(job):\n    time.sleep(1000)\n")
    first = two_free_ports()
    more = ("--instances", "2", "--health-port", str(first))
    vm = make_vm(sqlite, handler="blocking:handle", concurrency=1, visibility_timeout_s=2.0, more=more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        vm.start()
    urls = sorted(addresses(vm, 2))
    assert urls == [f"http://127.0.0.1:{first + number}" for number in (0, 1)]
    for url in urls:
        wait_for(lambda url=url: ask(f"{url}/readyz")[0] == 200)  # type: ignore[misc]
    assert ask(f"{urls[0]}/healthz/all")[0] == 200
    sqlite.put("x")
    wait_for(lambda: ask(f"{urls[0]}/healthz/all")[0] == 503)
    _, body = ask(f"{urls[0]}/healthz/all")
    assert "must not block" in json.loads(body)["reason"]
    assert 503 in [ask(f"{url}/healthz")[0] for url in urls]


def two_free_ports() -> int:
    """The first of two that follow each other."""
    while True:
        with socket.socket() as one, socket.socket() as other, suppress(OSError, OverflowError):
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            other.bind(("127.0.0.1", port + 1))
            return port


def test_a_port_that_is_taken_ends_the_worker_with_one_line(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """It is a mistake in the settings, and no traceback; a job is not begun."""
    vm = make_vm(sqlite, more=ANY_PORT)
    vm.start()
    (url,) = addresses(vm)
    other = vm.start_beside("--instance", "2", "--health-port", url.rpartition(":")[2])
    said, _ = other.communicate(timeout=PATIENCE_S)
    assert other.returncode == 2
    assert said.startswith("error: --health-port: 127.0.0.1 port ")
    assert len(said.splitlines()) == 1


def test_the_journal_tells_what_each_end_was_worth_and_cost(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """Taken two seconds after it was drained, then killed two seconds after its last checkpoint: both can be read."""
    vm = make_vm(sqlite, handler="tests.processes.handlers:steps")
    job = sqlite.put(json.dumps({"steps": 9, "step_s": 3}))
    vm.start()
    vm.await_begin(job)
    vm.twin.evict(notice_s=25)
    told_s = time.monotonic()
    vm.await_kind("notice")
    vm.await_line(lambda line: line.kind == "still_here" and float(line.text("drained_for_s")) >= 2)
    vm.kill()
    worth_s = time.monotonic() - told_s
    vm.look()
    seen = len(vm.lines)
    vm.reboot()
    vm.start()
    vm.await_row("J19", after=seen)
    saved_s = time.monotonic()
    time.sleep(2.0)
    vm.kill()
    lost_s = time.monotonic() - saved_s
    vm.look()
    (_, noticed), (_, killed) = receipts_in(vm.lines)
    assert (noticed.cause, noticed.evicted, noticed.released) == ("Preempt", True, 1)
    assert noticed.margin_s is not None
    assert noticed.drain_s is not None
    assert noticed.drain_s + 2 <= noticed.received_s <= worth_s
    assert killed.cause == KILLED
    assert 1.5 < killed.redone_s <= lost_s + 0.5
