"""The standard streams, made fit for a process that has more important things to do than to print.

Streams that are closed to us get nothing behind them: what is opened next would get their numbers, and whatever a job
prints would be written into it, a database perhaps. And nobody who cannot be told on standard error is a reason to
stop: a full disk, or a reader of the log that has gone, must not end a drain.
"""

from __future__ import annotations

import os
import sys

from adapters.host.process_child import Unfailing

_STDERR = 2


def prepare_streams() -> None:
    """Have all three standard streams, and one to complain on that never fails."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = Unfailing.text(_STDERR)
