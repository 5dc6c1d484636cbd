"""IMDS over HTTP: https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service (read 2026-11).

The service asks its clients for three things, and this one does them: a `Metadata: true` header on every request, no
proxy whatever the environment says, and no more than five requests a second from the whole VM (the worker's pace; here
a call makes one request, two while the version is being found).

Every call has its own connection. IMDS is at the other end of a virtual cable, so that connecting costs nothing, and a
kept connection that died unseen during an update of the host would cost a poll.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from adapters.imds.boot import BOOT_ID_FILE, read_boot_id
from adapters.imds.parse import DOCUMENT_BYTES_MAX, parse_compute, parse_events
from fsm.errors import BadReplyError, ConfigurationError, PlatformError, ReplyLostError, ThrottledError
from fsm.notices import EventsDocument
from fsm.ports import InstanceMetadata, ScheduledEvents, VmIdentity

IMDS_URL = "http://169.254.169.254"
"""The same non-routable address on every Azure VM."""
EVENTS_VERSIONS: tuple[str, ...] = ("2024-07-09", "2020-07-01")
"""Newest first: with the rebalance recommendation (a preview), and the documented one without. [read 2026-11]"""
INSTANCE_VERSION = "2021-02-01"
"""Any from 2020-12-01 on, the first with `priority` and `evictionPolicy`; events have another list. [read 2026-11]"""

_CONNECTIONS_MAX = 10
"""A first call of two minutes, polls of two seconds begun each second, and room to spare."""
_EXCERPT_LENGTH = 200
_ROOT_URL = re.compile(
    r"http://(?:[\w-]{1,63}(?:\.[\w-]{1,63})*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?/?", re.ASCII
)
_LOST_STATUSES = frozenset({404, 408})
"""The element is not there now, or IMDS gave up on us: Microsoft's own retry list, beside the 5xx."""
_THROTTLED_STATUSES = frozenset({410, 429, 503})
"""410 is IMDS being updated ("retry after some time for a max of 70 seconds"); 429 is over five requests a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    """A whole reply, its body bounded."""

    status: int
    retry_after: str
    body: bytes


class ImdsClient(ScheduledEvents, InstanceMetadata):
    """Scheduled Events and instance metadata of the VM this process runs on.

    Calls do not wait for each other: a slow first poll stops no second one. Close it when done.

    Args:
        base_url: `http://HOST[:PORT]`, as `--imds` gives it.
        boot_id_file: where the boot id is read, which IMDS does not know.

    Raises:
        ConfigurationError: `base_url` is not of that form.
    """

    def __init__(self, base_url: str = IMDS_URL, *, boot_id_file: Path = BOOT_ID_FILE) -> None:
        self._url = _checked_url(base_url)
        self._boot_id_file = boot_id_file
        self._versions = EVENTS_VERSIONS
        self._refused = 0
        self._client = httpx.AsyncClient(
            headers={"Metadata": "true", "Accept": "application/json", "Accept-Encoding": "identity"},
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 -- each call has one deadline for all of it, in _within
            limits=httpx.Limits(max_connections=_CONNECTIONS_MAX, max_keepalive_connections=0),
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # plain HTTP: do not load the system's certificates
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls still under way raise ReplyLostError."""
        await self._client.aclose()

    async def poll(self, *, timeout_s: float) -> EventsDocument:
        """The document as it stands, under the newest version this VM's IMDS speaks."""
        async with self._within(timeout_s):
            reply = await self._events("GET", None)
        return parse_events(_body(reply))

    async def acknowledge(self, event_id: str, *, timeout_s: float) -> None:
        """Approve the event: it may start before its NotBefore, for all of its resources.

        IMDS answers 200 for an event that is already approved. An event that is no longer there is refused (400), which
        raises BadReplyError: what was to be hastened is over.
        """
        content = json.dumps({"StartRequests": [{"EventId": event_id}]}).encode()
        async with self._within(timeout_s):
            reply = await self._events("POST", content)
        _body(reply)

    async def identity(self, *, timeout_s: float) -> VmIdentity:
        """This VM by instance metadata, this boot by the kernel.

        Raises:
            ConfigurationError: the boot id cannot be read.
        """
        async with self._within(timeout_s):
            reply = await self._exchange("GET", "/metadata/instance/compute", INSTANCE_VERSION, None)
        compute = parse_compute(_body(reply))
        return VmIdentity(
            vm_id=compute.vm_id,
            name=compute.name,
            boot_id=read_boot_id(self._boot_id_file),
            priority=compute.priority,
            eviction_policy=compute.eviction_policy,
        )

    async def _events(self, method: str, content: bytes | None) -> _Reply:
        """Ask with the newest version first; one that was refused is not asked again once an older one answered.

        While none is granted, a call asks with one of them, in turns: IMDS is out of order then, and several workers of
        a VM with two requests a call would be over its limit. Which is refused for good is not learnt from that.
        """
        versions = self._versions
        asked = (versions[(self._refused - 1) % len(versions)],) if self._refused else versions
        for version in asked:
            reply = await self._exchange(method, "/metadata/scheduledevents", version, content)
            if reply.status not in (400, 404):
                break
        else:
            self._refused += 1
        if reply.status == 200:
            self._refused = 0
            self._versions = versions[versions.index(version) :] if asked == versions else versions
        return reply

    async def _exchange(self, method: str, path: str, version: str, content: bytes | None) -> _Reply:
        """One request and its whole reply, read no further than a document may be long."""
        request = self._client.build_request(method, self._url + path, params={"api-version": version}, content=content)
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > DOCUMENT_BYTES_MAX:
                    raise BadReplyError(f"IMDS at {self._url} sent more than {DOCUMENT_BYTES_MAX} bytes")
        finally:
            await response.aclose()
        retry_after = str(response.headers.get("Retry-After", ""))
        return _Reply(status=response.status_code, retry_after=retry_after, body=bytes(body))

    @asynccontextmanager
    async def _within(self, timeout_s: float) -> AsyncIterator[None]:
        """One deadline for connecting, asking and reading; every way of not getting a reply is one error."""
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError as exc:
            raise ReplyLostError(f"IMDS at {self._url} did not answer within {timeout_s:g} s") from exc
        except httpx.HTTPError as exc:
            raise ReplyLostError(f"IMDS at {self._url} did not answer: {str(exc) or type(exc).__name__}") from exc


