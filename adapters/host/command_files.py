"""The files through which a command and the worker talk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from adapters.host.outcome import file_text
from fsm.errors import HandlerFailedError
from fsm.ports import JobControl
from fsm.record import RECORD_BYTES_MAX


class ProgressFile:
    """Notices what a command saves, and makes it durable.

    Attributes:
        saved_any: whether this run has saved anything.
    """

    def __init__(self, path: Path, control: JobControl) -> None:
        self._path = path
        self._control = control
        self._seen: tuple[int, ...] = ()
        self._text: str | None = None
        self._unreadable: HandlerFailedError | None = None
        self.saved_any = False

    def begin(self, progress: str) -> None:
        """Put the last checkpoint there."""
        replace_file(self._path, progress)
        self._text, self._seen = progress, self._version()

    async def look(self) -> None:
        """Save what is new. What cannot be read is read again: the file may be in the middle of being written.

        Raises:
            Evicted: saved, and the VM is being reclaimed.
            HandlerFailedError: it is no JSON, or too large, and has been at the last look as well.
        """
        version = self._version()
        if version == self._seen:
            if self._unreadable is not None:
                raise self._unreadable
            return
        self._seen, self._unreadable = version, None
        try:
            await self.save()
        except HandlerFailedError as exc:
            self._unreadable = exc

    async def save(self) -> None:
        """Save what is there, unless it is saved.

        Raises:
            Evicted, HandlerFailedError: as `look` does.
        """
        try:
            text = file_text(read_file(self._path), what="progress file")
        except FileNotFoundError:
            return
        except OSError as exc:
            raise HandlerFailedError(f"the progress file cannot be read: {exc.strerror}") from exc
        if text != self._text:
            self._text = text
            self.saved_any = True
            await self._control.checkpoint(text)

    def _version(self) -> tuple[int, ...]:
        """What changes whenever the file does."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return (found.st_ino, found.st_mtime_ns, found.st_size)


def read_file(path: Path) -> bytes:
    """What the file holds, up to a little more than can be used.

    Raises:
        OSError: it is not there, cannot be read, or is not a file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe must not have us wait
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is not a regular file")
        return stream.read(RECORD_BYTES_MAX + 1)


def replace_file(path: Path, text: str) -> None:
    """Write the file so that a reader sees all of it or none of it.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
