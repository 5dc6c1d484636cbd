"""Many runs, one after the other or in several processes; results come in the order in which they were asked for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

from fsm.errors import ConfigurationError
from simulator.interrupt import interrupt_held
from simulator.result import SimulationResult
from simulator.scenario import Scenario
from simulator.simulation import OnProgress, simulate

AHEAD = 4
"""So many runs a process are given out at once: enough to keep it busy, few enough to hold their results."""
WAIT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A run to be made.

    Attributes:
        variant: the values of a sweep that made the scenario, by their keys.
        directory: where the scenario's traces are looked for.
    """

    scenario: Scenario
    seed: int
    variant: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None

    def run(self, on_progress: OnProgress | None = None) -> SimulationResult:
        """Make it."""
        return simulate(self.scenario, self.seed, directory=self.directory, on_progress=on_progress)


class RunsAtOnce:
    """Makes runs in so many processes, as a context that leaves none of them behind, however it ends.

    Each process holds one end of a pipe, and ends with the other end: also when this process is killed. Ctrl-C is this
    process's alone to handle.

    Args:
        plans: the runs to be made; asked for as processes are free.
        on_wait: called about once a second while none is done.
    """

    def __init__(self, plans: Iterable[Planned], *, processes: int, on_wait: Callable[[], None] = lambda: None) -> None:
        self._plans = iter(plans)
        self._processes = processes
        self._on_wait = on_wait
        self._under_way: deque[tuple[Planned, Future[SimulationResult]]] = deque()

    def __enter__(self) -> Self:
        # A fresh interpreter each: a forked one would take threads' locks and the event loop of its parent with it.
        context = get_context("spawn")
        theirs, self._lifeline = context.Pipe(duplex=False)
        self._theirs = theirs
        self._pool = ProcessPoolExecutor(
            self._processes, mp_context=context, initializer=_end_with, initargs=(self._theirs,)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def __iter__(self) -> Iterator[tuple[Planned, SimulationResult]]:
        """Every run and what came of it.

        Raises:
            ConfigurationError: a scenario names a trace that cannot be read, or a process was killed.
        """
        for plan in self._plans:
            with interrupt_held():
                self._under_way.append((plan, self._pool.submit(plan.run)))
            if len(self._under_way) == AHEAD * self._processes:
                yield self._next()
        while self._under_way:
            yield self._next()

    def _next(self) -> tuple[Planned, SimulationResult]:
        plan, future = self._under_way[0]
        while not wait([future], timeout=WAIT_S).done:
            self._on_wait()
        try:
            result = future.result()
        except BrokenProcessPool as exc:
            raise ConfigurationError(
                "--processes", "one of them was killed, for want of memory perhaps", "Use fewer."
            ) from exc
        self._under_way.popleft()
        return plan, result

    def give_up(self) -> Iterator[tuple[Planned, SimulationResult]]:
        """End the processes at once.

        Returns:
            the runs that were done and are not handed out yet.
        """
        self._end()
        for plan, future in self._under_way:
            if future.done() and not future.cancelled() and future.exception() is None:
                yield plan, future.result()
        self._under_way.clear()

    def _end(self) -> None:
        self._lifeline.close()
        self._pool.shutdown(cancel_futures=True)
        self._theirs.close()


def _end_with(lifeline: Connection) -> None:
    """In a process of the pool: end, amid whatever it is, as soon as the other end of the pipe is closed."""

    def watch() -> None:
        lifeline.poll(None)  # nothing is ever sent: this is the end of it
        os._exit(1)

    Thread(target=watch, name="lifeline", daemon=True).start()
