"""One hardening campaign: workers on several VMs whose every request to Azure Storage may go wrong.

Now and then a VM is given a notice that is withdrawn again: drains have to come through the same weather.
"""

from __future__ import annotations

import copy
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from adapters.host.journal_lines import read_journals
from fsm.job import JobState
from tests.azurite import Azurite
from tests.journal_checks import journals_below
from tests.processes.places import AzuritePlace, azurite_place
from tests.processes.spot_vm import SpotVm, WorkerOptions, spot_vm
from tests.proxy.faults import Kind, Weather
from tests.proxy.server import faulty
from tests.proxy.verdict import FAILS_FOR_GOOD, Evidence, Verdict
from tests.torture.verdict import JobSpec

VMS = ("vm-a", "vm-b", "vm-c")
UNFINISHED_MIN = 40
"""Jobs are enqueued whenever fewer than this are unfinished."""
REQUESTS_A_SECOND_MIN = 10
"""A campaign that is slower than this, a minute granted, is stuck."""
FINISH_WITHIN_S = 120.0
NOTICES = 8
"""How many notices a campaign has, one after the other."""
NOTICE_S = 8.0
WITHDRAWN_AFTER_S = 3.0
TOLD_EVERY = 2000
_LOOK_S = 0.05


class HardeningFailedError(AssertionError):
    """A promise was broken; says which, where the evidence is, and how to try again."""


@dataclass(slots=True, kw_only=True)
class Campaign:
    """What a campaign is made of, and how far it is.

    Attributes:
        requests: how many requests it lasts.
        seed: what everything is drawn from but the moments at which processes get to run.
        replay: the command that does it again.
        tell: shown progress, now and then.
    """

    requests: int
    seed: int
    replay: str
    tell: Callable[[str], None]
    jobs: dict[str, JobSpec] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def run(self, azurite: Azurite) -> Verdict:
        """Run it, and return what was put to the test.

        Raises:
            HardeningFailedError: a promise was broken. The evidence is kept.
        """
        directory = Path(tempfile.mkdtemp(prefix="spotfsm-hardening-"))
        weather = Weather(random.Random(f"{self.seed} weather"))
        try:
            verdict = self._run(azurite, directory, weather)
        except AssertionError as exc:
            verdict = Verdict(faults=(str(exc),), tested="", weather=weather)
        if verdict.faults:
            shown = "\n  ".join(verdict.faults[:20])
            raise HardeningFailedError(
                f"{len(verdict.faults)} faults after {described(weather)}:\n  {shown}\n"
                f"evidence: {directory}\nreplay: {self.replay}"
            )
        shutil.rmtree(directory)
        return verdict

    def _run(self, azurite: Azurite, directory: Path, weather: Weather) -> Verdict:
        options = WorkerOptions(more=("--retry-pause", "100ms"))
        with azurite_place(azurite) as place:
            with ExitStack() as stack:
                seen_by_workers = stack.enter_context(_behind_proxies(place, weather))
                vms = [stack.enter_context(spot_vm(name, seen_by_workers, directory, options)) for name in VMS]
                for vm in vms:
                    vm.start()
                self._work(place, vms, weather)
                self._finish(place, vms, weather)
            # The proxies have gone, and what was late has arrived.
            evidence = Evidence(
                place=place,
                jobs=self.jobs,
                history=place.history(),
                lines=read_journals(*journals_below(directory)),
                effects=vms[0].effects,
            )
            return evidence.judged(weather)

    def _work(self, place: AzuritePlace, vms: list[SpotVm], weather: Weather) -> None:
        """Keep the queue filled until enough requests were made."""
        draw = random.Random(f"{self.seed} jobs")
        notices = _notices(vms, draw)
        began_s, told = time.monotonic(), 0
        while weather.requests < self.requests:
            waited_s = time.monotonic() - began_s
            assert weather.requests > REQUESTS_A_SECOND_MIN * (waited_s - 60.0), f"stuck after {described(weather)}"
            self._look(vms)
            while len(self.jobs) - len(self.ended) < UNFINISHED_MIN:
                spec = _drawn(draw)
                self.jobs[place.put(spec.body())] = spec
            if weather.requests >= told + TOLD_EVERY:
                told = weather.requests
                self.tell(f"{described(weather)}; {len(self.ended)} of {len(self.jobs)} jobs ended")
            next(notices)
            time.sleep(_LOOK_S)

    def _finish(self, place: AzuritePlace, vms: list[SpotVm], weather: Weather) -> None:
        """The weather clears up: every job ends, and every worker when it is told to."""
        weather.bad = False
        for vm in vms:
            vm.twin.clear()
        give_up_s = time.monotonic() + FINISH_WITHIN_S
        while self.ended < self.jobs.keys() or place.length():
            left = self.jobs.keys() - self.ended
            assert time.monotonic() < give_up_s, f"{place.length()} messages and {len(left)} jobs are left: {left}"
            self._look(vms)
            time.sleep(_LOOK_S)
        for vm in vms:
            vm.send(signal.SIGTERM)
        for vm in vms:
            assert vm.wait() == 0, f"{vm.name} was told to stop and ended with {vm.wait()}"

    def _look(self, vms: list[SpotVm]) -> None:
        for vm in vms:
            assert vm.running, f"{vm.name} ended: {vm.output.read_text(errors='replace')[-1000:]}"
            ends = (JobState.COMPLETED, JobState.POISONED)
            self.ended.update(line.job for line in vm.look() if line.job and line.text("to") in ends)
            vm.lines.clear()


def _drawn(draw: random.Random) -> JobSpec:
    """A job; one in thirty fails for good, at one of its steps."""
    fails = draw.choice((0,) * 24 + (1,) * 3 + (2,) * 2 + (FAILS_FOR_GOOD,))
    steps = draw.choice((0, 1, 2, 4, 8) if fails < FAILS_FOR_GOOD else (1, 2, 4, 8))
    return JobSpec(steps=steps, step_s=draw.choice((0.005, 0.02, 0.06)), fails=fails)


def _notices(vms: list[SpotVm], draw: random.Random) -> Iterator[None]:
    """Announce an eviction of one VM after the other, and withdraw it; to be asked on and on."""
    for _ in range(NOTICES):
        vm = draw.choice(vms)
        due_s = time.monotonic() + draw.uniform(1.0, 2.0)
        while time.monotonic() < due_s:
            yield
        event_id = vm.twin.evict(notice_s=NOTICE_S)
        withdrawn_s = time.monotonic() + WITHDRAWN_AFTER_S
        while time.monotonic() < withdrawn_s:
            yield
        vm.twin.withdraw(event_id)
    while True:
        yield


@contextmanager
def _behind_proxies(place: AzuritePlace, weather: Weather) -> Iterator[AzuritePlace]:
    """The same place under other addresses."""
    queue, store = (urlsplit(url) for url in (place.queue_url, place.store_url))
    with (
        faulty(f"http://{queue.netloc}", weather) as queue_proxy,
        faulty(f"http://{store.netloc}", weather) as store_proxy,
    ):
        behind = copy.copy(place)
        behind.queue_url = f"{queue_proxy}{queue.path}"
        behind.store_url = f"{store_proxy}{store.path}"
        yield behind


def described(weather: Weather) -> str:
    """How much weather there was."""
    return f"{weather.requests} requests, {weather.faults.total()} of them with a fault"


def by_kind(faults: Counter[Kind]) -> str:
    """How often what happened."""
    return ", ".join(f"{count} {kind}" for kind, count in faults.most_common())
