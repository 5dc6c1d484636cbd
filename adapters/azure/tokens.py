"""Tokens that are there before they are needed.

The SDK's credentials fetch a token inside the storage call that finds the old one missing, and try for up to 75 s when
the metadata service is slow: enough to make every call of an eviction fail. Here a token is fetched at the start, kept,
and renewed in the background from half of its life on; a call waits for one only when there is none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential

STORAGE_SCOPE = "https://storage.azure.com/.default"
"""The scope of blobs and queues in every cloud.
[https://learn.microsoft.com/azure/storage/common/storage-auth-aad, read 2026-11]"""
_LEFT_S_MIN = 60.0
"""A token with less left than this is not sent any more."""
_PAUSE_S = 60.0
"""Between two tries to renew a token that is still good."""


class HeldToken:
    """A credential that answers from what it holds; the SDK's credential behind it does the asking.

    Args:
        credential: the SDK's; closed with this one.
        now_s: the clock that tokens expire by, in seconds since 1970.
    """

    def __init__(self, credential: AsyncTokenCredential, *, now_s: Callable[[], float] = time.time) -> None:
        self._credential = credential
        self._now_s = now_s
        self._token: AccessToken | None = None
        self._half_life_s = 0.0
        self._asked_s = 0.0
        self._fetching: asyncio.Task[AccessToken] | None = None

    async def fetch(self) -> None:
        """Have a token, now.

        Raises:
            azure.core.exceptions.AzureError: there is none to be had.
        """
        await self.get_token(STORAGE_SCOPE)

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: Any,
    ) -> AccessToken:
        """The token held, if it is good; what the SDK asks for each request."""
        if scopes != (STORAGE_SCOPE,) or claims or tenant_id:  # a challenge: what we hold is not what is wanted
            return await self._credential.get_token(
                *scopes, claims=claims, tenant_id=tenant_id, enable_cae=enable_cae, **options
            )
        now_s = self._now_s()
        token = self._token
        if token is None or token.expires_on - now_s < _LEFT_S_MIN:
            return await asyncio.shield(self._fetched())
        if now_s >= self._half_life_s and now_s - self._asked_s >= _PAUSE_S:
            self._fetched()
        return token

    def _fetched(self) -> asyncio.Task[AccessToken]:
        """The one fetch under way: a call that gives up waiting for it does not end it for the others."""
        if self._fetching is None or self._fetching.done():
            self._asked_s = self._now_s()
            self._fetching = asyncio.create_task(self._fetch(), name="storage token")
            self._fetching.add_done_callback(_look_at)
        return self._fetching

    async def _fetch(self) -> AccessToken:
        token = await self._credential.get_token(STORAGE_SCOPE)
        self._token = token
        self._half_life_s = (self._now_s() + token.expires_on) / 2
        return token

    async def close(self) -> None:
        """Stop asking, and close the credential behind."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._credential.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


def _look_at(fetch: asyncio.Task[AccessToken]) -> None:
    """A fetch that failed tells those who wait for it; where nobody does, the token held is still good."""
    if not fetch.cancelled():
        fetch.exception()
