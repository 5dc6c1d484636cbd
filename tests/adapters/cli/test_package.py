"""`spotfsm package`: what it makes, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from adapters.packaging import manage_actions
from tests.adapters.cli.conftest import Command
from tests.adapters.cli.test_readme import keys
from tests.wheelhouse import wheelhouse

SETTINGS = """
queue = "https://account.queue.core.windows.net/jobs"
store = "https://account.blob.core.windows.net/records"

[worker]
handler = "jobs:handle"
"""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All wheels that are needed, so that no network is."""
    return wheelhouse(tmp_path_factory.mktemp("wheels"))


@pytest.fixture
def project(directory: Path, jobs: str) -> Path:
    """A directory with jobs and settings."""
    (directory / "spotfsm.toml").write_text(SETTINGS)
    return directory


@pytest.mark.processes
def test_the_same_makes_the_same_byte_for_byte(tmp_path: Path, wheels: Path) -> None:
    """Another directory, another umask, another order of hashes, another time zone, another day."""
    archives = []
    for place, umask, seed, zone in (("one", 0o022, "1", "UTC"), ("two/deeper", 0o077, "2", "Asia/Tokyo")):
        work = tmp_path / place
        work.mkdir(parents=True)
        (work / "spotfsm.toml").write_text(SETTINGS)
        (work / "jobs.py").write_text("def handle(job): ...\n")
        (work / "jobs.py").chmod(0o666 & ~umask)
        os.utime(work / "jobs.py", (umask, umask))
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "adapters.cli", "package", "--version", "1.2.3", "--json"),
                *("--wheels", str(wheels), "--python-version", PYTHON, "--output", "out"),
            ],
            cwd=work,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        said = json.loads(ended.stdout)
        archives.append((work / said["archive"]).read_bytes())
        assert hashlib.sha256(archives[-1]).hexdigest() == said["sha256"]
        assert said["bytes"] == len(archives[-1])
    assert archives[0] == archives[1]


def test_it_holds_all_that_a_vm_without_a_network_needs(inside: Command, project: Path, wheels: Path) -> None:
    """The jobs, the settings, the units, the script, and of every wheel the one that its lock file names; no more."""
    (project / "secret.env").write_text("KEY=1")
    ended = inside(
        *("package", "--version", "1.2.3", "--wheels", wheels, "--python-version", PYTHON, "--units", 4, "--json")
    )
    said = json.loads(ended.out)
    assert said.keys() == keys("package")
    assert (said["version"], said["python"], said["units"]) == ("1.2.3", PYTHON, 4)
    assert said["actions"] == manage_actions()
    with tarfile.open(project / said["archive"]) as archive:
        names = set(archive.getnames())
        locked = read(archive, "requirements.txt").decode().splitlines()
        sums = {line.split("  ")[1] for line in read(archive, "SHA256SUMS").decode().splitlines()}
        hashes = {hashlib.sha256(read(archive, name)).hexdigest() for name in names if name.startswith("wheels/")}
        pip = hashlib.sha256(next(read(archive, name) for name in names if name.startswith("wheels/pip-"))).hexdigest()
        assert b"readonly units=4" in read(archive, "orchestrate.sh")
        assert read(archive, "spotfsm.toml").decode() == SETTINGS
    assert sums == names - {"SHA256SUMS"}
    assert {name for name in names if not name.startswith(("wheels/", "units/"))} == {
        *("README.md", "SHA256SUMS", "app/jobs.py", "instance", "orchestrate.sh", "requirements.txt"),
        *("spotfsm", "spotfsm.toml"),
    }
    assert {line.rpartition(":")[2] for line in locked} == hashes - {pip}
    assert any(line.startswith("spotfsm==") for line in locked)


