"""Explores a handler: undisturbed first, then struck at each of its steps, in a world of its own each time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fsm.errors import SpotfsmError
from simulator.explore.comparing import Outcome, differences
from simulator.explore.patience import Cut, Patience
from simulator.explore.places import Places
from simulator.explore.plain import virtual_sleep
from simulator.explore.running import Run, Subject
from simulator.explore.steps import TELLABLE, Step, Watch, Way
from simulator.loop import virtually

RUN_S_MAX = 10.0
"""How long a run may take in real time, where nobody says otherwise."""
LONGER_S = 3600.0
"""By how much a struck run may take longer than three undisturbed ones: leases run out, failures are tried again."""


class UndisturbedError(SpotfsmError):
    """The handler cannot be explored: it fails, or does something else each time, with nobody disturbing it."""


class EndlessError(UndisturbedError):
    """It does not end with nobody disturbing it, or not in time."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(f"undisturbed, it has not ended after {progress.run}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an exploration is.

    Attributes:
        done: runs with a strike that are over.
        runs: how many there are to be; None as long as the undisturbed runs are on.
        run_s: how long the present run has taken, in real time.
        virtual_s: and in its own.
        steps: how many steps its first VM has seen.
        where: the line at which its handler was last seen; empty before the first.
    """

    done: int
    runs: int | None
    run_s: float
    virtual_s: float
    steps: int
    where: str

    @property
    def run(self) -> str:
        """How far the present run is, in words."""
        seen = f", in {self.where}" if self.where else ""
        hours = self.virtual_s / 3600.0
        virtual = f"{self.virtual_s:.0f} s" if hours < 1.0 else f"{hours:,.0f} h"
        return f"{self.run_s:.0f} s, {self.steps:,} steps and {virtual} of virtual time{seen}"


class Onlooker:
    """Is told how an exploration goes, in a thread of its own; this one does not care."""

    def look(self, progress: Progress) -> None:
        """How far it is; told several times a second."""

    def stuck(self, progress: Progress, *, interrupted: bool) -> None:
        """Nothing but the end of this process ends the handler; no file is left to be cleaned up.

        Args:
            progress: how far it is.
            interrupted: it was to be ended for Ctrl-C, and not for the time it takes.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A step at which the handler goes astray.

    Attributes:
        differences: what is not as in the undisturbed run, a sentence each.
        times: at how many strikes the like comes out, this one included.
    """

    step: Step
    way: Way
    differences: tuple[str, ...]
    times: int

    def __str__(self) -> str:
        after = f", after {self.step.before}" if self.step.before else ""
        again = f", pass {self.step.passing}" if self.step.passing > 1 else ""
        more = self.times - 1
        often = f" (the like at {more} more step{'s' if more > 1 else ''})" if more else ""
        where = f"{self.step.kind.value} {self.step.where}{after}{again}"
        return f"{self.way.value} {where}: {'; '.join(self.differences)}{often}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """What came of exploring one message.

    Attributes:
        steps: of the undisturbed run.
        kills, notices: how many runs were struck in which way.
        left_out: how many strikes were not tried, because there were too many.
        untried: how many were not, because a run was cut short.
        interrupted: it was Ctrl-C that cut it short, and no run without end.
    """

    text: str
    result: str | None
    steps: int
    kills: int
    notices: int
    left_out: int
    untried: int
    interrupted: bool
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether all was tried, and all was as undisturbed."""
        return not self.findings and not self.interrupted


def explore(
    subject: Subject,
    *,
    runs_max: int = 2000,
    run_s_max: float = RUN_S_MAX,
    onlooker: Onlooker | None = None,
) -> Explored:
    """Run a handler undisturbed, then once for each step and way to strike at it; in the main thread.

    Args:
        subject: the handler and its message.
        runs_max: with more strikes than this, later passes of the same place are left out.
        run_s_max: how long a run may take in real time; one that takes longer is the last.
        onlooker: told how it goes.

    Raises:
        UndisturbedError: there is nothing to compare with.
        KeyboardInterrupt: Ctrl-C came before there was anything to compare with.
    """
    with tempfile.TemporaryDirectory(prefix="spotfsm-explore-") as root:  # one for all runs: paths are the same in each
        return _Exploration(subject, Path(root), runs_max, run_s_max, onlooker or Onlooker()).explore()


Strike = tuple[Step, Way]


