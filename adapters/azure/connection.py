"""What all queues and stores of a process share on Azure: one HTTP session, one credential, one token.

    async with AzureConnection() as azure:
        queue = azure.queue("https://ACCOUNT.queue.core.windows.net/jobs")
        store = azure.store("https://ACCOUNT.blob.core.windows.net/jobs")
        await azure.fetch_token(timeout_s=60)

On Azure the VM's managed identity is asked for tokens, or the SDK's chain of credentials on a developer's machine, and
so it is for an Azurite over https. On one over http the published key is used, and the identity package is never
imported.

Over https the system's certificates are believed, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set: a
private cloud's own authority needs nothing else.
"""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import TYPE_CHECKING, Self

import aiohttp
from azure.core.credentials import AzureNamedKeyCredential

from adapters.azure.address import EMULATED_ACCOUNT, Address, parse_address
from adapters.azure.errors import answered
from adapters.azure.identity import Identity, keep_the_sdk_from_stderr, open_credential
from adapters.azure.transport import SharedTransport, open_session

if TYPE_CHECKING:
    from adapters.azure.queue import AzureQueue
    from adapters.azure.store import AzureStore
    from adapters.azure.tokens import HeldToken

_EMULATED_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""[https://learn.microsoft.com/azure/storage/common/storage-use-azurite, read 2026-11]"""


class AzureConnection:
    """Opens queues and stores; an async context manager that outlives all of them.

    Args:
        identity: who asks for tokens.
        client_id: which user-assigned identity, where the VM has several.
        trust: whom to believe over https, where that is not the process's default.
    """

    def __init__(
        self,
        *,
        identity: Identity = Identity.MANAGED,
        client_id: str | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._identity = identity
        self._client_id = client_id
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None
        self._token: HeldToken | None = None

    async def __aenter__(self) -> Self:
        keep_the_sdk_from_stderr()
        self._session = open_session(trust=self._trust)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            await self._token.close()
        if self._session is not None:
            await self._session.close()

    def queue(self, url: str, *, setting: str = "--queue") -> AzureQueue:
        """A client of the queue at `url`, which need not exist yet.

        Raises:
            ConfigurationError: the URL is not that of a queue; names `setting`.
        """
        from adapters.azure.queue import AzureQueue

        address = parse_address(url, "queue", setting=setting)
        return AzureQueue(address, credential=self._credential_for(address), transport=self._transport())

    def store(self, url: str, *, setting: str = "--store") -> AzureStore:
        """A client of the job store in the container at `url`, which need not exist yet.

        Raises:
            ConfigurationError: the URL is not that of a container; names `setting`.
        """
        from adapters.azure.store import AzureStore

        address = parse_address(url, "blob", setting=setting)
        return AzureStore(address, credential=self._credential_for(address), transport=self._transport())

    async def fetch_token(self, *, timeout_s: float) -> None:
        """Have a token before the first call needs one; does nothing where no client of ours needs one.

        Raises:
            DeniedError: the VM has no such identity.
            ReplyLostError: the metadata service did not answer in time.
        """
        if self._token is not None:
            await answered(self._token.fetch(), what="fetching a token", timeout_s=timeout_s)

    def _transport(self) -> SharedTransport:
        assert self._session is not None, "the connection is not open"
        return SharedTransport(self._session)

    def _credential_for(self, address: Address) -> AzureNamedKeyCredential | HeldToken:
        if not address.needs_token:
            return AzureNamedKeyCredential(EMULATED_ACCOUNT, _EMULATED_KEY)
        if self._token is None:
            self._token = self._open_token()
        return self._token

    def _open_token(self) -> HeldToken:
        from adapters.azure.tokens import HeldToken

        return HeldToken(open_credential(self._identity, self._client_id))
