"""An archive has nothing of its maker's in it."""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from adapters.packaging.archive import EPOCH_S, SUMS, Member, write_archive

NAMES = st.from_regex(r"[a-zé][a-z .-]{0,120}/[a-z]{1,8}", fullmatch=True)


@given(st.dictionaries(NAMES, st.tuples(st.binary(max_size=50), st.booleans()), min_size=1, max_size=5))
def test_order_time_and_place_do_not_show(contents: dict[str, tuple[bytes, bool]]) -> None:
    """The same members in another order make the same bytes, and come out as they went in."""
    members = {name: Member(content=content, executable=bit) for name, (content, bit) in contents.items()}
    with tempfile.TemporaryDirectory() as directory:
        first, second = Path(directory, "first.tar.gz"), Path(directory, "other name.tar.gz")
        write_archive(first, members)
        write_archive(second, dict(reversed(members.items())))
        assert first.read_bytes() == second.read_bytes()
        with tarfile.open(first) as archive:
            entries = archive.getmembers()
            read = {entry.name: archive.extractfile(entry) for entry in entries}
            found = {name: stream.read() for name, stream in read.items() if stream is not None}
    assert [entry.name for entry in entries] == sorted(found)
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in entries} == {(0, 0, "root", EPOCH_S)}
    assert {entry.name: entry.mode for entry in entries if entry.name != SUMS} == {
        name: 0o755 if bit else 0o644 for name, (_, bit) in contents.items()
    }
    sums = found.pop(SUMS).decode().splitlines()
    assert found == {name: content for name, (content, _) in contents.items()}
    assert sums == [f"{hashlib.sha256(found[name]).hexdigest()}  {name}" for name in sorted(found)]


def test_a_file_is_taken_as_it_is_read(tmp_path: Path) -> None:
    """Its own time, owner and mode stay behind."""
    source = tmp_path / "source"
    source.write_bytes(b"content")
    source.chmod(0o600)
    write_archive(tmp_path / "one", {"a": Member(content=source)}, epoch_s=1)
    os.utime(source, (1, 1))
    write_archive(tmp_path / "two", {"a": Member(content=b"content")}, epoch_s=1)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
