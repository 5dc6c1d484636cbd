"""The README's table of measures."""

from __future__ import annotations

from adapters.telemetry.measures import CATALOGUE
from fsm.drawing.markdown import markdown_table


def metrics_table() -> str:
    """Every measure by the name that Prometheus has for it, with its labels and its meaning."""
    rows = []
    for measure in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in measure.labels)
        rows.append((f"`{measure.exposed}`", labels, measure.text))
    return markdown_table(("metric", "by", "what it says"), rows)
