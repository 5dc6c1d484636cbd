"""The units and the script as this package has them. The files they are made from are whole and valid themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from fsm.runner.settings import SETTLING_S

IMDS_S = 0.25
"""For each of several workers: together they stay at 4 of the 5 requests a second that IMDS allows to a VM."""


def render_unit(
    unit: str,
    *,
    command: Sequence[str],
    stop_grace_s: float,
    imds_poll_s: float,
    health_port: int | None,
    units: int,
) -> str:
    """A unit of this package.

    Args:
        unit: as it lies beside the adapter of the host.
        command: what does a job, in place of a handler.
        stop_grace_s: how long a stop may drain.
        imds_poll_s: how often the settings let a worker ask for Scheduled Events.
        health_port: the settings' own; in the unit it can be counted up from.
        units: how many run side by side on a VM.
    """
    text = _replaced(unit, "TimeoutStopSec", partial(_assigned, f"{stop_grace_s + SETTLING_S:g}"))
    if command:
        text = _replaced(text, "ExecStart", lambda line: " ".join([line, "--", *map(_quoted, command)]))
    more = []
    if units > 1 and imds_poll_s < IMDS_S * units:
        more.append(f"Environment=SPOTFSM_IMDS_POLL={IMDS_S * units:g}s")
    if units > 1 and health_port is not None:
        more.append(f"Environment=SPOTFSM_HEALTH_PORT={health_port}")
    return _replaced(text, "ExecStart", lambda line: "\n".join([line, *more]))


def render_script(script: str, *, version: str, python: str, architecture: str, units: int) -> str:
    """The script of this package."""
    values = {"version": version, "python": python, "architecture": architecture, "units": str(units)}
    for name, value in values.items():
        script = _replaced(script, f"readonly {name}", partial(_assigned, value))
    return script


def _assigned(value: str, line: str) -> str:
    return f"{line.partition('=')[0]}={value}"


def _replaced(text: str, name: str, change: Callable[[str], str]) -> str:
    """Change the one line that sets this."""
    result, count = re.subn(rf"(?m)^{re.escape(name)}=.*$", lambda found: change(found[0]), text)
    assert count == 1, f"{name} is set {count} times"
    return result


def _quoted(word: str) -> str:
    """One word of a command line as systemd reads it.

    [https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#Command%20lines, read 2026-11]
    """
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    escaped = "".join(c if c.isprintable() else "".join(f"\\x{byte:02x}" for byte in c.encode()) for c in escaped)
    return f'"{escaped}"'
