"""JSON documents over HTTPS, asked for patiently: a refusal for now is asked again, a refusal for good is translated.

Money is `Decimal` from the first byte on: no number of a reply is ever a float.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Protocol, cast

import httpx

from fsm.errors import BadReplyError, ConfigurationError, ReplyLostError, SpotfsmError, ThrottledError

JsonObject = Mapping[str, object]

TRIES_MAX = 6
"""Requests for one document, the first included."""
FIRST_PAUSE_S = 2.0
"""After the first refusal; doubles with each, unless the service says how long it wants to be left alone."""
PAUSE_S_MAX = 60.0
"""The longest a service is waited for before the next try, whatever it asks for."""
CONNECT_TIMEOUT_S = 10.0
REPLY_TIMEOUT_S = 60.0
"""A page of the price list is about a megabyte."""
CONCURRENCY = 4
"""Requests under way at once. The price list's limits are not documented; twenty at once have been refused."""
_PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


OnWait = Callable[[str, float], None]
"""Is told what went wrong, and how many seconds are waited before the next try."""


class Refusal(Protocol):
    """What an answer other than 200 means, for the caller to raise."""

    def __call__(self, status: int, document: JsonObject) -> SpotfsmError: ...


@asynccontextmanager
async def open_client() -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client for services on the internet: proxies and authorities of the environment are believed."""
    timeout = httpx.Timeout(REPLY_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    async with httpx.AsyncClient(timeout=timeout, headers={"Accept": "application/json"}) as client:
        yield client


class Documents:
    """Asks one service.

    Args:
        client: shared, and closed by its owner.
        name: of the service, for messages.
        refusal: what its refusals mean.
        token: where the service wants one with each request.
        on_wait: told why, and for how many seconds, before each pause.
        pause: how time is spent between tries.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        name: str,
        refusal: Refusal,
        token: Callable[[], Awaitable[str]] | None = None,
        on_wait: OnWait | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._name = name
        self._refusal = refusal
        self._token = token
        self._on_wait = on_wait
        self._pause = pause
        self._at_once = asyncio.Semaphore(CONCURRENCY)

    async def get(self, url: str, parameters: Mapping[str, str] | None = None) -> JsonObject:
        """The document at `url`.

        Raises:
            ThrottledError, ReplyLostError: the service did not answer, however often it was asked.
            BadReplyError: what came is not a JSON object.
            SpotfsmError: what `refusal` makes of it.
        """
        return await self._ask("GET", url, parameters=parameters)

    async def post(self, url: str, body: JsonObject, parameters: Mapping[str, str] | None = None) -> JsonObject:
        """The answer to a question that is too long for an address; raises as `get` does."""
        return await self._ask("POST", url, parameters=parameters, body=body)

    async def _ask(
        self, method: str, url: str, *, parameters: Mapping[str, str] | None, body: JsonObject | None = None
    ) -> JsonObject:
        for attempt in range(1, TRIES_MAX + 1):
            headers = {} if self._token is None else {"Authorization": f"Bearer {await self._token()}"}
            try:
                async with self._at_once:
                    response = await self._client.request(method, url, params=parameters, json=body, headers=headers)
            except httpx.InvalidURL as exc:
                raise BadReplyError(f"{self._name}: {url!r:.200} is no address") from exc
            except httpx.HTTPError as exc:
                failure: SpotfsmError = ReplyLostError(
                    f"{self._name} does not answer: {' '.join(str(exc).split()) or type(exc).__name__}"
                )
                retry_after = ""
            else:
                if response.status_code not in _PASSING_STATUSES:
                    return self._document(response)
                retry_after = response.headers.get("Retry-After", "")
                failure = self._passing(response)
            if attempt < TRIES_MAX:
                pause_s = _pause_s(attempt, retry_after)
                if self._on_wait is not None:
                    self._on_wait(str(failure), pause_s)
                await self._pause(pause_s)
        raise failure

    def _passing(self, response: httpx.Response) -> SpotfsmError:
        if response.status_code in {429, 503}:
            return ThrottledError(f"{self._name} refuses for now ({response.status_code})")
        return ReplyLostError(f"{self._name} fails ({response.status_code})")

    def _document(self, response: httpx.Response) -> JsonObject:
        try:
            document = json.loads(response.content, parse_float=Decimal, parse_constant=_refused_constant)
        except ValueError as exc:
            if response.is_success:
                raise BadReplyError(f"{self._name} answered what is not JSON") from exc
            document = {}
        if not response.is_success:
            raise self._refusal(response.status_code, as_object(document))
        if not isinstance(document, dict):
            raise BadReplyError(f"{self._name} answered JSON that is no object")
        return document


def _pause_s(attempt: int, retry_after: str) -> float:
    """How long to wait: what the service asks for, or twice as long as the last time, give or take."""
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 6:
        return min(float(retry_after), PAUSE_S_MAX)
    longest = min(FIRST_PAUSE_S * 2 ** (attempt - 1), PAUSE_S_MAX)
    return random.uniform(longest / 2, longest)  # noqa: S311 -- spread, not secrecy


def _refused_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def checked_root(url: str, *, setting: str) -> str:
    """The root of a service, without its closing slash.

    Tokens travel to it, so it has to be https, or on this machine.

    Raises:
        ConfigurationError: it is no such URL.
    """
    remedy = "Give https://HOST, or leave it out for Azure's own."
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise ConfigurationError(setting, f"{url!r:.200} is no URL", remedy) from exc
    local = parts.host in {"127.0.0.1", "::1", "localhost"}
    if not parts.host or parts.query or parts.fragment or parts.userinfo or parts.scheme not in {"http", "https"}:
        raise ConfigurationError(setting, f"{url!r:.200} is not the root of a service", remedy)
    if parts.scheme == "http" and not local:
        raise ConfigurationError(setting, f"{url!r:.200} is not https", remedy)
    return url.rstrip("/")


# -- reading what has a shape ------------------------------------------------------------------------------------------


def as_object(value: object) -> JsonObject:
    """The value if it is an object, or an empty one: for what a service may leave out."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def as_list(value: object) -> Sequence[object]:
    """The value if it is a list, or an empty one."""
    return value if isinstance(value, list) else ()


def as_text(value: object) -> str:
    """The value if it is a text, or an empty one."""
    return value if isinstance(value, str) else ""


def as_decimal(value: object) -> Decimal | None:
    """The value if it is a finite number, or the text of one, exactly; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        number = Decimal(value)
    except ArithmeticError:
        return None
    return number if number.is_finite() else None
