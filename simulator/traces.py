"""Recorded capacity and prices, read into moments of a market.

Two formats: the JSON of github.com/skypilot-org/spot-traces (`metadata.gap_seconds`; `data`, the number of nodes that
could be had at each tick; sometimes `prices` in USD per hour), and CSV with a header line and the columns `at_s`,
`capacity` (empty for no limit) and, if known, `price_usd_per_h`. No public trace of Azure is known: those that exist
are of AWS and GCP.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from importlib import resources
from pathlib import Path

from fsm.errors import ConfigurationError
from simulator.market import Moment, rounded

SAMPLES = "simulator.samples"
_SETTING = "market.trace"
_REMEDY = "Give a CSV with at_s,capacity,price_usd_per_h or a JSON of skypilot-org/spot-traces."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A recorded market.

    Attributes:
        moments: from 0 s on.
        gap_s: how long the last moment holds.
    """

    moments: tuple[Moment, ...]
    gap_s: float


def load_trace(name: str, *, directory: Path | None = None, price_usd_per_h: Decimal) -> Trace:
    """Read a trace.

    Args:
        name: a file, seen from `directory`, or the name of one that comes with the simulator.
        directory: where the scenario lies.
        price_usd_per_h: the price where the trace names none.

    Raises:
        ConfigurationError: there is no such file, or it cannot be read as a trace.
    """
    text = _text(name, directory)
    try:
        read = _json if name.endswith(".json") else _csv
        trace = read(text, price_usd_per_h)
    except (ValueError, KeyError, TypeError, InvalidOperation, AttributeError) as exc:
        raise ConfigurationError(_SETTING, f"{name} is not a trace: {exc}", _REMEDY) from exc
    if not trace.moments:
        raise ConfigurationError(_SETTING, f"{name} is empty", _REMEDY)
    return trace


def sample_names() -> tuple[str, ...]:
    """The traces that come with the simulator."""
    files = resources.files(SAMPLES).iterdir()
    return tuple(sorted(file.name for file in files if file.name.endswith((".csv", ".json"))))


def _text(name: str, directory: Path | None) -> str:
    path = (directory or Path()) / name
    if path.is_file():
        return path.read_text(encoding="utf-8")
    if name in sample_names():
        return (resources.files(SAMPLES) / name).read_text(encoding="utf-8")
    known = ", ".join(sample_names())
    raise ConfigurationError(_SETTING, f"there is no file {path}", f"Traces that come with spotfsm: {known}.")


def _json(text: str, price_usd_per_h: Decimal) -> Trace:
    document = json.loads(text)
    gap_s = float(document["metadata"]["gap_seconds"])
    data = document["data"]
    prices = document.get("prices", ())
    if gap_s <= 0 or not all(isinstance(count, int) and count >= 0 for count in data):
        raise ValueError("gap_seconds is not above 0, or data holds what is not a number of nodes")
    ticks = (
        Moment(
            at_s=tick * gap_s,
            price_usd_per_h=rounded(Decimal(str(prices[tick]))) if tick < len(prices) else price_usd_per_h,
            capacity=count,
        )
        for tick, count in enumerate(data)
    )
    moments = tuple(_changes(ticks))
    return Trace(moments=moments, gap_s=len(data) * gap_s - moments[-1].at_s if moments else gap_s)


def _csv(text: str, price_usd_per_h: Decimal) -> Trace:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    moments = []
    for row in csv.DictReader(io.StringIO("\n".join(lines))):
        price = row.get("price_usd_per_h")
        capacity = row["capacity"].strip()
        moments.append(
            Moment(
                at_s=float(row["at_s"]),
                price_usd_per_h=rounded(Decimal(price)) if price else price_usd_per_h,
                capacity=int(capacity) if capacity else None,
            )
        )
    times = [moment.at_s for moment in moments]
    if times != sorted(set(times)) or (times and times[0] != 0):
        raise ValueError("at_s does not begin at 0 and rise from line to line")
    gap_s = moments[-1].at_s - moments[-2].at_s if len(moments) > 1 else 1.0
    return Trace(moments=tuple(moments), gap_s=gap_s)


def _changes(moments: Iterator[Moment]) -> Iterator[Moment]:
    """The moments at which something changes."""
    last: Moment | None = None
    for moment in moments:
        if last is None or (last.price_usd_per_h, last.capacity) != (moment.price_usd_per_h, moment.capacity):
            last = moment
            yield moment
