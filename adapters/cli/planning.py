"""What the planning commands share: words for prices, and word of how far a long list is."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

from adapters.cli.output import duration_text, say
from fsm.errors import ReplyLostError, ThrottledError

if TYPE_CHECKING:
    from rich.table import Table

    from adapters.azure.planning.graph import History
    from adapters.azure.planning.retail import Price

QUIET_S = 2.0
"""What takes longer says how far it is, as often."""
UNKNOWN = "unknown"
_WIDE = 400
"""Columns of an output that is no terminal."""
_BLOCKS = "▁▂▃▄▅▆▇█"


@contextmanager
def worth_trying_again() -> Iterator[None]:
    """Say of what may pass that it may."""
    try:
        yield
    except ThrottledError as exc:
        raise ThrottledError(f"{exc}. Try again in some minutes.") from exc
    except ReplyLostError as exc:
        raise ReplyLostError(f"{exc}. Try again later.") from exc


class PagesRead:
    """Says how far the price list is read, now and then."""

    def __init__(self) -> None:
        self._said_s = time.monotonic()
        self._pages = 0

    def page(self, region: str, _number: int) -> None:
        """One more page has come."""
        self._pages += 1
        if time.monotonic() - self._said_s >= QUIET_S:
            self._said_s = time.monotonic()
            say(f"reading the price list: {self._pages} pages so far, now of {region}")

    def wait(self, why: str, pause_s: float) -> None:
        """A service refuses for now."""
        if pause_s >= QUIET_S:
            self._said_s = time.monotonic()
            say(f"{why}; trying again in {duration_text(pause_s)}")


def price_text(price: Price) -> str:
    """The price, or why there is none."""
    if price.ambiguous:
        return "ambiguous: " + " or ".join(money(candidate) for candidate in price.candidates)
    return UNKNOWN if price.usd_per_h is None else money(price.usd_per_h)


def money(usd_per_h: Decimal) -> str:
    """At least four decimals, and never fewer than the price has."""
    exact = usd_per_h.normalize()
    exponent = exact.as_tuple().exponent
    places = max(4, -exponent if isinstance(exponent, int) else 0)
    return f"{exact:.{places}f}"


def share_text(share: Decimal | None) -> str:
    """A share as percent."""
    return "" if share is None else f"{100 * share:.0f} %"


def exact(number: Decimal | None) -> str | None:
    """A number for programs: its digits as text, for a JSON number would be read as a float."""
    return None if number is None else f"{number:f}"


def sparkline(history: History, width: int) -> str:
    """The history as blocks over time, from the lowest price to the highest.

    A price holds until the next one. Prices without times are taken to be equally far apart.
    """
    points = history.points
    times = [point.at.timestamp() if point.at is not None else None for point in points]
    at = [float(index) for index in range(len(points))] if None in times else [time for time in times if time]
    step = (at[-1] - at[0]) / (width - 1)
    prices = [points[bisect_right(at, at[0] + column * step) - 1].usd_per_h for column in range(width - 1)]
    span = history.most - history.least
    last = len(_BLOCKS) - 1
    return "".join(
        _BLOCKS[round((price - history.least) / span * last) if span else 0] for price in (*prices, history.latest)
    )


def table(columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> Table:
    """A table of text; a column that is empty throughout is left out.

    Args:
        columns: a title each, and whether it holds numbers, which stand to the right.
        rows: a text for each column.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [tuple(row) for row in rows]
    shown = [index for index in range(len(columns)) if any(row[index] for row in cells)]
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index in shown:
        title, numeric = columns[index]
        made.add_column(title, justify="right" if numeric else "left", no_wrap=True)
    for row in cells:
        made.add_row(*(Text(row[index]) for index in shown))
    return made


def show(made: Table) -> None:
    """Print a table whole: what is piped on is not cut at any width."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = _WIDE
    console.print(made, crop=False)
