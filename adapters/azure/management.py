"""Azure Resource Manager: a token for it, and what its refusals mean to the one who asked.

A refusal is an error code in a body, often inside another one: the innermost is the cause. What the user can put right
names the setting and the remedy; everything else is the platform's. One table says which (`REMEDIES`).
[https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors, read 2026-11]
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from azure.core.exceptions import AzureError, ClientAuthenticationError

from adapters.azure.identity import Identity, keep_the_sdk_from_stderr, open_credential
from fsm.errors import ConfigurationError, PlatformError, ReplyLostError, SpotfsmError, ThrottledError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential

ARM_URL = "https://management.azure.com"
ARM_SCOPE = "https://management.azure.com/.default"
TOKEN_TIMEOUT_S = 60.0
"""The Azure CLI, which the SDK's chain may have to ask, takes seconds to start."""
_LEFT_S_MIN = 120.0
"""A token with less left than this is not sent any more."""
_FORBIDDEN = re.compile(r"perform action '(?P<action>[^']+)' over scope '(?P<scope>[^']+)'")
_SIGN_IN = "Run `az login`, or name another --credential."


@dataclass(frozen=True, slots=True)
class _Remedy:
    setting: str
    problem: str
    remedy: str


_TOKEN = _Remedy("--credential", "Azure does not accept the token", "Sign in again: `az login`.")
_SUBSCRIPTION = _Remedy("--subscription", "Azure knows no such subscription", "`az account list` names those you have.")
_REGION = _Remedy(
    "--region", "Azure knows no such region here", "`az account list-locations --query [].name` names them."
)
REMEDIES: Mapping[str, _Remedy] = {
    "ExpiredAuthenticationToken": _Remedy("--credential", "the login has expired", _TOKEN.remedy),
    "InvalidAuthenticationToken": _TOKEN,
    "InvalidAuthenticationTokenTenant": _Remedy(
        "--credential",
        "the login is for another tenant than the subscription",
        "Sign in there: `az login --tenant ID`.",
    ),
    "AuthenticationFailed": _TOKEN,
    "SubscriptionNotFound": _SUBSCRIPTION,
    "InvalidSubscriptionId": _SUBSCRIPTION,
    "ReadOnlyDisabledSubscription": _Remedy("--subscription", "it is disabled", "Enable it, or name another."),
    "MissingSubscriptionRegistration": _Remedy(
        "--subscription", "it is not registered for compute", "`az provider register --namespace Microsoft.Compute`."
    ),
    "NoRegisteredProviderFound": _REGION,
    "LocationNotAvailableForResourceType": _REGION,
    "LocationNotAvailableForResourceGroup": _REGION,
    "InvalidLocation": _REGION,
    "ResourceGroupNotFound": _Remedy("--resource-group", "there is none of this name", "`az group list` names them."),
}
"""By error code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The innermost cause of a refusal."""

    code: str
    message: str


def root_cause(document: Mapping[str, object]) -> Fault:
    """The innermost error of a body such as `{"error": {"code", "message", "details": [{...}]}}`."""
    error: object = document.get("error", document)
    fault = Fault(code="", message="")
    for _ in range(10):  # a body is a few levels deep
        if not isinstance(error, dict):
            break
        code, message = error.get("code"), error.get("message")
        if isinstance(code, str) and code:
            fault = Fault(code=code, message=message if isinstance(message, str) else "")
        details = error.get("details")
        inner = [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []
        error = next((item for item in inner if item.get("code")), None)
    return fault


def refusal(status: int, document: Mapping[str, object]) -> SpotfsmError:
    """What a reply of this status says, for the caller to raise."""
    return meaning(status, root_cause(document))


def meaning(status: int | None, fault: Fault) -> SpotfsmError:
    """What this fault means to whoever asked."""
    if (known := REMEDIES.get(fault.code)) is not None:
        return ConfigurationError(known.setting, f"{known.problem} ({fault.code})", known.remedy)
    if status == 401:
        return ConfigurationError(_TOKEN.setting, f"{_TOKEN.problem} ({fault.code or status})", _TOKEN.remedy)
    if status == 403:
        return _forbidden(fault)
    replied = f" ({status})" if status is not None and status >= 300 else ""  # or else an operation told of it
    text = f"Azure refuses: {fault.code or 'no code'}{replied}: {' '.join(fault.message.split()) or 'no text'}"
    if status in {429, 503}:
        return ThrottledError(text)
    return PlatformError(text)


def _forbidden(fault: Fault) -> ConfigurationError:
    found = _FORBIDDEN.search(fault.message)
    if found is None:
        problem = f"the identity may not do this ({fault.code or 403})"
        return ConfigurationError("--credential", problem, "Give it a role; a new one takes minutes to arrive.")
    role = "the role Reader" if found["action"].endswith("/read") else "a role with this action"
    problem = f"the identity lacks {found['action']} on {found['scope']}"
    return ConfigurationError("--credential", problem, f"Give it {role} there; a new one takes minutes to arrive.")


class ArmToken:
    """A token for Azure Resource Manager, asked for once while it is good. An async context manager.

    Args:
        identity: who asks.
        client_id: which user-assigned identity, where the VM has several.
    """

    def __init__(self, identity: Identity, *, client_id: str | None = None) -> None:
        self._identity = identity
        self._client_id = client_id
        self._credential: AsyncTokenCredential | None = None
        self._token: AccessToken | None = None
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        keep_the_sdk_from_stderr()
        self._credential = open_credential(self._identity, self._client_id)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._credential is not None:
            await self._credential.close()

    async def __call__(self) -> str:
        """The token.

        Raises:
            ConfigurationError: nobody is signed in, or the login has expired.
            ReplyLostError: whoever gives tokens does not answer.
        """
        assert self._credential is not None, "the credential is not open"
        async with self._one_at_a_time:
            if self._token is None or self._token.expires_on - time.time() < _LEFT_S_MIN:
                try:
                    async with asyncio.timeout(TOKEN_TIMEOUT_S):
                        self._token = await self._credential.get_token(ARM_SCOPE)
                except ClientAuthenticationError as exc:
                    raise _unsigned(exc) from exc
                except (AzureError, TimeoutError) as exc:
                    text = " ".join(str(exc).split()) or f"no reply within {TOKEN_TIMEOUT_S:g} s"
                    raise ReplyLostError(f"a token cannot be had: {text:.200}") from exc
            return self._token.token


def _unsigned(error: ClientAuthenticationError) -> ConfigurationError:
    """Why there is no token: an answer of the directory is an expired or refused login, anything else is none."""
    refused = re.search(r"AADSTS\d+", str(error))
    if refused is not None:
        return ConfigurationError("--credential", f"the login has expired or is refused ({refused[0]})", _TOKEN.remedy)
    return ConfigurationError("--credential", "nobody is signed in to Azure", _SIGN_IN)
