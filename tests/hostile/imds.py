"""An IMDS that answers polls with whatever bytes it was given, one by one, and other questions as it should."""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

COMPUTE = {"vmId": "7f6bd0c7-3f6e-4d0e-9a39-3d1f5c1b2a10", "name": "vm-spot", "priority": "Spot", "evictionPolicy": ""}
_READ_BYTES = 65_536


def http(body: bytes, *, status: str = "200 OK", headers: Iterable[str] = ()) -> bytes:
    """A reply that is HTTP, at least."""
    head = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers)
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def document(*events: object, **more: object) -> bytes:
    """A reply with a well-formed document."""
    return http(json.dumps({"DocumentIncarnation": 1, "Events": events, **more}).encode())


class HostileImds:
    """Answers each poll with the next of its replies, and with an empty document once there are none.

    Attributes:
        replies: what is to come.
    """

    def __init__(self) -> None:
        self.replies: deque[bytes] = deque()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def serve(self) -> None:
        """Answer one connection after the other, until closed."""
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with connection, suppress(OSError):
                    connection.settimeout(5.0)
                    asked = connection.recv(_READ_BYTES)
                    connection.sendall(self._reply(asked))

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _reply(self, asked: bytes) -> bytes:
        if b"/scheduledevents" not in asked:
            return http(json.dumps(COMPUTE).encode())
        return self.replies.popleft() if self.replies else document()


@contextmanager
def hostile_imds() -> Iterator[HostileImds]:
    """One in a thread, for as long as the context lasts."""
    imds = HostileImds()
    thread = threading.Thread(target=imds.serve, name="hostile-imds", daemon=True)
    thread.start()
    try:
        yield imds
    finally:
        imds.close()
        thread.join()
