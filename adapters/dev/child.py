"""Children that do not outlive whoever started them, not even when that was killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

_PR_SET_PDEATHSIG = 1
"""https://man7.org/linux/man-pages/man2/pr_set_pdeathsig.2const.html (read 2026-11)"""


def dies_with_parent() -> Callable[[], None] | None:
    """What a child does between fork and exec: ask the kernel to kill it when its parent ends (Linux only).

    The parent is the thread that starts it: let that be one that lasts.
    """
    return partial(_ask, ctypes.CDLL(None).prctl, os.getpid()) if sys.platform == "linux" else None


def die_with(parent: int) -> None:
    """Ask the same for the process that calls this; at once, if this parent has ended already."""
    if sys.platform == "linux":
        _ask(ctypes.CDLL(None).prctl, parent)


def _ask(prctl: Callable[[int, int], int], parent: int) -> None:
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we could ask
        os._exit(1)
