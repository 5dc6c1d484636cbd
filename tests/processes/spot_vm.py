"""A Spot VM that a test can take and bring back: a real worker process, and the IMDS twin that it asks.

The worker is `spotfsm worker` in a process group of its own; taking the VM is a SIGKILL. It dies with the test run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.host.journal_lines import JournalFollower, Line
from adapters.twin.client import TwinClient
from adapters.twin.profile import VmProfile
from adapters.twin.running import twin_in_thread
from adapters.twin.state import TwinState
from fsm.application import APPLICATION, AppState
from tests.azurite import dies_with_parent
from tests.journal_checks import BEGINS
from tests.processes.handlers import EFFECTS_VARIABLE
from tests.processes.places import Place

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30.0
"""How long anything may take that takes well under a second on an idle machine."""
_LOOK_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What a worker is started with; see `spotfsm worker --help`. Without a handler it is a command in `more`."""

    handler: str = "tests.processes.handlers:steps"
    concurrency: int = 4
    visibility_timeout_s: float = 2.0
    more: Sequence[str] = ()


class SpotVm:
    """A VM with one worker on it, at most.

    Attributes:
        lines: what its workers have written into their journal so far; `look` brings it up to date.
        twin: gives orders to its IMDS.
        effects: the file its handlers append to.
    """

    def __init__(
        self,
        name: str,
        place: Place,
        directory: Path,
        *,
        twin_url: str,
        options: WorkerOptions,
        follower: JournalFollower,
    ) -> None:
        self.name = name
        self.lines: list[Line] = []
        self.twin = TwinClient(twin_url)
        self.effects = directory / "effects.jsonl"
        self.options = options
        self.output = directory / f"{name}.log"
        self._place = place
        self._directory = directory
        self._twin_url = twin_url
        self._follower = follower
        self._process: subprocess.Popen[bytes] | None = None
        self._states: dict[str, str] = {}

    # -- the worker -------------------------------------------------------------------------------------------------

    def start(self, *more: str, store: bool = True) -> None:
        """Start a worker; one that still runs is a mistake."""
        assert not self.running, f"{self.name} has a worker"
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command(*more, store=store),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=self._environment,
                start_new_session=True,
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 -- one system call, looked up before the fork
            )

    def start_beside(self, *more: str) -> subprocess.Popen[str]:
        """Start another worker with the same settings, which is a mistake; what it says goes to its output."""
        return subprocess.Popen(
            self._command(*more, store=True),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=self._environment,
            preexec_fn=dies_with_parent(),  # noqa: PLW1509 -- one system call, looked up before the fork
        )

    def _command(self, *more: str, store: bool) -> Sequence[str]:
        return [
            *(sys.executable, "-m", "adapters.cli", "worker"),
            *("--queue", self._place.queue_url),
            *("--store", self._place.store_url if store else "none"),
            *("--imds", self._twin_url),
            *("--boot-id-file", str(self.boot_id_file(self._directory, self.name))),
            *(("--handler", self.options.handler) if self.options.handler else ()),
            *("--concurrency", str(self.options.concurrency)),
            *("--visibility-timeout", str(self.options.visibility_timeout_s)),
            *("--idle-poll-max", "0.3"),
            *("--imds-poll", "0.3"),
            *("--journal", str(self.journal(self._directory, self.name))),
            *self.options.more,
            *more,
        ]

    @property
    def _environment(self) -> Mapping[str, str]:
        """Effects have a file, and locks a directory."""
        return {**os.environ, EFFECTS_VARIABLE: str(self.effects), "RUNTIME_DIRECTORY": str(self._directory)}

    @property
    def twin_url(self) -> str:
        """Where its IMDS is."""
        return self._twin_url

    @staticmethod
    def journal(directory: Path, name: str) -> Path:
        """Where the workers of a VM of this name write their journal."""
        return directory / f"{name}.jsonl"

    @staticmethod
    def boot_id_file(directory: Path, name: str) -> Path:
        """Where a VM of this name keeps its boot id."""
        return directory / f"{name}.boot_id"

    @property
    def running(self) -> bool:
        """Whether the worker has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} never had a worker"
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal to everything that runs on the VM."""
        if self.running:
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and see it dead."""
        self.send(signal.SIGKILL)
        self.wait()

    def wait(self, *, within_s: float = PATIENCE_S) -> int:
        """The worker's exit status, once it has ended by itself.

        Raises:
            AssertionError: it has not.
        """
        assert self._process is not None
        try:
            return self._process.wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {within_s:g} s: {self._last_words()}") from None

    # -- the VM -----------------------------------------------------------------------------------------------------

    def reboot(self) -> None:
        """A new boot of the same VM: what a deallocated VM comes back as."""
        self.twin.set_boot()

    def recreate(self) -> None:
        """A new VM of the same name: what a deleted VM comes back as."""
        self.twin.set_boot(vm_id=str(uuid.uuid4()))

    # -- the journal ------------------------------------------------------------------------------------------------

    def look(self) -> list[Line]:
        """The lines that were written since the last look."""
        new = list(self._follower.new_lines())
        self.lines += new
        self._states |= {line.source: line.text("to") for line in new if line.machine == APPLICATION.name}
        return new

    @property
    def state(self) -> str:
        """Where the present worker stands, as far as its journal was read."""
        own = (state for source, state in self._states.items() if source.startswith(f"{self.pid}-"))
        return next(own, APPLICATION.initial)

    def await_line(self, wanted: Callable[[Line], bool], *, after: int = 0, within_s: float = PATIENCE_S) -> Line:
        """The first line from number `after` of `lines` on that is wanted, once there is one.

        Raises:
            AssertionError: there is none in time, or the worker ended before it wrote one.
        """
        give_up_s = time.monotonic() + within_s
        while True:
            running = self.running
            self.look()
            found = next((line for line in self.lines[after:] if wanted(line)), None)
            if found is not None:
                return found
            assert running, f"{self.name} ended: {self._last_words()}"
            assert time.monotonic() < give_up_s, f"{self.name} wrote no such line: {self._last_words()}"
            time.sleep(_LOOK_S)

    def await_row(self, row: str, *, job: str = "", after: int = 0, within_s: float = PATIENCE_S) -> Line:
        """The first line of this row, and of this job if one is named."""
        return self.await_line(lambda line: line.row == row and job in ("", line.job), after=after, within_s=within_s)

    def await_begin(self, job: str, *, after: int = 0, within_s: float = PATIENCE_S) -> Line:
        """The first line that says that this job's handler is begun."""
        return self.await_line(lambda line: line.row in BEGINS and line.job == job, after=after, within_s=within_s)

    def await_state(self, state: AppState, *, after: int = 0, within_s: float = PATIENCE_S) -> Line:
        """The first line that says that the worker has got into this state."""
        return self.await_line(lambda line: _enters(line, state), after=after, within_s=within_s)

    def await_kind(self, kind: str, *, after: int = 0, within_s: float = PATIENCE_S) -> Line:
        """The first line of this kind."""
        return self.await_line(lambda line: line.kind == kind, after=after, within_s=within_s)

    def _last_words(self) -> str:
        said = self.output.read_text(errors="replace").strip().splitlines()
        return " / ".join(said[-3:]) or "it said nothing"


def _enters(line: Line, state: AppState) -> bool:
    return line.machine == APPLICATION.name and line.text("to") == state != line.text("from")


@contextmanager
def spot_vm(
    name: str, place: Place, directory: Path, options: WorkerOptions | None = None, *, profile: VmProfile | None = None
) -> Iterator[SpotVm]:
    """A VM without a worker as yet; nothing of it is left afterwards but its files."""
    profile = profile or VmProfile(name=name, vm_id=str(uuid.uuid4()))
    boot_id_file, journal = SpotVm.boot_id_file(directory, name), SpotVm.journal(directory, name)
    with (
        twin_in_thread(TwinState(profile=profile), boot_id_file=boot_id_file) as url,
        JournalFollower(journal) as follower,
    ):
        vm = SpotVm(name, place, directory, twin_url=url, options=options or WorkerOptions(), follower=follower)
        try:
            yield vm
        finally:
            if vm.running:
                vm.kill()
