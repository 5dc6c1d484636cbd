"""Bearer tokens over TLS, as on Azure: Azurite with a certificate of its own, which checks the token's claims."""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit

import jwt
import pytest

from adapters.azure.connection import AzureConnection
from adapters.dev.certificate import Certificate, make_certificate
from fsm.errors import DeniedError, ReplyLostError
from fsm.record import Status
from tests.adapters.azure.loopback import Loopback, Reply
from tests.azurite import Azurite
from tests.contracts.records import record

TIMEOUT_S = 10.0
pytestmark = pytest.mark.azurite


@pytest.fixture
def grant(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the metadata service, which the SDK is pointed to, hand out tokens for an audience."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://{urlsplit(loopback.queue_url()).netloc}")
    for name in ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)

    def granting(audience: str) -> None:
        now_s = int(time.time())
        times = {"iat": now_s, "nbf": now_s, "exp": now_s + 3600}
        claims = {"aud": audience, "iss": f"https://sts.windows.net/{uuid.uuid4()}/", **times}
        token = jwt.encode(claims, "a key of nobody, 32 bytes or more")
        granted = {"access_token": token, "expires_in": "3600", "expires_on": str(now_s + 3600)}
        body = json.dumps({**granted, "resource": audience, "token_type": "Bearer"}).encode()
        loopback.always(Reply(headers={"content-type": "application/json"}, body=body))

    return granting


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1 that only its own authority vouches for."""
    return make_certificate(tmp_path_factory.mktemp("certificate"), names=["127.0.0.1"])


@pytest.fixture(scope="module")
def secure_azurite(certificate: Certificate) -> Iterator[Azurite]:
    with Azurite(certificate=certificate) as running:
        yield running


@pytest.fixture
async def secure_connection(certificate: Certificate) -> AsyncIterator[AzureConnection]:
    trust = ssl.create_default_context(cafile=certificate.authority)
    async with AzureConnection(trust=trust) as connection:
        yield connection


async def test_a_job_runs_on_a_token(
    secure_azurite: Azurite, secure_connection: AzureConnection, grant: Callable[[str], None], loopback: Loopback
) -> None:
    """Every call a job needs works over TLS with the one token that was fetched before."""
    grant("https://storage.azure.com")
    queue = secure_connection.queue(secure_azurite.queue_url("jobs"))
    store = secure_connection.store(secure_azurite.blob_url("records"))
    await secure_connection.fetch_token(timeout_s=TIMEOUT_S)
    await queue.create(timeout_s=TIMEOUT_S)
    await store.create(timeout_s=TIMEOUT_S)
    await queue.put("work", timeout_s=TIMEOUT_S)
    (message,) = await queue.receive(max_messages=1, visibility_timeout_s=60, timeout_s=TIMEOUT_S)
    receipt = await queue.renew(message.message_id, message.pop_receipt, visibility_timeout_s=60, timeout_s=TIMEOUT_S)
    version = await store.write("jobs", message.message_id, record(), expected=None, timeout_s=TIMEOUT_S)
    await store.write("jobs", message.message_id, record(Status.DONE), expected=version, timeout_s=TIMEOUT_S)
    await queue.delete(message.message_id, receipt, timeout_s=TIMEOUT_S)
    assert (await store.totals("jobs", timeout_s=TIMEOUT_S)).completed == 1
    assert len(loopback.requests) == 1


async def test_a_token_for_something_else_is_denied(
    secure_azurite: Azurite, secure_connection: AzureConnection, grant: Callable[[str], None]
) -> None:
    """A token that the service does not accept is a denial, for queue and store."""
    grant("https://vault.azure.net")
    with pytest.raises(DeniedError):
        await secure_connection.queue(secure_azurite.queue_url("jobs")).length(timeout_s=TIMEOUT_S)
    store = secure_connection.store(secure_azurite.blob_url("records"))
    with pytest.raises(DeniedError):
        await store.read("jobs", str(uuid.uuid4()), timeout_s=TIMEOUT_S)


async def test_a_stranger_is_not_trusted(
    secure_azurite: Azurite, connection: AzureConnection, grant: Callable[[str], None]
) -> None:
    """A certificate that nobody vouches for ends the call before anything is said; the remedy is named."""
    grant("https://storage.azure.com")
    with pytest.raises(ReplyLostError, match=r"certificate verify failed.*SSL_CERT_FILE"):
        await connection.queue(secure_azurite.queue_url("jobs")).length(timeout_s=TIMEOUT_S)
