"""SIGTERM and SIGINT, handed to the loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from fsm.ports import Signals

_STOPPING = (signal.SIGTERM, signal.SIGINT)


class SystemSignals(Signals):
    """The signals of this process, while a loop runs in its main thread."""

    def listen(self, on_stop: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, on_stop, number.name)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.remove_signal_handler(number)
