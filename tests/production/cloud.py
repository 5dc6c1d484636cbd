"""A cloud to run the production path in: storage over TLS that takes tokens, and IMDS that hands them out.

Nothing of it is known to the program under test but what a VM's image or a systemd unit would say: addresses, a client
id, whom to believe over TLS. The commands are the installed `spotfsm`, as processes with an environment of their own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from adapters.dev.child import dies_with_parent
from adapters.host.journal_lines import JournalFollower, Line, read_journals
from fsm.replay import replay
from tests.processes.handlers import EFFECTS_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
SPOTFSM = Path(sys.executable).with_name("spotfsm")
PATIENCE_S = 60.0
"""How long a command may take that takes two seconds on an idle machine."""
HANDLER = "tests.processes.handlers:steps"
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Where everything is, and how a command gets there.

    Attributes:
        storage: the options that name queue and store, and who asks.
        imds: the option that names IMDS; nothing where the default is right.
        environment: all of a command's variables.
        within: what stands before every command.
    """

    directory: Path
    storage: Sequence[str]
    imds: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    within: Sequence[str] = ()

    @property
    def journal(self) -> Path:
        return self.directory / "journal.jsonl"

    def run(self, command: str, *arguments: str) -> str:
        """Run a command on the storage to its end, and return what it printed.

        Raises:
            AssertionError: it failed.
        """
        ended = subprocess.run(
            [*self.within, str(SPOTFSM), command, *self.storage, *arguments],
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def enqueue(self, jobs: int) -> None:
        """Create everything, and put short jobs."""
        self.run("enqueue", "--create", "--count", str(jobs), json.dumps({"steps": 4, "step_s": 0.05}))

    @contextmanager
    def worker(self, *more: str) -> Iterator[RunningWorker]:
        """A worker; it is killed at the end if it still runs."""
        with ExitStack() as stack:
            follower = stack.enter_context(JournalFollower(self.journal))
            list(follower.new_lines())  # of workers before this one
            output = stack.enter_context((self.directory / "worker.log").open("ab"))
            process = subprocess.Popen(
                [
                    *(*self.within, str(SPOTFSM), "worker", *self.storage, *self.imds),
                    *("--handler", HANDLER, "--journal", str(self.journal), *more),
                ],
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 -- one system call, looked up before the fork
            )
            running = RunningWorker(process, follower, Path(output.name))
            try:
                yield running
            finally:
                running.kill()

    def replayed(self) -> list[str]:
        """What is illegal in the journal of all workers."""
        return [str(fault) for fault in replay(read_journals(self.journal)).faults]

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            EFFECTS_VARIABLE: str(self.directory / "effects.jsonl"),
            **self.environment,
        }


class RunningWorker:
    """A worker process, and what it writes into its journal."""

    def __init__(self, process: subprocess.Popen[bytes], follower: JournalFollower, output: Path) -> None:
        self._process = process
        self._follower = follower
        self._output = output
        self.lines: list[Line] = []

    def await_line(self, wanted: Callable[[Line], bool], *, count: int = 1) -> None:
        """Wait until this many lines are wanted ones.

        Raises:
            AssertionError: the worker ended, or took too long.
        """
        give_up_s = time.monotonic() + PATIENCE_S
        while sum(map(wanted, self.lines)) < count:
            running = self._process.poll() is None
            self.lines += self._follower.new_lines()
            assert running or sum(map(wanted, self.lines)) >= count, self._said()
            assert time.monotonic() < give_up_s, self._said()
            time.sleep(_LOOK_S)

    def wait(self) -> None:
        """Wait until it has ended well.

        Raises:
            AssertionError: it failed, or took too long.
        """
        assert self._process.wait(timeout=PATIENCE_S) == 0, self._said()
        self.lines += self._follower.new_lines()

    def kill(self) -> None:
        """As an eviction does."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _said(self) -> str:
        return self._output.read_text(errors="replace")[-2000:]
