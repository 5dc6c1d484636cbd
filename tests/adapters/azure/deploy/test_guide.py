"""The walk-through's page: every step of the guide has a command that exists and a test that exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from adapters.azure import deploy
from adapters.azure.deploy.steps import BUILD, Step
from adapters.cli.commands import COMMANDS
from adapters.cli.main import build

PAGE = (Path(deploy.__file__).parent / "README.md").read_text(encoding="utf-8")
ROOT = Path(__file__).resolve().parents[4]
GUIDE = (
    *("az login", "az upgrade", "ssh-keygen", "chmod 400", "docker", "openssl", "jq", ".NET", "az vm list-sizes"),
    *("curl", "Azure Spot advisor", "quota", "max price changed", "Try to restore", "git clone", "docker run"),
    *("100 messages", "dotnet run", "ten polls"),
    *("az group create", "az deployment group create", "az storage message put", "dotnet build", "systemd unit"),
    *("orchestrate.sh", "connection string", "tar", "az storage blob upload", "az storage blob generate-sas"),
    *("az sig gallery-application version create", "pipeline", "az vm application set", "simulate an eviction"),
    *("az monitor app-insights query", "az vm start", "the service runs again", "az group delete"),
    *("az network bastion ssh", "az network bastion tunnel", "scp", "systemctl status"),
)
"""What the steps of the guide are known by.
[https://github.com/mspnp/interruptible-workload-on-spot, read 2026-11]"""


def rows() -> list[tuple[str, str, str]]:
    """The guide's step, the command here, the test."""
    table = PAGE.partition("## Beside the guide")[2]
    found = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", table, re.MULTILINE)
    return [(guide, here, test) for guide, here, test in found if guide != "the guide" and set(guide) != {"-"}]


def commands() -> list[str]:
    """Every command of ours on the page, in a block or in a sentence."""
    blocks = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    lines = [line.partition(" #")[0].strip() for line in blocks.splitlines()]
    inline = re.findall(r"`(spotfsm [^`]*)`", PAGE)
    return sorted({line.partition(" > ")[0] for line in (*lines, *inline) if line.startswith("spotfsm ")})


def test_every_step_of_the_guide_is_in_the_table() -> None:
    """In its order, and none left out."""
    guide, position = [guide for guide, _, _ in rows()], 0
    for step in GUIDE:
        assert any(step in one for one in guide[position:]), step
        position += next(number for number, one in enumerate(guide[position:]) if step in one)
    assert len(guide) >= 40


@pytest.mark.parametrize("line", commands())
def test_every_command_on_the_page_exists(line: str) -> None:
    """With these flags and, where there are steps, with these steps."""
    _, name, *words = shlex.split(line)
    assert name in COMMANDS
    command = typer.main.get_command(build([name])).commands[name]  # type: ignore[attr-defined] # a group
    if hasattr(command, "commands") and words and not words[0].startswith("-"):
        command, words = command.commands[words[0]], words[1:]
    known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known | {"--help"}
    if name == "deploy":
        behind_options = zip(["--run", *words], words, strict=False)
        free = {word for before, word in behind_options if not before.startswith("--") or before == "--run"}
        named = {word for word in free if not word.startswith("-")}
        assert named <= {step.value for step in Step}


@pytest.mark.parametrize(("guide", "here", "test"), rows())
def test_every_step_is_exercised_by_a_test_that_exists(guide: str, here: str, test: str) -> None:
    """A step of ours names a test, and the test is there."""
    found = re.fullmatch(r"`(tests/[\w/]+\.py)::(\w+)`", test)
    if found is None:
        assert test == "-"
        assert "spotfsm" not in here, guide
        return
    assert f"def {found[2]}(" in (ROOT / found[1]).read_text(encoding="utf-8")


def test_every_step_of_the_run_is_explained() -> None:
    """Those that build, in their order; the others where they are of use."""
    told = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    assert told == list(BUILD)
    assert [step for step in Step if f"{step}" not in PAGE] == []


def test_every_template_is_described() -> None:
    """What is deployed is in the table, file by file."""
    folder = Path(deploy.__file__).parent
    for template in folder.rglob("*.bicep"):
        assert f"`{template.relative_to(folder).as_posix()}`" in PAGE


def test_every_link_leads_somewhere() -> None:
    """To a file that is there, or a heading."""
    for target in re.findall(r"\]\((?!https://)([^)#]+)\)", PAGE):
        assert (Path(deploy.__file__).parent / target).exists(), target
