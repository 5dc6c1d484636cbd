"""The connection: who it asks for tokens, what it imports, and what it keeps to itself."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from adapters.azure.connection import AzureConnection
from fsm.errors import ConfigurationError, DeniedError, ReplyLostError
from tests.adapters.azure.loopback import SILENT, Loopback, Reply
from tests.azurite import KEY

TIMEOUT_S = 10.0
AZURE_QUEUE = "https://things.queue.core.windows.net/jobs"
AZURE_STORE = "https://things.blob.core.windows.net/records"


def run_python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, to see what it imports and what it says."""
    command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True)


class TestImports:
    """A worker pays for what it uses."""

    PROGRAM = """
        import asyncio, sys
        from adapters.azure.connection import AzureConnection

        async def main():
            async with AzureConnection() as connection:
                for url in sys.argv[1:]:
                    connection.store(url) if "blob" in url or "records" in url else connection.queue(url)

        asyncio.run(main())
        print(*sys.modules)
    """

    def imported(self, *urls: str) -> set[str]:
        return set(run_python(self.PROGRAM, *urls).stdout.split())

    def test_azurite_needs_no_identity(self) -> None:
        """On Azurite the identity package, which takes longer to import than the rest, is left alone."""
        modules = self.imported(
            "http://127.0.0.1:1/devstoreaccount1/jobs", "http://127.0.0.1:1/devstoreaccount1/records"
        )
        assert {"azure.storage.queue.aio", "azure.storage.blob.aio"} <= modules
        assert not {"azure.identity", "msal", "adapters.azure.tokens"} & modules

    def test_a_queue_alone_needs_no_blobs(self) -> None:
        """A worker without a store does not import the blob package."""
        modules = self.imported(AZURE_QUEUE)
        assert {"azure.storage.queue.aio", "azure.identity.aio"} <= modules
        assert "azure.storage.blob" not in modules

    def test_an_address_needs_no_sdk(self) -> None:
        """Reading an address imports nothing of the SDK's."""
        said = run_python("import adapters.azure.address, sys; print(*sys.modules)").stdout.split()
        assert not [module for module in said if module.split(".")[0] in {"azure", "aiohttp"}]


