"""Azure's role-based access, which Azurite does not have: a proxy that lets pass what a role permits.

[https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory, read 2026-11]
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from urllib.parse import parse_qs, urlsplit

from adapters.cli.permissions import Needs, Permission
from adapters.dev.azurite import ACCOUNT, Azurite
from tests.proxy.faults import Fault, Kind, Weather
from tests.proxy.server import faulty

DENIED = Fault(kind=Kind.DENIED, status=403, code="AuthorizationPermissionMismatch")
_MESSAGE_DELETE = "messages/delete"
"""A right that no command needs: who may process may delete."""
_MESSAGES = re.compile(r"(?P<queue>[^/]+)/messages(?P<one>/[0-9a-f-]{36})?")

Grants = Mapping[str, Collection[str]]
"""What is permitted, by the name of the queue or container."""


class Guard(Weather):
    """Denies what no role grants, and remembers what was used, each with the name that it was used on.

    Args:
        service: `queue` or `blob`.
        grants: what is permitted where.
    """

    def __init__(self, service: str, grants: Grants) -> None:
        super().__init__(random.Random(0))
        self._permissions = _queue_permissions if service == "queue" else _blob_permissions
        self._grants = grants
        self.used: set[tuple[str, Permission]] = set()
        self.denied: set[tuple[str, Permission]] = set()

    def strike(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        name, ways = self._permissions(method, parts.path.removeprefix(f"/{ACCOUNT}/"), query, headers)
        granted = self._grants.get(name, ())
        way = next((way for way in ways if set(way) <= set(granted)), None)
        if way is not None:
            self.used |= {(name, Permission(right)) for right in way}
            return None
        self.denied.add((name, Permission(ways[0][0])))
        return DENIED


Ways = Sequence[Sequence[str]]
"""Each way is enough, and all of a way is needed."""


def _queue_permissions(
    method: str, path: str, query: Mapping[str, str], _headers: Mapping[str, str]
) -> tuple[str, Ways]:
    messages = _MESSAGES.fullmatch(path)
    if messages is None:
        return path, [[Permission.COUNT_MESSAGES if method == "GET" else Permission.CREATE_QUEUES]]
    name, one = messages["queue"], messages["one"] is not None
    match method, one:
        case "GET", False if query.get("peekonly") == "true":
            return name, [[Permission.LOOK_AT_MESSAGES]]
        case "GET", False:
            return name, [[Permission.PROCESS_MESSAGES], [_MESSAGE_DELETE, Permission.LOOK_AT_MESSAGES]]
        case "POST", False:
            return name, [[Permission.PUT_MESSAGES], [Permission.WRITE_MESSAGES]]
        case "PUT", True:
            return name, [[Permission.WRITE_MESSAGES]]
        case "DELETE", True:
            return name, [[Permission.PROCESS_MESSAGES], [_MESSAGE_DELETE]]
    raise AssertionError(f"no command does this: {method} {path}")


def _blob_permissions(
    method: str, path: str, query: Mapping[str, str], _headers: Mapping[str, str]
) -> tuple[str, Ways]:
    name = path.partition("/")[0]
    if query.get("restype") == "container":
        return name, [[Permission.READ_BLOBS if query.get("comp") == "list" else Permission.CREATE_CONTAINERS]]
    match method:
        case "GET" | "HEAD":
            return name, [[Permission.READ_BLOBS]]
        case "PUT":
            return name, [[Permission.WRITE_BLOBS]]
        case "DELETE":
            return name, [[Permission.DELETE_BLOBS]]
    raise AssertionError(f"no command does this: {method} {path}")


class Guarded:
    """Storage behind guards: where it is, and what was used of it.

    Attributes:
        options: the options that name queue and store.
    """

    def __init__(self, options: Sequence[str], queue: Guard, blob: Guard, name: str) -> None:
        self.options = options
        self._guards = (queue, blob)
        self._name = name

    @property
    def used(self) -> Needs:
        """What was used, as `NEEDS` has it."""
        return self._needs({one for guard in self._guards for one in guard.used})

    @property
    def denied(self) -> Needs:
        """What would have been used."""
        return self._needs({one for guard in self._guards for one in guard.denied})

    def _needs(self, rights: Collection[tuple[str, Permission]]) -> Needs:
        def on(place: str) -> tuple[Permission, ...]:
            return tuple(right for right in Permission if (place, right) in rights)

        return Needs(queue=on(self._name), poison_queue=on(f"{self._name}-poison"), container=on(f"{self._name}-store"))


@contextmanager
def guarded(azurite: Azurite, name: str, needs: Needs) -> Iterator[Guarded]:
    """The queue `name` and the container `name-store`, for somebody who is granted this and nothing else."""
    grants: Grants = {name: needs.queue, f"{name}-poison": needs.poison_queue, f"{name}-store": needs.container}
    queue, blob = Guard("queue", grants), Guard("blob", grants)
    with ExitStack() as stack:
        roots = []
        for url, guard in ((azurite.queue_url(name), queue), (azurite.blob_url(f"{name}-store"), blob)):
            parts = urlsplit(url)
            root = stack.enter_context(faulty(f"{parts.scheme}://{parts.netloc}", guard))
            roots.append(f"{root}{parts.path}")
        yield Guarded(("--queue", roots[0], "--store", roots[1]), queue, blob, name)
