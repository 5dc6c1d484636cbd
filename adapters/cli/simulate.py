"""`spotfsm simulate`: the production worker in an invented world of evictions, under virtual time.

Nothing of the simulator is imported until the command runs: workers never pay for it.
"""

from __future__ import annotations

import shlex
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.cli import options
from adapters.cli.exits import EXIT_FAILED
from adapters.cli.output import counted, duration_text, say, show_json
from adapters.cli.simulate_table import Outcome, table
from fsm.errors import ConfigurationError

if TYPE_CHECKING:
    from simulator.loading import LoadedScenario
    from simulator.many import Planned
    from simulator.result import SimulationResult

_EXAMPLE = "Example: spotfsm simulate eviction-storm --seed 7 --html storm.html"
QUIET_S = 2.0
"""A run that takes longer says how far it is."""
SHRINKING_S = 60.0
"""About how long a run that breaks a promise is shrunk; never more than the simulator's own number of runs."""
_RUNS_MAX = 1_000_000
_PROCESSES_MAX = 256
_LASTING_S_MAX = 30 * 86_400.0
_PATIENCE = 0.05
"""The share of the time so far that passes between two words about it: an hour's command speaks every three minutes."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate", epilog=_EXAMPLE)(_simulate)


def _simulate(
    *,
    scenario: Annotated[
        str,
        typer.Argument(metavar="NAME|FILE", help="A scenario that ships, a TOML file, or swarm.", show_default=False),
    ] = "",
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", parser=options.whole(0, 10**12), help="What is drawn.")
    ] = 0,
    runs: Annotated[
        int | None,
        typer.Option(
            "--runs",
            metavar="N",
            parser=options.whole(1, _RUNS_MAX),
            help="How many seeds, from --seed on; 1, or with --lasting no limit.",
            show_default=False,
        ),
    ] = None,
    lasting: Annotated[
        float | None,
        typer.Option(
            "--lasting",
            metavar="DURATION",
            parser=options.duration(1.0, _LASTING_S_MAX),
            help="Begin no run after this.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            "--processes", metavar="N", parser=options.whole(1, _PROCESSES_MAX), help="How many runs at a time."
        ),
    ] = 1,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write a page about the first run that fails, or else about the first."
        ),
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="Name the scenarios that ship, and end.")] = False,
    as_json: options.AsJson = False,
) -> int:
    """Run a scenario offline: market, VMs, evictions, faults, work, and the worker that production runs.

    Exit 1 if a promise is broken or an expectation of the scenario is missed. The scenario swarm draws a short world of
    faults from each seed. Keys of --json: ok, scenario, runs (seed, variant, ok, summary, costs, faults, promises,
    violations, missed, replay).
    """
    if list_them:
        return _list(as_json=as_json)
    if not scenario:
        raise ConfigurationError("scenario", "none is named", "Name one of `spotfsm simulate --list`, or a file.")
    if html is not None:
        _check_page(html)
    wanted = runs or (1 if lasting is None else _RUNS_MAX)
    outcomes, first, failure = _run_all(scenario, range(seed, seed + wanted), processes, lasting)
    if as_json:
        show_json(
            {
                "ok": all(outcome.ok for outcome in outcomes),
                "scenario": scenario,
                "runs": [_as_json(outcome) for outcome in outcomes],
            }
        )
    else:
        _show(outcomes)
    if failure is not None:
        _explain(failure, scenario, as_json=as_json)
    shown = first if failure is None else failure.result
    if html is not None:
        from adapters.report import write_page

        write_page(shown, html, replay=_replay(scenario, shown.seed))
        say(f"wrote {html} about seed {shown.seed}")
    return 0 if all(outcome.ok for outcome in outcomes) else EXIT_FAILED


def _list(*, as_json: bool) -> int:
    from simulator.loading import load_scenario, shipped_names

    about = {name: load_scenario(name).scenario.about for name in shipped_names()}
    if as_json:
        show_json(about)
        return 0
    width = max(map(len, about))
    for name, text in about.items():
        print(f"{name:<{width}}  {text}")
    print(f"{'swarm':<{width}}  A short world with its own mix of faults, drawn from each seed.")
    return 0


def _check_page(html: Path) -> None:
    """Whether the page can be made, before minutes are spent on a run."""
    from adapters.report import require_plotly

    require_plotly()
    if not html.resolve().parent.is_dir():
        raise ConfigurationError("--html", f"{html.resolve().parent} is not there", "Create the directory.")


# -- running ----------------------------------------------------------------------------------------------------------


def _planned(name: str, seeds: range) -> Iterator[tuple[Mapping[str, str], Planned]]:
    """Every run: a swarm is drawn anew for each seed, a sweep has each of its variants run with each seed."""
    from simulator.loading import load_scenario, variants
    from simulator.many import Planned
    from simulator.swarm import SWARM

    loaded: LoadedScenario | None = None
    for seed in seeds:
        if loaded is None or name == SWARM:
            loaded = load_scenario(name, seed=seed)
        for variant, scenario in variants(loaded.scenario):
            yield variant, Planned(scenario=scenario, seed=seed, directory=loaded.directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A run that failed, and about how long it takes in real time."""

    result: SimulationResult
    took_s: float
    directory: Path | None


