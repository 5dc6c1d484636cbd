"""The counts of a queue for as long as somebody watches: a live table on a terminal, lines anywhere else.

A service that does not answer for a while does not end the view: it says so, and goes on asking. Only the first count
must succeed, so that a wrong address is an error and no empty table.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from adapters.cli.output import one_line
from fsm.backlog import Backlog
from fsm.errors import PlatformError

if TYPE_CHECKING:
    from rich.table import Table as RichTable

_ALWAYS = ("waiting", "leased", "running", "checkpointed", "completed", "poisoned")
"""What the view shows, where it is known."""
_MEANING = {
    "waiting": "can be received now",
    "leased": "with workers, or held for a while",
    "running": "claimed in the store",
    "checkpointed": "handed back with progress saved",
    "completed": "done",
    "poisoned": "in the poison queue",
}
_MINUTE_S = 60.0
_RATE_OVER_S = 60.0
"""Rates are those of the last minute, so that they neither jump nor remember yesterday."""
_RATE_AFTER_S = 10.0
"""Before that a rate would be guessed from a moment."""


class _View(Protocol):
    """Somebody who is shown each count."""

    def show(self, backlog: Backlog) -> None: ...

    def fail(self, error: PlatformError) -> None: ...


async def follow(queue: str, count: Callable[[], Awaitable[Backlog]], *, interval_s: float, as_json: bool) -> None:
    """Count and show until cancelled.

    Raises:
        ConfigurationError: the queue or the store is not there.
        PlatformError: the first count fails.
    """
    backlog = await count()
    if as_json:
        await _show_all(_Objects(queue), backlog, count, interval_s)
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(), auto_refresh=False) as live:
            table = Table(queue)
            table.draw = lambda: live.update(table.render(), refresh=True)
            await _show_all(table, backlog, count, interval_s)
    else:
        await _show_all(_Lines(), backlog, count, interval_s)


async def _show_all(view: _View, backlog: Backlog, count: Callable[[], Awaitable[Backlog]], interval_s: float) -> None:
    view.show(backlog)
    while True:
        await asyncio.sleep(interval_s)
        try:
            view.show(await count())
        except PlatformError as exc:
            view.fail(exc)


def _known(backlog: Backlog) -> dict[str, int]:
    counts = asdict(backlog)
    return {name: counts[name] for name in _ALWAYS if counts[name] is not None}


def _text(backlog: Backlog, name: str, value: int) -> str:
    about = "~" if name in ("waiting", "leased") and not backlog.waiting_exact else ""
    return f"{about}{value}"


class _Objects:
    """One JSON object a line."""

    def __init__(self, queue: str) -> None:
        self._queue = queue

    def show(self, backlog: Backlog) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        print(json.dumps({"at": at, "queue": self._queue, **asdict(backlog)}), flush=True)

    def fail(self, error: PlatformError) -> None:
        print(one_line(str(error)), file=sys.stderr, flush=True)


class _Lines:
    """A line whenever something has changed."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, backlog: Backlog) -> None:
        line = "  ".join(f"{name} {_text(backlog, name, value)}" for name, value in _known(backlog).items())
        if line != self._last:
            print(f"{datetime.now().astimezone():%H:%M:%S}  {line}", flush=True)
        self._last = line

    def fail(self, error: PlatformError) -> None:
        print(one_line(str(error)), file=sys.stderr, flush=True)


class Table:
    """A table that stays in its place, with what each count did in the last minute."""

    def __init__(self, queue: str, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._now_s = now_s
        self._seen: list[tuple[float, dict[str, int]]] = []
        self._backlog: Backlog | None = None
        self._trouble = ""
        self.draw: Callable[[], None] = lambda: None

    def show(self, backlog: Backlog) -> None:
        now_s = self._now_s()
        self._backlog, self._trouble = backlog, ""
        self._seen.append((now_s, _known(backlog)))
        while len(self._seen) > 1 and self._seen[1][0] <= now_s - _RATE_OVER_S:
            del self._seen[0]
        self.draw()

    def fail(self, error: PlatformError) -> None:
        self._trouble = one_line(str(error))
        self.draw()

    def rate(self, name: str) -> float | None:
        """How much a count changes in a minute, over the last one; None before it can be told."""
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        if last_s - first_s < _RATE_AFTER_S or name not in first or name not in last:
            return None
        return (last[name] - first[name]) / (last_s - first_s) * _MINUTE_S

    def render(self) -> RichTable:
        """The table as Rich draws it."""
        from rich.table import Table as RichTable
        from rich.text import Text

        caption = self._trouble or f"{datetime.now().astimezone():%H:%M:%S}, Ctrl-C ends"
        table = RichTable(title=f"queue {self._queue}", title_justify="left", caption=caption, caption_justify="left")
        table.add_column("jobs")
        table.add_column("now", justify="right", no_wrap=True)
        table.add_column("a minute", justify="right", no_wrap=True)
        table.add_column("", style="dim")
        assert self._backlog is not None
        for name, value in _known(self._backlog).items():
            rate = self.rate(name)
            change = "" if rate is None or round(rate) == 0 else f"{rate:+.0f}"
            style = "bold red" if name == "poisoned" and value else ""
            table.add_row(name, Text(_text(self._backlog, name, value), style=style), change, _MEANING[name])
        return table
