"""This very program, for commands that start others of its commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def own_command() -> Sequence[str]:
    """The words that start it, wherever another shell is."""
    script = Path(sys.executable).with_name("spotfsm")
    return (str(script),) if script.is_file() else (sys.executable, "-m", "adapters.cli")
