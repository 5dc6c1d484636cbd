"""A recording proxy before Azurite's blob service: every version of every record, in the order of its ETags.

Workers are told its address instead of Azurite's. It passes requests and replies on as they are and notes each write
that succeeded, with the version that the write was conditional on and the version that it made. What a killed worker
had begun to send is passed on whole or not at all.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from adapters.sqlite.history import PastRecord
from fsm.record import decode_record

_RECORD = re.compile(r"/records/[^/]+/(?P<message_id>[0-9a-f-]{36})\.json")
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "host", "content-length"})
_ABSENT = ""
_BODY_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    """One write that succeeded: over which version, and to which."""

    over: str
    version: str
    body: bytes


class BlobRecorder:
    """Notes the writes that pass; safe to read from another thread once the writers are gone.

    Attributes:
        url: where it listens, without a slash at the end.
    """

    def __init__(self, target: str) -> None:
        self.url = ""
        self._target = target
        self._writes: defaultdict[str, list[_Write]] = defaultdict(list)

    def history(self) -> Sequence[PastRecord]:
        """Every version of every record, each record's in the order of its versions.

        Raises:
            AssertionError: two writes succeeded over one version: the service did not honour a condition.
        """
        return [
            PastRecord(message_id=message_id, version=write.version, record=decode_record(write.body))
            for message_id, writes in self._writes.items()
            for write in _chained(message_id, writes)
        ]

    async def handle(self, session: aiohttp.ClientSession, request: web.Request) -> web.Response:
        """Pass one request on."""
        body = await request.read()
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
        # A write that has arrived whole is carried out and noted, even if its sender is killed meanwhile.
        passing = asyncio.ensure_future(self._pass_on(session, request, headers, body))
        return await asyncio.shield(passing)

    async def _pass_on(
        self, session: aiohttp.ClientSession, request: web.Request, headers: list[tuple[str, str]], body: bytes
    ) -> web.Response:
        url = f"{self._target}{request.raw_path}"
        async with session.request(request.method, url, headers=headers, data=body or None) as reply:
            content = await reply.read()
        found = _RECORD.search(request.path)
        if request.method == "PUT" and reply.status == 201 and found is not None:
            over = request.headers.get("If-Match", _ABSENT)
            self._writes[found["message_id"]].append(_Write(over=over, version=reply.headers["ETag"], body=body))
        kept = [(name, value) for name, value in reply.headers.items() if name.lower() not in _HOP_BY_HOP]
        return web.Response(status=reply.status, headers=dict(kept), body=content)


def _chained(message_id: str, writes: Sequence[_Write]) -> Iterator[_Write]:
    """The writes of one record, each after the one whose version it was conditional on."""
    after: Mapping[str, _Write] = {write.over: write for write in writes}
    assert len(after) == len(writes), f"two writes over one version of the record of {message_id}"
    version = _ABSENT
    for _ in writes:
        assert version in after, f"the writes of the record of {message_id} are no chain"
        yield after[version]
        version = after[version].version


@contextmanager
def recording(target: str) -> Iterator[BlobRecorder]:
    """A recorder in a thread of its own, for as long as the context lasts.

    Args:
        target: the blob service's root, `http://127.0.0.1:PORT`.
    """
    recorder, ready = BlobRecorder(target), Future[str]()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            application = web.Application(client_max_size=_BODY_BYTES_MAX)

            async def handle(request: web.Request) -> web.Response:
                return await recorder.handle(session, request)

            application.router.add_route("*", "/{path:.*}", handle)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                ready.set_result(f"http://127.0.0.1:{runner.addresses[0][1]}")
                await stop.wait()
            finally:
                await runner.cleanup()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="blob-recorder", daemon=True)
    thread.start()
    recorder.url = ready.result(timeout=30)
    try:
        yield recorder
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
