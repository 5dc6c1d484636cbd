"""A page of Spot prices over ninety days, a line for each size and region; opens offline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from adapters.azure.planning.quotes import Quote
from adapters.report import require_plotly
from fsm.errors import ConfigurationError

_TITLE = "Spot price, USD an hour"


def write_history(quotes: Iterable[Quote], file: Path) -> None:
    """Write the page.

    Args:
        quotes: those without a history, or whose prices have no times, are left out.
        file: where to.

    Raises:
        ConfigurationError: nothing is left to draw, Plotly is not installed, or the file cannot be written.
    """
    require_plotly()
    from plotly.graph_objects import Figure  # type: ignore[import-untyped] # it has no annotations

    lines = [line for quote in quotes if (line := _line(quote)) is not None]
    if not lines:
        remedy = "Sign in (`az login`), or leave --html out; Resource Graph may also have no data for a while."
        raise ConfigurationError("--html", "there is no price history to draw", remedy)
    figure = Figure(
        data=lines,
        layout={"title": _TITLE, "hovermode": "x unified", "yaxis": {"rangemode": "tozero"}, "template": "none"},
    )
    try:
        file.write_text(figure.to_html(include_plotlyjs=True), encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError("--html", f"{file} cannot be written ({exc})", "Name another file.") from exc


def _line(quote: Quote) -> dict[str, object] | None:
    """The price as a step: it holds until the next one."""
    points = () if quote.history is None else quote.history.points
    timed = [(point.at, point.usd_per_h) for point in points if point.at is not None]
    if not timed:
        return None
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{quote.size}, {quote.region}",
        "x": [at.isoformat() for at, _ in timed],
        "y": [float(price) for _, price in timed],  # pixels need no more
        "line": {"shape": "hv"},
    }
