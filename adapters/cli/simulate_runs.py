"""The runs that `spotfsm simulate` makes: which there are, how far it is, and what came of each that was finished."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.cli.output import duration_text, say
from adapters.cli.simulate_journal import Journals
from adapters.cli.simulate_table import Outcome
from fsm.errors import ConfigurationError

if TYPE_CHECKING:
    from simulator.many import Planned
    from simulator.result import SimulationResult

    Ran = tuple[Planned, SimulationResult]
    Rans = Iterator[Ran]

QUIET_S = 2.0
"""A run that takes longer says how far it is."""
_PATIENCE = 0.05
"""The share of the time so far that passes between two words about it: an hour's command speaks every three minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be run.

    Attributes:
        name: of a scenario, or its file.
        settings: keys of the scenario that are set otherwise, as text.
        lasting_s: no run is begun after this.
        journals: where the journals go, if anybody wants them.
    """

    name: str
    settings: Mapping[str, str]
    seeds: range
    processes: int
    lasting_s: float | None
    journals: Journals | None = None

    def replay(self, seed: int, variant: Mapping[str, str]) -> str:
        """The command that makes one of the runs again, and no other."""
        settings = "".join(
            f" --set {shlex.quote(f'{key}={value}')}" for key, value in {**self.settings, **variant}.items()
        )
        return f"spotfsm simulate {shlex.quote(self.name)} --seed {seed}{settings}"


@dataclass(slots=True, kw_only=True)
class Campaign:
    """What came of the runs.

    Attributes:
        outcomes: of those that were finished, in order.
        first, failed: the first of them and the first that failed, whole.
        interrupted: by Ctrl-C, before all were finished.
        run_s: about how long one takes in real time.
        unwritten: why a journal could not be written; no run was begun after that.
    """

    wanted: Wanted
    outcomes: list[Outcome] = field(default_factory=list)
    first: Ran | None = None
    failed: Ran | None = None
    interrupted: bool = False
    run_s: float = 0.0
    unwritten: ConfigurationError | None = None

    @property
    def ok(self) -> bool:
        """Whether all was made, and all was well."""
        return not self.interrupted and self.unwritten is None and all(outcome.ok for outcome in self.outcomes)

    @property
    def shown(self) -> Ran | None:
        """The run that a page is about."""
        return self.failed or self.first

    def add(self, plan: Planned, result: SimulationResult) -> None:
        """Keep what came of a run, and its journal with it: Ctrl-C comes before or after both."""
        from simulator.interrupt import interrupt_held

        with interrupt_held():
            self._add(plan, result, self._write_journal(plan, result))

    def _write_journal(self, plan: Planned, result: SimulationResult) -> Path | None:
        if self.wanted.journals is None or self.unwritten is not None:
            return None
        try:
            return self.wanted.journals.write(plan, result)
        except ConfigurationError as exc:
            self.unwritten = exc
            return None

    def _add(self, plan: Planned, result: SimulationResult, journal: Path | None) -> None:
        self.outcomes.append(
            Outcome(
                seed=result.seed,
                variant=plan.variant,
                summary=result.summary,
                costs=result.costs,
                faults=result.faults,
                promises=result.promises,
                violations=tuple(str(violation) for violation in result.violations),
                missed=result.missed,
                replay=self.wanted.replay(result.seed, plan.variant),
                journal=journal,
            )
        )
        self.first = self.first or (plan, result)
        if not result.ok:
            self.failed = self.failed or (plan, result)


def run_all(wanted: Wanted) -> Campaign:
    """Make the runs; what is finished when Ctrl-C comes is not lost.

    Raises:
        ConfigurationError: there is no such scenario, something in it does not fit, or there is no place for journals.
    """
    campaign = Campaign(wanted=wanted)
    of_seed, began_s = _of_seed(wanted), time.monotonic()

    def plans() -> Iterator[Planned]:
        for seed in wanted.seeds:
            for plan in of_seed(seed):
                if wanted.lasting_s is not None and time.monotonic() - began_s > wanted.lasting_s:
                    return
                yield plan

    runs = None if wanted.lasting_s is not None else len(wanted.seeds) * len(of_seed(wanted.seeds[0]))
    if wanted.journals is not None:
        wanted.journals.check(runs)
    progress = Progress(runs)
    with _results(plans(), wanted.processes, progress, campaign) as results:
        for plan, result in results:
            campaign.add(plan, result)
            progress.run_done(result.summary.running_s)
            if not result.ok and runs != 1:
                say(f"seed {result.seed}: {next(iter((*map(str, result.violations), *result.missed)))}")
            if campaign.unwritten is not None:
                break
    campaign.run_s = (time.monotonic() - began_s) / max(len(campaign.outcomes), 1) * wanted.processes
    return campaign


def _of_seed(wanted: Wanted) -> Callable[[int], list[Planned]]:
    """What is run with a seed: a swarm is drawn anew for each, a sweep has each of its variants run with each."""
    from simulator.loading import load_scenario, read_value, variants, with_option
    from simulator.many import Planned
    from simulator.swarm import SWARM

    def load(seed: int) -> list[Planned]:
        loaded = load_scenario(wanted.name, seed=seed)
        scenario = loaded.scenario
        for key, text in wanted.settings.items():
            scenario = with_option(scenario, key, read_value(text), where="--set")
        return [
            Planned(scenario=varied, seed=seed, variant=variant, directory=loaded.directory)
            for variant, varied in variants(scenario)
        ]

    if wanted.name == SWARM:
        return load
    always = load(0)
    return lambda seed: [replace(plan, seed=seed) for plan in always]


@contextmanager
def _results(plans: Iterator[Planned], processes: int, progress: Progress, campaign: Campaign) -> Iterator[Rans]:
    """The runs one after the other, or several at a time, until Ctrl-C."""
    from simulator.many import RunsAtOnce

    try:
        if processes == 1:
            yield ((plan, plan.run(progress.of_run(plan.seed))) for plan in plans)
            return
        with RunsAtOnce(plans, processes=processes, on_wait=progress.waiting) as runs:
            try:
                yield iter(runs)
            except KeyboardInterrupt:
                for plan, result in runs.give_up():
                    campaign.add(plan, result)
                raise
    except KeyboardInterrupt:
        campaign.interrupted = True


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
        if self._runs_done != self._runs:
            self.waiting()

    def waiting(self) -> None:
        """Runs are under way."""
        if self._is_time():
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
