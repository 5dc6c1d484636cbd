"""One call, one request: the HTTP session that all clients of a process share, with every hidden second try removed.

Three things would send a request again behind our back, or wait where nobody asked them to. The SDK's retry policy is
switched off in each client. The other two are dealt with here:

* aiohttp repeats a GET, PUT or DELETE whose pooled connection broke. A renewal or delete that was carried out before
  the break is then refused the second time, and a lease that we hold looks lost.
* The SDK reads a downloaded body in a loop of its own, three times with a second between. It does so only for a body
  that it still has to read; ours is read with the reply.

Environment variables for proxies and a `.netrc` are ignored: a queue's address is all there is to know, and asking for
them costs a thread hop a request.
"""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Any

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest

API_VERSION = "2025-11-05"
"""The version of the storage service that is spoken, whatever the SDK's own default: older than it, and known to the
newest Azurite. [https://learn.microsoft.com/rest/api/storageservices/versioning-for-the-azure-storage-services, read
2026-11]"""
CONNECTIONS_MAX = 256
"""Open connections of a process; a call over it waits within its own timeout."""


def open_session(*, trust: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """The session; the caller closes it.

    Args:
        trust: whom to believe over https, where that is not the system's certificates.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=True if trust is None else trust),
        middlewares=(_send_once,),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


class SharedTransport(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """The SDK's way to a session that it does not own, with replies read whole.

    The documents that travel here are small, and a body that breaks off is an error of the call like any other.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._transport: AsyncHttpTransport[HttpRequest, AsyncHttpResponse]
        self._transport = AioHttpTransport(session=session, session_owner=False, use_env_settings=False)

    async def send(self, request: HttpRequest, **options: Any) -> AsyncHttpResponse:
        """Send, and read the body even where the SDK meant to stream it."""
        return await self._transport.send(request, **{**options, "stream": False})

    async def open(self) -> None:
        """Nothing to do: the session is open."""

    async def close(self) -> None:
        """Nothing to do: whoever opened the session closes it."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Nothing to do, either."""


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Let a broken connection be seen: aiohttp repeats these two errors, but no other."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent, and nothing is repeated
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise aiohttp.ClientConnectionError(f"the connection broke: {exc}") from exc
