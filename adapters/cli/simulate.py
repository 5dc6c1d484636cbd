"""`spotfsm simulate`: the production worker in an invented world of evictions, under virtual time.

Nothing of the simulator is imported until the command runs: workers never pay for it.
"""

from __future__ import annotations

import shlex
import time
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
    from simulator.result import SimulationResult
    from simulator.scenario import Scenario

_EXAMPLE = "Example: spotfsm simulate eviction-storm --seed 7 --html storm.html"
QUIET_S = 2.0
"""A run that takes longer says how far it is."""
SHRINKING_S = 60.0
"""About how long a run that breaks a promise is shrunk; never more than the simulator's own number of runs."""
_RUNS_MAX = 1_000_000


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
        int,
        typer.Option("--runs", metavar="N", parser=options.whole(1, _RUNS_MAX), help="How many seeds, from --seed on."),
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
    faults from each seed. Keys of --json: ok, scenario, runs (seed, variant, ok, summary, costs, promises, violations,
    missed, replay).
    """
    if list_them:
        return _list(as_json=as_json)
    if not scenario:
        raise ConfigurationError("scenario", "none is named", "Name one of `spotfsm simulate --list`, or a file.")
    if html is not None:
        _check_page(html)
    outcomes, first, failure = _run_all(scenario, seed, runs)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    seed: int
    variant: Mapping[str, str]
    scenario: Scenario
    directory: Path | None


def _planned(name: str, first_seed: int, runs: int) -> Iterator[_Planned]:
    """Every run: a swarm is drawn anew for each seed, a sweep has each of its variants run with each seed."""
    from simulator.loading import load_scenario, variants
    from simulator.swarm import SWARM

    loaded: LoadedScenario | None = None
    for seed in range(first_seed, first_seed + runs):
        if loaded is None or name == SWARM:
            loaded = load_scenario(name, seed=seed)
        for variant, scenario in variants(loaded.scenario):
            yield _Planned(seed=seed, variant=variant, scenario=scenario, directory=loaded.directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A run that failed, and how long it took in real time."""

    result: SimulationResult
    took_s: float
    directory: Path | None


def _run_all(name: str, seed: int, runs: int) -> tuple[list[Outcome], SimulationResult, Failed | None]:
    """What came of each run, the first run, and the first that failed."""
    outcomes: list[Outcome] = []
    first: SimulationResult | None = None
    failure: Failed | None = None
    progress = Progress(runs)
    for plan in _planned(name, seed, runs):
        began_s = time.monotonic()
        result = _run(plan, progress)
        progress.runs_done += 1
        first = first or result
        if failure is None and not result.ok:
            failure = Failed(result=result, took_s=time.monotonic() - began_s, directory=plan.directory)
        outcomes.append(
            Outcome(
                seed=plan.seed,
                variant=plan.variant,
                summary=result.summary,
                costs=result.costs,
                concurrency=plan.scenario.worker.concurrency,
                promises=result.promises,
                violations=tuple(str(violation) for violation in result.violations),
                missed=result.missed,
                replay=_replay(name, plan.seed),
            )
        )
    assert first is not None
    return outcomes, first, failure


def _run(plan: _Planned, progress: Progress) -> SimulationResult:
    from simulator.simulation import simulate

    return simulate(plan.scenario, plan.seed, directory=plan.directory, on_progress=progress.of_run(plan.seed))


class Progress:
    """Says on stderr how far a command is, now and then, once it has taken longer than `QUIET_S`."""

    def __init__(self, runs: int) -> None:
        self.runs_done = 0
        self._runs = runs
        self._last_s = time.monotonic()

    def of_run(self, seed: int) -> Callable[[float, int, int], None]:
        """What the simulator is to call."""

        def tell(simulated_s: float, settled: int, put: int) -> None:
            now_s = time.monotonic()
            if now_s - self._last_s < QUIET_S:
                return
            self._last_s = now_s
            before = f"run {self.runs_done + 1} of {self._runs}, " if self._runs > 1 else ""
            say(f"{before}seed {seed}: {duration_text(simulated_s)} simulated, {settled} of {put} jobs settled")

        return tell


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
    print(f"{counted(len(outcomes), 'run')}: {verdict}", flush=True)


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
            "saving": costs.saving,
        },
        "promises": {promise.value: kept for promise, kept in outcome.promises.items()},
        "violations": list(outcome.violations),
        "missed": list(outcome.missed),
        "replay": outcome.replay,
    }
