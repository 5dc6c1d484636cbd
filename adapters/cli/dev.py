"""`spotfsm dev`: a cloud on this machine, and the worker command to paste."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from adapters.cli import options
from adapters.cli.itself import own_command
from adapters.cli.output import counted, say, show_json
from fsm.errors import PlatformError

MESSAGES = 100
QUEUE, CONTAINER = "jobs", "records"
MESSAGE = '{"page": {n}}'
HANDLER = "adapters.dev.example:handle"
_LOOK_S = 0.2
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dev", epilog="Example: spotfsm dev --messages 1000")(_dev)


def _dev(
    *,
    messages: Annotated[
        int,
        typer.Option("--messages", metavar="N", parser=options.whole(1, 1_000_000), help="How many wait on the queue."),
    ] = MESSAGES,
    azurite: Annotated[
        Path | None,
        typer.Option(
            "--azurite",
            metavar="PATH",
            help="Azurite's script, its command, or the directory npm installed it into; by default .tools/azurite in "
            "the source tree, then the azurite on the PATH.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Start a cloud on this machine: Azurite over https with tokens, IMDS, and a queue with messages; until Ctrl-C.

    The worker command on stdout, pasted into another shell, works them as on an Azure VM: it gets a token for the VM's
    managed identity from the IMDS twin, and everything travels over TLS. Nothing is kept at the end. Keys of --json:
    queue, store, imds, boot_id_file, environment, worker (the command's words).
    """
    with _signals_as_interrupt(), _cloud(azurite) as cloud:
        cloud.enqueue(messages)
        cloud.show(messages, as_json=as_json)
        try:
            while cloud.running():
                time.sleep(_LOOK_S)
        except KeyboardInterrupt:
            say("the cloud has ended")
            return
        raise PlatformError("Azurite has ended by itself; start the command again")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cloud:
    """Where everything is.

    Attributes:
        environment: what tells a program where the metadata service is, and whom to believe over TLS.
        running: whether it still is.
    """

    queue: str
    store: str
    imds: str
    boot_id_file: Path
    environment: Mapping[str, str]
    running: Callable[[], bool]

    @property
    def storage(self) -> Sequence[str]:
        return ("--queue", self.queue, "--store", self.store)

    @property
    def worker(self) -> Sequence[str]:
        """The command to paste, one word each."""
        return (
            *("env", *(f"{name}={value}" for name, value in self.environment.items())),
            *(*own_command(), "worker", *self.storage, "--imds", self.imds, "--boot-id-file", str(self.boot_id_file)),
            *("--handler", HANDLER, "--until-empty"),
        )

    def enqueue(self, messages: int) -> None:
        """Create everything, and put the messages: by the command that a user would run, over the very same way.

        Raises:
            PlatformError: it did not work.
        """
        ended = subprocess.run(  # noqa: S603 -- our own command
            [*own_command(), "enqueue", MESSAGE, "--count", str(messages), "--create", *self.storage],
            cwd=self.boot_id_file.parent,  # where no spotfsm.toml is
            env={**_without_settings(os.environ), **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise PlatformError(f"the messages could not be put: {ended.stderr.strip()}")

    def show(self, messages: int, *, as_json: bool) -> None:
        """The worker's command on stdout, and what else one can do on stderr."""
        if as_json:
            show_json(
                {
                    "queue": self.queue,
                    "store": self.store,
                    "imds": self.imds,
                    "boot_id_file": str(self.boot_id_file),
                    "environment": dict(self.environment),
                    "worker": list(self.worker),
                }
            )
            return
        say(f"a cloud is up, and {counted(messages, 'message')} wait; paste this into another shell:")
        print(f"\n{shlex.join(self.worker)}\n", flush=True)
        say(f"take its VM with: spotfsm twin evict --notice 8s --url {self.imds}")
        say("Ctrl-C ends the cloud; nothing is kept")


@contextmanager
def _cloud(azurite: Path | None) -> Iterator[_Cloud]:
    """A cloud with nothing in it, for as long as the context lasts.

    Raises:
        ConfigurationError: Azurite is not installed.
        PlatformError: it does not come up.
    """
    from adapters.dev.azurite import LOOPBACK, Azurite, find_azurite
    from adapters.dev.certificate import make_certificate
    from adapters.twin.running import twin_in_thread

    command = find_azurite(azurite)
    with tempfile.TemporaryDirectory(prefix="spotfsm-dev-") as name:
        directory = Path(name)
        certificate = make_certificate(directory, names=[LOOPBACK])
        boot_id_file = directory / "boot_id"
        with Azurite(command, certificate=certificate) as storage, twin_in_thread(boot_id_file=boot_id_file) as imds:
            yield _Cloud(
                queue=storage.queue_url(QUEUE),
                store=storage.blob_url(CONTAINER),
                imds=imds,
                boot_id_file=boot_id_file,
                environment={
                    "AZURE_POD_IDENTITY_AUTHORITY_HOST": imds,
                    "SSL_CERT_FILE": str(certificate.authority),
                },
                running=lambda: storage.running,
            )


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, and the end of the terminal, end everything in good order too, as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what the user set for workers of his own."""
    return {name: value for name, value in environment.items() if not name.startswith("SPOTFSM_")}
