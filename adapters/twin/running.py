"""A twin for callers without an event loop: in this process until it is told to stop, or in a thread of its own."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from adapters.twin.server import LOOPBACK, serve_twin
from adapters.twin.state import TwinState

_STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_twin(
    state: TwinState | None = None,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    boot_id_file: Path | None = None,
    on_ready: Callable[[str], None],
) -> None:
    """Serve a twin until SIGINT or SIGTERM, then close it and return. Call it in the main thread.

    Args:
        state: as for `serve_twin`.
        host: as for `serve_twin`.
        port: as for `serve_twin`.
        boot_id_file: as for `serve_twin`.
        on_ready: called once with the URL.

    Raises:
        ConfigurationError: as for `serve_twin`.
    """

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in _STOPPING_SIGNALS:
            loop.add_signal_handler(number, stop.set)
        async with serve_twin(state, host=host, port=port, boot_id_file=boot_id_file) as twin:
            on_ready(twin.url)
            await stop.wait()

    asyncio.run(serve())


@contextmanager
def twin_in_thread(
    state: TwinState | None = None, *, host: str = LOOPBACK, port: int = 0, boot_id_file: Path | None = None
) -> Iterator[str]:
    """Serve a twin in a thread for as long as the context lasts; yields its URL. Give orders with `TwinClient`.

    Raises:
        ConfigurationError: as for `serve_twin`.
    """
    ready: Future[str] = Future()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with serve_twin(state, host=host, port=port, boot_id_file=boot_id_file) as twin:
            ready.set_result(twin.url)
            await stop.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        except BaseException as exc:
            if ready.done():
                raise
            ready.set_exception(exc)

    thread = threading.Thread(target=run, name="spotfsm-twin", daemon=True)
    thread.start()
    url = ready.result()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
