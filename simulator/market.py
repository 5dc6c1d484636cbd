"""Price and capacity of a Spot size over time: what Azure offers, moment by moment.

A market is a sequence of moments, each of which holds until the next. It is drawn lazily and once: the path a run has
seen is the path its report shows. Four kinds: constant, scheduled, stochastic, and replayed from a trace.

The stochastic market is two textbook processes in one clock: the logarithm of the price is an AR(1) around its mean,
and capacity is a Markov chain of two states, whose chances of going down rise by day and on weekdays when a rhythm is
set. Capacity is one for all VMs of a size, since in the traces that exist several VMs nearly always lose it together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Final

PRICE_PLACES: Final = Decimal("0.00001")
"""Azure's prices have up to five places."""
DAY_S: Final = 86_400.0
PEAK_HOUR: Final = 14.0
"""When a daily rhythm presses hardest, UTC."""
WORKING_DAYS: Final = 5
FIRST_WEEKDAY: Final = 3
"""The world's wall clock begins on a Thursday (0 is Monday)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is offered from `at_s` on.

    Attributes:
        capacity: for how many VMs there is room; None for as many as are wanted.
    """

    at_s: float
    price_usd_per_h: Decimal
    capacity: int | None = None


def constant(price_usd_per_h: Decimal, capacity: int | None = None) -> Iterator[Moment]:
    """One offer for ever."""
    yield Moment(at_s=0.0, price_usd_per_h=price_usd_per_h, capacity=capacity)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceAndCapacity:
    """The parameters of a stochastic market, a tick at a time.

    Attributes:
        mean_usd_per_h: the price whose logarithm is the mean of the logarithms (the median of the price).
        ceiling_usd_per_h: pay-as-you-go; a Spot price is never above it.
        deviation: of the logarithm's innovations; 0 for a price that stands still.
        persistence: of the logarithm, from 0 (white noise) to below 1.
        down, up: the chances a tick that capacity goes, and that it comes back.
        daily, weekly: from 0 to 1, how much `down` swings with the hour and drops at the weekend.
    """

    tick_s: float
    mean_usd_per_h: Decimal
    ceiling_usd_per_h: Decimal
    deviation: float = 0.0
    persistence: float = 0.0
    down: float = 0.0
    up: float = 1.0
    daily: float = 0.0
    weekly: float = 0.0

    def pressure(self, at_s: float) -> float:
        """By how much the chance of losing capacity is multiplied at this time; 1 on average over a day."""
        hour = at_s % DAY_S / 3600.0
        by_hour = 1.0 + self.daily * math.cos((hour - PEAK_HOUR) / 24.0 * 2.0 * math.pi)
        weekday = (FIRST_WEEKDAY + at_s // DAY_S) % 7
        return by_hour * (1.0 if weekday < WORKING_DAYS else 1.0 - self.weekly)


def stochastic(process: PriceAndCapacity, random: Random) -> Iterator[Moment]:
    """A path of the process, for ever; the logarithm starts in its stationary distribution, capacity up."""
    mean = math.log(float(process.mean_usd_per_h))
    stationary = process.deviation / math.sqrt(1.0 - process.persistence**2)
    above = random.gauss(0.0, stationary) if stationary else 0.0
    available, tick = True, 0
    while True:
        at_s = tick * process.tick_s
        price = min(process.ceiling_usd_per_h, rounded(math.exp(mean + above)))
        yield Moment(at_s=at_s, price_usd_per_h=price, capacity=None if available else 0)
        if process.deviation:
            above = process.persistence * above + random.gauss(0.0, process.deviation)
        if available:
            available = random.random() >= process.down * process.pressure(at_s)
        else:
            available = random.random() < process.up
        tick += 1


def replayed(moments: Sequence[Moment], *, repeat: bool, gap_s: float) -> Iterator[Moment]:
    """A trace, once or over and over.

    Args:
        moments: from 0 s on, in order; not empty.
        repeat: begin again after the last.
        gap_s: how long the last one holds before the repetition.
    """
    period_s = moments[-1].at_s + gap_s
    turn = 0
    while True:
        for moment in moments:
            yield Moment(
                at_s=turn * period_s + moment.at_s, price_usd_per_h=moment.price_usd_per_h, capacity=moment.capacity
            )
        if not repeat:
            return
        turn += 1


def squeezed(
    moments: Iterator[Moment], *, from_s: float, until_s: float, price_usd_per_h: Decimal | None = None
) -> Iterator[Moment]:
    """The market with a stretch in which there is no capacity or, where a price is given, that price."""

    def inside(moment: Moment, at_s: float) -> Moment:
        if price_usd_per_h is None:
            return Moment(at_s=at_s, price_usd_per_h=moment.price_usd_per_h, capacity=0)
        return Moment(at_s=at_s, price_usd_per_h=price_usd_per_h, capacity=moment.capacity)

    last: Moment | None = None
    entered = left = False
    for moment in moments:
        if last is not None and not entered and moment.at_s > from_s:
            entered = True
            yield inside(last, from_s)
        if last is not None and entered and not left and moment.at_s > until_s:
            left = True
            yield Moment(at_s=until_s, price_usd_per_h=last.price_usd_per_h, capacity=last.capacity)
        last = moment
        yield inside(moment, moment.at_s) if from_s <= moment.at_s < until_s else moment
        entered, left = entered or moment.at_s >= from_s, left or moment.at_s >= until_s
    if last is not None and not entered:
        yield inside(last, from_s)
    if last is not None and not left:
        yield Moment(at_s=until_s, price_usd_per_h=last.price_usd_per_h, capacity=last.capacity)


def rounded(price: float | Decimal) -> Decimal:
    """A price of at most five places, and above 0."""
    return max(PRICE_PLACES, Decimal(price).quantize(PRICE_PLACES))


class Market:
    """The offer as it stands; follows a sequence of moments as time passes.

    Attributes:
        history: the moments so far, unchanged offers left out.
    """

    def __init__(self, moments: Iterator[Moment]) -> None:
        self._moments = moments
        self.now = next(moments)
        self._next = next(moments, None)
        self.history = [self.now]

    @property
    def next_change_s(self) -> float | None:
        """When the next moment begins; None for never."""
        return None if self._next is None else self._next.at_s

    def advance(self, now_s: float) -> bool:
        """Move on to this time; whether the offer has changed."""
        before = self.now
        while self._next is not None and self._next.at_s <= now_s:
            self.now, self._next = self._next, next(self._moments, None)
        if (before.price_usd_per_h, before.capacity) == (self.now.price_usd_per_h, self.now.capacity):
            return False
        self.history.append(self.now)
        return True

    def set(self, moment: Moment) -> None:
        """Offer something else, until the next moment begins."""
        self.now = moment
        self.history.append(moment)
