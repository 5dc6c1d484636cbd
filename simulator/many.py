"""Many runs, one after the other or in several processes; results come in the order in which they were asked for."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from simulator.result import SimulationResult
from simulator.scenario import Scenario
from simulator.simulation import OnProgress, simulate

AHEAD = 4
"""So many runs a process are given out at once: enough to keep it busy, few enough to hold their results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A run to be made; `directory` is where the scenario's traces are looked for."""

    scenario: Scenario
    seed: int
    directory: Path | None = None

    def run(self, on_progress: OnProgress | None = None) -> SimulationResult:
        """Make it."""
        return simulate(self.scenario, self.seed, directory=self.directory, on_progress=on_progress)


def run_all(plans: Iterable[Planned], *, processes: int) -> Iterator[SimulationResult]:
    """Make every run, each in one of so many processes.

    Raises:
        ConfigurationError: a scenario names a trace that cannot be read.
    """
    # A fresh interpreter each: a forked one would take threads' locks and the event loop of its parent with it.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_leave_signals) as pool:
        under_way: deque[Future[SimulationResult]] = deque()
        try:
            for plan in plans:
                under_way.append(pool.submit(plan.run))
                if len(under_way) == AHEAD * processes:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _leave_signals() -> None:
    """Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
