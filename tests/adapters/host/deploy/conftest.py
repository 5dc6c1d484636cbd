"""Machines with a real systemd, and packages to install on them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.packaging import manage_actions
from tests.container import Machine, container_root, memory
from tests.wheelhouse import wheelhouse

APPLICATION = "worker"
"""Of the gallery: what a VM calls the archive that it downloads."""
DOWNLOADS = "/var/lib/waagent/Microsoft.CPlat.Core.VMApplicationManagerLinux"
STATE = "/var/lib/spotfsm"
LEASE_S = 3
SETTINGS = f"""
queue = "sqlite:///{STATE}/jobs.db#jobs"
journal = "{STATE}/worker.jsonl"

[worker]
handler = "jobs:handle"
visibility_timeout = "{LEASE_S}s"
concurrency = 2
"""
JOBS = """
import asyncio, os, pathlib

VERSION = "{version}"

async def handle(job):
    begun = job.progress or 0
    said = pathlib.Path(os.environ["STATE_DIRECTORY"], "said")
    with said.open("a") as lines:
        print(VERSION, os.environ.get("SPOTFSM_INSTANCE", "1"), job.id, begun, file=lines)
    for step in range(begun, int(job.text)):
        await asyncio.sleep(0.1)
        await job.checkpoint(step + 1)
    return {{"begun": begun, "version": VERSION}}
"""


PLAIN = """
import os, pathlib, time

def handle(job):
    if job.text == "1":
        return os.getpid()
    held = b"x" * (int(job.text) * 2**20)
    time.sleep(60)
    return len(held)
"""
PATIENT = """
import asyncio, os, pathlib

async def handle(job):
    with pathlib.Path(os.environ["STATE_DIRECTORY"], "said").open("a") as lines:
        print("patient", os.environ.get("SPOTFSM_INSTANCE", "1"), job.id, 0, file=lines)
    await asyncio.sleep(int(job.text))
"""
COMMAND = """#!/bin/sh
printf '%s\\0' "$@" > "$STATE_DIRECTORY/words"
"""


@dataclass(slots=True)
class Packer:
    """Makes packages of the jobs above, each once."""

    directory: Path
    wheels: Path
    _made: dict[tuple[str, ...], Path] = field(default_factory=dict)

    def __call__(self, version: str, *options: str) -> Path:
        """The archive of a version that does jobs by the handler."""
        files = {"spotfsm.toml": SETTINGS, "jobs.py": JOBS.format(version=version)}
        return self._package(files, version, *options)

    def patient(self, version: str) -> Path:
        """The archive of a version whose jobs take so many seconds, and save nothing on the way."""
        return self._package({"spotfsm.toml": SETTINGS, "jobs.py": PATIENT}, version)

    def plain(self, version: str) -> Path:
        """The archive of a version that does jobs in processes of their own, which may hold 128 MiB."""
        return self._package({"spotfsm.toml": f'{SETTINGS}job_memory = "128M"\n', "jobs.py": PLAIN}, version)

    def command(self, version: str, *words: str) -> Path:
        """The archive of a version that does jobs by the command."""
        files = {"spotfsm.toml": SETTINGS.replace('handler = "jobs:handle"', ""), "job.sh": COMMAND}
        return self._package(files, version, "--", "./job.sh", *words)

    def _package(self, files: Mapping[str, str], version: str, *words: str) -> Path:
        if (version, *words) not in self._made:
            work = self.directory / f"package-{len(self._made)}"
            work.mkdir()
            for name, text in files.items():
                (work / name).write_text(text)
                (work / name).chmod(0o755)
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            ended = subprocess.run(
                [
                    *(sys.executable, "-m", "adapters.cli", "package", "--version", version, "--wheels", self.wheels),
                    *("--python-version", python, "--json", *words),
                ],
                cwd=work,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, ended.stderr
            self._made[version, *words] = work / json.loads(ended.stdout)["archive"]
        return self._made[version, *words]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vm:
    """A machine, and what Azure's agent does on it."""

    machine: Machine

    def deliver(self, archive: Path, version: str) -> str:
        """Download an archive, as the agent does: under the application's name."""
        directory = f"{DOWNLOADS}/{APPLICATION}/{version}"
        target = self.machine.root / directory.lstrip("/")
        target.mkdir(parents=True)
        (target / APPLICATION).write_bytes(archive.read_bytes())
        return directory

    def act(self, action: str, directory: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of the version's actions, as the agent does: by bash, in the directory of the download."""
        return self.machine.run("/bin/bash", "-c", manage_actions()[action], check=check, cwd=directory)

    def enqueue(self, steps: int, *, count: int = 1) -> None:
        """Put jobs of so many steps, ten of which take a second."""
        self.machine.spotfsm("enqueue", str(steps), "--count", str(count))

    def status(self) -> dict[str, object]:
        """What became of them."""
        return self.machine.spotfsm("status")

    def completed(self) -> int:
        """How many are done."""
        found = self.status()["completed"]
        assert isinstance(found, int)
        return found

    def said(self) -> Sequence[Sequence[str]]:
        """What each run of a job said at its beginning: version, instance, job and the step it went on from."""
        file = self.machine.root / "var/lib/private/spotfsm/said"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def wait_for_steps(self, job_runs: int = 1) -> None:
        """Wait until jobs run and have saved something."""
        self.machine.wait_until(lambda: len(self.said()) >= job_runs, why="no job has begun")
        self.machine.wait_until(lambda: '"checkpoint"' in self.journal(), why="no job has saved anything")

    def journal(self) -> str:
        """The worker's."""
        file = self.machine.root / "var/lib/private/spotfsm/worker.jsonl"
        return file.read_text() if file.exists() else ""

    def pid(self, unit: str = "spotfsm-worker") -> int:
        """The worker's process, 0 if it does not run."""
        return int(self.machine.show(unit, "MainPID"))


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packer:
    """Packages, each made once."""
    directory = tmp_path_factory.mktemp("packages")
    return Packer(directory, wheelhouse(directory / "wheels"))


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that is off, and on which nothing was ever installed."""
    below = container_root()
    with memory(tmp_path_factory.mktemp("machines")) as directory:
        machine = Machine((below,), directory / "blank")
        machine.boot()  # what a first boot writes is not to be taken for something that an installation left behind
        machine.off()
        yield machine
        machine.destroy()


@pytest.fixture(scope="session")
def installed(blank: Machine, packed: Packer) -> Iterator[Machine]:
    """A machine that is off, with version 1.0.0 on it and an empty queue."""
    machine = blank.copy("installed")
    vm = Vm(machine=machine)
    machine.boot()
    vm.act("install", vm.deliver(packed("1.0.0"), "1.0.0"))
    machine.spotfsm("enqueue", "--create")
    machine.wait_until(lambda: vm.pid() != 0 and vm.journal() != "", why="no worker runs")
    machine.off()
    yield machine
    machine.destroy()


@pytest.fixture
def booted() -> Iterator[Callable[[Machine], Vm]]:
    """Boots copies of machines."""
    copies: list[Machine] = []

    def boot(machine: Machine) -> Vm:
        copies.append(machine.copy(f"copy-{len(copies)}"))
        copies[-1].boot()
        return Vm(machine=copies[-1])

    yield boot
    for machine in copies:
        machine.destroy()


@pytest.fixture
def vm(installed: Machine, booted: Callable[[Machine], Vm]) -> Vm:
    """A VM that has just booted, with version 1.0.0 on it."""
    return booted(installed)
