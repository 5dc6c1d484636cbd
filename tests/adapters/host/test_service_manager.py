"""What systemd is told, by a socket like its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.host.journal import NoJournal
from adapters.host.service_manager import ServiceManager
from adapters.host.signals import SystemSignals
from fsm.runner.settings import SETTLING_S


@pytest.fixture(params=["a file", "no file"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's socket, and its name as the environment has it."""
    name = str(tmp_path / "notify") if request.param == "a file" else f"@spotfsm-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listener.settimeout(0)
        yield name, listener


def test_it_is_asked_for_time_in_microseconds_and_nobody_else_can(heard: tuple[str, socket.socket]) -> None:
    """Whoever takes its address takes it out of the environment, which children inherit."""
    name, listener = heard
    environment = {"NOTIFY_SOCKET": name, "OTHER": "x"}
    manager = ServiceManager.taken_from(environment)
    assert environment == {"OTHER": "x"}
    manager.stop_takes(90.5)
    assert listener.recv(100) == b"EXTEND_TIMEOUT_USEC=90500000"
    ServiceManager.taken_from(environment).stop_takes(1)
    with pytest.raises(BlockingIOError):
        listener.recv(100)


def test_nobody_who_hears_it_is_no_reason_to_fail(tmp_path: Path) -> None:
    """Without a service manager, with one that has gone, and with one that does not read, a stop goes on at once."""
    ServiceManager().stop_takes(1)
    ServiceManager(str(tmp_path / "gone")).stop_takes(1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        for _ in range(1000):
            ServiceManager(str(tmp_path / "deaf")).stop_takes(1)


async def test_a_stop_asks_at_once_even_if_the_loop_is_blocked(heard: tuple[str, socket.socket]) -> None:
    """Before its time is up, systemd knows of the grace and of what comes after it."""
    name, listener = heard
    signals = SystemSignals(NoJournal(), grace_s=60.0, service_manager=ServiceManager(name))
    told: asyncio.Queue[str] = asyncio.Queue()
    signals.listen(told.put_nowait)
    try:
        with pytest.raises(BlockingIOError):
            listener.recv(100)
        os.kill(os.getpid(), signal.SIGTERM)
        assert told.empty()  # the loop was not given a turn
        assert listener.recv(100) == f"EXTEND_TIMEOUT_USEC={round((60 + SETTLING_S) * 1e6)}".encode()
        assert await told.get() == "SIGTERM"
    finally:
        signals.close()
