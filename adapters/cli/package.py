"""`spotfsm package`: the archive that puts a worker and its jobs on a VM."""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from adapters.addresses import StorageAddresses, find_storage
from adapters.cli import options
from adapters.cli.instances import INSTANCES_MAX
from adapters.cli.output import counted, say, show_json, show_table
from adapters.packaging import (
    PYTHON,
    Architecture,
    Order,
    Target,
    check_handler,
    job_files,
    make_package,
    manage_actions,
    package_version,
    python_version,
)
from fsm.errors import ConfigurationError

STATE_DIRECTORY = Path("/var/lib/spotfsm")
"""Where a unit's worker may write: `StateDirectory=`."""
_QUIET_S = 2.0
"""How long nothing is said."""
_EXAMPLE = (
    "Example: spotfsm package --version 1.0.0 --config production.toml --include models\n\n"
    "Example: spotfsm package --version 1.0.1 --python-version 3.11 --units 4 -- ./job.sh --quality high"
)
_VERSION_IS_NEEDED = typer.Option(
    "--version",
    metavar="X.Y.Z",
    parser=package_version,
    show_default=False,
    help="The package's version, three numbers as a gallery has them. A version that was published never changes.",
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    behind_the_options = {"allow_interspersed_args": False}
    app.command("package", context_settings=behind_the_options, epilog=_EXAMPLE)(_package)


def _package(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            show_default=False,
            help="Behind --, in place of the settings' handler: a program and its arguments, as `worker` takes it.",
        ),
    ] = None,
    *,
    version: Annotated[str, _VERSION_IS_NEEDED],
    include: Annotated[
        list[Path] | None,
        typer.Option(
            "--include",
            metavar="PATH",
            help="A file or directory below the working directory that goes along; may be repeated. The handler's "
            "module and the command's program go along by themselves.",
        ),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option("--requirements", metavar="FILE", exists=True, help="What the jobs need, as pip reads it."),
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option("--extra", metavar="NAME", help="An extra of spotfsm's that goes along; may be repeated."),
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option(
            "--wheels",
            metavar="DIRECTORY",
            exists=True,
            file_okay=False,
            help="Take every wheel from here, pip's included; nothing is downloaded.",
        ),
    ] = None,
    python: Annotated[
        str,
        options.setting(
            "--python-version", "The VM's Python: 3.12 on Ubuntu 24.04.", metavar="X.Y", parser=python_version
        ),
    ] = PYTHON,
    architecture: Annotated[
        Architecture, options.setting("--architecture", "The VM's processor.")
    ] = Architecture.X86_64,
    units: Annotated[
        int,
        options.setting(
            "--units",
            f"How many workers run as units of their own, 1 to {INSTANCES_MAX}: one is spotfsm-worker, more are "
            "spotfsm-worker@1 and so on.",
            metavar="N",
            parser=options.whole(1, INSTANCES_MAX),
        ),
    ] = 1,
    output: Annotated[Path, typer.Option("--output", metavar="DIRECTORY", help="Where the archive goes.")] = Path(),
    as_json: options.AsJson = False,
    config: options.Config = None,
) -> None:
    """Package the jobs, spotfsm, every wheel that they need, the units and the script that installs it all.

    The settings of the package are those of --config, or of spotfsm.toml here: `worker` would run by them. The archive
    is the same byte for byte whenever and wherever it is made of the same. On a VM, `orchestrate.sh -i` in it installs
    and upgrades, `orchestrate.sh -u` removes; no network is needed. Keys of --json: archive, version, sha256, bytes,
    python, architecture, units, wheels, and actions: what a VM Application's version is given to install, update and
    remove it.
    """
    settings = _settings(config)
    worker = _worker_settings(settings, command or [])
    if units > 1 and worker["instances"] != 1:
        problem = f"the settings let each of them run {worker['instances']} instances"
        raise ConfigurationError("--units", problem, "Take one of the two: they share IMDS's limit and health ports.")
    handler = worker["handler"]
    if isinstance(handler, str):
        check_handler(Path.cwd(), handler, python=python)
    target = Target(python=python, architecture=architecture)
    order = Order(
        version=version,
        settings=settings,
        jobs=job_files(
            Path.cwd(),
            handler=handler if isinstance(handler, str) else None,
            command=command or [],
            include=include or [],
        ),
        command=command or [],
        stop_grace_s=_seconds(worker["stop_grace"]),
        imds_poll_s=_seconds(worker["imds_poll"]),
        health_port=_port(worker["health_port"]),
        units=units,
        target=target,
        extras=_extras(extra or []),
        requirements=requirements,
        wheels=wheels,
    )
    say(f"gathering the wheels for Python {python} on {architecture}")
    made = make_package(order, output, _teller())
    if as_json:
        show_json(
            {
                "archive": str(made.archive),
                "version": version,
                "sha256": made.sha256,
                "bytes": made.size_bytes,
                "python": python,
                "architecture": str(architecture),
                "units": units,
                "wheels": list(made.wheels),
                "actions": dict(manage_actions()),
            }
        )
        return
    show_table(
        [
            ("archive", str(made.archive)),
            ("sha256", made.sha256),
            ("size", f"{made.size_bytes / 2**20:.1f} MiB"),
            ("holds", f"{counted(len(order.jobs), 'file')} of jobs, {counted(len(made.wheels), 'wheel')}"),
            ("for", f"Python {python}, {architecture}, {counted(units, 'unit')}"),
        ]
    )


