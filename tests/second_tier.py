"""The second tier of tests, for root and with Debian packages: run on the build server, skipped elsewhere, visibly."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from typing import NoReturn

import pytest

MANDATORY = "SECOND_TIER"
"""Set to `mandatory`, it makes a test fail that would be skipped."""


def require_root(*, commands: Iterable[str] = ()) -> None:
    """Go on if this is root's machine and these commands are on it."""
    if os.geteuid() != 0:
        unavailable("it needs root")
    missing = [command for command in commands if shutil.which(command) is None]
    if missing:
        unavailable(f"it needs {', '.join(missing)}")


def unavailable(reason: str) -> NoReturn:
    """Skip the test that runs, or fail it where it must not be skipped."""
    if os.environ.get(MANDATORY) == "mandatory":
        pytest.fail(f"second tier: {reason}, and here it must run")
    pytest.skip(f"second tier: {reason}")