def _run_all(
    name: str, seeds: range, processes: int, lasting_s: float | None
) -> tuple[list[Outcome], SimulationResult, Failed | None]:
    """What came of each run, the first run, and the first that failed."""
    outcomes: list[Outcome] = []
    first: SimulationResult | None = None
    failure: Failed | None = None
    progress, began_s = Progress(len(seeds) if lasting_s is None else None), time.monotonic()
    given: deque[tuple[Mapping[str, str], Path | None]] = deque()

    def plans() -> Iterator[Planned]:
        for variant, plan in _planned(name, seeds):
            if lasting_s is not None and time.monotonic() - began_s > lasting_s:
                return
            given.append((variant, plan.directory))
            yield plan

    for result in _results(plans(), processes, progress):
        variant, directory = given.popleft()
        outcomes.append(_outcome(result, variant, _replay(name, result.seed)))
        progress.run_done(result.summary.running_s)
        first = first or result
        if not result.ok:
            if len(seeds) > 1:
                say(f"seed {result.seed}: {next(iter((*map(str, result.violations), *result.missed)))}")
            took_s = (time.monotonic() - began_s) / len(outcomes) * processes
            failure = failure or Failed(result=result, took_s=took_s, directory=directory)
    if first is None:
        raise ConfigurationError("sweep", "one of its keys has no value", "Give each at least one in `values`.")
    return outcomes, first, failure


def _results(plans: Iterator[Planned], processes: int, progress: Progress) -> Iterator[SimulationResult]:
    """The runs one after the other, or several at a time."""
    from simulator.many import run_all

    if processes > 1:
        return run_all(plans, processes=processes)
    return (plan.run(progress.of_run(plan.seed)) for plan in plans)


def _outcome(result: SimulationResult, variant: Mapping[str, str], replay: str) -> Outcome:
    return Outcome(
        seed=result.seed,
        variant=variant,
        summary=result.summary,
        costs=result.costs,
        faults=result.faults,
        promises=result.promises,
        violations=tuple(str(violation) for violation in result.violations),
        missed=result.missed,
        replay=replay,
    )


