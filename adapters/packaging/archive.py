"""A tar archive that is the same byte for byte whoever makes it, wherever and whenever: nothing of the maker is in it.

Names are sorted; owners, times and modes are fixed; gzip keeps neither a name nor a time. The reference for what must
be fixed: https://reproducible-builds.org/docs/archives/ (read 2026-11).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

EPOCH_S = 315532800
"""1980-01-01, the first day that a zip file can name; SOURCE_DATE_EPOCH takes its place."""
SUMS = "SHA256SUMS"
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file of an archive: what it says, or the file that says it."""

    content: bytes | Path
    executable: bool = False

    def open(self) -> BinaryIO:
        """Its content, to be read and closed."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")


def write_archive(path: Path, members: Mapping[str, Member], *, epoch_s: int = EPOCH_S) -> None:
    """Write a `.tar.gz` of these and of their checksums, which `sha256sum --check` reads.

    Args:
        path: the archive.
        members: by their names in it.
        epoch_s: the one time that all files have, in seconds since 1970.

    Raises:
        OSError: a file cannot be read, or the archive not be written.
    """
    sums = "".join(f"{_sha256(members[name])}  {name}\n" for name in sorted(members))
    everything = {**members, SUMS: Member(content=sums.encode())}
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as archive,
    ):
        for name in sorted(everything):
            _add(archive, name, everything[name], epoch_s)


def _add(archive: tarfile.TarFile, name: str, member: Member, epoch_s: int) -> None:
    with member.open() as stream:
        entry = tarfile.TarInfo(name)
        entry.size = stream.seek(0, io.SEEK_END)
        entry.mtime = epoch_s
        entry.mode = 0o755 if member.executable else 0o644
        entry.uname = entry.gname = "root"
        stream.seek(0)
        archive.addfile(entry, stream)


def _sha256(member: Member) -> str:
    found = hashlib.sha256()
    with member.open() as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()
