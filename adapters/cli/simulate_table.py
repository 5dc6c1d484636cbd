"""What `spotfsm simulate` says of runs in numbers, beside the same work on pay-as-you-go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.cli.output import duration_text

if TYPE_CHECKING:
    from fsm.promises import Promise
    from simulator.result import Costs, Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is kept of one run; what its journal said is not.

    Attributes:
        variant: the values of the scenario's sweep that made it.
        faults: how often each happened.
        replay: the command that runs it again.
        journal: the file that has its journal, if there is one.
    """

    seed: int
    variant: Mapping[str, str]
    summary: Summary
    costs: Costs
    faults: Mapping[str, int]
    promises: Mapping[Promise, bool]
    violations: tuple[str, ...]
    missed: tuple[str, ...]
    replay: str
    journal: Path | None

    @property
    def ok(self) -> bool:
        return not self.violations and not self.missed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A quantity on Spot, and on pay-as-you-go where it differs from nothing.

    Attributes:
        mean: of several runs; None for the mean of what each has.
    """

    name: str
    spot: Callable[[Outcome], float]
    text: Callable[[float], str]
    regular: Callable[[Outcome], float] | None = None
    mean: Callable[[Sequence[Outcome]], float] | None = None


def _count(number: float) -> str:
    return f"{number:,.0f}" if number == round(number) else f"{number:,.1f}"


def _money(usd: float) -> str:
    return f"{usd:,.4f} USD" if usd < 1 else f"{usd:,.2f} USD"


def _share(share: float) -> str:
    return f"{share:.1%}"


def _saved_in_all(outcomes: Sequence[Outcome]) -> float:
    """The share that was saved of what all runs would have cost together: the mean cost's, and not the mean share."""
    regular_usd = sum(outcome.costs.pay_as_you_go_usd for outcome in outcomes)
    return float(1 - sum(outcome.costs.total_usd for outcome in outcomes) / regular_usd) if regular_usd else 0.0


_LINES = (
    _Line(name="jobs", spot=lambda run: run.summary.jobs, text=_count, regular=lambda run: run.summary.jobs),
    _Line(name="completed", spot=lambda run: run.summary.completed, text=_count),
    _Line(name="poisoned", spot=lambda run: run.summary.poisoned, text=_count),
    _Line(name="lost", spot=lambda run: run.summary.lost, text=_count),
    _Line(
        name="makespan",
        spot=lambda run: run.summary.makespan_s,
        text=duration_text,
        regular=lambda run: run.costs.pay_as_you_go_s,
    ),
    _Line(
        name="cost",
        spot=lambda run: float(run.costs.total_usd),
        text=_money,
        regular=lambda run: float(run.costs.pay_as_you_go_usd),
    ),
    _Line(name="saved", spot=lambda run: run.costs.saving, text=_share, mean=_saved_in_all),
    _Line(name="evictions", spot=lambda run: run.summary.evictions, text=_count, regular=lambda _: 0),
    _Line(name="  with a notice", spot=lambda run: run.summary.announced, text=_count),
    _Line(name="refused allocations", spot=lambda run: run.summary.refusals, text=_count),
    _Line(name="resumed runs", spot=lambda run: run.summary.resumes, text=_count),
    _Line(
        name="useful work",
        spot=lambda run: run.summary.useful_s,
        text=duration_text,
        regular=lambda run: run.summary.useful_s,
    ),
    _Line(name="redone work", spot=lambda run: run.summary.redone_s, text=duration_text, regular=lambda _: 0),
    _Line(name="faults", spot=lambda run: sum(run.faults.values()), text=_count),
    _Line(name="VM time paid", spot=lambda run: run.summary.running_s, text=duration_text),
    _Line(name="  of it idle", spot=lambda run: run.summary.idle_s, text=duration_text),
)


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Lines of text: one run as it was, several by their mean, least and most.

    Pay-as-you-go is one VM that is never taken; its jobs begin as they arrive, as many at once as the worker's do.
    """
    several = len(outcomes) > 1
    head = ("", "mean", "least", "most", "pay-as-you-go") if several else ("", "on Spot", "pay-as-you-go")
    rows = [head, *(_cells(line, outcomes, several=several) for line in _LINES)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for name, *values in rows:
        cells = (f"{value:>{width}}" for value, width in zip(values, widths[1:], strict=True))
        yield "  ".join((f"{name:<{widths[0]}}", *cells)).rstrip()


def _cells(line: _Line, outcomes: Sequence[Outcome], *, several: bool) -> tuple[str, ...]:
    values = [line.spot(outcome) for outcome in outcomes]
    regular = "" if line.regular is None else line.text(_mean([line.regular(outcome) for outcome in outcomes]))
    if several:
        mean = _mean(values) if line.mean is None else line.mean(outcomes)
        return line.name, line.text(mean), line.text(min(values)), line.text(max(values)), regular
    return line.name, line.text(values[0]), regular


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
