"""Microsoft's own credential against the twin's tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError
from azure.identity.aio import ManagedIdentityCredential

from adapters.twin.profile import VmProfile
from adapters.twin.server import Twin, serve_twin

SCOPE = "https://storage.azure.com/.default"


@pytest.fixture
async def twin(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Twin]:
    """A twin to which azure-identity is pointed."""
    async with serve_twin() as twin:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", twin.url)
        yield twin


def claims_of(token: str) -> dict[str, object]:
    """The claims of a JWT, unverified."""
    header, claims, signature = token.split(".")
    assert signature
    assert json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))) == {"alg": "HS256", "typ": "JWT"}
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert isinstance(decoded, dict)
    return decoded


async def test_the_sdk_gets_a_token_for_storage(twin: Twin) -> None:
    """The system-assigned identity's token is one that storage and its emulator accept: audience, issuer and times."""
    async with ManagedIdentityCredential(use_env_settings=False) as credential:
        token = await credential.get_token(SCOPE)
    claims = claims_of(token.token)
    now = time.time()
    assert claims["aud"] == "https://storage.azure.com"
    assert str(claims["iss"]).startswith("https://sts.windows.net/")
    assert isinstance(claims["exp"], int)
    assert isinstance(claims["nbf"], int)
    assert isinstance(claims["iat"], int)
    assert claims["nbf"] <= now < claims["exp"]
    assert claims["iat"] <= now
    assert claims["exp"] == token.expires_on


async def test_the_sdk_gets_a_token_for_a_user_assigned_identity(twin: Twin) -> None:
    """An identity that is named is the one the token is for."""
    (client_id,) = VmProfile().client_ids
    async with ManagedIdentityCredential(client_id=client_id, use_env_settings=False) as credential:
        token = await credential.get_token(SCOPE)
    assert claims_of(token.token)["appid"] == client_id


async def test_an_identity_that_is_not_assigned_is_unavailable(twin: Twin) -> None:
    """The SDK reads the twin's refusal as Azure's: no such identity here."""
    async with ManagedIdentityCredential(client_id="nobody", use_env_settings=False) as credential:
        with pytest.raises(CredentialUnavailableError):
            await credential.get_token(SCOPE)


async def test_identities_can_be_refused_on_order(twin: Twin) -> None:
    """Under `refuse_identity` there is none, and after it there is again."""
    twin.order("fault", {"kind": "refuse_identity", "count": 1})
    async with ManagedIdentityCredential(use_env_settings=False) as credential:
        with pytest.raises(ClientAuthenticationError):
            await credential.get_token(SCOPE)
        assert (await credential.get_token(SCOPE)).token


async def test_a_short_life_is_a_short_life(twin: Twin) -> None:
    """A token's lifetime can be ordered, so that a worker's refresh can be watched."""
    twin.order("identity", {"token_lifetime_s": 60})
    async with ManagedIdentityCredential(use_env_settings=False) as credential:
        token = await credential.get_token(SCOPE)
    assert token.expires_on - time.time() <= 60
