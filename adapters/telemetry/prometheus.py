"""The measures in Prometheus's text format, written by its own library, with the process's own figures beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from adapters.telemetry.measures import CATALOGUE, Kind, Measures


class _Collector(Collector):
    """Reads the measures whenever somebody scrapes."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self._measures.samples():
            measure = sample.measure
            if measure.name not in families:
                family = CounterMetricFamily if measure.kind is Kind.COUNTER else GaugeMetricFamily
                families[measure.name] = family(measure.name, measure.text, labels=measure.labels)
            families[measure.name].add_metric(sample.labels, sample.value)
        yield from families.values()

    def describe(self) -> Iterable[Metric]:
        """The names, so that registering reads nothing."""
        return [Metric(measure.name, measure.text, measure.kind.value) for measure in CATALOGUE]


class Exposition:
    """What `/metrics` answers."""

    def __init__(self, measures: Measures) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(measures))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type, in the format that the scraper asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
