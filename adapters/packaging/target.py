"""The machine that wheels are for, which need not be the one that packs them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from packaging.markers import default_environment

PYTHON = "3.12"
"""Of Ubuntu 24.04 LTS; Debian 12 has 3.11, Debian 13 has 3.13."""
GLIBC_MINOR = 34
"""Of RHEL 9, the oldest that we package for; Debian 12 has 2.36, Ubuntu 24.04 has 2.39."""
_MANYLINUX_MINOR_LEAST = 17
_PYTHON = re.compile(r"3\.(?P<minor>[1-9][0-9])")
PYTHON_MINOR_LEAST = 11


class Architecture(StrEnum):
    """Of the VM's processor, as `uname -m` says it."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"


def python_version(text: str) -> str:
    """The text, if it is a Python that spotfsm runs on.

    Raises:
        ValueError: it is none.
    """
    found = _PYTHON.fullmatch(text)
    if found is None or int(found["minor"]) < PYTHON_MINOR_LEAST:
        raise ValueError(f"{text!r:.40} is no version such as 3.12, 3.{PYTHON_MINOR_LEAST} at least.")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A VM with Linux and glibc.

    Attributes:
        python: of its interpreter, `3.12`.
    """

    python: str = PYTHON
    architecture: Architecture = Architecture.X86_64

    @property
    def platforms(self) -> Sequence[str]:
        """The tags of wheels that run there, best first.

        pip takes each tag for itself alone: https://peps.python.org/pep-0600/ says which of them imply which.
        """
        glibc = range(GLIBC_MINOR, _MANYLINUX_MINOR_LEAST - 1, -1)
        legacy = ["manylinux2014", "manylinux2010", "manylinux1"]
        names = [*(f"manylinux_2_{minor}" for minor in glibc), *legacy, "linux"]
        return [f"{name}_{self.architecture}" for name in names]

    @property
    def environment(self) -> Mapping[str, str]:
        """What a requirement's markers see there."""
        return {
            **here(),
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "platform_python_implementation": "CPython",
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": str(self.architecture),
        }


def here() -> Mapping[str, str]:
    """What markers see on this machine."""
    return {name: str(value) for name, value in default_environment().items()}
