"""SIGTERM and SIGINT, handed to the loop, and heeded and answered even when the loop is blocked."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType

from adapters.host.pulse import Heartbeat, Pulse
from adapters.host.service_manager import ServiceManager
from fsm.ports import Journal, Signals
from fsm.runner.settings import SETTLING_S

_STOPPING = (signal.SIGTERM, signal.SIGINT)


class SystemSignals(Signals):
    """The signals of this process, while a loop runs in its main thread.

    Args:
        journal: is told when the loop is blocked.
        grace_s: how long a stop may drain before a blocked process is ended.
        heartbeat: beats with the loop while it listens.
        service_manager: is told how long a stop takes.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        grace_s: float,
        heartbeat: Heartbeat | None = None,
        service_manager: ServiceManager | None = None,
    ) -> None:
        self._journal = journal
        self._grace_s = grace_s
        self._heartbeat = heartbeat or Heartbeat()
        self._service_manager = service_manager or ServiceManager()
        self._pulse: Pulse | None = None

    def listen(self, on_stop: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        pulse = self._pulse = Pulse(self._journal, grace_s=self._grace_s, heartbeat=self._heartbeat)

        def note(_number: int, _frame: FrameType | None) -> None:
            pulse.stop_asked()
            self._service_manager.stop_takes(self._grace_s + SETTLING_S)

        for number in _STOPPING:
            loop.add_signal_handler(number, on_stop, number.name)
            signal.signal(number, note)  # besides the loop's own way, which goes through the loop
            signal.siginterrupt(number, False)  # noqa: FBT003 -- positional only

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.remove_signal_handler(number)
        if self._pulse is not None:
            self._pulse.stop()