class TestTheManagedIdentity:
    """Tokens, from a metadata service on loopback that the SDK is pointed to."""

    @pytest.fixture
    async def metadata(self, loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> Loopback:
        parts = urlsplit(loopback.queue_url())
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://{parts.netloc}")
        for name in ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_FEDERATED_TOKEN_FILE"):
            monkeypatch.delenv(name, raising=False)
        granted = {"access_token": "t0k3n", "expires_in": "86400", "expires_on": "4000000000", "token_type": "Bearer"}
        body = json.dumps({**granted, "resource": "https://storage.azure.com"}).encode()
        loopback.always(Reply(headers={"content-type": "application/json"}, body=body))
        return loopback

    async def test_one_token_for_queue_and_store(self, metadata: Loopback) -> None:
        """A token is fetched before any call, once for all clients, for storage and for the identity that was named."""
        async with AzureConnection(client_id="0-1-2") as connection:
            connection.queue(AZURE_QUEUE)
            connection.store(AZURE_STORE)
            for _ in range(2):
                await connection.fetch_token(timeout_s=TIMEOUT_S)
        (request,) = metadata.requests
        assert request.query["resource"] == "https://storage.azure.com"
        assert request.query["client_id"] == "0-1-2"
        assert request.headers["metadata"] == "true"

    async def test_no_proxy_sees_the_request(self, metadata: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
        """The metadata service is asked directly, whatever the environment says of proxies."""
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.delenv("no_proxy", raising=False)
        async with AzureConnection() as connection:
            connection.queue(AZURE_QUEUE)
            await connection.fetch_token(timeout_s=TIMEOUT_S)
        assert len(metadata.requests) == 1

    async def test_azurite_needs_no_token(self, metadata: Loopback) -> None:
        """Where only Azurite is used, and where nothing is used, fetching a token asks nobody."""
        async with AzureConnection() as connection:
            connection.queue(metadata.queue_url())
            connection.store(metadata.blob_url())
            await connection.fetch_token(timeout_s=TIMEOUT_S)
        assert metadata.requests == []

    async def test_a_vm_without_the_identity(self, metadata: Loopback) -> None:
        """An identity that the VM does not have is a denial."""
        body = b'{"error": "invalid_request", "error_description": "Identity not found"}'
        metadata.always(Reply(status=400, headers={"content-type": "application/json"}, body=body))
        async with AzureConnection() as connection:
            connection.queue(AZURE_QUEUE)
            with pytest.raises(DeniedError, match="fetching a token"):
                await connection.fetch_token(timeout_s=TIMEOUT_S)

    async def test_a_metadata_service_that_is_silent(self, metadata: Loopback) -> None:
        """A metadata service that does not answer is waited for as long as was said, and no longer."""
        metadata.always(SILENT)
        async with AzureConnection() as connection:
            connection.queue(AZURE_QUEUE)
            with pytest.raises(ReplyLostError):
                await connection.fetch_token(timeout_s=0.05)

    async def test_a_call_without_a_token_is_denied(self, metadata: Loopback) -> None:
        """A call that gets no token is a denial and is not sent."""
        body = b'{"error": "invalid_request", "error_description": "Identity not found"}'
        metadata.always(Reply(status=400, headers={"content-type": "application/json"}, body=body))
        async with AzureConnection() as connection:
            queue = connection.queue(AZURE_QUEUE)
            with pytest.raises(DeniedError):
                await queue.length(timeout_s=TIMEOUT_S)


class TestSecrets:
    """Keys and tokens stay where they are needed."""

    @pytest.fixture
    def everything_logged(self, caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
        with caplog.at_level(logging.DEBUG):
            yield caplog

    async def test_no_key_is_logged_or_shown(
        self, loopback: Loopback, everything_logged: pytest.LogCaptureFixture
    ) -> None:
        """Neither the key nor a signature made with it is in any log line, even with all of them on, or in a repr."""
        loopback.always(Reply.error(403, "AuthenticationFailed"))
        async with AzureConnection() as connection:
            queue = connection.queue(loopback.queue_url())
            with pytest.raises(DeniedError) as caught:
                await queue.length(timeout_s=TIMEOUT_S)
        signature = loopback.requests[0].headers["authorization"].split(":")[1]
        said = everything_logged.text + repr(connection) + repr(queue) + repr(vars(queue)) + str(caught.value)
        assert "127.0.0.1" in said
        assert KEY["account_key"] not in said
        assert signature not in said


async def test_the_sdk_says_nothing_to_the_user(loopback: Loopback) -> None:
    """A reply that the SDK cannot parse shows no traceback to a user who has not asked for logs."""
    program = """
        import asyncio, sys
        from adapters.azure.connection import AzureConnection
        from fsm.errors import SpotfsmError

        async def main():
            async with AzureConnection() as connection:
                try:
                    await connection.queue(sys.argv[1]).put("x", timeout_s=10)
                except SpotfsmError as exc:
                    print(type(exc).__name__)

        asyncio.run(main())
    """
    loopback.always(Reply(status=500, headers={"content-type": "application/xml"}))
    done = await asyncio.to_thread(run_python, program, loopback.queue_url())
    assert (done.stdout.strip(), done.stderr) == ("ReplyLostError", "")


@pytest.mark.parametrize("url", ["https://things.blob.core.windows.net/jobs", "sqlite:///jobs.db#jobs", "jobs"])
async def test_a_wrong_address_names_its_setting(connection: AzureConnection, url: str) -> None:
    """An address that is none is refused when the client is opened, by the name of its setting."""
    with pytest.raises(ConfigurationError, match="--poison-queue"):
        connection.queue(url, setting="--poison-queue")