class Progress:
    """Says on stderr how far a command is, now and then, once it has taken longer than `QUIET_S`."""

    def __init__(self, runs: int | None) -> None:
        self._runs_done = 0
        self._vm_s = 0.0
        self._runs = runs
        self._began_s = time.monotonic()
        self._next_s = self._began_s + QUIET_S

    def run_done(self, vm_s: float) -> None:
        """A run has ended, in which VMs ran for so long."""
        self._runs_done += 1
        self._vm_s += vm_s
        if self._runs_done != self._runs and self._is_time():
            of_all = "" if self._runs is None else f" of {self._runs}"
            say(f"{self._runs_done}{of_all} runs done, {self._vm_s / 3600.0:,.1f} VM-hours")

    def of_run(self, seed: int) -> Callable[[float, int, int], None]:
        """What the simulator is to call."""

        def tell(simulated_s: float, settled: int, put: int) -> None:
            if self._is_time():
                number = f"run {self._runs_done + 1}"
                before = (
                    f"{number}, " if self._runs is None else f"{number} of {self._runs}, " if self._runs > 1 else ""
                )
                say(f"{before}seed {seed}: {duration_text(simulated_s)} simulated, {settled} of {put} jobs settled")

        return tell

    def _is_time(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + max(QUIET_S, _PATIENCE * (now_s - self._began_s))
        return True


def _replay(name: str, seed: int) -> str:
    return f"spotfsm simulate {shlex.quote(name)} --seed {seed}"


# -- telling ----------------------------------------------------------------------------------------------------------


def _show(outcomes: list[Outcome]) -> None:
    """One table for each variant of the scenario."""
    groups: dict[tuple[tuple[str, str], ...], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(tuple(outcome.variant.items()), []).append(outcome)
    for variant, group in groups.items():
        if variant:
            print(", ".join(f"{key} = {value}" for key, value in variant))
        for line in table(group):
            print(line)
        print()
    failed = [outcome for outcome in outcomes if not outcome.ok]
    verdict = f"{len(failed)} failed" if failed else "every promise kept, every expectation met"
    vm_h = sum(outcome.summary.running_s for outcome in outcomes) / 3600.0
    print(f"{counted(len(outcomes), 'run')}, {vm_h:,.1f} VM-hours: {verdict}", flush=True)


def _explain(failed: Failed, name: str, *, as_json: bool) -> None:
    """The first run that failed: its seed, what was drawn, a shorter one that fails too, and how to run it again."""
    from simulator.swarm import drawn_options, vm_count

    result, tell = failed.result, say if as_json else print
    tell("")
    tell(f"seed {result.seed} of {name}:")
    for text in (*map(str, result.violations), *result.missed):
        tell(f"  {text}")
    tell("drawn:")
    for line in drawn_options(result.scenario).splitlines():
        tell(f"  {line}")
    shrunk = _shrunk(failed) if result.violations else result
    if shrunk.scenario != result.scenario:
        scenario = shrunk.scenario
        size = f"{counted(scenario.workload.jobs, 'job')}, {counted(vm_count(scenario), 'VM')}"
        tell(f"a shorter one breaks it too, with {size} and {duration_text(scenario.horizon_s)} of faults:")
        for line in drawn_options(scenario).splitlines():
            tell(f"  {line}")
        for violation in shrunk.violations:
            tell(f"  {violation}")
    tell(f"replay: {_replay(name, result.seed)}")


def _shrunk(failed: Failed) -> SimulationResult:
    """A smaller run that breaks a promise too, or the same if none is found in about `SHRINKING_S`."""
    from simulator.simulation import simulate
    from simulator.swarm import SHRINK_RUNS_MAX, shrink

    result = failed.result
    runs_max = min(SHRINK_RUNS_MAX, int(SHRINKING_S / max(failed.took_s, 0.001)))
    say(f"looking for a shorter run that fails, in up to {counted(runs_max, 'run')}")
    return shrink(
        result, lambda scenario: simulate(scenario, result.seed, directory=failed.directory), runs_max=runs_max
    ).shrunk


def _as_json(outcome: Outcome) -> dict[str, object]:
    costs = outcome.costs
    return {
        "seed": outcome.seed,
        "variant": dict(outcome.variant),
        "ok": outcome.ok,
        "summary": asdict(outcome.summary),
        "costs": {
            "compute_usd": str(costs.compute_usd),
            "disks_usd": str(costs.disks_usd),
            "total_usd": str(costs.total_usd),
            "pay_as_you_go_usd": str(costs.pay_as_you_go_usd),
            "pay_as_you_go_s": costs.pay_as_you_go_s,
            "saving": costs.saving,
        },
        "faults": dict(outcome.faults),
        "promises": {promise.value: kept for promise, kept in outcome.promises.items()},
        "violations": list(outcome.violations),
        "missed": list(outcome.missed),
        "replay": outcome.replay,
    }
