"""Makes the archive that a VM Application delivers and `orchestrate.sh` installs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from adapters.packaging.archive import EPOCH_S, Member, write_archive
from adapters.packaging.own_wheel import pack_own_wheel
from adapters.packaging.rendering import render_script, render_unit
from adapters.packaging.target import Target
from adapters.packaging.wheels import Wheels, locked
from fsm.errors import ConfigurationError

SCRIPT = "orchestrate.sh"
UNITS = ("spotfsm-worker.service", "spotfsm-worker@.service")
GUIDE = "README.md"
PROGRAMS = {"spotfsm": "spotfsm.sh", "instance": "instance.sh"}
"""By their names in the package."""
_ACTIONS = "vm-application.json"
_VERSION = re.compile(r"(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})")
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be packaged.

    Attributes:
        version: the package's, `1.2.3`.
        settings: the worker's, a TOML file.
        jobs: the user's files by their names in the worker's working directory.
        command: what does a job, in place of the settings' handler.
        stop_grace_s: how long a stop may drain.
        imds_poll_s: how often a worker asks for Scheduled Events.
        health_port: the settings' own, or None.
        units: how many run side by side on a VM; 1 is a singleton.
    """

    version: str
    settings: Path
    jobs: Mapping[str, Member]
    command: Sequence[str] = ()
    stop_grace_s: float
    imds_poll_s: float
    health_port: int | None = None
    units: int = 1
    target: Target = field(default_factory=Target)
    extras: Sequence[str] = ()
    requirements: Path | None = None
    wheels: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What was made.

    Attributes:
        wheels: the names of the wheels in it.
    """

    archive: Path
    sha256: str
    size_bytes: int
    wheels: Sequence[str]


def make_package(order: Order, directory: Path, tell: Callable[[str], None]) -> Package:
    """Write `spotfsm-VERSION.tar.gz` into the directory, telling the name of each distribution as its turn comes.

    Raises:
        ConfigurationError: the order cannot be fulfilled as it is.
        PlatformError: pip cannot fulfil it.
    """
    archive, time_s = directory / f"spotfsm-{order.version}.tar.gz", epoch_s(os.environ)
    with tempfile.TemporaryDirectory(prefix="spotfsm-package-") as scratch:
        gathered = Path(scratch, "wheels")
        gathered.mkdir()
        own = pack_own_wheel(Path(scratch))
        wheels = Wheels(
            own=own,
            extras=order.extras,
            requirements=order.requirements,
            source=order.wheels,
            target=order.target,
            tell=tell,
        ).gather(gathered)
        members = {**_assets(order, wheels), **{f"app/{name}": member for name, member in order.jobs.items()}}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            whole = archive.with_suffix(".part")
            write_archive(whole, members, epoch_s=time_s)
            whole.replace(archive)
        except OSError as exc:
            problem = f"{archive} cannot be written: {exc.strerror}"
            raise ConfigurationError("--output", problem, "Name a directory that can be written.") from exc
    content = archive.read_bytes()
    return Package(
        archive=archive,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        wheels=[wheel.name for wheel in wheels],
    )


def _assets(order: Order, wheels: Sequence[Path]) -> dict[str, Member]:
    script = render_script(
        asset(SCRIPT),
        version=order.version,
        python=order.target.python,
        architecture=order.target.architecture,
        units=order.units,
    )
    units = {
        name: render_unit(
            asset(name),
            command=order.command,
            stop_grace_s=order.stop_grace_s,
            imds_poll_s=order.imds_poll_s,
            health_port=order.health_port,
            units=order.units,
        )
        for name in UNITS
    }
    return {
        SCRIPT: Member(content=script.encode(), executable=True),
        **{name: Member(content=asset(file).encode(), executable=True) for name, file in PROGRAMS.items()},
        GUIDE: Member(content=asset(GUIDE).encode()),
        "spotfsm.toml": Member(content=order.settings),
        "requirements.txt": Member(content=locked(wheels).encode()),
        **{f"units/{name}": Member(content=text.encode()) for name, text in units.items()},
        **{f"wheels/{wheel.name}": Member(content=wheel) for wheel in wheels},
    }


def asset(name: str) -> str:
    """A file that lies beside the adapter of the host."""
    return (files("adapters.host") / "deploy" / name).read_text(encoding="utf-8")


def manage_actions() -> Mapping[str, str]:
    """What a VM Application's version runs to install, update and remove this: `manageActions` of the gallery."""
    actions: Mapping[str, str] = json.loads(asset(_ACTIONS))
    return actions


def package_version(text: str) -> str:
    """The text, if a gallery takes it for a version.

    [https://learn.microsoft.com/azure/virtual-machines/vm-applications, read 2026-11]

    Raises:
        ValueError: it does not.
    """
    found = _VERSION.fullmatch(text)
    if found is None or max(map(int, found.groups())) > _INT32_MAX:
        raise ValueError(f"{text!r:.60} is no version such as 1.2.3, of three numbers up to {_INT32_MAX}.")
    return text


def epoch_s(environment: Mapping[str, str]) -> int:
    """The time of every file: https://reproducible-builds.org/specs/source-date-epoch/ (read 2026-11).

    Raises:
        ConfigurationError: SOURCE_DATE_EPOCH is no number of seconds.
    """
    given = environment.get("SOURCE_DATE_EPOCH", "")
    if not given:
        return EPOCH_S
    if not (given.isascii() and given.isdigit() and len(given) <= 11):
        remedy = "Give the seconds since 1970, as git log -1 --format=%ct does."
        raise ConfigurationError("SOURCE_DATE_EPOCH", f"{given!r:.60} is no number", remedy)
    return int(given)
