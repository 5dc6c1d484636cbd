"""Entries become spans; what cannot be told of them is left out, and nothing of them breaks the worker."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace import StatusCode

from adapters.telemetry.backends import CONNECTION_STRING, Backend
from adapters.telemetry.measures import Measures
from adapters.telemetry.sending import Sending
from adapters.telemetry.spans import JobIds, Spans
from adapters.telemetry.trace_ids import trace_id_of
from fsm.ports import JsonScalar
from tests.adapters.telemetry.receiver import dead_receiver

JOB = "6f0c1c0e-8f4c-4f5e-9c2a-0a6f2f1f7b3d"
WORKER: dict[str, JsonScalar] = {"vm_name": "vm", "vm_id": "v", "queue": "jobs"}


class Made:
    """Spans, and what became of them."""

    def __init__(self) -> None:
        ids, self._exporter = JobIds(), InMemorySpanExporter()
        self.provider = TracerProvider(id_generator=ids, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.spans = Spans(self.provider, ids, worker="1")
        self.spans.observe("worker", WORKER)

    def row(self, trigger: str, before: str, after: str, **more: JsonScalar) -> None:
        fields: dict[str, JsonScalar] = {"machine": "job", "job": JOB, "epoch": 1, "row": "J", "trigger": trigger}
        self.spans.observe("row", {**fields, "from": before, "to": after, **more})

    @property
    def ended(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def made() -> Iterator[Made]:
    found = Made()
    yield found
    found.provider.shutdown()


def test_a_delivery_that_fails_is_an_error_and_an_interrupted_one_is_not(made: Made) -> None:
    """A failure has its reason; an eviction is nobody's fault."""
    made.row("begin", "Received", "Running")
    made.row("fail", "Running", "Released", reason="no such page")
    failed = made.ended["delivery"]
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "no such page")
    made.row("begin", "Received", "Running", epoch=2)
    made.row("interrupt", "Running", "Released", epoch=2)
    assert made.ended["delivery"].status.status_code is StatusCode.UNSET


def test_what_comes_late_makes_no_span(made: Made) -> None:
    """A handler that outlives its delivery is not a delivery."""
    made.row("finish", "Released", "Released")
    made.spans.close()
    assert made.ended.keys() == {"worker"}


def test_the_end_ends_everything(made: Made) -> None:
    """A life and its open deliveries are told as they stand, and closing twice is once."""
    made.row("begin", "Received", "Running")
    made.spans.observe("origin", {"origin": "redeployed"})
    made.spans.close()
    made.spans.close()
    assert made.ended["delivery"].attributes is not None
    assert made.ended["delivery"].attributes["spotfsm.end"] == "unsettled"
    assert made.ended["worker"].attributes is not None
    assert made.ended["worker"].attributes["spotfsm.origin"] == "redeployed"


def test_a_sampler_by_ratio_takes_its_share_of_jobs() -> None:
    """Ids of messages are UUIDs, of which some bits are fixed; a tenth of them is a tenth all the same."""
    draw = random.Random(1)
    jobs = [str(uuid.UUID(int=draw.getrandbits(128), version=4)) for _ in range(4000)]
    for ratio in (0.1, 0.5, 0.8):
        sampler = TraceIdRatioBased(ratio)
        taken = [sampler.should_sample(None, trace_id_of(job), "x").decision for job in jobs]
        assert taken.count(Decision.RECORD_AND_SAMPLE) / len(jobs) == pytest.approx(ratio, abs=0.03)
    assert len({trace_id_of(job) for job in jobs}) == len(jobs)
    assert trace_id_of("no id") == 0


def test_a_fault_in_telemetry_is_told_once_and_is_not_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that nobody foresaw ends the telemetry, and goes no further."""
    complaints: list[str] = []
    with dead_receiver() as endpoint:
        monkeypatch.setenv(CONNECTION_STRING, endpoint.connection_string)
        measures = Measures("1", silent_s=lambda: 0.0)
        sending = Sending(Backend.AZURE_MONITOR, worker="1", measures=measures, complain=complaints.append)
        for _ in range(3):
            sending.observe("worker", {})
        assert complaints == ["telemetry ends: KeyError: 'vm_name'"]
        sending.close()
