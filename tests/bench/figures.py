"""Figures: things measured in turn on one machine, and what they come to, with their spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Json = Mapping[str, "str | float | Sequence[float]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """A comparison: two things measured in turn, and the ratio of each pair.

    Attributes:
        name: what is measured.
        goal: what the ratio should be, in words; empty where it is only stated.
        unit: of the raw figures.
        against: what ours is compared with.
        ours, theirs: the raw figures, pair by pair.
        digits: of the raw figures, after the point.
    """

    name: str
    goal: str = ""
    unit: str
    against: str
    ours: Sequence[float]
    theirs: Sequence[float]
    digits: int = 0

    @property
    def ratios(self) -> Sequence[float]:
        """Ours over theirs, pair by pair."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def to_row(self) -> tuple[str, ...]:
        """For people: name, ratio, goal, ours, theirs."""
        theirs = f"{spread(self.theirs, self.digits)} {self.unit}: {self.against}"
        return (self.name, spread(self.ratios, 2), self.goal, f"{spread(self.ours, self.digits)} {self.unit}", theirs)

    def to_json(self) -> Json:
        """Everything, for programs."""
        return {
            "name": self.name,
            "goal": self.goal,
            "ratio": median(self.ratios),
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
            "unit": self.unit,
            "ours": list(self.ours),
            "against": self.against,
            "theirs": list(self.theirs),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A figure that is compared with nothing."""

    name: str
    unit: str
    ours: Sequence[float]
    digits: int = 0

    def to_row(self) -> tuple[str, ...]:
        """For people, in the columns of `Pairs`."""
        return (self.name, "", "", f"{spread(self.ours, self.digits)} {self.unit}", "")

    def to_json(self) -> Json:
        """Everything, for programs."""
        return {"name": self.name, "unit": self.unit, "ours": list(self.ours)}


Figure = Pairs | Alone


def measure_in_turn(rounds: int, measures: Mapping[str, Callable[[], float]]) -> Mapping[str, Sequence[float]]:
    """Measure each thing once a round, every round beginning with another: whatever drifts, drifts for all."""
    measured: dict[str, list[float]] = {name: [] for name in measures}
    names = list(measures)
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            measured[name].append(measures[name]())
    return measured


def spread(values: Sequence[float], digits: int) -> str:
    """The median, with the least and the most."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
