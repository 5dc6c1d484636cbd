"""The commands that a gallery's VM Application is given."""

from __future__ import annotations

import json
import subprocess
from importlib.resources import files

import pytest

ACTIONS = json.loads((files("adapters.host") / "deploy" / "vm-application.json").read_text(encoding="utf-8"))
CHARS_MAX = 4096
"""Of one command: https://learn.microsoft.com/azure/virtual-machines/vm-applications (read 2026-11)."""


def test_there_is_a_command_for_each_action() -> None:
    """An upgrade is one action, so that the old version drains and no data are removed between the two."""
    assert ACTIONS.keys() == {"install", "update", "remove"}


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_command_is_one_that_a_gallery_takes_and_bash_reads(action: str) -> None:
    """No longer than allowed, one line, and bash's syntax."""
    command = ACTIONS[action]
    assert 0 < len(command) <= CHARS_MAX
    assert command.isprintable()
    subprocess.run(["/bin/bash", "-n", "-c", command], check=True)
