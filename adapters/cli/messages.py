"""The messages that `spotfsm enqueue` is given: one after the other, without holding them all."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from fsm.errors import ConfigurationError
from fsm.messages import MESSAGE_BYTES_MAX

STDIN = "-"
_LINE_BYTES_MAX = 16 * MESSAGE_BYTES_MAX
"""A longer line of a pipe is no message, whatever its encoding."""


class Messages:
    """Texts, the lines of a file, and each of them so many times.

    Args:
        texts: given on the command line.
        file: one message a line, empty lines left out; `-` is standard input.
        count: put each so many times, `{n}` replaced by 1, 2, ...; without any message, the numbers alone.
        none_will_do: whether there may be no message at all.

    Raises:
        ConfigurationError: there is no message at all, and there must be one; or no such file, which is found out
            before anything is created.
    """

    def __init__(self, texts: Sequence[str], file: str | None, count: int | None, *, none_will_do: bool) -> None:
        if not texts and file is None and count is None and not none_will_do:
            remedy = "Give one, or --file FILE, or --count N; or --create alone, to put none."
            raise ConfigurationError("TEXT", "there is no message", remedy)
        if file is not None and file != STDIN and not Path(file).exists():
            raise _unreadable(file, os.strerror(errno.ENOENT))
        self._texts = texts if texts or file is not None or count is None else ("{n}",)
        self._file = file
        self._count = count

    async def bodies(self) -> AsyncIterator[str]:
        """Every message.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        async for text in self._single():
            if self._count is None:
                yield text
            else:
                for number in range(1, self._count + 1):
                    yield text.replace("{n}", str(number))

    async def _single(self) -> AsyncIterator[str]:
        for text in self._texts:
            yield text
        if self._file is None:
            return
        try:
            if self._file == STDIN and not stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode):
                async for line in _piped_lines():
                    yield line
            else:
                for line in self._file_lines():
                    yield line
        except OSError as exc:
            raise _unreadable(self._file, exc.strerror) from exc
        except ValueError as exc:  # not UTF-8, or a line without an end
            problem = f"{self._file} is not lines of text ({exc})"
            raise ConfigurationError("--file", problem, "Write it in UTF-8; what came before was put.") from exc

    def _file_lines(self) -> Iterator[str]:
        path = Path("/dev/stdin" if self._file == STDIN else str(self._file))
        with path.open(encoding="utf-8", newline="\n") as stream:
            yield from (text for line in stream if (text := line.rstrip("\r\n")))


def _unreadable(file: str, reason: str | None) -> ConfigurationError:
    return ConfigurationError("--file", f"{file} cannot be read: {reason}", "Name a file, or - for standard input.")


async def _piped_lines() -> AsyncIterator[str]:
    """Lines as they come, for as long as the other end takes: nothing waits for them but their reader."""
    reader = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            if text := line.decode().rstrip("\r\n"):
                yield text
    finally:
        transport.close()
