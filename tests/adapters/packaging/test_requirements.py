"""What another machine needs is found, though pip reads markers as of its own."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName

from adapters.packaging.requirements import closure, in_wheels, installed
from adapters.packaging.target import Architecture, Target

WORLD: Mapping[str, Sequence[str]] = {
    "app": ["b>=1", 'old; python_version < "3.13"', 'arm; platform_machine == "aarch64"', 'win; os_name == "nt"'],
    "b": ["c[fast]"],
    "c": ['quick; extra == "fast"', 'never; extra == "slow"', "app"],
    "old": [],
    "quick": [],
}


def find(name: NormalizedName) -> Sequence[str] | None:
    return WORLD.get(name)


@pytest.mark.parametrize(
    ("target", "found", "missing"),
    [
        (Target(python="3.12"), {"app", "b", "c", "quick", "old"}, set()),
        (Target(python="3.13"), {"app", "b", "c", "quick"}, set()),
        (Target(python="3.13", architecture=Architecture.AARCH64), {"app", "b", "c", "quick"}, {"arm"}),
    ],
)
def test_markers_are_read_as_of_the_target(target: Target, found: set[str], missing: set[str]) -> None:
    """Its Python, its processor, its system; extras bring what they name and no more; a circle ends."""
    needed = closure([Requirement("app")], find, target.environment)
    assert (needed.found, set(needed.missing)) == (found, missing)


def test_two_extras_of_one_distribution_are_both_looked_at() -> None:
    """However often it was met before."""
    needed = closure([Requirement("c"), Requirement("c[slow]"), Requirement("c[fast]")], find, Target().environment)
    assert set(needed.missing) == {"never"}
    assert "quick" in needed.found


def test_metadata_are_read_out_of_a_wheel(tmp_path: Path) -> None:
    """Under whatever spelling of its name."""
    wheel = tmp_path / "Some_App-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("Some_App-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nRequires-Dist: b>=1\n\nb: c")
    needed = closure([Requirement("some.app")], in_wheels([wheel]), Target().environment)
    assert set(needed.missing) == {"b"}


def test_what_is_installed_here_is_whole() -> None:
    """The pins of a package are those of an environment that works."""
    needed = closure([Requirement("spotfsm")], installed, Target().environment)
    assert {"transitions", "azure-storage-queue", "typing-extensions"} <= needed.found