class _Exploration:
    """The runs of one message, one after the other."""

    def __init__(self, subject: Subject, root: Path, runs_max: int, run_s_max: float, onlooker: Onlooker) -> None:
        self._subject = subject
        self._root = root
        self._runs_max = runs_max
        self._onlooker = onlooker
        self._patience = Patience(run_s_max, lambda: onlooker.look(self._progress()), self._stuck)
        self._done = 0
        self._runs: int | None = None
        self._run: Run | None = None

    def explore(self) -> Explored:
        with self._patience:
            base, watch = self._undisturbed()
            chosen = _fewer(_strikes(watch.steps), self._runs_max)
            self._runs = len(chosen)
            findings = tuple(_grouped(list(self._astray(base, chosen))))
        tried = [way for _, way in chosen[: self._done]]
        return Explored(
            text=self._subject.text,
            result=base.result,
            steps=watch.count,
            kills=tried.count(Way.KILL),
            notices=tried.count(Way.NOTICE),
            left_out=watch.count + watch.tellable - len(chosen),
            untried=len(chosen) - len(tried),
            interrupted=self._patience.cut is Cut.INTERRUPTED,
            findings=findings,
        )

    def _undisturbed(self) -> tuple[Outcome, Watch]:
        watch, base = self._live(None, within_s=None)
        if base.errors:
            raise UndisturbedError(f"undisturbed, it fails: {base.errors[0]}")
        if base.end != "completed":
            raise UndisturbedError(f"undisturbed, it is {base.end}")
        _, again = self._live(None, within_s=None)
        unlike = "; ".join(differences(base, again))
        if unlike:
            raise UndisturbedError(f"undisturbed, it does something else each time: {unlike}")
        return base, watch

    def _astray(self, base: Outcome, strikes: Sequence[Strike]) -> Iterator[Finding]:
        for step, way in strikes:
            _, outcome = self._live((step.number, way), within_s=3 * base.took_s + LONGER_S)
            match self._patience.cut:
                case None:
                    found = tuple(differences(base, outcome))
                case Cut.TOO_LONG:
                    found = (f"it does not end: stopped after {self._progress().run}",)
                case Cut.INTERRUPTED:
                    return
            self._done += 1
            if found:
                yield Finding(step=step, way=way, differences=found, times=1)
            if self._patience.cut is not None:
                return

    def _live(self, target: tuple[int, Way] | None, *, within_s: float | None) -> tuple[Watch, Outcome]:
        """One run, in a world of its own; an undisturbed one that is cut short is of no use."""
        places = Places(self._root, self._subject.given)
        self._run = Run(self._subject, places, target, self._patience, passes_max=self._runs_max)
        with places.entered(), virtual_sleep():
            outcome = virtually(partial(self._run.live, within_s))
        if target is None and self._patience.cut is Cut.INTERRUPTED:
            raise KeyboardInterrupt
        if target is None and self._patience.cut is Cut.TOO_LONG:
            raise EndlessError(self._progress())
        return self._run.watch, outcome

    def _stuck(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        self._onlooker.stuck(self._progress(), interrupted=self._patience.cut is Cut.INTERRUPTED)

    def _progress(self) -> Progress:
        steps, where = (0, "") if self._run is None else self._run.watch.progress
        return Progress(
            done=self._done,
            runs=self._runs,
            run_s=self._patience.run_s,
            virtual_s=0.0 if self._run is None else self._run.virtual_s,
            steps=steps,
            where=where,
        )


def _strikes(steps: Sequence[Step]) -> Iterator[Strike]:
    for step in steps:
        yield step, Way.KILL
        if step.kind in TELLABLE:
            yield step, Way.NOTICE


def _fewer(strikes: Iterable[Strike], runs_max: int) -> list[Strike]:
    """The first passes of every place before the later ones; in the order of the steps."""
    chosen = sorted(strikes, key=lambda strike: (strike[0].passing, strike[0].number))[:runs_max]
    return sorted(chosen, key=lambda strike: strike[0].number)


def _grouped(findings: Sequence[Finding]) -> Iterator[Finding]:
    """The first pass of each place speaks for the later ones, and the first place for others with the same outcome.

    A kill speaks before a notice: it needs no worker that reacts.
    """
    places: dict[tuple[object, ...], list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: finding.way is Way.NOTICE):
        places.setdefault((finding.step.place, finding.way), []).append(finding)
    outcomes: dict[tuple[str, ...], list[list[Finding]]] = {}
    for passes in places.values():
        outcomes.setdefault(passes[0].differences, []).append(passes)
    for alike in outcomes.values():
        first = alike[0][0]
        times = sum(map(len, alike))
        yield Finding(step=first.step, way=first.way, differences=first.differences, times=times)
