"""What a newcomer types, and what the build rests on."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==[0-9][A-Za-z0-9.!+]*")


def pinned_names() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    matches = [PINNED.fullmatch(line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    return {normal(match[1]) for match in matches if match}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_are_names_and_versions() -> None:
    """The constraints pin every direct dependency, and say nothing but names and versions: no host, no hash."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(requirement for extra in project["project"]["optional-dependencies"].values() for requirement in extra),
    ]
    names = {normal(re.split(r"[\[<>=~! ;]", requirement)[0]) for requirement in wanted}
    assert names - pinned_names() == {"spotfsm"}  # whose extras its own extra `dev` includes


@pytest.mark.parametrize("file", ["Makefile", "constraints.txt", ".ci/run", ".ci/container"])
def test_no_file_of_the_build_names_a_host(file: str) -> None:
    """Where packages come from is the machine's business: the build names no registry."""
    assert not re.search(r"https?://|index-url|--registry|find-links", (ROOT / file).read_text())


def test_an_old_python_is_said_in_one_line(tmp_path: Path) -> None:
    """Without Python 3.11 or newer `make` ends with one line that says what is missing, and leaves nothing behind."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "sed", "touch"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        old = tools / name
        old.write_text("#!/bin/sh\nexit 1\n")
        old.chmod(0o755)
    make = shutil.which("make")
    assert make is not None
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        [make, "demo"], cwd=tmp_path, env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0
    assert len(said) == 1
    assert said[0].startswith("error: no Python 3.11 or newer")
    assert not (tmp_path / ".venv").exists()
