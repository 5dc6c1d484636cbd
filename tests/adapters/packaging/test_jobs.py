"""Which files of the user's go along."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from adapters.packaging.jobs import check_handler, job_files
from fsm.errors import ConfigurationError


def names(
    root: Path, handler: str | None = None, command: tuple[str, ...] = (), include: tuple[str, ...] = ()
) -> set[str]:
    found = job_files(root, handler=handler, command=command, include=[Path(path) for path in include])
    return set(found)


def test_the_handlers_module_goes_along_alone(tmp_path: Path) -> None:
    """What lies beside it is none of the package's business, unless it is named."""
    (tmp_path / "jobs.py").write_text("")
    (tmp_path / "secret.env").write_text("")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.bin").write_text("")
    assert names(tmp_path, "jobs:handle") == {"jobs.py"}
    assert names(tmp_path, "jobs:handle", include=("data",)) == {"jobs.py", "data/model.bin"}


HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize(
    "text",
    [
        "def handle(job): ...",
        "async def handle(job): ...",
        "import absent\nif absent.here:\n    from absent import other as handle",
        "handle = lambda job: 1",
        "from absent import *",
        "def __getattr__(name): ...",
        "globals()['handle'] = print",
        "class Jobs: ...\nhandle, more = Jobs(), 1",
    ],
)
def test_a_handler_may_be_bound_in_any_way(tmp_path: Path, text: str) -> None:
    """The module is read and not imported: what it needs is not here."""
    (tmp_path / "deep").mkdir()
    for file, module in (("jobs.py", "jobs"), ("deep/jobs.py", "deep.jobs"), ("deep/__init__.py", "deep")):
        (tmp_path / file).write_text(text)
        check_handler(tmp_path, f"{module}:handle", python=HERE)


@pytest.mark.parametrize("text", ["", "import handler", "print(handle)", "def handle(", "x = 1\0"])
def test_a_handler_that_its_module_has_not_is_a_mistake(tmp_path: Path, text: str) -> None:
    """A worker that cannot find it would be started over and over; syntax of another Python is not judged."""
    (tmp_path / "jobs.py").write_text(text)
    with pytest.raises(ConfigurationError, match=r"^--handler: jobs\.py (has no 'handle'|is no Python)"):
        check_handler(tmp_path, "jobs:handle", python=HERE)
    check_handler(tmp_path, "elsewhere:handle", python=HERE)
    if text.startswith("def"):
        check_handler(tmp_path, "jobs:handle", python="3.99")


def test_a_package_goes_along_whole_without_what_python_makes_again(tmp_path: Path) -> None:
    """Caches and the repository stay behind."""
    for name in (
        "jobs/__init__.py",
        "jobs/deep/code.py",
        "jobs/__pycache__/code.pyc",
        "jobs/.git/config",
        "jobs/old.pyc",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert names(tmp_path, "jobs.deep.code:handle") == {"jobs/__init__.py", "jobs/deep/code.py"}


def test_a_commands_program_goes_along_and_may_still_be_executed(tmp_path: Path) -> None:
    """Whether it is executable is kept; who else may read it is not."""
    (tmp_path / "job.sh").write_text("")
    (tmp_path / "job.sh").chmod(0o700)
    (tmp_path / "data").write_text("")
    found = job_files(tmp_path, handler=None, command=["./job.sh", "x"], include=[Path("data")])
    assert {name: member.executable for name, member in found.items()} == {"job.sh": True, "data": False}
    assert names(tmp_path, command=("python3", "x.py")) == set()


def test_a_module_that_is_not_here_is_a_mistake(tmp_path: Path) -> None:
    """Otherwise a package would be made that cannot work."""
    with pytest.raises(ConfigurationError, match="there is no 'jobs'"):
        names(tmp_path, "jobs:handle")


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "missing", "pipe", "linked", "bad\nname"])
def test_what_cannot_be_packaged_is_refused(tmp_path: Path, path: str) -> None:
    """Files elsewhere, links to directories, what is no file, and names that no list can hold."""
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (tmp_path / "outside").write_text("")
    os.mkfifo(root / "pipe")
    (root / "linked").mkdir()
    (root / "linked" / "link").symlink_to(root / "real")
    (root / "bad\nname").write_text("")
    with pytest.raises(ConfigurationError, match="--include"):
        names(root, include=(path,))
