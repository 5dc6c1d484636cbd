"""Journal entries as OpenTelemetry spans: one for each delivery, each drain, and each worker's life.

All deliveries of a job are one trace, on whichever VM they ran, for the trace's id is made of the message's. A
delivery's span has the rows it took as events. The span of a life ends with the process; that of a killed one never
arrives, which is why drains have spans of their own, sent as soon as their jobs are safe.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from adapters.telemetry.trace_ids import trace_id_of
from fsm.job import JOB, JobState, JobTrigger
from fsm.ports import JsonScalar

Fields = Mapping[str, JsonScalar]
EVENTS_MAX = 32
"""Rows kept with a delivery; of more, the last ones."""
DELIVERY, DRAIN, LIFE = "delivery", "drain", "worker"
"""The spans' names."""
_ENDS = frozenset({JobState.COMPLETED, JobState.RELEASED, JobState.POISONED, JobState.ABANDONED})
_OPEN_MAX = 10_000
_ROOT = Context()
"""No span is the child of another one, nor of what a handler has opened."""


class JobIds(RandomIdGenerator):
    """Trace ids: that of the job whose span is being started, a random one for any other span."""

    def __init__(self) -> None:
        self._job = threading.local()

    def of(self, job: str) -> None:
        """Start the next span of this thread in the trace of this job."""
        self._job.trace_id = trace_id_of(job)

    def generate_trace_id(self) -> int:
        trace_id: int = getattr(self._job, "trace_id", 0)
        self._job.trace_id = 0
        return trace_id or super().generate_trace_id()


@dataclass(slots=True)
class _Open:
    span: Span
    checkpoints: int = 0


class Spans:
    """Makes spans of one worker's entries.

    Args:
        provider: makes and keeps them.
        ids: the provider's own id generator.
        worker: the worker's name on its VM.
    """

    def __init__(self, provider: TracerProvider, ids: JobIds, *, worker: str) -> None:
        self._tracer = provider.get_tracer("spotfsm")
        self._ids = ids
        self._common: dict[str, str | bool | int | float] = {"spotfsm.worker": worker}
        self._open: dict[tuple[str, str], _Open] = {}
        self._life: Span | None = None

    def observe(self, kind: str, fields: Fields) -> None:
        """Take one journal entry in."""
        match kind:
            case "worker":
                self._common |= {
                    "spotfsm.vm": str(fields["vm_name"]),
                    "spotfsm.vm_id": str(fields["vm_id"]),
                    "spotfsm.queue": str(fields["queue"]),
                }
                self._life = self._start(LIFE, SpanKind.INTERNAL)
            case "origin" if self._life is not None:
                self._life.set_attribute("spotfsm.origin", str(fields["origin"]))
            case "drain":
                self._take_drain(fields)
            case "row" if fields["machine"] == JOB.name:
                self._take_row(fields)

    def close(self) -> None:
        """End what is open: the life, and deliveries that nobody will hear of any more."""
        for delivery in self._open.values():
            delivery.span.set_attribute("spotfsm.end", "unsettled")
            delivery.span.end()
        self._open.clear()
        if self._life is not None:
            self._life.end()
            self._life = None

    def _take_drain(self, fields: Fields) -> None:
        drain_s = fields["drain_s"]
        ended_ns = time.time_ns()
        began_ns = ended_ns - round((drain_s if isinstance(drain_s, int | float) else 0.0) * 1e9)
        span = self._start(DRAIN, SpanKind.INTERNAL, start_ns=began_ns)
        for name, value in fields.items():
            if value is not None:
                span.set_attribute(f"spotfsm.{name}", value)
        span.end(ended_ns)

    def _take_row(self, fields: Fields) -> None:
        job, before, after = str(fields["job"]), str(fields["from"]), str(fields["to"])
        key = job, str(fields["epoch"])
        delivery = self._open.get(key)
        if delivery is None:
            if before in _ENDS or len(self._open) >= _OPEN_MAX:
                return  # late, and about a span that was sent
            self._ids.of(job)
            delivery = self._open[key] = _Open(self._start(DELIVERY, SpanKind.CONSUMER))
            delivery.span.set_attributes({"spotfsm.job": job, "spotfsm.epoch": int(fields["epoch"] or 0)})
        span, trigger = delivery.span, str(fields["trigger"])
        event = {"spotfsm.row": str(fields["row"]), "spotfsm.from": before, "spotfsm.to": after}
        span.add_event(f"{fields['row']} {trigger}", event)
        delivery.checkpoints += trigger == JobTrigger.CHECKPOINT and after == JobState.RUNNING
        if after not in _ENDS:
            return
        del self._open[key]
        span.set_attributes(
            {
                "spotfsm.end": after.lower(),
                "spotfsm.row": str(fields["row"]),
                "spotfsm.checkpoints": delivery.checkpoints,
            }
        )
        if trigger == JobTrigger.FAIL or after == JobState.POISONED:
            span.set_status(Status(StatusCode.ERROR, str(fields.get("reason") or "failed")))
        span.end()

    def _start(self, name: str, kind: SpanKind, *, start_ns: int | None = None) -> Span:
        return self._tracer.start_span(name, context=_ROOT, kind=kind, attributes=self._common, start_time=start_ns)
