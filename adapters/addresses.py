"""Where a user says that things are: one queue, its poison queue, and one store.

Addresses are URLs: `sqlite:///FILE#NAME` for the embedded queue and `sqlite:///FILE` for the embedded store (a fourth
slash begins an absolute path), `https://ACCOUNT.queue.core.windows.net/NAME` and
`https://ACCOUNT.blob.core.windows.net/CONTAINER` on Azure, `http://127.0.0.1:PORT/devstoreaccount1/NAME` on Azurite, or
https there, with a token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.host.disks import KeptFile
from fsm.errors import ConfigurationError

if TYPE_CHECKING:
    from adapters.azure.address import Address as AzureAddress
    from adapters.azure.address import Service

DEFAULT_QUEUE = "sqlite:///spotfsm.db#jobs"
DEFAULT_QUEUE_NAME = "jobs"
NONE = "none"
"""What `--store` and `--imds` take for "do without"."""
POISON_SUFFIX = "-poison"
_SQLITE_SCHEME = "sqlite:"
_SQLITE_REMEDY = "Write sqlite:///FILE#NAME for a queue and sqlite:///FILE for a store."
_NAME = re.compile(r"(?=.{3,56}\Z)[a-z0-9]+(-[a-z0-9]+)*")
"""As on Azure, with room for the poison queue's suffix: what works embedded works there too."""


class Credential(StrEnum):
    """Who asks Azure for tokens."""

    MANAGED_IDENTITY = "managed-identity"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteAddress:
    """A queue in an SQLite file, or, with the empty name, the store in it."""

    file: Path
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageAddresses:
    """Where the messages and the records are.

    Attributes:
        store: None for a worker without a job store.
        client_id: which user-assigned identity, where the VM has several.
    """

    queue: SqliteAddress | AzureAddress
    poison_queue: SqliteAddress | AzureAddress
    store: SqliteAddress | AzureAddress | None
    credential: Credential = Credential.MANAGED_IDENTITY
    client_id: str | None = None

    @property
    def embedded(self) -> bool:
        """Whether the queue is the embedded one."""
        return isinstance(self.queue, SqliteAddress)

    @property
    def on_azure(self) -> bool:
        """Whether the queue is Azure's own, reached from a VM with IMDS."""
        return not isinstance(self.queue, SqliteAddress) and not self.queue.emulated

    @property
    def needs_token(self) -> bool:
        """Whether something of it is asked with a token: all of Azure, and an Azurite over https."""
        return any(
            address is not None and not isinstance(address, SqliteAddress) and address.needs_token
            for address in (self.queue, self.store)
        )

    @property
    def without_store(self) -> str | None:
        """What a worker without a store gives up, in one line; None with one."""
        if self.store is not None:
            return None
        return (
            "--store: none, so that checkpoints are not kept, a job's result is not recorded, and an eviction counts "
            "as a failed try. Name a container to have them."
        )

    @property
    def files(self) -> tuple[KeptFile, ...]:
        """The SQLite files, each once."""
        found: dict[Path, KeptFile] = {}
        for setting, address, holds in (
            ("--queue", self.queue, "the messages"),
            ("--store", self.store, "the records"),
        ):
            if isinstance(address, SqliteAddress) and address.file not in found:
                found[address.file] = KeptFile(setting=setting, path=address.file, holds=holds, shared=True)
        return tuple(found.values())


def find_storage(
    queue: str | None,
    store: str | None,
    *,
    credential: Credential = Credential.MANAGED_IDENTITY,
    client_id: str | None = None,
) -> StorageAddresses:
    """The addresses that two settings mean.

    Args:
        queue: a URL, or None for the embedded default.
        store: a URL, `none`, or None for the queue's own file where it is one; an Azure queue then has no store.
        credential: who asks Azure for tokens.
        client_id: which user-assigned identity asks.

    Raises:
        ConfigurationError: a URL cannot be an address.
    """
    queue_address = _queue_address(queue or DEFAULT_QUEUE)
    store_address: SqliteAddress | AzureAddress | None = None
    if store is not None and store.lower() != NONE:
        store_address = _store_address(store)
    elif store is None and isinstance(queue_address, SqliteAddress):
        store_address = SqliteAddress(file=queue_address.file, name="")
    return StorageAddresses(
        queue=queue_address,
        poison_queue=_poison_address(queue_address),
        store=store_address,
        credential=credential,
        client_id=client_id,
    )


def _queue_address(url: str) -> SqliteAddress | AzureAddress:
    if not url.startswith(_SQLITE_SCHEME):
        return _azure_address(url, "queue", "--queue")
    file, name = _sqlite_parts(url, "--queue")
    name = name or DEFAULT_QUEUE_NAME
    if not _NAME.fullmatch(name):
        remedy = "Use 3 to 56 lower-case letters, digits and single hyphens, a letter or digit at both ends."
        raise ConfigurationError("--queue", f"{name!r:.100} cannot be the name of a queue", remedy)
    return SqliteAddress(file=file, name=name)


def _store_address(url: str) -> SqliteAddress | AzureAddress:
    if not url.startswith(_SQLITE_SCHEME):
        return _azure_address(url, "blob", "--store")
    file, name = _sqlite_parts(url, "--store")
    if name:
        problem = f"a store has no name, and {url!r:.200} gives it one"
        raise ConfigurationError("--store", problem, _SQLITE_REMEDY)
    return SqliteAddress(file=file, name="")


def _sqlite_parts(url: str, setting: str) -> tuple[Path, str]:
    """The file, as an absolute path, and what follows the `#`."""
    location, _, name = url.removeprefix(_SQLITE_SCHEME).partition("#")
    path = location.removeprefix("///")
    if path == location or not path or path.endswith("/") or "\0" in path or "?" in path:
        raise ConfigurationError(setting, f"{url!r:.200} names no file", _SQLITE_REMEDY)
    try:
        return Path(path).resolve(), name
    except (OSError, ValueError, RuntimeError) as exc:  # a loop of links, or what no file system can name
        raise ConfigurationError(setting, f"{url!r:.200} names no file ({exc})", _SQLITE_REMEDY) from exc


def _azure_address(url: str, service: Service, setting: str) -> AzureAddress:
    """The address on Azure or Azurite; anything that is neither gets an answer that repeats no secret."""
    if not url.startswith(("https://", "http://")):
        shown = url.partition("://")[0] + "://..." if "://" in url else "what it says"
        remedy = "Write sqlite:///FILE#NAME, https://ACCOUNT.queue.core.windows.net/NAME, or Azurite's address."
        if service == "blob":
            remedy = "Write sqlite:///FILE, https://ACCOUNT.blob.core.windows.net/CONTAINER, or none."
        raise ConfigurationError(setting, f"{shown!s:.40} is no address of a {service}", remedy)
    from adapters.azure.address import parse_address

    return parse_address(url, service, setting=setting)


def _poison_address(queue: SqliteAddress | AzureAddress) -> SqliteAddress | AzureAddress:
    """The poison queue's, beside the queue."""
    name = queue.name + POISON_SUFFIX
    if isinstance(queue, SqliteAddress):
        return SqliteAddress(file=queue.file, name=name)
    if len(name) > 63:
        problem = f"{queue.name!r} leaves no room for {POISON_SUFFIX!r}, the name of its poison queue"
        raise ConfigurationError("--queue", problem, "Use a name of up to 56 characters.")
    return _azure_address(f"{queue.account_url}/{name}", "queue", "--queue")
