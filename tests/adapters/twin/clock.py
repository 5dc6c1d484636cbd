"""A clock for the twin that stands still until it is told to move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from adapters.twin.wire import Moment

START = datetime(2026, 11, 23, 17, 0, 0, 250_000, tzinfo=UTC)


class HandClock:
    """Both of the twin's clocks, moved by hand; call it for the moment."""

    def __init__(self) -> None:
        self._at_s = 1000.0

    def __call__(self) -> Moment:
        return Moment(wall=START + timedelta(seconds=self._at_s - 1000.0), at_s=self._at_s)

    def advance(self, seconds: float) -> Moment:
        self._at_s += seconds
        return self()
