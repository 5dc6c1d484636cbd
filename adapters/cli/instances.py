"""Several workers on one VM, each a process of its own, under one parent.

The parent passes signals on, starts anew what dies, and does nothing else: it has no thread and no event loop, so that
it can fork at any time. Its workers are in process groups of their own (Ctrl-C at a terminal is the parent's to pass
on) and die with it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from adapters.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_MISUSE
from adapters.cli.failures import report
from adapters.cli.log import Level, Log
from adapters.cli.output import duration_text
from adapters.cli.running import Receipt
from adapters.dev.child import dies_with_parent
from adapters.host.child import described
from adapters.host.service_manager import ServiceManager
from fsm.backoff import Backoff
from fsm.ports import JsonScalar

INSTANCES_MAX = 32
"""Each has one look at IMDS in its turn: so many see a notice within ten seconds."""
RESTART = Backoff(first_s=1.0, most_s=60.0)
STEADY_S = 60.0
"""Whoever ran this long starts anew as if for the first time."""
_LOOK_S_MAX = 1.0
_STOPPING = (signal.SIGTERM, signal.SIGINT)
_READ_BYTES = 65536

Work: TypeAlias = Callable[[int, Callable[[Receipt], None]], int]
"""What an instance does: given its place from 0 and whom to tell its receipt, it returns its exit code."""


@dataclass(slots=True)
class _Instance:
    """One place, and the process that has it.

    Attributes:
        pid: None while none runs.
        due_s: when one is to be started; None for not at all.
        code: how the last one ended.
    """

    name: str
    pid: int | None = None
    started_s: float = 0.0
    due_s: float | None = 0.0
    deaths: int = 0
    code: int = 0


@dataclass(slots=True)
class Instances:
    """The parent. `run` it once, in a process without threads.

    Attributes:
        names: of the instances.
        work: what each does.
        log: told of those that died.
        service_manager: told how long a stop takes, for the instances' own word is not heard.
        stop_s: how long it takes.
        receipts: what they told, in the order of their ends.
    """

    names: Sequence[str]
    work: Work
    log: Log
    service_manager: ServiceManager
    stop_s: float
    receipts: list[Receipt] = field(default_factory=list)
    _instances: list[_Instance] = field(init=False)
    _stopping: bool = False
    _told: tuple[int, int] = field(default=(-1, -1), init=False)

    def __post_init__(self) -> None:
        self._instances = [_Instance(name) for name in self.names]

    def run(self) -> int:
        """Until all have ended; the exit code."""
        self._told = os.pipe()
        os.set_blocking(self._told[0], False)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_STOPPING, signal.SIGCHLD))
        try:
            while any(one.pid is not None or one.due_s is not None for one in self._instances):
                self._start_due(before)
                got = signal.sigtimedwait((*_STOPPING, signal.SIGCHLD), self._patience_s())
                if got is not None and got.si_signo in _STOPPING:
                    self.service_manager.stop_takes(self.stop_s)
                    self._stop(signal.Signals(got.si_signo))
                self._bury()
                self._hear()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for end in self._told:
                os.close(end)
        codes = {one.code for one in self._instances}
        return EXIT_MISUSE if EXIT_MISUSE in codes else EXIT_FAILED if codes - {0} else 0

    def _start_due(self, mask: set[int | signal.Signals]) -> None:
        for place, one in enumerate(self._instances):
            if one.due_s is not None and time.monotonic() >= one.due_s:
                one.pid = forked(partial(self._work, place, mask), self.log._replace(worker=one.name))
                one.due_s, one.started_s = None, time.monotonic()

    def _work(self, place: int, mask: set[int | signal.Signals]) -> int:
        """In the child."""
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return self.work(place, self._tell)

    def _tell(self, receipt: Receipt) -> None:
        """In the child: one write, which no other can get into."""
        os.write(self._told[1], json.dumps(receipt).encode() + b"\n")

    def _hear(self) -> None:
        """Take in what was told; a receipt is far smaller than a pipe, and is there whole or not at all."""
        try:
            said = os.read(self._told[0], _READ_BYTES)
        except BlockingIOError:
            return
        self.receipts += [json.loads(line) for line in said.splitlines()]

    def _patience_s(self) -> float:
        """How long nothing is due."""
        due = [one.due_s - time.monotonic() for one in self._instances if one.due_s is not None]
        return max(0.0, min([_LOOK_S_MAX, *due]))

    def _stop(self, number: signal.Signals) -> None:
        """Pass a signal on, and start nobody any more."""
        self._stopping = True
        for one in self._instances:
            one.due_s = None
            if one.pid is not None:
                os.kill(one.pid, number)

    def _bury(self) -> None:
        """See to those that have ended."""
        for one in self._instances:
            if one.pid is not None:
                pid, status = os.waitpid(one.pid, os.WNOHANG)
                if pid:
                    one.pid = None
                    self._ended(one, os.waitstatus_to_exitcode(status))

    def _ended(self, one: _Instance, code: int) -> None:
        """Start it again, unless it is done, was told to end, or cannot work as it is set."""
        if self._stopping and code in (-signal.SIGTERM, -signal.SIGINT, EXIT_INTERRUPTED):
            code = 0  # it was not up yet, and had nothing to hand back
        one.code = code
        if code == EXIT_MISUSE and not self._stopping:
            self._stop(signal.SIGTERM)
        if code == 0 or self._stopping:
            return
        one.deaths = 1 if time.monotonic() - one.started_s >= STEADY_S else one.deaths + 1
        pause_s = RESTART.pause_s(one.deaths)
        one.due_s = time.monotonic() + pause_s
        text = f"instance {one.name} {described(code)}; it is started again in {duration_text(pause_s)}"
        fields: dict[str, JsonScalar] = {"instance": one.name, "exit_code": code, "pause_s": pause_s}
        self.log.tell(text, event="instance_died", level=Level.ERROR, fields=fields)


def forked(work: Callable[[], int], log: Log) -> int:
    """Do this in a child process, which dies with this one; its process id.

    Whatever it raises is told as any command that keeps this log tells it, and becomes its exit code.
    """
    die_with_parent = dies_with_parent()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = EXIT_FAILED
    try:
        os.setpgid(0, 0)
        if die_with_parent is not None:
            die_with_parent()
        code = work()
    except BaseException as exc:  # noqa: BLE001 -- it must not get into what the parent was doing
        code = report(exc, log)
    finally:
        sys.stdout.flush()
        os._exit(code)


def tried(work: Callable[[], int], log: Log) -> int:
    """The exit code of something that must not be done in this process."""
    return os.waitstatus_to_exitcode(os.waitpid(forked(work, log), 0)[1])