def _checked_url(base_url: str) -> str:
    """The URL without its closing slash."""
    shape = _ROOT_URL.fullmatch(base_url)
    try:
        usable = shape is not None and int(shape["port"] or 80) <= 65_535 and bool(httpx.URL(base_url).host)
    except httpx.InvalidURL:
        usable = False
    if not usable:
        raise ConfigurationError(
            "--imds",
            f"{base_url!r:.200} is not the root of a plain HTTP server",
            f"Give http://HOST:PORT without a path, or leave it out for {IMDS_URL}.",
        )
    return base_url.rstrip("/")


def _body(reply: _Reply) -> bytes:
    """The body of a reply that grants what was asked.

    Raises:
        ThrottledError, ReplyLostError, BadReplyError: by the table of https://learn.microsoft.com/azure/virtual-machines/
            instance-metadata-service#errors-and-debugging (read 2026-11).
    """
    if reply.status == 200:
        return reply.body
    raise _refusal(reply)


def _refusal(reply: _Reply) -> PlatformError:
    """What a status other than 200 means."""
    text = reply.body[:_EXCERPT_LENGTH].decode("utf-8", "replace")
    what = f"IMDS answered {reply.status}: {' '.join(text.split()) or 'no text'}"
    if reply.status in _THROTTLED_STATUSES:
        return ThrottledError(what, retry_after_s=_seconds(reply.retry_after))
    if reply.status in _LOST_STATUSES or reply.status >= 500:
        return ReplyLostError(what)
    return BadReplyError(what)


def _seconds(text: str) -> float | None:
    """A `Retry-After` in seconds; its other form, a date, is not worth trusting a clock for."""
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None
