"""Signals of this process, handed to the loop."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from adapters.host.journal import NoJournal
from adapters.host.signals import SystemSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_is_told_by_name_each_time_it_comes(number: signal.Signals) -> None:
    """The worker counts signals: a second Ctrl-C means something else than the first."""
    told: asyncio.Queue[str] = asyncio.Queue()
    signals = SystemSignals(NoJournal(), grace_s=25.0)
    signals.listen(told.put_nowait)
    try:
        for _ in range(2):
            os.kill(os.getpid(), number)
            assert await told.get() == number.name
    finally:
        signals.close()


async def test_closing_gives_ctrl_c_back() -> None:
    """Afterwards Ctrl-C interrupts as it does in any Python program."""
    signals = SystemSignals(NoJournal(), grace_s=25.0)
    signals.listen(lambda _: None)
    signals.close()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
