"""The demo's stage: a VM that can be taken and brought back, and the files in which its traces lie.

The VM is a worker process of its own and the metadata that the IMDS twin shows it; taking the VM is a SIGKILL of the
worker's process group.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from adapters.cli import demo_handler
from adapters.cli.receipt import Life
from adapters.twin.server import Twin

WORKER = (sys.executable, "-m", "adapters.cli", "worker")
"""The installed command, whatever the path."""
CONCURRENCY = 8
VISIBILITY_TIMEOUT_S = 4
"""Short, so that what a kill leaves leased is soon back."""
DOWN_S = 1.0
"""How long Azure takes to bring a VM back; really it is minutes."""


class Return(StrEnum):
    """As what the worker comes back."""

    REDEPLOYED = "redeployed"
    """The same VM, booted anew: eviction policy Deallocate."""
    RECREATED = "recreated"
    """A new VM of the same name: eviction policy Delete."""
    RESTARTED = "restarted"
    """The VM went on, the process died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the demo's files lie."""

    directory: Path

    @property
    def database(self) -> Path:
        return self.directory / "jobs.db"

    @property
    def queue(self) -> str:
        """The queue's address; the store is in the same file."""
        return f"sqlite:///{self.database}#jobs"

    @property
    def store(self) -> str:
        return f"sqlite:///{self.database}"

    @property
    def journal(self) -> Path:
        return self.directory / "journal.jsonl"

    @property
    def effects(self) -> Path:
        return self.directory / "effects.jsonl"

    @property
    def boot_id_file(self) -> Path:
        return self.directory / "boot_id"

    @property
    def output(self) -> Path:
        """What the workers say."""
        return self.directory / "worker.log"


class PlayedVm:
    """The VM: a worker process and the metadata it sees."""

    def __init__(self, stage: Stage, twin: Twin) -> None:
        self._stage = stage
        self._twin = twin
        self._process: asyncio.subprocess.Process | None = None
        self.lives: list[Life] = []

    async def start(self) -> None:
        """The VM is there: start the worker."""
        began = datetime.now(UTC)
        with self._stage.output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._stage.directory,  # where no spotfsm.toml is
                env={
                    **_without_settings(os.environ),
                    demo_handler.EFFECTS_VARIABLE: str(self._stage.effects),
                    "RUNTIME_DIRECTORY": str(self._stage.directory),  # a killed worker leaves its lock file
                },
                start_new_session=True,
            )
        self.lives.append(Life(pid=self._process.pid, began=began))

    def _command(self) -> Sequence[str]:
        return (
            *WORKER,
            *("--queue", self._stage.queue),
            *("--store", self._stage.store),
            *("--imds", self._twin.url),
            *("--boot-id-file", str(self._stage.boot_id_file)),
            *("--handler", f"{demo_handler.__name__}:{demo_handler.handle.__name__}"),
            *("--concurrency", str(CONCURRENCY)),
            *("--visibility-timeout", str(VISIBILITY_TIMEOUT_S)),
            *("--idle-poll-max", "0.5"),
            *("--journal", str(self._stage.journal)),
            "--until-empty",
        )

    def announce(self, notice_s: float) -> None:
        """Scheduled Events names this VM from now on."""
        self._twin.order("evict", {"notice_s": notice_s})
        self.lives[-1] = replace(self.lives[-1], announced_s=notice_s)

    async def take(self, *, evicted: bool) -> None:
        """SIGKILL to everything that runs there."""
        self.lives[-1] = replace(self.lives[-1], ended=datetime.now(UTC), evicted=evicted)
        await self.destroy()

    async def destroy(self) -> None:
        """Leave nothing behind."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    async def come_back(self, back: Return) -> None:
        """Boot, unless only the process died, and start the worker."""
        if back is not Return.RESTARTED:
            await asyncio.sleep(DOWN_S)
            self._twin.order("boot", {"vm_id": str(uuid.uuid4())} if back is Return.RECREATED else {})
        await self.start()

    @property
    def exit_status(self) -> int | None:
        """The worker's, or None while it runs."""
        assert self._process is not None
        return self._process.returncode


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what the user set for workers of his own."""
    return {name: value for name, value in environment.items() if not name.startswith("SPOTFSM_")}
