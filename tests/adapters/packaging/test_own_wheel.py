"""The program packs itself."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from adapters.packaging.own_wheel import pack_own_wheel

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ("orchestrate.sh", "publish.yml", "spotfsm-worker.service", "spotfsm-worker@.service", "vm-application.json")


@pytest.mark.processes
def test_it_is_the_wheel_that_the_build_backend_makes(tmp_path: Path) -> None:
    """Every file and its content, the assets of a deployment included."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "built")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = (tmp_path / "built").iterdir()
    own = pack_own_wheel(tmp_path)
    assert own.name == built.name
    assert contents(own) == contents(built)
    assert {f"adapters/host/deploy/{name}" for name in SHIPPED} <= contents(own).keys()


def test_it_is_the_same_each_time(tmp_path: Path) -> None:
    """Byte for byte."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert pack_own_wheel(first).read_bytes() == pack_own_wheel(second).read_bytes()


def contents(wheel: Path) -> dict[str, bytes]:
    """What is in it, but for its metadata, which an installation may have from an earlier build."""
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
