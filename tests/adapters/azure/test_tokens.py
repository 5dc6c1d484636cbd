"""Tokens: when they are asked for, and of whom."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError

from adapters.azure.tokens import STORAGE_SCOPE, HeldToken

HOUR_S = 3600


@dataclass
class Issuer(AsyncTokenCredential):
    """Issues numbered tokens for a day when it is let; the clock stands until it is moved."""

    now_s: float = 1_000_000.0
    asked: list[tuple[tuple[str, ...], str | None, str | None]] = field(default_factory=list)
    broken: bool = False
    open: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: Any,
    ) -> AccessToken:
        assert not enable_cae
        assert not options
        self.asked.append((scopes, claims, tenant_id))
        number = len(self.asked)
        await self.open.wait()
        if self.broken:
            raise ClientAuthenticationError("no such identity")
        return AccessToken(f"token {number}", int(self.now_s) + 24 * HOUR_S)

    async def close(self) -> None:
        self.closed = True

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


@pytest.fixture
def issuer() -> Issuer:
    issuer = Issuer()
    issuer.open.set()
    return issuer


@pytest.fixture
def held(issuer: Issuer) -> HeldToken:
    return HeldToken(issuer, now_s=lambda: issuer.now_s)


async def token(held: HeldToken) -> str:
    return (await held.get_token(STORAGE_SCOPE)).token


async def test_one_token_serves_every_call(issuer: Issuer, held: HeldToken) -> None:
    """A token fetched at the start is used for the first half of its life, and nobody is asked for another."""
    await held.fetch()
    for _ in range(12):
        assert await token(held) == "token 1"
        issuer.now_s += HOUR_S - 1
    assert len(issuer.asked) == 1


async def test_many_calls_fetch_one_token(issuer: Issuer, held: HeldToken) -> None:
    """Calls that find no token wait for the same one."""
    issuer.open.clear()
    calls = [asyncio.create_task(token(held)) for _ in range(8)]
    await asyncio.sleep(0)
    issuer.open.set()
    assert set(await asyncio.gather(*calls)) == {"token 1"}
    assert len(issuer.asked) == 1


async def test_a_renewal_makes_no_call_wait(issuer: Issuer, held: HeldToken) -> None:
    """From half of its life on a token is renewed in the background: calls go on with the old one until then."""
    await held.fetch()
    issuer.now_s += 12 * HOUR_S
    issuer.open.clear()
    assert [await token(held) for _ in range(3)] == ["token 1"] * 3
    await asyncio.sleep(0)
    assert len(issuer.asked) == 2
    issuer.open.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert await token(held) == "token 2"


async def test_a_renewal_that_fails_harms_nobody(issuer: Issuer, held: HeldToken) -> None:
    """While a good token is held a failed renewal is no error, and is tried again after a minute, not before."""
    await held.fetch()
    issuer.broken = True
    issuer.now_s += 12 * HOUR_S
    for _ in range(10):
        assert await token(held) == "token 1"
        await asyncio.sleep(0)
    assert len(issuer.asked) == 2
    issuer.now_s += 61
    assert await token(held) == "token 1"
    await asyncio.sleep(0)
    assert len(issuer.asked) == 3


@pytest.mark.parametrize("left_s", [61, 60, 59, 0, -5])
async def test_a_token_is_used_until_its_last_minute(issuer: Issuer, held: HeldToken, left_s: int) -> None:
    """A token with a minute left is sent; with less, a call waits for a new one."""
    await held.fetch()
    issuer.now_s += 24 * HOUR_S - left_s
    assert await token(held) == ("token 1" if left_s >= 60 else "token 2")


async def test_without_a_token_the_failure_is_told(issuer: Issuer, held: HeldToken) -> None:
    """Where there is no token the error of the one who was asked comes through, and the next call asks again."""
    issuer.broken = True
    for _ in range(2):
        with pytest.raises(ClientAuthenticationError):
            await token(held)
    issuer.broken = False
    assert await token(held) == "token 3"


async def test_who_gives_up_does_not_end_the_fetch(issuer: Issuer, held: HeldToken) -> None:
    """A call that is cancelled while it waits leaves the fetch to the others."""
    issuer.open.clear()
    impatient, patient = (asyncio.create_task(token(held)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    issuer.open.set()
    assert await patient == "token 1"
    assert len(issuer.asked) == 1


async def test_a_challenge_is_passed_on(issuer: Issuer, held: HeldToken) -> None:
    """What the service asks for beyond our token (claims, another tenant, another scope) is never answered with it."""
    await held.fetch()
    await held.get_token(STORAGE_SCOPE, claims="c")
    await held.get_token(STORAGE_SCOPE, tenant_id="t")
    await held.get_token("https://other/.default")
    assert issuer.asked[1:] == [
        ((STORAGE_SCOPE,), "c", None),
        ((STORAGE_SCOPE,), None, "t"),
        (("https://other/.default",), None, None),
    ]


@pytest.mark.parametrize("fetching", [False, True])
async def test_closing_ends_the_asking(issuer: Issuer, *, fetching: bool) -> None:
    """Closing ends a fetch that is under way, and closes the credential behind."""
    issuer.open.clear()
    async with HeldToken(issuer) as held:
        call = asyncio.create_task(token(held)) if fetching else None
        await asyncio.sleep(0)
    assert issuer.closed
    if call is not None:
        with pytest.raises(asyncio.CancelledError):
            await call
