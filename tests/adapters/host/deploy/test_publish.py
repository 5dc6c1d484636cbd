"""The sample workflow that publishes a version."""

from __future__ import annotations

import importlib
import re
import shlex
from importlib.resources import files

import pytest

from adapters.packaging import manage_actions

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
