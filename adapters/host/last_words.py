"""What a command says on standard error: passed on, and its end kept for the error that it may turn out to explain."""

from __future__ import annotations

import asyncio
import os
import select
from contextlib import suppress

BYTES_KEPT = 1500
_CHUNK_BYTES = select.PIPE_BUF


class LastWords:
    """A pipe to give to a command. Make it in the event loop's own thread, and close it.

    Attributes:
        theirs: the command's end.
        over: done once nobody can say anything any more; the worker's copy of `theirs` has to be closed for that.

    Raises:
        OSError: there are no pipes left.
    """

    def __init__(self) -> None:
        self._ours, self.theirs = os.pipe()
        os.set_blocking(self._ours, False)
        self._theirs_open = True
        self._kept = b""
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._ours, self._listen)

    @property
    def text(self) -> str:
        """The last of it, on one line."""
        return " ".join(self._kept.decode(errors="replace").split())

    def close_theirs(self) -> None:
        """Once the command has it."""
        if self._theirs_open:
            self._theirs_open = False
            os.close(self.theirs)

    def close(self) -> None:
        """Listen no more."""
        self.close_theirs()
        self._loop.remove_reader(self._ours)
        os.close(self._ours)

    def _listen(self) -> None:
        said = os.read(self._ours, _CHUNK_BYTES)
        self._kept = (self._kept + said)[-BYTES_KEPT:]
        if said:
            _pass_on(said)
        else:
            self._loop.remove_reader(self._ours)
            self.over.set_result(None)


def _pass_on(said: bytes) -> None:
    """To the worker's standard error, unless that would have the worker wait for its reader."""
    writable = select.poll()
    writable.register(2, select.POLLOUT)
    if any(events & select.POLLOUT for _, events in writable.poll(0)):
        with suppress(OSError):
            os.write(2, said)
