"""Sends spans and measures by OpenTelemetry, and never gets in the way of the work.

Everything that waits for the network is done by threads that may be left behind. What a drain was about is sent as soon
as its jobs are safe, while the VM is still there; at the process's end what is left gets a few seconds, within the
grace of the stop. OpenTelemetry's own flush takes a time limit and ignores it: ours is kept by not waiting any longer.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from adapters.telemetry.backends import Backend, Complain, open_exporters, without_secrets
from adapters.telemetry.measures import CATALOGUE, Kind, Measure, Measures
from fsm.ports import JsonScalar

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from adapters.telemetry.spans import Spans

FLUSH_S_MAX = 5.0
"""What the end of a process gives to what was not sent yet."""
FLUSH_S_MIN = 1.0
"""So much is given even if a stop's grace is over: the unit's TimeoutStopSec leaves as much."""
_COMPLAINT_CHARS = 200
_LOGGERS = ("opentelemetry", "azure.monitor")


class Sending:
    """The telemetry of one worker.

    Args:
        backend: where it goes.
        worker: the worker's name on its VM.
        measures: what is measured.
        complain: told when something could not be sent; may be called from any thread.

    Raises:
        ConfigurationError: it cannot work as it is set.
    """

    def __init__(self, backend: Backend, *, worker: str, measures: Measures, complain: Complain) -> None:
        self._span_exporter, self._metric_exporter = open_exporters(backend)
        self._worker = worker
        self._measures = measures
        self._complain = complain
        self._tracers: TracerProvider | None = None
        self._meters: MeterProvider | None = None
        self._spans: Spans | None = None
        self._broken = False
        self._stop_by_s: float | None = None
        self._handler = _Complaints(complain)
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.addHandler(self._handler)
            logger.propagate = False

    def observe(self, kind: str, fields: Mapping[str, JsonScalar]) -> None:
        """Take one journal entry in; whatever goes wrong here is no concern of the work."""
        if self._broken:
            return
        try:
            self._take(kind, fields)
        except Exception as exc:  # noqa: BLE001 -- telemetry must not be able to break a drain
            self._broken = True
            self._complain(f"telemetry ends: {type(exc).__name__}: {exc}")

    def close(self) -> None:
        """Send what is left, as long as there is time for it, and end."""
        left_s = FLUSH_S_MAX if self._stop_by_s is None else self._stop_by_s - time.monotonic()
        limit_s = min(FLUSH_S_MAX, max(FLUSH_S_MIN, left_s))
        if self._spans is not None:
            self._spans.close()
        ends = [provider.shutdown for provider in (self._tracers, self._meters) if provider is not None]
        if not _done_within(ends, limit_s):
            self._complain(f"telemetry was not sent within {limit_s:.0f} s; what is left of it is dropped")
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self._handler)

    def _take(self, kind: str, fields: Mapping[str, JsonScalar]) -> None:
        if kind == "worker":
            self._begin(str(fields["vm_name"]))
        elif kind == "stop":
            grace_s = fields["grace_s"]
            if isinstance(grace_s, int | float):
                stop_by_s = time.monotonic() + grace_s
                self._stop_by_s = stop_by_s if self._stop_by_s is None else min(stop_by_s, self._stop_by_s)
        if self._spans is not None:
            self._spans.observe(kind, fields)
        if kind == "drain" and fields["evicted"]:
            self._flush()

    def _begin(self, vm_name: str) -> None:
        """Set up, once it is known where we are; nothing is made global: a handler's OpenTelemetry is its own."""
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from adapters.telemetry.spans import EVENTS_MAX, JobIds, Spans

        name = os.environ.get("OTEL_SERVICE_NAME", "spotfsm")
        resource = Resource.create({"service.name": name, "service.instance.id": f"{vm_name}/{self._worker}"})
        ids = JobIds()
        self._tracers = TracerProvider(
            resource=resource, id_generator=ids, span_limits=SpanLimits(max_events=EVENTS_MAX), shutdown_on_exit=False
        )
        self._tracers.add_span_processor(BatchSpanProcessor(self._span_exporter))
        reader = PeriodicExportingMetricReader(self._metric_exporter)
        self._meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        meter = self._meters.get_meter("spotfsm")
        for measure in CATALOGUE:
            make = meter.create_observable_counter
            if measure.kind is Kind.GAUGE:
                make = meter.create_observable_gauge  # type: ignore[assignment]
            make(measure.name, [self._reader(measure)], description=measure.text)
        self._spans = Spans(self._tracers, ids, worker=self._worker)

    def _reader(self, measure: Measure) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_options: CallbackOptions) -> Iterable[Observation]:
            from opentelemetry.metrics import Observation

            return [
                Observation(sample.value, dict(zip(measure.labels, sample.labels, strict=True)))
                for sample in self._measures.samples()
                if sample.measure is measure
            ]

        return read

    def _flush(self) -> None:
        """Send what there is now, without waiting for it."""
        for provider in (self._tracers, self._meters):
            if provider is not None:
                threading.Thread(target=provider.force_flush, name="telemetry", daemon=True).start()


def _done_within(calls: Iterable[Callable[[], object]], limit_s: float) -> bool:
    """Make these calls at once, each in a thread that is left behind if it takes too long."""
    threads = [threading.Thread(target=call, name="telemetry", daemon=True) for call in calls]
    until_s = time.monotonic() + limit_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


class _Complaints(logging.Handler):
    """What the exporters log, in a few words, and without the key."""

    def __init__(self, complain: Complain) -> None:
        super().__init__(logging.WARNING)
        self._complain_of = complain

    def emit(self, record: logging.LogRecord) -> None:
        text = without_secrets(record.getMessage())[:_COMPLAINT_CHARS]
        self._complain_of(f"telemetry could not be sent: {text}")