def read(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None
    return stream.read()


def test_people_are_told_where_it_is(inside: Command, project: Path, wheels: Path) -> None:
    """And what it is for."""
    ended = inside("package", "--version", "0.1.0", "--wheels", wheels, "--python-version", PYTHON)
    assert ended.code == 0
    assert (project / "spotfsm-0.1.0.tar.gz").is_file()
    assert "spotfsm-0.1.0.tar.gz" in ended.out
    assert "1 file of jobs" in ended.out


@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        (SETTINGS, ["--version", "1.2"], "--version: '1.2' is no version"),
        (SETTINGS, ["--version", "1.2.03"], "--version: '1.2.03' is no version"),
        (SETTINGS, ["--version", "1.2.2147483648"], "--version: '1.2.2147483648' is no version"),
        (SETTINGS, [], "--version: it is missing"),
        (SETTINGS, ["--version", "1.2.3", "--python-version", "3.10"], "--python-version: '3.10' is no version"),
        (SETTINGS, ["--version", "1.2.3", "--extra", "everything"], "--extra: spotfsm has no extra 'everything'"),
        (SETTINGS, ["--version", "1.2.3", "--include", "nowhere"], "--include: "),
        (SETTINGS, ["--version", "1.2.3", "--", "./job.sh"], "--config: spotfsm.toml names a handler beside"),
        (SETTINGS.replace("jobs:", "other:"), ["--version", "1.2.3"], "--handler: there is no 'other'"),
        (SETTINGS.replace(":handle", ":handel"), ["--version", "1.2.3"], "--handler: jobs.py has no 'handel'"),
        (SETTINGS.replace("handler", "handlr"), ["--version", "1.2.3"], "--config: 'handlr' under [worker]"),
        (
            SETTINGS.replace('handler = "jobs:handle"', ""),
            ["--version", "1.2.3"],
            "--config: spotfsm.toml says nothing",
        ),
        (SETTINGS + 'visibility_timeout = "never"\n', ["--version", "1.2.3"], "--visibility-timeout: 'never' is not"),
        (
            SETTINGS + "instances = 3\n",
            ["--version", "1.2.3", "--units", "2"],
            "--units: the settings let each of them",
        ),
        (SETTINGS + "until_empty = true\n", ["--version", "1.2.3"], "--until-empty: until_empty ends the worker"),
        (SETTINGS.replace("/jobs", "/jobs?sig=SECRET"), ["--version", "1.2.3"], "--queue: "),
        ('queue = "sqlite:///jobs.db"\n[worker]\nhandler = "jobs:handle"\n', ["--version", "1.2.3"], "--queue: "),
        (f"journal = 'w.jsonl'\n{SETTINGS}", ["--version", "1.2.3"], "--journal: w.jsonl is not in /var/lib/spotfsm"),
    ],
)
def test_what_could_not_run_on_a_vm_is_one_line_before_anything_is_gathered(
    inside: Command, project: Path, settings: str, arguments: list[str], said: str
) -> None:
    """Wrong use and wrong settings: exit code 2, the setting named, no archive."""
    (project / "spotfsm.toml").write_text(settings)
    ended = inside("package", *arguments)
    assert ended.code == 2
    assert ended.error_line.startswith(said)
    assert "SECRET" not in ended.err
    assert not list(project.glob("*.tar.gz"))


def test_without_settings_there_is_nothing_to_package(inside: Command, jobs: str) -> None:
    """The file is what the worker on the VM will read."""
    ended = inside("package", "--version", "1.0.0")
    assert ended.code == 2
    assert ended.error_line.startswith("--config: there are no settings")


def test_the_packagers_own_variables_are_not_the_vms(inside: Command, project: Path, wheels: Path) -> None:
    """A queue of the developer's in the environment decides nothing."""
    ended = inside(
        *("package", "--version", "1.0.0", "--wheels", wheels, "--python-version", PYTHON),
        env={"SPOTFSM_QUEUE": "nonsense", "SPOTFSM_STOP_GRACE": "nonsense"},
    )
    assert ended.code == 0


def test_a_missing_wheel_is_one_line(inside: Command, project: Path, tmp_path: Path) -> None:
    """Pip's own words, and the remedy."""
    empty = tmp_path / "empty"
    empty.mkdir()
    ended = inside("package", "--version", "1.0.0", "--wheels", empty, "--python-version", PYTHON)
    assert ended.code == 2
    said = ended.err.splitlines()[-1]
    assert said.startswith("error: --wheels: the wheels cannot be gathered: ")
    assert f"Put wheels for Python {PYTHON} on x86_64 there, pip's included." in said
    assert not list(project.glob("*.tar.gz"))


@pytest.mark.parametrize(("epoch", "code"), [("1700000000", 0), ("yesterday", 2)])
def test_the_time_of_the_files_may_be_given(
    inside: Command, project: Path, wheels: Path, epoch: str, code: int
) -> None:
    """As SOURCE_DATE_EPOCH, which is a number."""
    arguments = ("package", "--version", "1.0.0", "--wheels", wheels, "--python-version", PYTHON)
    ended = inside(*arguments, env={"SOURCE_DATE_EPOCH": epoch})
    assert ended.code == code
    if code == 0:
        with tarfile.open(project / "spotfsm-1.0.0.tar.gz") as archive:
            assert {entry.mtime for entry in archive} == {int(epoch)}
    else:
        assert ended.err.splitlines()[-1].startswith("error: SOURCE_DATE_EPOCH: 'yesterday' is no number")
