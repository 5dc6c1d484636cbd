"""What whole workers send, to endpoints that take it and to endpoints that do not."""

from __future__ import annotations

import base64
import json
import re
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.dev.certificate import make_certificate
from adapters.telemetry.queries import job_query, overview_query
from adapters.telemetry.sending import FLUSH_S_MAX
from adapters.telemetry.trace_ids import trace_id_of
from fsm.application import AppState
from tests.adapters.telemetry.receiver import (
    KEY,
    Receiver,
    dead_receiver,
    receiver,
    silent_receiver,
    wait_until,
)
from tests.processes.conftest import MakeVm
from tests.processes.places import SqlitePlace
from tests.processes.spot_vm import SpotVm

pytestmark = pytest.mark.processes

LONG = "tests.processes.handlers:long"
AZURE = ("--telemetry", "azure-monitor")
OTLP = ("--telemetry", "otlp")
BAD: dict[str, Callable[[], AbstractContextManager[Receiver]]] = {
    "dead": dead_receiver,
    "silent": silent_receiver,
    "refusing": partial(receiver, status=503),
}
SLACK_S = 4.0
"""What a busy machine may add."""


def point_at(endpoint: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have workers send there; proxies of whoever runs the tests are none of theirs."""
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", endpoint.connection_string)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def dimensions(envelope: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = envelope["data"]["baseData"]["properties"]
    return found


def named(envelopes: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [one for one in envelopes if one["data"]["baseData"]["name"] == name]


def evict_while_working(vm: SpotVm, place: SqlitePlace, *, count: int, notice_s: float) -> list[str]:
    """Have jobs running with progress saved, give notice, and see the worker drained."""
    jobs = [place.put("{}") for _ in range(count)]
    vm.start()
    for job in jobs:
        vm.await_row("J19", job=job)
    vm.twin.evict(notice_s=notice_s)
    vm.await_state(AppState.DRAINED)
    return jobs


def test_an_eviction_is_in_application_insights_before_the_vm_is_gone(
    sqlite: SqlitePlace, make_vm: MakeVm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Deliveries, rows and the drain's receipt arrive while the notice runs; the key is nowhere but in what is sent."""
    with receiver() as insights:
        point_at(insights, monkeypatch)
        vm = make_vm(sqlite, handler=LONG, more=AZURE)
        jobs = evict_while_working(vm, sqlite, count=3, notice_s=20)
        wait_until(lambda: bool(named(insights.envelopes("RemoteDependencyData"), "drain")), "the drain")
        command_line = Path(f"/proc/{vm.pid}/cmdline").read_bytes().decode()
        vm.kill()
        requests, rows = insights.envelopes("RequestData"), insights.envelopes("MessageData")
        assert {dimensions(one)["spotfsm.job"] for one in requests} == {*jobs}
        for one in requests:
            assert dimensions(one)["spotfsm.end"] == "released"
            assert int(one["tags"]["ai.operation.id"], 16) == trace_id_of(dimensions(one)["spotfsm.job"])
            assert one["data"]["baseData"]["success"] is True, "an eviction is no failure"
            assert one["iKey"] == KEY
        assert {"J8 begin", "J28 interrupt"} <= {one["data"]["baseData"]["message"] for one in rows}
        (drain,) = named(insights.envelopes("RemoteDependencyData"), "drain")
        assert dimensions(drain)["spotfsm.cause"] == "Preempt"
        assert 0 < float(dimensions(drain)["spotfsm.margin_s"]) < 20
        assert int(dimensions(drain)["spotfsm.released"]) == 3
        check_queries(insights, jobs[0])
    for text in (command_line, vm.output.read_text(), SpotVm.journal(tmp_path, vm.name).read_text()):
        assert KEY not in text


def check_queries(insights: Receiver, job: str) -> None:
    """Every table, name and dimension that `spotfsm traces` asks for is there in what was sent."""
    types = {"requests": "RequestData", "dependencies": "RemoteDependencyData", "traces": "MessageData"}
    for query in (overview_query(since_s=3600), job_query(job, since_s=3600)):
        tables = re.findall(r"\b(requests|dependencies|traces)\b", query.splitlines()[0])
        sent = [one for table in tables for one in insights.envelopes(types[table])]
        known = {name for one in sent for name in dimensions(one)}
        asked = set(re.findall(r'customDimensions\["([^"]+)"\]', query))
        assert asked
        assert asked <= known
        names = set(re.findall(r'"(delivery|drain|worker)"', query)) - {"worker"}  # its span ends with the process
        assert names <= {one["data"]["baseData"].get("name") for one in sent}
        for trace_id in re.findall(r'operation_Id == "([^"]+)"', query):
            of_the_job = [one for one in sent if one["tags"]["ai.operation.id"] == trace_id]
            assert {one["data"]["baseType"] for one in of_the_job} == {types[table] for table in tables}


def test_with_an_identity_a_token_goes_along_and_no_proxy_sees_it_fetched(
    sqlite: SqlitePlace, make_vm: MakeVm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As deployed: TLS, and the VM's own token for Azure Monitor, asked of IMDS past whatever proxy is set."""
    certificate = make_certificate(tmp_path, names=["127.0.0.1"])
    client_id = "c1d2e3f4-0a1b-4c2d-8e3f-405162738495"
    with receiver(certificate=certificate) as insights, dead_receiver() as proxy:
        vm = make_vm(sqlite, more=AZURE)
        monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", insights.connection_string)
        monkeypatch.setenv("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", f"Authorization=AAD;ClientId={client_id}")
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", vm.twin_url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.authority))
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        sqlite.put("{}")
        vm.start("--until-empty")
        assert vm.wait() == 0
        assert len(insights.envelopes("RequestData")) == 1, vm.output.read_text()
        for request in insights.requests:
            scheme, _, token = request.authorization.partition(" ")
            claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
            assert (scheme, claims["appid"]) == ("Bearer", client_id)
            assert claims["aud"].startswith("https://monitor.azure.com")


def test_a_job_is_one_trace_across_evictions(
    sqlite: SqlitePlace, make_vm: MakeVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted on one VM and completed on the next one, a job has two deliveries in the trace of its own id."""
    with receiver() as collector:
        point_at(collector, monkeypatch)
        vm = make_vm(sqlite, more=OTLP)
        job = sqlite.put(json.dumps({"steps": 30, "step_s": 0.05}))
        vm.start()
        vm.await_row("J19", job=job)
        vm.twin.evict(notice_s=1)
        vm.await_state(AppState.DRAINED)
        wait_until(lambda: bool(collector.spans()), "the first delivery")
        vm.kill()
        vm.recreate()
        vm.start("--until-empty")
        assert vm.wait() == 0
        spans = collector.spans()
        deliveries = [span for span in spans if span.name == "delivery"]
        assert {span.trace_id for span in deliveries} == {trace_id_of(job).to_bytes(16, "big")}
        ends = [
            next(one.value.string_value for one in span.attributes if one.key == "spotfsm.end") for span in deliveries
        ]
        assert ends == ["released", "completed"]
        assert [event.name for event in deliveries[-1].events][-1] == "J21 finish"
        assert [span.name for span in spans if span.name == "worker"] == ["worker"], "that of the life that ended"
        assert {"spotfsm_checkpoints", "spotfsm_ended", "spotfsm_state"} <= collector.metric_names()


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("more", [AZURE, OTLP], ids=["azure-monitor", "otlp"])
def test_an_endpoint_that_takes_nothing_delays_no_drain(
    sqlite: SqlitePlace, make_vm: MakeVm, monkeypatch: pytest.MonkeyPatch, kind: str, more: tuple[str, ...]
) -> None:
    """With a notice of 3 s and telemetry that goes nowhere, all jobs are handed back in time, and at once."""
    with BAD[kind]() as endpoint:
        point_at(endpoint, monkeypatch)
        vm = make_vm(sqlite, handler=LONG, visibility_timeout_s=600.0, more=more)
        jobs = evict_while_working(vm, sqlite, count=3, notice_s=3)
        drain = vm.await_kind("drain")
        assert drain.fields["released"] == 3
        assert float(drain.text("margin_s")) > 0
        taken = [sqlite.take(visibility_s=600) for _ in jobs]
        assert {message.message_id for message in taken if message is not None} == {*jobs}


@pytest.mark.parametrize("kind", ["dead", "silent"])
@pytest.mark.parametrize("more", [AZURE, OTLP], ids=["azure-monitor", "otlp"])
def test_an_endpoint_that_takes_nothing_delays_a_stop_by_seconds_at_most(
    sqlite: SqlitePlace, make_vm: MakeVm, monkeypatch: pytest.MonkeyPatch, kind: str, more: tuple[str, ...]
) -> None:
    """SIGTERM drains and ends the process with 0 though nothing can be sent; a line says so, without the key."""
    with BAD[kind]() as endpoint:
        point_at(endpoint, monkeypatch)
        vm = make_vm(sqlite, handler=LONG, more=more)
        job = sqlite.put("{}")
        vm.start()
        vm.await_row("J19", job=job)
        told_s = time.monotonic()
        vm.send(signal.SIGTERM)
        assert vm.wait() == 0
        assert time.monotonic() - told_s < FLUSH_S_MAX + SLACK_S
    said = vm.output.read_text()
    assert "telemetry" in said
    assert KEY not in said
    assert "Traceback" not in said


def test_without_the_setting_nothing_of_it_is_imported(
    sqlite: SqlitePlace, make_vm: MakeVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not ask to be watched pays nothing for it, whatever is in the environment."""
    with receiver() as insights:
        point_at(insights, monkeypatch)
        vm = make_vm(sqlite, handler="tests.processes.handlers:modules")
        job = sqlite.put("x")
        vm.start("--until-empty")
        assert vm.wait() == 0
        record = sqlite.record(job)
        assert record is not None
        assert record.result is not None
        imported = set(json.loads(record.result))
        assert "adapters.telemetry.watching" in imported, "the list is what it is taken for"
        heavy = {"opentelemetry", "prometheus_client", "http.server", "azure", "adapters.telemetry.measures"}
        assert not heavy & imported
        assert insights.requests == []
