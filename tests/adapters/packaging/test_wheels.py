"""Which wheels are gathered, by the real pip from a directory: those that the VM needs, not those of this machine."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from adapters.packaging.own_wheel import write_wheel
from adapters.packaging.target import Target
from adapters.packaging.wheels import Wheels
from tests.wheelhouse import pack

ANOTHER = f"3.{sys.version_info.minor + 1}"
"""A Python that does not run here."""


def wheel(directory: Path, name: str, *metadata: str) -> Path:
    """A wheel of nothing but its metadata, for every machine."""
    info = f"{name}-1.0.dist-info"
    texts = {
        "METADATA": "\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *metadata, ""]),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = directory / f"{name}-1.0-py3-none-any.whl"
    write_wheel(path, {f"{info}/{key}": text.encode() for key, text in texts.items()}, info=info)
    return path


@pytest.mark.processes
@pytest.mark.parametrize(
    "lines",
    [
        "thing[more]",
        "--no-binary nothing\nthing[more]==1.0  # pinned",
        "thing[more] \\\n  >=1 ; python_version > '3'",
        "-r further.txt",
        f"thing\nother ; python_version == '{ANOTHER}'",
        "thing[more]\nabsent ; python_version < '3'",
    ],
)
def test_what_only_the_vm_s_python_needs_comes_along(tmp_path: Path, lines: str) -> None:
    """Also where an extra of the jobs' own requirements asks for it: pip reads markers as of its own Python."""
    source, gathered = tmp_path / "source", tmp_path / "gathered"
    source.mkdir()
    gathered.mkdir()
    pack(importlib.metadata.distribution("pip"), source)
    marker = f'python_version == "{ANOTHER}"'
    wheel(source, "thing", "Provides-Extra: more", f'Requires-Dist: other; {marker} and extra == "more"')
    wheel(source, "other")
    (tmp_path / "further.txt").write_text("thing[more]\n")
    (tmp_path / "requirements.txt").write_text(f"# the jobs' own\n{lines}\n")
    found = Wheels(
        own=wheel(tmp_path, "spotfsm"),
        requirements=tmp_path / "requirements.txt",
        source=source,
        target=Target(python=ANOTHER),
        tell=lambda _name: None,
    ).gather(gathered)
    assert {one.name.partition("-")[0] for one in found} == {"pip", "spotfsm", "thing", "other"}