def _teller() -> Callable[[str], None]:
    """Says every other second how far it is."""
    said_s, count = time.monotonic(), 0

    def tell(name: str) -> None:
        nonlocal said_s, count
        count += 1
        if time.monotonic() - said_s >= _QUIET_S:
            said_s = time.monotonic()
            say(f"{counted(count, 'wheel')} looked for, now {name}")

    return tell


def _settings(config: Path | None) -> Path:
    if config is None:
        problem = "there are no settings: no spotfsm.toml is here"
        raise ConfigurationError("--config", problem, "Write the worker's queue, store and handler into one.")
    return config


def _worker_settings(settings: Path, command: Sequence[str]) -> Mapping[str, object]:
    """What a worker would make of these settings, and of nothing else: its own parser reads them.

    Raises:
        ConfigurationError: they are no settings, or none that work on a VM.
    """
    from adapters.cli.main import build

    arguments = ["--config", str(settings), *(["--", *command] if command else [])]
    with _without_settings():
        group = typer.main.get_group(build(["worker"]))
        found: Mapping[str, object] = group.commands["worker"].make_context("worker", arguments).params
    if found["handler"] is None and not command:
        remedy = "Write handler under [worker], or give a command behind --."
        raise ConfigurationError("--config", f"{settings} says nothing that does the jobs", remedy)
    if found["handler"] is not None and command:
        raise ConfigurationError("--config", f"{settings} names a handler beside the command", "Give one of the two.")
    if found["until_empty"]:
        problem = "until_empty ends the worker, and its unit starts it anew"
        raise ConfigurationError("--until-empty", problem, "Take it out of the settings.")
    if found["queue"] is None:
        say("warning: the settings name no queue; on the VM SPOTFSM_QUEUE must, in /etc/spotfsm/worker.env")
    else:
        _check_places(find_storage(_text(found["queue"]), _text(found["store"])), found["journal"])
    return found


def _check_places(addresses: StorageAddresses, journal: object) -> None:
    """Refuse what a unit's sandbox would: files anywhere but in its state directory."""
    files = [(file.setting, file.path) for file in addresses.files]
    if isinstance(journal, Path):
        files.append(("--journal", journal))
    for setting, file in files:
        if not file.is_relative_to(STATE_DIRECTORY):
            raise ConfigurationError(
                setting,
                f"{file} is not in {STATE_DIRECTORY}, which alone a packaged worker may write",
                f"Put it there: sqlite:///{STATE_DIRECTORY}/FILE for a queue or store.",
            )


def _extras(names: Sequence[str]) -> Sequence[str]:
    known = importlib.metadata.metadata("spotfsm").get_all("Provides-Extra", [])
    for name in names:
        if name not in known:
            raise ConfigurationError("--extra", f"spotfsm has no extra {name!r:.60}", f"Known: {', '.join(known)}.")
    return names


@contextmanager
def _without_settings() -> Iterator[None]:
    """Without the variables of the one who packages."""
    taken = {name: os.environ.pop(name) for name in tuple(os.environ) if name.startswith("SPOTFSM_")}
    try:
        yield
    finally:
        os.environ.update(taken)


def _text(value: object) -> str | None:
    assert value is None or isinstance(value, str)
    return value


def _seconds(value: object) -> float:
    assert isinstance(value, float)
    return value


def _port(value: object) -> int | None:
    assert value is None or isinstance(value, int)
    return value
