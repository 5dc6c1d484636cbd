"""Running commands: in this process where that shows enough, as a process of its own where it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from adapters.cli.main import run
from adapters.twin.running import twin_in_thread

PATIENCE_S = 60.0
"""How long a command may take that takes a second on an idle machine."""

JOBS = """
import asyncio, os, sys, time

async def handle(job):
    for step in range(job.progress or 0, 3):
        await job.checkpoint(step + 1)
    return {"text": job.text}

async def slow(job):
    while True:
        await job.checkpoint("still here")
        await asyncio.sleep(0.01)

async def stubborn(job):
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def talking(job):
    print("a word of the handler's")

async def stubborn_or_saving(job):
    if job.text == "stubborn":
        await stubborn(job)
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    await job.checkpoint("x" * 100_000)

async def failing(job):
    raise ValueError("no such page")

def plain(job):
    return 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error_line(self) -> str:
        """The one line that an error makes, without its prefix; more or less than one is a fault."""
        assert self.out == "", self.out
        lines = [line for line in self.err.splitlines() if not line.startswith("warning: ")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        return lines[0].removeprefix("error: ")


class Command(Protocol):
    """Runs `spotfsm` with these arguments in the test's directory."""

    def __call__(self, *arguments: object, stdin: str = "", env: Mapping[str, str] | None = None) -> Ended: ...


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, no setting in the environment, and no module of handlers left over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "jobs", raising=False)
    for name in os.environ:
        if name.startswith(("SPOTFSM_", "APPLICATIONINSIGHTS_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path_factory.mktemp("locks")))
    return tmp_path


@pytest.fixture
def jobs(directory: Path) -> str:
    """A module of handlers in the working directory."""
    (directory / "jobs.py").write_text(JOBS)
    return "jobs"


@pytest.fixture
def inside(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in this process: quick, and every warning is an error."""

    def command(*arguments: object, stdin: str = "", env: Mapping[str, str] | None = None) -> Ended:
        assert not stdin, "only a process has a standard input of its own"
        with monkeypatch.context() as patch:
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            capfd.readouterr()
            code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Ended(code=code, out=out, err=err)

    return command


@pytest.fixture
def spotfsm(directory: Path) -> Command:
    """Runs a command as a process of its own."""

    def command(*arguments: object, stdin: str = "", env: Mapping[str, str] | None = None) -> Ended:
        ended = subprocess.run(
            [sys.executable, "-m", "adapters.cli", *map(str, arguments)],
            cwd=directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env={**os.environ, **(env or {})},
            check=False,
        )
        return Ended(code=ended.returncode, out=ended.stdout, err=ended.stderr)

    return command


@pytest.fixture
def start(directory: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command as a process that the test talks to; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def command(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "adapters.cli", *map(str, arguments)],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield command
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def twin() -> Iterator[str]:
    """The URL of a twin."""
    with twin_in_thread() as url:
        yield url
