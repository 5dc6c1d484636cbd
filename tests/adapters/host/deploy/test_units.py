"""The units agree with the program that they run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from adapters.cli.package import STATE_DIRECTORY
from adapters.cli.running import LETTING_GO_S
from adapters.packaging.rendering import render_unit
from fsm.runner import WorkerSettings
from fsm.runner.settings import SETTLING_S
from tests.second_tier import require_root

DEPLOY = files("adapters.host") / "deploy"
SINGLE, TEMPLATE = ("spotfsm-worker.service", "spotfsm-worker@.service")
SCRIPTS = ("orchestrate.sh", "spotfsm.sh", "instance.sh")
DEFAULTS = WorkerSettings()


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def setting(name: str, unit: str = SINGLE) -> str:
    """The one value of a unit's setting."""
    (value,) = re.findall(rf"(?m)^{name}=(.*)$", text(unit))
    return str(value)


def test_systemd_waits_for_the_drain_and_for_what_comes_after_it() -> None:
    """SIGKILL comes after --stop-grace and after handlers had their time to let go, and within half a minute."""
    timeout_s = float(setting("TimeoutStopSec"))
    assert timeout_s == DEFAULTS.stop_grace_s + SETTLING_S
    assert LETTING_GO_S * 2 < SETTLING_S
    assert timeout_s <= 30
    assert setting("NotifyAccess") == "main"  # or a longer grace of the operator's would not be heard


def test_the_units_are_one_but_for_the_name() -> None:
    """What holds for a singleton holds for each of several."""
    single, template = set(text(SINGLE).splitlines()), set(text(TEMPLATE).splitlines())
    unlike = {line for line in single ^ template if not line.startswith(("#", "Description="))}
    assert unlike - template == {"ExecStart=/opt/spotfsm/current/venv/bin/spotfsm worker"}
    assert unlike - single == {"Environment=SPOTFSM_INSTANCE=%i", "ExecStart=/opt/spotfsm/current/instance %i"}


def test_a_worker_is_never_given_up() -> None:
    """Restarted whatever ended it, exit code 2 included, for IMDS may have been silent for minutes; at boot as well."""
    assert setting("Restart") == "always"
    assert setting("StartLimitIntervalSec") == "0"
    assert "RestartPreventExitStatus" not in text(SINGLE)
    assert setting("WantedBy") == "multi-user.target"


def test_the_signal_reaches_the_worker_first_and_a_job_out_of_memory_ends_alone() -> None:
    """Jobs are told by the worker, and systemd neither stops the worker for a job's sake nor lets a job run on."""
    assert setting("KillMode") == "mixed"
    assert setting("OOMPolicy") == "continue"


def test_the_state_directory_is_the_one_that_packaging_allows() -> None:
    """Settings with another one are refused before they are shipped."""
    assert str(STATE_DIRECTORY) == f"/var/lib/{setting('StateDirectory')}"
    assert f"state={STATE_DIRECTORY}\n" in text("orchestrate.sh")
    assert f"HOME={STATE_DIRECTORY} " in text("spotfsm.sh")


def test_locks_of_all_units_lie_in_one_directory_that_outlives_each() -> None:
    """Or a unit that ends would take away the lock of one that runs."""
    assert setting("RuntimeDirectory") == setting("RuntimeDirectory", TEMPLATE)
    assert setting("RuntimeDirectoryPreserve") == "yes"


@pytest.mark.parametrize(("units", "poll"), [(1, None), (4, None), (5, "1.25s"), (32, "8s")])
def test_several_workers_stay_under_the_limit_of_imds_together(units: int, poll: str | None) -> None:
    """IMDS allows 5 requests a second to a VM; what remains is for the start of a worker."""
    rendered = render_unit(
        text(TEMPLATE),
        command=(),
        stop_grace_s=DEFAULTS.stop_grace_s,
        imds_poll_s=DEFAULTS.imds_poll_s,
        health_port=8080,
        units=units,
    )
    assert ("SPOTFSM_HEALTH_PORT=8080" in rendered) == (units > 1)
    found = re.search(r"(?m)^Environment=SPOTFSM_IMDS_POLL=(.*)$", rendered)
    assert (found and found[1]) == poll
    poll_s = DEFAULTS.imds_poll_s if poll is None else float(poll.removesuffix("s"))
    assert units / poll_s <= 4


def test_the_script_is_bash_and_its_tools_are_every_image_s() -> None:
    """Its syntax is read here; it is run under a real systemd in test_systemd.py."""
    for script in SCRIPTS:
        subprocess.run(["/bin/bash", "-n", str(DEPLOY / script)], check=True)
    assert not re.search(r"\b(curl|wget|apt-get|jq|pip3)\b", text("orchestrate.sh"))


@pytest.mark.root
def test_shellcheck_finds_nothing() -> None:
    """In what root runs on a VM, and in what makes the machines of these tests."""
    require_root(commands=("shellcheck",))
    root = Path(__file__).resolve().parents[4]
    scripts = [root / ".ci/container", *(DEPLOY / name for name in SCRIPTS)]
    ended = subprocess.run(["shellcheck", *map(str, scripts)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_the_page_names_options_that_exist() -> None:
    """And every option of the command that is not plain from its name."""
    shown = subprocess.run(
        [sys.executable, "-m", "adapters.cli", "package", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    ).stdout
    offered = set(re.findall(r"--[a-z][a-z-]+", shown))
    named = set(re.findall(r"`(--[a-z-]+)", text("README.md"))) | set(
        re.findall(r"spotfsm package .*?(--[a-z-]+)", text("README.md"))
    )
    assert named - {"--keep-data"} <= offered
    assert {"--python-version", "--architecture", "--units", "--extra", "--wheels"} <= named
