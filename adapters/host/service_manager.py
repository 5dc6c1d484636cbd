"""The service manager, where it listens to what it started: systemd gives a stop the time that a drain takes.

systemd kills what does not end within the unit's `TimeoutStopSec`. How long a drain may take is the worker's own
setting, which an operator can change beside the unit; so the worker says it when a stop begins. systemd listens where
the unit has `NotifyAccess=main`, whatever its `Type=` (the manual speaks of notify; the tests have it with exec under
a real one), and an extension never shortens what the unit gives.
[https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html, EXTEND_TIMEOUT_USEC, read 2026-11]
"""

from __future__ import annotations

import socket
from collections.abc import MutableMapping
from contextlib import suppress

_VARIABLE = "NOTIFY_SOCKET"


class ServiceManager:
    """Whoever started this process as a service; nobody, perhaps.

    Args:
        address: of its socket, `@` for a NUL in front; empty where nobody listens.
    """

    def __init__(self, address: str = "") -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """The one that this environment names, and no longer does: jobs and other children are not heard."""
        return cls(environment.pop(_VARIABLE, ""))

    def stop_takes(self, seconds: float) -> None:
        """Ask for so much time from now on; at once, and in vain where nobody hears it."""
        if not self._address:
            return
        message = f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}".encode()
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.sendto(message, self._address)
