"""The lock of one worker: held by one, free at once when that one is gone, however it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from adapters.host.singleton import only_one, runtime_directory
from fsm.errors import ConfigurationError

HOLD = """
import sys, time
from pathlib import Path
from adapters.host.singleton import only_one

with only_one(sys.argv[1], name="one", directory=Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holding(key: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, key, str(directory)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_second_is_refused_in_one_line(tmp_path: Path) -> None:
    """It is told who holds the lock and what to do."""
    with (
        holding("key", tmp_path) as holder,
        pytest.raises(ConfigurationError) as refused,
        only_one("key", name="one", directory=tmp_path),
    ):
        pytest.fail("held twice")
    assert refused.value.setting == "--instance"
    assert f"(process {holder.pid})" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    """The lock is free the moment the process is gone."""
    with holding("key", tmp_path) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with only_one("key", name="one", directory=tmp_path):
            pass


def test_another_key_is_another_lock(tmp_path: Path) -> None:
    """Workers of other names or other queues do not matter, not even such as no file could be named after."""
    with ExitStack() as stack:
        for key in ("a", "b", "../a", "a\nb", "\0", "é" * 500, "\ud800"):
            stack.enter_context(only_one(key, name="one", directory=tmp_path))
        assert len(list(tmp_path.iterdir())) == 7
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_come_and_go_one_holds_it_at_a_time(tmp_path: Path) -> None:
    """A lock that is removed when it is given up never has two holders."""
    inside, most, taken = 0, 0, 0
    guard = threading.Lock()

    def come_and_go() -> None:
        nonlocal inside, most, taken
        for _ in range(300):
            try:
                with only_one("key", name="one", directory=tmp_path):
                    with guard:
                        inside += 1
                        taken += 1
                        most = max(most, inside)
                    with guard:
                        inside -= 1
            except ConfigurationError:
                continue

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert taken > 1


def test_a_lock_that_another_user_made_can_be_held(tmp_path: Path) -> None:
    """Its file cannot be written, and need not be: root excepted, who can write anything."""
    with only_one("key", name="one", directory=tmp_path):
        (file,) = tmp_path.iterdir()
        name = file.name
    (tmp_path / name).write_text("123\n")
    (tmp_path / name).chmod(0o444)
    with (
        only_one("key", name="one", directory=tmp_path),
        pytest.raises(ConfigurationError),
        only_one("key", name="one", directory=tmp_path),
    ):
        pytest.fail("held twice")


@pytest.mark.parametrize("spoil", ["missing", "link"])
def test_where_there_can_be_no_lock_the_setting_is_named(tmp_path: Path, spoil: str) -> None:
    """A directory that is not there, and a link that somebody laid in wait, are refused."""
    directory = tmp_path / "locks"
    if spoil == "link":
        directory.mkdir()
        with only_one("key", name="one", directory=directory):
            (file,) = directory.iterdir()
        file.symlink_to(tmp_path / "victim")
    with (
        pytest.raises(ConfigurationError, match="RUNTIME_DIRECTORY"),
        only_one("key", name="one", directory=directory),
    ):
        pytest.fail("held")
    assert not (tmp_path / "victim").exists()


def test_a_service_has_a_directory_of_its_own_for_locks() -> None:
    """What systemd gives wins; without it there is one place that every user of the host finds."""
    assert runtime_directory({"RUNTIME_DIRECTORY": "/run/spotfsm:/run/other"}) == Path("/run/spotfsm")
    assert runtime_directory({}) == runtime_directory({"RUNTIME_DIRECTORY": "", "TMPDIR": "/elsewhere"})
