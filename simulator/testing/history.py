"""What has happened in a world, a line each, for whoever has to understand a failed test."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum

from fsm.spot_vm import SPOT_VM, VmTrigger
from fsm.table import Verdict
from simulator.journal import Entry
from simulator.network import Fault
from simulator.observing import Observer, Run
from simulator.process import Process
from simulator.testing.jobs import PutJob
from simulator.world import World

LINES_MAX = 60
"""The last lines are the ones that tell."""


class History(Observer):
    """Remembers the last lines.

    Args:
        world: whose clock tells when.
        jobs: by message id.
    """

    def __init__(self, world: World, jobs: Mapping[str, PutJob]) -> None:
        self._world = world
        self._jobs = jobs
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._left_out = 0

    def __str__(self) -> str:
        begin = [f"({self._left_out} earlier lines)"] if self._left_out else []
        return "\n".join((*begin, *self._lines))

    def say(self, what: str) -> None:
        """Add a line."""
        self._left_out += len(self._lines) == LINES_MAX
        self._lines.append(f"{self._world.clock.monotonic_s():10.3f} s  {what}")

    def put(self, job: PutJob) -> None:
        self.say(f"{job} is put on the queue: {_short(job.text)}")

    def started(self, process: Process) -> None:
        self.say(f"{process.name} starts")

    def ended(self, process: Process) -> None:
        self.say(f"{process.name} {process.ending}{'' if process.error is None else f': {process.error!r}'}")

    def faulted(self, process: Process, call: str, fault: Fault) -> None:
        if not call.startswith("events."):
            self.say(f"{process.name}: something goes wrong with {call}: {_of_fault(fault)}")

    def run_began(self, run: Run) -> None:
        job = self._jobs[run.job]
        resumed = "" if job.runs[-1].progress is None else f" from {_short(repr(job.runs[-1].progress))}"
        self.say(f"{run.process.name} runs {job}{resumed}, delivery {run.epoch}")

    def run_saved(self, run: Run, _units: int) -> None:
        job = self._jobs[run.job]
        self.say(f"{job} saved {_short(repr(job.progress))}")

    def run_ended(self, run: Run) -> None:
        job = self._jobs[run.job]
        error = job.runs[-1].error
        self.say(f"{job} {run.end}{'' if error is None else f': {type(error).__name__}: {_short(str(error))}'}")

    def deleted(self, message_id: str) -> None:
        if message_id in self._jobs:
            job = self._jobs[message_id]
            self.say(f"{job} is {'poisoned' if job.poisoned else 'completed'}")

    def noted(self, entry: Entry) -> None:
        fields = entry.fields
        if entry.kind == "row" and fields["machine"] == SPOT_VM.name:
            if fields["verdict"] == Verdict.REFUSED and fields["trigger"] != VmTrigger.DEPLOY:
                return  # the operator asks again and again
            self.say(f"{fields['vm']} {fields['trigger']}: {fields['outcome']} ({fields['row']})")
        elif entry.kind in ("notice", "notice_gone", "freeze", "kill", "stop_sent", "clock_jump", "market"):
            about = ", ".join(f"{name} {value}" for name, value in fields.items() if value not in (None, ""))
            self.say(f"{entry.process}: {entry.kind}, {_short(about)}")

    def calmed(self, _now_s: float) -> None:
        self.say("from now on nothing goes wrong any more")


def _of_fault(fault: Fault) -> str:
    if fault.refused is not None:
        return f"refused, {fault.refused}"
    if fault.replied is not None:
        return f"takes effect, and then {fault.replied}"
    return f"travels for {fault.request_s:g} s, its reply for {fault.reply_s:g} s"


def unusual(value: object) -> str:
    """A value as it is written, what a dataclass has by default left out."""
    if isinstance(value, tuple):
        return f"({', '.join(map(unusual, value))},)"
    if not is_dataclass(value) or isinstance(value, type):
        return str(value) if isinstance(value, Enum) else repr(value)
    given = ((one.name, getattr(value, one.name), one.default) for one in fields(value))
    return (
        f"{type(value).__name__}({', '.join(f'{name}={unusual(now)}' for name, now, usual in given if now != usual)})"
    )


def _short(text: str, most: int = 100) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
