"""Orders to a twin from anywhere: the command line, the demo, anyone's tests. Synchronous, standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import cast
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from adapters.twin.faults import Endpoint, FaultKind
from adapters.twin.wire import Json, TwinReport
from fsm.errors import BadReplyError, ConfigurationError, ReplyLostError

TIMEOUT_S = 5.0
"""The twin is on this machine and decides in microseconds."""


class TwinClient:
    """Gives orders to a running twin. Every method returns once the order is carried out.

    A field left at None keeps the twin's default. Every method raises:

    * ConfigurationError: the twin refused a field, or `url` is no URL;
    * ReplyLostError: nobody answers there;
    * BadReplyError: somebody does, who is no twin.

    Args:
        url: the twin's, as `spotfsm twin` prints it.
        timeout_s: for each order.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError("--url", f"{url!r:.200} is not a URL", "Give the URL that `spotfsm twin` printed.")
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._opener = build_opener(ProxyHandler({}))

    # -- events: each returns the event's id -----------------------------------------------------------------------

    def evict(
        self, *, notice_s: float | None = None, vm: str | Sequence[str] | None = None, started_s: float | None = None
    ) -> str:
        """Announce a Preempt.

        Args:
            notice_s: until it starts; 0 announces it as Started. 30 by default.
            vm: the name or names in its resources; the twin's own VM by default.
            started_s: how long it then stands before it disappears. 30 by default.
        """
        return self._announced("evict", notice_s, vm, {"started_s": started_s})

    def freeze(
        self,
        *,
        notice_s: float | None = None,
        duration_s: int | None = None,
        vm: str | Sequence[str] | None = None,
        started_s: float | None = None,
    ) -> str:
        """Announce a Freeze of `duration_s` (5 by default); it disappears `started_s` after its start, or as long."""
        return self._announced("freeze", notice_s, vm, {"duration_s": duration_s, "started_s": started_s})

    def reboot(self, *, notice_s: float | None = None, vm: str | Sequence[str] | None = None) -> str:
        return self._announced("reboot", notice_s, vm, {})

    def redeploy(self, *, notice_s: float | None = None, vm: str | Sequence[str] | None = None) -> str:
        return self._announced("redeploy", notice_s, vm, {})

    def terminate(self, *, notice_s: float | None = None, vm: str | Sequence[str] | None = None) -> str:
        return self._announced("terminate", notice_s, vm, {})

    def rebalance(self, *, notice_s: float | None = None, vm: str | Sequence[str] | None = None) -> str:
        """Announce a rebalance recommendation: advice, shown under api-version 2024-07-09 only."""
        return self._announced("rebalance", notice_s, vm, {})

    def withdraw(self, event_id: str | None = None) -> None:
        """Cancel one event, or all of them."""
        self.order("withdraw", {"event_id": event_id})

    # -- the VM ----------------------------------------------------------------------------------------------------

    def set_boot(self, boot_id: str | None = None, *, vm_id: str | None = None) -> str:
        """Come up anew and return the boot id, a fresh one by default: what was announced to this VM is over.

        With `vm_id`, as a recreated VM; without, as a redeployed or restarted one.
        """
        return self._text_of("boot", {"boot_id": boot_id, "vm_id": vm_id}, "boot_id")

    def set_identity(
        self,
        *,
        vm_id: str | None = None,
        name: str | None = None,
        priority: str | None = None,
        eviction_policy: str | None = None,
        system_assigned: bool | None = None,
        client_ids: Sequence[str] | None = None,
        token_lifetime_s: int | None = None,
    ) -> None:
        """Change who the twin says the VM is."""
        self.order(
            "identity",
            {
                "vm_id": vm_id,
                "name": name,
                "priority": priority,
                "eviction_policy": eviction_policy,
                "system_assigned": system_assigned,
                "client_ids": None if client_ids is None else list(client_ids),
                "token_lifetime_s": token_lifetime_s,
            },
        )

    # -- IMDS itself -----------------------------------------------------------------------------------------------

    def fault(
        self,
        kind: FaultKind | str,
        *,
        endpoint: Endpoint | str | None = None,
        for_s: float | None = None,
        count: int | None = None,
        delay_s: float | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        """Let IMDS misbehave: for a time, for a number of requests, or until `clear`."""
        self.order(
            "fault",
            {
                "kind": str(kind),
                "endpoint": None if endpoint is None else str(endpoint),
                "for_s": for_s,
                "count": count,
                "delay_s": delay_s,
                "retry_after_s": retry_after_s,
            },
        )

    def set_versions(self, newest: str | None = None, *, refusal_status: int | None = None) -> None:
        """Be a host that knows scheduled events up to `newest` only, and refuses newer ones with 400 or 404."""
        self.order("versions", {"newest": newest, "refusal_status": refusal_status})

    def clear(self) -> None:
        """No fault and no event any more."""
        self.order("clear")

    def state(self) -> TwinReport:
        """What stands, what was asked and what was acknowledged."""
        report = self._exchange("state", None)
        if not {"identity", "boot_id", "events", "requests"} <= report.keys():
            raise BadReplyError(f"{self.url} answers, but is no twin")
        return cast("TwinReport", report)

    # -- the wire --------------------------------------------------------------------------------------------------

    def order(self, order: str, fields: Mapping[str, Json] | None = None) -> Mapping[str, Json]:
        """Any order by its name; fields that are None are left out."""
        given = {name: value for name, value in (fields or {}).items() if value is not None}
        return self._exchange(order, json.dumps(given).encode())

    def _announced(
        self, order: str, notice_s: float | None, vm: str | Sequence[str] | None, more: Mapping[str, Json]
    ) -> str:
        resources = vm if vm is None or isinstance(vm, str) else list(vm)
        return self._text_of(order, {"notice_s": notice_s, "vm": resources, **more}, "event_id")

    def _text_of(self, order: str, fields: Mapping[str, Json], name: str) -> str:
        value = self.order(order, fields).get(name)
        if not isinstance(value, str):
            raise BadReplyError(f"{self.url} answered an order without {name}")
        return value

    def _exchange(self, path: str, content: bytes | None) -> Mapping[str, Json]:
        """GET without content, POST with it."""
        try:
            request = Request(f"{self.url}/twin/{path}", content, {"Content-Type": "application/json"})  # noqa: S310
            with self._opener.open(request, timeout=self._timeout_s) as response:
                body: bytes = response.read()
        except HTTPError as exc:
            with exc:
                raise self._refused(exc.code, exc.read()) from exc
        except (OSError, HTTPException) as exc:
            raise ReplyLostError(f"no twin answers at {self.url}: {exc}") from exc
        except ValueError as exc:
            raise ConfigurationError("--url", f"{self.url!r:.200} is not a URL ({exc})", "Give the twin's.") from exc
        return self._object(body)

    def _refused(self, status: int, body: bytes) -> ConfigurationError | BadReplyError:
        """The error the twin sent, as it was raised there."""
        parts = [self._object(body).get(name) for name in ("setting", "problem", "remedy")]
        match parts:
            case [str(setting), str(problem), str(remedy)]:
                return ConfigurationError(setting, problem, remedy)
            case _:
                return BadReplyError(f"{self.url} answered {status}: {body[:200].decode('utf-8', 'replace')}")

    def _object(self, body: bytes) -> Mapping[str, Json]:
        try:
            value: Json = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise BadReplyError(f"{self.url} answers, but is no twin") from exc
        if not isinstance(value, Mapping):
            raise BadReplyError(f"{self.url} answers, but is no twin")
        return value
