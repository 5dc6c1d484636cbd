"""One kill campaign: several VMs on one queue, killed at random moments while jobs checkpoint and record."""

from __future__ import annotations

import heapq
import json
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from adapters.host.journal_lines import read_journals
from fsm.job import JobState
from fsm.record import encode_record
from tests.journal_checks import journals_below
from tests.processes.places import Place, PlaceBusyError
from tests.processes.spot_vm import SpotVm, spot_vm
from tests.torture.lives import KILLS, Blow, Life, check_end, described
from tests.torture.verdict import Evidence, JobSpec

VMS = ("vm-a", "vm-b", "vm-c")
WAITING_MIN = 24
"""Jobs are enqueued whenever fewer than this are unfinished, so that every blow finds work under way."""
SECONDS_A_KILL_MAX = 6.0
"""A campaign in which a kill takes longer than this on average is stuck."""
FINISH_WITHIN_S = 120.0
"""How long the jobs may take that are unfinished after the last kill: leases lapse in two seconds."""
_TICK_S = 0.02


class TortureFailedError(AssertionError):
    """A promise was broken; says which, where the evidence is, and how to try again."""


@dataclass(slots=True, kw_only=True)
class Campaign:
    """What a campaign is made of, and how far it is.

    Attributes:
        kills: how many SIGKILLs it lasts.
        seed: what everything is drawn from but the moments at which processes get to run.
        replay: the command that does it again.
        tell: shown progress, now and then.
    """

    name: str
    kills: int
    seed: int
    replay: str
    tell: Callable[[str], None]
    blows: Counter[Blow] = field(default_factory=Counter)
    jobs: dict[str, JobSpec] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)

    def run(self, place: Callable[[Path], AbstractContextManager[Place]]) -> str:
        """Run it and return what was put to the test, in a line.

        Raises:
            TortureFailedError: a promise was broken. The evidence is kept.
        """
        directory = Path(tempfile.mkdtemp(prefix=f"spotfsm-torture-{self.name}-"))
        try:
            with place(directory) as opened, ExitStack() as vms:
                machines = [vms.enter_context(spot_vm(name, opened, directory)) for name in VMS]
                evidence = self._run(opened, machines, directory)
                faults = evidence.faults()
                if faults:
                    _keep(evidence, directory)
        except AssertionError as exc:
            faults, evidence = [str(exc)], None
        if faults or evidence is None:
            shown = "\n  ".join(faults[:20])
            raise TortureFailedError(
                f"{self.name}: {len(faults)} faults after {self._struck} kills ({described(self.blows)}):\n  {shown}\n"
                f"evidence: {directory}\nreplay: {self.replay}"
            )
        shutil.rmtree(directory)
        return f"{self._struck} kills ({described(self.blows)}); {evidence.summary()}"

    @property
    def _struck(self) -> int:
        return sum(count for blow, count in self.blows.items() if blow in KILLS)

    def _run(self, place: Place, vms: list[SpotVm], directory: Path) -> Evidence:
        draw = random.Random(f"{self.seed} jobs")
        lives = [Life(vm, random.Random(f"{self.seed} {vm.name}"), self._strike).lived() for vm in vms]
        self._torture(place, vms, lives, draw)
        self.tell(f"{self._struck} kills struck; {len(self.jobs) - len(self.completed)} jobs are to be finished")
        self._finish(place, vms)
        return Evidence(
            place=place,
            jobs=self.jobs,
            history=place.history(),
            lines=read_journals(*journals_below(directory)),
            effects=vms[0].effects,
        )

    def _strike(self, blow: Blow) -> bool:
        """Count a blow, unless enough have struck."""
        if self._struck >= self.kills:
            return False
        self.blows[blow] += 1
        if blow in KILLS and self._struck % 50 == 0:
            self.tell(f"{self._struck} kills, {len(self.completed)} of {len(self.jobs)} jobs completed")
        return True

    def _torture(self, place: Place, vms: list[SpotVm], lives: list[Iterator[float]], draw: random.Random) -> None:
        """Let every life go on until it ends, and keep the queue filled."""
        give_up_s = time.monotonic() + 60.0 + SECONDS_A_KILL_MAX * self.kills
        due = [(0.0, number) for number in range(len(lives))]
        while due:
            assert time.monotonic() < give_up_s, f"stuck after {self._struck} kills"
            self._fill(place, vms, draw)
            while due and due[0][0] <= time.monotonic():
                _, number = heapq.heappop(due)
                pause_s = next(lives[number], None)
                if pause_s is not None:
                    heapq.heappush(due, (time.monotonic() + pause_s, number))
            time.sleep(_TICK_S)

    def _fill(self, place: Place, vms: list[SpotVm], draw: random.Random) -> None:
        self._look(vms)
        while len(self.jobs) - len(self.completed) < WAITING_MIN:
            spec = JobSpec(
                steps=draw.choice((0, 1, 2, 4, 8)),
                step_s=draw.choice((0.005, 0.02, 0.06)),
                fails=draw.choice((0, 0, 0, 0, 0, 1, 2)),
            )
            try:
                message_id = place.put(spec.body(), patience_s=_TICK_S)
            except PlaceBusyError:  # locked by a worker that only a later tick of ours sets going again
                return
            self.jobs[message_id] = spec

    def _look(self, vms: list[SpotVm]) -> None:
        for vm in vms:
            vm.look()
            ended = (line.job for line in vm.lines if line.job and line.text("to") == JobState.COMPLETED)
            self.completed.update(ended)
            vm.lines.clear()

    def _finish(self, place: Place, vms: list[SpotVm]) -> None:
        """Nothing happens to any VM any more: every job completes, and every worker ends when it is told to."""
        for vm in vms:
            vm.twin.clear()
            if not vm.running:
                vm.start()
        give_up_s = time.monotonic() + FINISH_WITHIN_S
        while self.completed < self.jobs.keys() or place.length():
            assert time.monotonic() < give_up_s, self._unfinished(place)
            self._look(vms)
            time.sleep(0.1)
        for vm in vms:
            vm.send(signal.SIGTERM)
        for vm in vms:
            check_end(vm)

    def _unfinished(self, place: Place) -> str:
        left = sorted(self.jobs.keys() - self.completed)
        return (
            f"{place.length()} messages are left and {len(left)} jobs not completed after {FINISH_WITHIN_S:g} s: {left}"
        )


def _keep(evidence: Evidence, directory: Path) -> None:
    """Write down what lies nowhere else."""
    with (directory / "history.jsonl").open("w", encoding="utf-8") as file:
        for past in evidence.history:
            line = {"message_id": past.message_id, "version": past.version, "record": encode_record(past.record)}
            file.write(json.dumps(line) + "\n")
    jobs = {message_id: asdict(spec) for message_id, spec in evidence.jobs.items()}
    (directory / "jobs.json").write_text(json.dumps(jobs, indent=1), encoding="utf-8")
