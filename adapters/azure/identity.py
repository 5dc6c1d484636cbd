"""Who asks Azure for tokens."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


class Identity(StrEnum):
    """Who asks Azure for tokens."""

    MANAGED = "managed"
    """The identity that was assigned to the VM."""
    DEVELOPER = "developer"
    """Whoever the SDK's chain finds: environment, Azure CLI, and so on. Slow, and not for a Spot VM."""


def open_credential(identity: Identity, client_id: str | None) -> AsyncTokenCredential:
    """The SDK's credential; the caller closes it.

    Args:
        identity: who asks.
        client_id: which user-assigned identity, where the VM has several.
    """
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    match identity:
        case Identity.MANAGED:
            # A proxy in the environment must not see, and cannot answer, a request to the metadata service.
            return ManagedIdentityCredential(client_id=client_id, use_env_settings=False)
        case Identity.DEVELOPER:
            return DefaultAzureCredential(managed_identity_client_id=client_id)


def keep_the_sdk_from_stderr() -> None:
    """The SDK logs what it raises as well, with tracebacks; without a handler Python shows them to the user.

    Whoever configures logging still gets them.
    """
    logger = logging.getLogger("azure")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
