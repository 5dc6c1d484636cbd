"""Addresses of queues and containers, as a user types them.

On Azure `https://ACCOUNT.queue.core.windows.net/NAME` and `https://ACCOUNT.blob.core.windows.net/CONTAINER`, and the
hosts of the other clouds; on Azurite `http://127.0.0.1:PORT/devstoreaccount1/NAME`, with its published key, or
`https://127.0.0.1:PORT/devstoreaccount1/NAME`, with a token as on Azure. An address never carries a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from fsm.errors import ConfigurationError

EMULATED_ACCOUNT = "devstoreaccount1"
"""The account every Azurite has.
[https://learn.microsoft.com/azure/storage/common/storage-use-azurite, read 2026-11]"""

Service = Literal["queue", "blob"]

_HOST = re.compile(r"[a-z0-9]{3,24}(\.[a-z0-9-]+)?\.(?P<service>queue|blob)\.[a-z0-9.-]+")
_NAME = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)*")
"""Queues and containers have the same rules for names.
[https://learn.microsoft.com/rest/api/storageservices/naming-queues-and-metadata, read 2026-11]"""
_EXAMPLES: dict[Service, str] = {
    "queue": "https://ACCOUNT.queue.core.windows.net/NAME",
    "blob": "https://ACCOUNT.blob.core.windows.net/CONTAINER",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One queue or one container.

    Attributes:
        account_url: what an SDK client is opened with, without a slash at the end.
        name: the queue's or the container's name.
        emulated: whether it is Azurite or Azure.
    """

    account_url: str
    name: str
    emulated: bool

    @property
    def needs_token(self) -> bool:
        """Whether calls carry a token: everywhere but on an Azurite without TLS, where none may be sent.

        There its key, which everybody knows, will do. One with TLS has to be started with `--oauth basic`.
        """
        return not (self.emulated and self.account_url.startswith("http://"))


def parse_address(url: str, service: Service, *, setting: str) -> Address:
    """The queue or container that a URL names.

    Args:
        url: as typed.
        service: what it has to be.
        setting: where it was typed (`--queue`), for the error.

    Raises:
        ConfigurationError: it is not such an address. What follows a `?` is never repeated: it may be a secret.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise _refused(setting, service, f"this is no URL ({exc})") from exc
    if parts.query or parts.fragment or parts.username is not None:
        remedy = f"Write {_EXAMPLES[service]} and give the worker's identity a role on it."
        raise ConfigurationError(setting, "an address carries no key, signature or password", remedy)
    segments = parts.path.strip("/").split("/")
    emulated = segments[0] == EMULATED_ACCOUNT
    name = segments[-1]
    if len(segments) != (2 if emulated else 1):
        raise _refused(setting, service, f"{url} does not name one {_noun(service)}")
    if not _NAME.fullmatch(name):
        remedy = "Use 3 to 63 lower-case letters, digits and single hyphens, a letter or digit at both ends."
        raise ConfigurationError(setting, f"{name!r} cannot be the name of a {_noun(service)}", remedy)
    if not emulated:
        _require_azure(parts, service, setting)
    account_path = f"/{EMULATED_ACCOUNT}" if emulated else ""
    return Address(account_url=f"{parts.scheme}://{parts.netloc}{account_path}", name=name, emulated=emulated)


def _require_azure(parts: SplitResult, service: Service, setting: str) -> None:
    """A host of the right service, and a connection that may carry a token."""
    host = _HOST.fullmatch(parts.hostname or "")
    if host is None:
        raise _refused(setting, service, f"{parts.hostname!r} is not a host of Azure Storage")
    if host["service"] != service:
        raise _refused(setting, service, f"{parts.hostname} serves {host['service']}s, not {service}s")
    if parts.scheme != "https":
        raise _refused(setting, service, f"{parts.hostname} is reached over https only")


def _refused(setting: str, service: Service, problem: str) -> ConfigurationError:
    return ConfigurationError(setting, problem, f"Write {_EXAMPLES[service]}.")


def _noun(service: Service) -> str:
    return "queue" if service == "queue" else "container"
