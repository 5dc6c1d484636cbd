"""Ctrl-C, kept away from where it would be lost or do harm."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupt_held() -> Iterator[None]:
    """Ctrl-C comes when this is over, and to none of the processes that are started meanwhile.

    A process inherits what is blocked, and a child that is interrupted amid its first imports complains at length.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
