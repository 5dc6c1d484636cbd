"""The sample workflow that publishes a version."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from adapters.packaging import manage_actions
from tests.adapters.azure.deploy import fake_program
from tests.second_tier import require_root

TEXT = (files("adapters.host") / "deploy" / "publish.yml").read_text(encoding="utf-8")
WORKFLOW = importlib.import_module("yaml").safe_load(TEXT)  # it has no types of its own
STEPS = WORKFLOW["jobs"]["publish"]["steps"]


def words(command: str) -> list[str]:
    """The words of the one command of the workflow that begins so."""
    script = next(step["run"] for step in STEPS if command in step.get("run", ""))
    return shlex.split(script[script.index(command) :].replace("\\\n", " ").splitlines()[0])


def test_it_signs_in_without_a_secret() -> None:
    """A token of the workflow's own is all it has, and it may do nothing else with GitHub than read."""
    assert "secrets." not in TEXT
    assert WORKFLOW["permissions"] == {"contents": "read", "id-token": "write"}
    (login,) = (step for step in STEPS if step.get("uses", "").startswith("azure/login@"))
    assert login["with"].keys() == {"client-id", "tenant-id", "subscription-id"}
    assert not re.search(r"generate-sas|account-key|connection-string|sas-token", TEXT)
    assert words("az storage blob upload")[4:6] == ["--auth-mode", "login"]


@pytest.mark.parametrize("action", sorted(manage_actions()))
def test_it_gives_the_version_each_action_of_the_package(action: str) -> None:
    """What the package says is what the gallery is told."""
    said = words("az sig gallery-application version create")
    assert said[said.index(f"--{action}-command") + 1] == f"$(jq -r .actions.{action} package.json)"


def test_it_packages_as_the_documented_command_does() -> None:
    """Its options are the command's."""
    assert words("spotfsm package")[:2] == ["spotfsm", "package"]
    assert {"--version", "--python-version", "--json"} <= set(words("spotfsm package"))


def test_every_variable_of_its_scripts_is_given() -> None:
    """None is left to a runner's environment."""
    used = {name for step in STEPS for name in re.findall(r"\$\{?([A-Z_]+)", step.get("run", ""))}
    assert used <= WORKFLOW["jobs"]["publish"]["env"].keys()


@pytest.mark.root
def test_its_steps_say_to_azure_what_the_gallery_is_to_be_told(tmp_path: Path) -> None:
    """Run as they stand, against a stand-in that refuses what the real `az` would: one blob, one version."""
    require_root(commands=("jq",))
    (tmp_path / "az").write_text(f"#!{sys.executable}\n{Path(fake_program.__file__).read_text()}")
    (tmp_path / "az").chmod(0o755)
    said = {"archive": "out/spotfsm-1.2.3.tar.gz", "actions": manage_actions()}
    (tmp_path / "package.json").write_text(json.dumps(said))
    variables = {
        **{name: name.lower() for name in WORKFLOW["jobs"]["publish"]["env"]},
        "TAG": "v1.2.3",
        "PACKAGES_URL": "https://account.blob.core.windows.net/packages",
        "FAKE_STAGE": str(tmp_path),
        "FAKE_COMMANDS": str(Path(fake_program.__file__).with_name("az_commands.json")),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    for step in STEPS:
        if "az " in step.get("run", ""):
            bash = ["/bin/bash", "-e", "-o", "pipefail", "-c", step["run"]]
            subprocess.run(bash, cwd=tmp_path, env=variables, check=True)
    uploaded, published = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    address = "https://account.blob.core.windows.net/packages/spotfsm-1.2.3.tar.gz"
    assert option(uploaded, "--file") == "out/spotfsm-1.2.3.tar.gz"
    assert option(uploaded, "--blob-url") == option(published, "--package-file-link") == address
    assert option(published, "--version-name") == "1.2.3"
    assert {action: option(published, f"--{action}-command") for action in manage_actions()} == manage_actions()


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]
