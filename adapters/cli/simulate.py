"""`spotfsm simulate`: the production worker in an invented world of evictions, under virtual time.

Nothing of the simulator is imported until the command runs: workers never pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.cli import options
from adapters.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED
from adapters.cli.output import counted, duration_text, say, show_json
from adapters.cli.simulate_journal import Journals
from adapters.cli.simulate_runs import Campaign, Wanted, run_all
from adapters.cli.simulate_table import Outcome, table
from fsm.errors import ConfigurationError

if TYPE_CHECKING:
    from simulator.result import SimulationResult

_EXAMPLE = "Example: spotfsm simulate eviction-storm --seed 7 --html storm.html"
SHRINKING_S = 60.0
"""About how long a run that breaks a promise is shrunk; never more than the simulator's own number of runs."""
_RUNS_MAX = 1_000_000
_PROCESSES_MAX = 256
_LASTING_S_MAX = 30 * 86_400.0


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
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a key of the scenario, such as vms.count=3, whatever it says or sweeps; may be given again.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write a page about the first run that fails, or else about the first."
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            "--journal",
            metavar="FILE|DIRECTORY",
            help="Write the run's journal to this file, or each run's to a file of its own in this directory.",
        ),
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="Name the scenarios that ship, and end.")] = False,
    as_json: options.AsJson = False,
) -> int:
    """Run a scenario offline: market, VMs, evictions, faults, work, and the worker that production runs.

    Exit 1 if a promise is broken or an expectation of the scenario is missed. The scenario swarm draws a short world of
    faults from each seed. After Ctrl-C there is what was finished until then, and exit code 130.
    Keys of --json: ok, interrupted, scenario, runs (seed, variant, ok, summary, costs, faults, promises, violations,
    missed, replay, journal).
    """
    if list_them:
        return _list(as_json=as_json)
    if not scenario:
        raise ConfigurationError("scenario", "none is named", "Name one of `spotfsm simulate --list`, or a file.")
    if html is not None:
        _check_page(html)
    wanted = runs or (1 if lasting is None else _RUNS_MAX)
    campaign = run_all(
        Wanted(
            name=scenario,
            settings=_settings(settings or ()),
            seeds=range(seed, seed + wanted),
            processes=processes,
            lasting_s=lasting,
            journals=None if journal is None else Journals(journal),
        )
    )
    if as_json:
        show_json(
            {
                "ok": campaign.ok,
                "interrupted": campaign.interrupted,
                "scenario": scenario,
                "runs": [_as_json(outcome) for outcome in campaign.outcomes],
            }
        )
    else:
        _show(campaign)
    _explain(campaign, tell=say if as_json else print)
    _tell_of_journals(campaign)
    if html is not None and campaign.shown is not None:
        _write_page(campaign, html)
    if campaign.unwritten is not None:
        raise campaign.unwritten
    if campaign.interrupted:
        return EXIT_INTERRUPTED
    return 0 if campaign.ok else EXIT_FAILED


def _settings(given: Iterable[str]) -> Mapping[str, str]:
    settings = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not (key.strip() and equals):
            raise ConfigurationError("--set", f"{text!r} is not KEY=VALUE", "Write, for example, vms.count=3.")
        settings[key.strip()] = value.strip()
    return settings


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
    directory = html.resolve().parent
    if not directory.is_dir():
        raise ConfigurationError("--html", f"{directory} is not there", "Create the directory.")
    if html.is_dir():
        raise ConfigurationError("--html", f"{html} is a directory", "Name a file, which need not be there yet.")
    new = not html.exists()
    try:
        html.open("ab").close()
    except OSError as exc:
        raise ConfigurationError("--html", f"{html} cannot be written ({exc.strerror})", "Name another file.") from exc
    if new:
        html.unlink()


def _write_page(campaign: Campaign, html: Path) -> None:
    from adapters.report import write_page

    assert campaign.shown is not None
    plan, result = campaign.shown
    write_page(result, html, replay=campaign.wanted.replay(plan.seed, plan.variant))
    say(f"wrote {html} about {_named(plan.seed, plan.variant)}")


def _tell_of_journals(campaign: Campaign) -> None:
    written = [outcome.journal for outcome in campaign.outcomes if outcome.journal is not None]
    if len(written) == 1:
        say(f"wrote {written[0]}")
    elif written:
        say(f"wrote {len(written)} journals in {written[0].parent}")


# -- telling ----------------------------------------------------------------------------------------------------------


def _show(campaign: Campaign) -> None:
    """One table for each variant of the scenario."""
    outcomes = campaign.outcomes
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
    if campaign.interrupted:
        verdict = f"interrupted; {verdict} until then" if outcomes else "interrupted"
    vm_h = sum(outcome.summary.running_s for outcome in outcomes) / 3600.0
    print(f"{counted(len(outcomes), 'run')}, {vm_h:,.1f} VM-hours: {verdict}", flush=True)


def _named(seed: int, variant: Mapping[str, str]) -> str:
    return ", ".join((f"seed {seed}", *(f"{key} = {value}" for key, value in variant.items())))


def _explain(campaign: Campaign, tell: Callable[[str], None]) -> None:
    """The first run that failed: its seed, what was drawn, a shorter one that fails too, and how to run it again."""
    from simulator.swarm import drawn_options, vm_count

    if campaign.failed is None:
        return
    plan, result = campaign.failed
    tell("")
    tell(f"{_named(plan.seed, plan.variant)} of {campaign.wanted.name}:")
    for text in (*map(str, result.violations), *result.missed):
        tell(f"  {text}")
    tell("drawn:")
    for line in drawn_options(result.scenario).splitlines():
        tell(f"  {line}")
    shrunk = _shrunk(campaign) if result.violations and not campaign.interrupted else result
    if shrunk.scenario != result.scenario:
        scenario = shrunk.scenario
        size = f"{counted(scenario.workload.jobs, 'job')}, {counted(vm_count(scenario), 'VM')}"
        tell(f"a shorter one breaks it too, with {size} and {duration_text(scenario.horizon_s)} of faults:")
        for line in drawn_options(scenario).splitlines():
            tell(f"  {line}")
        for violation in shrunk.violations:
            tell(f"  {violation}")
    tell(f"replay: {campaign.wanted.replay(plan.seed, plan.variant)}")


def _shrunk(campaign: Campaign) -> SimulationResult:
    """A smaller run that breaks a promise too, or the same if none is found in about `SHRINKING_S`."""
    from simulator.simulation import simulate
    from simulator.swarm import SHRINK_RUNS_MAX, shrink

    assert campaign.failed is not None
    plan, result = campaign.failed
    runs_max = min(SHRINK_RUNS_MAX, int(SHRINKING_S / max(campaign.run_s, 0.001)))
    say(f"looking for a shorter run that fails, in up to {counted(runs_max, 'run')}")
    try:
        return shrink(
            result, lambda scenario: simulate(scenario, plan.seed, directory=plan.directory), runs_max=runs_max
        ).shrunk
    except KeyboardInterrupt:
        campaign.interrupted = True
        say("interrupted: no shorter run was looked for any more")
        return result


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
        "journal": None if outcome.journal is None else str(outcome.journal),
    }
