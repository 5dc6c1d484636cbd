"""Files that cannot be a database, each refused in one line that names the setting."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite import Database, SqliteQueue, SqliteStore
from adapters.sqlite.file import SCHEMA_VERSION
from fsm.errors import ConfigurationError, MissingError, ThrottledError

TIMEOUT_S = 10.0


async def opening_fails(path: Path, *, setting: str = "--queue") -> ConfigurationError:
    """The error that opening the file raises."""
    with pytest.raises(ConfigurationError) as caught:
        async with Database(path, setting=setting):
            pass
    error = caught.value
    assert "\n" not in str(error)
    assert str(error).startswith(f"{setting}: ")
    assert error.remedy.endswith(".")
    return error


async def made(path: Path) -> None:
    """Make a database with a queue of many messages, and close it."""
    async with Database(path) as database:
        queue = SqliteQueue(database, "jobs")
        await queue.create(timeout_s=TIMEOUT_S)
        for number in range(50):
            await queue.put(f"{number} " * 200, timeout_s=TIMEOUT_S)


class TestBadFiles:
    """Wrong from the start."""

    @pytest.mark.parametrize("setting", ["--queue", "--store"])
    async def test_a_text_file(self, tmp_path: Path, setting: str) -> None:
        """A file that is not SQLite's is refused under the name of the setting that gave it, and left as it is."""
        path = tmp_path / "notes.txt"
        path.write_text("just some notes, long enough to fill a header of a hundred bytes. " * 5)
        before = path.read_bytes()
        error = await opening_fails(path, setting=setting)
        assert "is damaged, or is not an SQLite database" in error.problem
        assert path.read_bytes() == before

    async def test_another_programs_database(self, tmp_path: Path) -> None:
        """A database with somebody else's tables is refused, and left as it is."""
        path = tmp_path / "browser.db"
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("CREATE TABLE cookies (name TEXT)")
        before = path.read_bytes()
        assert "another program's database" in (await opening_fails(path)).problem
        assert path.read_bytes() == before

    async def test_a_newer_version(self, tmp_path: Path) -> None:
        """Tables of a version this program does not know are refused, with both versions."""
        path = tmp_path / "jobs.db"
        await made(path)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        problem = (await opening_fails(path)).problem
        assert f"version {SCHEMA_VERSION + 1}" in problem
        assert f"version {SCHEMA_VERSION}" in problem

    async def test_a_missing_directory(self, tmp_path: Path) -> None:
        """A file in a directory that does not exist is refused by the directory's name."""
        error = await opening_fails(tmp_path / "no" / "where" / "jobs.db")
        assert f"the directory {tmp_path / 'no' / 'where'} does not exist" in error.problem

    async def test_a_directory(self, tmp_path: Path) -> None:
        """A directory is not a file."""
        assert "is a directory" in (await opening_fails(tmp_path)).problem

    async def test_a_file_for_a_directory(self, tmp_path: Path) -> None:
        """A path through a file is refused."""
        (tmp_path / "file").write_text("")
        await opening_fails(tmp_path / "file" / "jobs.db")

    async def test_a_damaged_header(self, tmp_path: Path) -> None:
        """A database whose first page was overwritten is refused."""
        path = tmp_path / "jobs.db"
        await made(path)
        with path.open("r+b") as spoilt:
            spoilt.seek(100)
            spoilt.write(os.urandom(3000))
        await opening_fails(path)

    async def test_a_damaged_page(self, tmp_path: Path) -> None:
        """Damage behind the first page is said by the first call that meets it, in the same words."""
        path = tmp_path / "jobs.db"
        await made(path)
        with path.open("r+b") as spoilt:
            spoilt.seek(4096)
            spoilt.write(b"\xff" * (path.stat().st_size - 4096))
        async with Database(path) as database:
            queue = SqliteQueue(database, "jobs")
            for _ in range(2):
                with pytest.raises(ConfigurationError, match="is damaged, or is not an SQLite database"):
                    await queue.receive(max_messages=32, visibility_timeout_s=60, timeout_s=TIMEOUT_S)

    async def test_an_old_sqlite(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A Python whose SQLite lacks what the queue needs is told so, before anything is opened."""
        monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
        assert "older than 3.35.0" in (await opening_fails(tmp_path / "jobs.db")).problem

    async def test_a_file_kept_by_another_program(self, tmp_path: Path) -> None:
        """A file that another process keeps to itself is refused for now, and opens once it is let go."""
        path = tmp_path / "jobs.db"
        await made(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(ThrottledError, match="locked by another process"):
                async with Database(path, busy_timeout_s=0.02):
                    pass
        async with Database(path) as database:
            assert await SqliteQueue(database, "jobs").length(timeout_s=TIMEOUT_S) == 50

    @pytest.mark.processes
    @pytest.mark.parametrize("what", ["file", "directory"])
    def test_what_may_not_be_written(self, what: str) -> None:
        """A file or a directory this user may not write is refused with the remedy."""
        with tempfile.TemporaryDirectory() as name:  # not tmp_path, into which no other user can look
            directory = Path(name)
            path = directory / "jobs.db"
            path.write_bytes(b"")
            path.chmod(0o444 if what == "file" else 0o666)
            directory.chmod(0o777 if what == "file" else 0o555)
            child = subprocess.run(
                [sys.executable, "-c", _OPEN_AS_NOBODY, str(path)],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            directory.chmod(0o755)
        assert child.stdout == (
            f"--store: {path} cannot be opened for writing. "
            "Allow this user to write it and its directory, or name another file.\n"
        )


_OPEN_AS_NOBODY = """
import asyncio, os, sys
from pathlib import Path
from adapters.sqlite import Database
from fsm.errors import ConfigurationError

async def main():
    try:
        async with Database(Path(sys.argv[1]), setting="--store"):
            pass
    except ConfigurationError as error:
        print(error)

if os.geteuid() == 0:
    os.setuid(65534)
asyncio.run(main())
"""
"""Root may write anything, so the child stops being root first."""


class TestMissingFiles:
    """What only creating creates."""

    async def test_looking_creates_nothing(self, tmp_path: Path) -> None:
        """Calls on a file that is not there say so, and do not make one."""
        path = tmp_path / "jobs.db"
        async with Database(path) as database:
            with pytest.raises(MissingError, match=r"jobs\.db"):
                await SqliteQueue(database, "jobs").length(timeout_s=TIMEOUT_S)
            with pytest.raises(MissingError, match=r"jobs\.db"):
                await SqliteStore(database).totals("jobs", timeout_s=TIMEOUT_S)
        assert not os.listdir(tmp_path)  # noqa: PTH208 -- nothing else runs in this loop

    async def test_creating_makes_the_file(self, tmp_path: Path) -> None:
        """Creating a queue in a file that is not there makes both, marked with the schema's version."""
        path = tmp_path / "jobs.db"
        async with Database(path) as database:
            await SqliteQueue(database, "jobs").create(timeout_s=TIMEOUT_S)
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)

    async def test_an_empty_file_is_taken(self, tmp_path: Path) -> None:
        """An empty file, as a process killed while creating may leave it, is a database still to be made."""
        path = tmp_path / "jobs.db"
        path.touch()
        async with Database(path) as database:
            queue = SqliteQueue(database, "jobs")
            with pytest.raises(MissingError):
                await queue.length(timeout_s=TIMEOUT_S)
            await queue.create(timeout_s=TIMEOUT_S)
            assert await queue.length(timeout_s=TIMEOUT_S) == 0

    async def test_a_file_made_later_is_found(self, tmp_path: Path) -> None:
        """A database that was opened before its file existed finds it once another process has made it."""
        path = tmp_path / "jobs.db"
        async with Database(path) as early:
            async with Database(path) as late:
                await SqliteQueue(late, "jobs").create(timeout_s=TIMEOUT_S)
                await SqliteQueue(late, "jobs").put("x", timeout_s=TIMEOUT_S)
            assert await SqliteQueue(early, "jobs").length(timeout_s=TIMEOUT_S) == 1

    async def test_odd_names_are_names(self, tmp_path: Path) -> None:
        """A file name with characters that mean something in an address is taken literally."""
        path = tmp_path / "50% of?jobs#1 é.db"
        await made(path)
        assert path.is_file()
