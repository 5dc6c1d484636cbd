"""Ends what a worker leaves behind when it is killed: started by path, waits, and acts once the worker is gone.

A killed worker cannot end its children, and its children's children know nothing of it. So each of them carries the
worker's mark in its environment, which children inherit, and this process, which the worker holds by a pipe, looks for
the mark once the pipe breaks. It looks again and again for a while: a process may be between fork and exec.

Usage: watchdog.py MARK DIRECTORY, with the pipe as standard input. The directory is removed in the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

LOOKS = 20
LOOK_S = 0.05
_PROC = Path("/proc")


def main(mark: str, directory: str) -> None:
    """Wait until the worker is gone, however it went, and then leave nothing of it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # what is sent to the worker's whole service is not for us
    while os.read(sys.stdin.fileno(), 1):
        pass
    for _ in range(LOOKS):
        kill_marked((mark,))
        time.sleep(LOOK_S)
    shutil.rmtree(directory, ignore_errors=True)


def kill_marked(marks: Collection[str]) -> None:
    """SIGKILL to every process with one of these entries in its environment."""
    wanted = {mark.encode() for mark in marks}
    for pid in _running():
        with suppress(OSError):  # it ended, or belongs to somebody else
            handle = os.pidfd_open(pid)  # so that the signal reaches the process that was looked at, and no later one
            try:
                if not wanted.isdisjoint((_PROC / str(pid) / "environ").read_bytes().split(b"\0")):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)


def _running() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


if __name__ == "__main__":
    main(*sys.argv[1:])
