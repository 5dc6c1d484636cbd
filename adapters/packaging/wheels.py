"""Every wheel that a VM needs, chosen by pip for the VM and not for this machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename

from adapters.packaging.own_wheel import DISTRIBUTION
from adapters.packaging.requirements import asked_for, closure, in_wheels, installed
from adapters.packaging.target import Target, here
from fsm.errors import ConfigurationError, PlatformError

PIP = "pip"
"""Comes along, and runs from its wheel: images have Python, and not always pip."""
ROUNDS_MAX = 5
_SAID_CHARS_MAX = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """What to gather.

    Attributes:
        own: spotfsm's own wheel.
        extras: of spotfsm.
        requirements: the jobs' own, or None.
        source: a directory that holds all wheels, in place of the package index.
        target: the machine they are for.
        tell: called with the name of each as its turn comes.
    """

    own: Path
    extras: Sequence[str] = ()
    requirements: Path | None = None
    source: Path | None = None
    target: Target
    tell: Callable[[str], None]

    def gather(self, directory: Path) -> Sequence[Path]:
        """Put them all into this directory, which must be empty, and return them in order of their names.

        Raises:
            ConfigurationError: pip is not here, or what is wanted cannot be had.
            PlatformError: pip found no end of what is missing.
        """
        if importlib.util.find_spec(PIP) is None:
            remedy = f"Install it: {sys.executable} -m ensurepip"
            raise ConfigurationError("--wheels", "pip is not here, which gathers the wheels", remedy)
        pins = directory.parent / "pins.txt"
        pins.write_text("".join(f"{pin}\n" for pin in self._pins()))
        missing: dict[NormalizedName, Requirement] = {}
        for _ in range(ROUNDS_MAX):
            self._download(directory, pins, [_plain(one) for one in missing.values()])
            wheels = sorted(directory.iterdir())
            found = closure(self._roots(wheels), in_wheels(wheels), self.target.environment)
            if not found.missing:
                return wheels
            missing |= found.missing
        raise PlatformError(f"pip leaves out {', '.join(sorted(missing))}, whatever it is told")

    def _own_root(self) -> Requirement:
        return Requirement(f"{DISTRIBUTION}[{','.join(self.extras)}]")

    def _roots(self, wheels: Sequence[Path]) -> Iterable[Requirement]:
        """Whatever was chosen must have what it needs, the jobs' own requirements included."""
        asked = () if self.requirements is None else asked_for(self.requirements, self.target.environment)
        return [self._own_root(), *asked, *(Requirement(parse_wheel_filename(wheel.name)[0]) for wheel in wheels)]

    def _pins(self) -> Sequence[str]:
        """What runs here is what runs there: the same versions of all that spotfsm needs, and of pip."""
        needed = closure([self._own_root(), Requirement(PIP)], installed, here())
        return [f"{name}=={importlib.metadata.version(name)}" for name in sorted(needed.found - {DISTRIBUTION})]

    def _download(self, directory: Path, pins: Path, more: Iterable[str]) -> None:
        arguments = [
            *("--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--only-binary", ":all:"),
            *("--dest", str(directory), "--constraint", str(pins)),
            *("--implementation", "cp", "--python-version", self.target.python),
            *(word for platform in self.target.platforms for word in ("--platform", platform)),
        ]
        if self.source is not None:
            arguments += ["--no-index", "--find-links", str(self.source)]
        if self.requirements is not None:
            arguments += ["--requirement", str(self.requirements)]
        own = f"{self.own}[{','.join(self.extras)}]" if self.extras else str(self.own)
        errors = []
        with subprocess.Popen(  # noqa: S603 -- pip
            [sys.executable, "-m", PIP, "download", *arguments, own, PIP, *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as pip:
            assert pip.stdout is not None
            for line in pip.stdout:
                kind, _, rest = line.strip().partition(" ")
                if kind == "Collecting":
                    self.tell(rest.partition(" ")[0])
                if kind == "ERROR:":
                    errors.append(rest)
        if pip.returncode != 0:
            said = " ".join(errors)[:_SAID_CHARS_MAX] or f"pip ended with {pip.returncode}"
            raise self._failed(said)

    def _failed(self, said: str) -> ConfigurationError:
        problem = f"the wheels cannot be gathered: {said}"
        for_target = f"for Python {self.target.python} on {self.target.architecture}"
        if self.requirements is not None:
            return ConfigurationError("--requirements", problem, f"Name what has wheels {for_target}.")
        if self.source is not None:
            return ConfigurationError("--wheels", problem, f"Put wheels {for_target} there, pip's included.")
        remedy = f"Look for the way to the package index, or name a directory of wheels {for_target}."
        return ConfigurationError("--wheels", problem, remedy)


def locked(wheels: Iterable[Path]) -> str:
    """A requirements file that takes these very files and no other."""
    lines = []
    for wheel in wheels:
        name, version = parse_wheel_filename(wheel.name)[:2]
        if name != canonicalize_name(PIP):
            lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return "".join(sorted(lines))


def _plain(requirement: Requirement) -> str:
    """Without its marker, which has been looked at."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"
