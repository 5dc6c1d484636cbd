"""Azure's price list and Resource Manager on loopback, as far as planning asks them: documents, pages, refusals."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol
from urllib.parse import parse_qs, quote, urlsplit

from tests.adapters.azure.planning.price_rows import Row

SUBSCRIPTION = "5a0c4b7e-0000-4000-8000-000000000001"
_CLAUSE = re.compile(r"(?P<name>\w+) eq '(?P<value>[^']*)'")
_COLUMNS = {"priceType": "type"}


Reply = tuple[int, object, Mapping[str, str]]
"""Status, document and headers."""


class Service(Protocol):
    """Answers some requests, and none of the others."""

    def answer(self, method: str, path: str, body: Mapping[str, object]) -> Reply | None: ...


@dataclass
class Refusal:
    """What is answered instead, for some requests."""

    status: int
    body: object = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = "/"
    """Which paths: those that hold this."""
    times: int = 1_000_000
    method: str = ""
    """Of all methods, unless one is named."""


@dataclass
class Cloud:
    """What the services would say; a test changes it at will.

    Attributes:
        url: of both.
        items: the price list.
        page_size, graph_page_size: of the list, and of Resource Graph's tables.
        loops_at: the page of the list whose next link names itself.
        down: the list's requests are hung up on.
        asked: method, path and query of each request.
        bodies: what was posted.
        tokens: what requests to Resource Manager brought.
        more: services of a subscription that are asked first.
    """

    url: str = ""
    items: list[Row] = field(default_factory=list)
    page_size: int = 1000
    graph_page_size: int = 1000
    loops_at: int | None = None
    next_host: str = ""
    down: bool = False
    skus: list[Mapping[str, object]] = field(default_factory=list)
    usages: list[Mapping[str, object]] = field(default_factory=list)
    histories: list[Mapping[str, object]] = field(default_factory=list)
    rates: list[Mapping[str, object]] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=lambda: [SUBSCRIPTION])
    refusals: list[Refusal] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    bodies: list[Mapping[str, object]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    more: list[Service] = field(default_factory=list)

    def pages(self) -> int:
        """How many pages of the price list were asked for."""
        return sum("/api/retail/prices" in asked for asked in self.asked)

    def refuse(
        self, status: int, code: str = "", message: str = "", *, path: str = "/", times: int = 1_000_000
    ) -> None:
        """Answer with an error as Resource Manager writes it."""
        body = {"error": {"code": code, "message": message}} if code else {}
        self.refusals.append(Refusal(status=status, body=body, path=path, times=times))

    # -- answering -----------------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, body: Mapping[str, object]) -> Reply:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        for refusal in self.refusals:
            if refusal.path in path and refusal.times and refusal.method in ("", method):
                refusal.times -= 1
                return refusal.status, refusal.body, refusal.headers
        if path == "/api/retail/prices":
            return self._prices(query)
        if path == "/subscriptions":
            return (
                200,
                {"value": [{"subscriptionId": one, "displayName": f"name of {one[-1]}"} for one in self.subscriptions]},
                {},
            )
        if path == "/providers/Microsoft.ResourceGraph/resources":
            return self._graph(body)
        if "/subscriptions/" in path and path.split("/")[2] not in self.subscriptions:
            return (
                404,
                {"error": {"code": "SubscriptionNotFound", "message": "The subscription could not be found."}},
                {},
            )
        for service in self.more:
            if (reply := service.answer(method, path, body)) is not None:
                return reply
        if path.endswith("/Microsoft.Compute/skus"):
            return self._listed(self.skus, path, query)
        if path.endswith("/usages"):
            return 200, {"value": self.usages}, {}
        return 404, {"error": {"code": "NotFound", "message": path}}, {}

    def _prices(self, query: Mapping[str, Sequence[str]]) -> Reply:
        text = query.get("$filter", [""])[0]
        clauses = [_CLAUSE.fullmatch(part) for part in text.split(" and ")]
        if not all(clauses) or query.get("currencyCode", ["'USD'"]) != ["'USD'"]:
            return 400, {"Error": {"Code": "BadRequest", "Message": "Invalid OData parameters supplied"}}, {}
        found = list(self.items)
        for clause in clauses:
            assert clause is not None
            column = _COLUMNS.get(clause["name"], clause["name"])
            kinds = {clause["value"], "DevTestConsumption", "Reservation"} if column == "type" else {clause["value"]}
            found = [item for item in found if item[column] in kinds]  # the real filter lets some types through
        start = int(query.get("$skip", ["0"])[0])
        page, rest = found[start : start + self.page_size], found[start + self.page_size :]
        number = start // self.page_size + 1
        here = number if self.loops_at == number else number + 1
        link = (
            f"{self.next_host or self.url}/api/retail/prices?$filter={quote(text)}&$skip={(here - 1) * self.page_size}"
        )
        document = {
            "BillingCurrency": "USD",
            "CustomerEntityId": "Default",
            "CustomerEntityType": "Retail",
            "Items": page,
            "NextPageLink": link if rest or self.loops_at == number else None,
            "Count": len(page),
        }
        return 200, document, {}

    def _graph(self, body: Mapping[str, object]) -> Reply:
        self.bodies.append(body)
        query = str(body["query"])
        rows = self.histories if "skuspotpricehistory" in query else self.rates
        named = [row for row in rows if f"'{row['size']}'" in query and f"'{row['region']}'" in query]
        shown = [] if body.get("subscriptions") else named  # with a subscription these tables are empty
        options = body.get("options")
        start = int(options.get("$skipToken", 0)) if isinstance(options, dict) else 0
        page = shown[start : start + self.graph_page_size]
        document: dict[str, object] = {"totalRecords": len(shown), "count": len(page), "data": page}
        if start + len(page) < len(shown):
            document["$skipToken"] = str(start + len(page))
        return 200, {**document, "resultTruncated": "false"}, {}

    def _listed(self, values: Sequence[Mapping[str, object]], path: str, query: Mapping[str, Sequence[str]]) -> Reply:
        """A list of Resource Manager's, two values a page."""
        start = int(query.get("$skiptoken", ["0"])[0])
        more = len(values) > start + 2
        document: dict[str, object] = {"value": values[start : start + 2]}
        if more:
            document["nextLink"] = f"{self.url}{path}?api-version=2021-07-01&$skiptoken={start + 2}"
        return 200, document, {}


def history_row(
    size: str, region: str, *prices: tuple[str, float], time_name: str = "effectiveDate"
) -> dict[str, object]:
    """A row of the history table, the newest price first."""
    entries = [{"priceUSD": price, time_name: at} for at, price in prices]
    return {"id": f"{size}/{region}", "size": size.lower(), "region": region, "prices": entries}


def rate_row(size: str, region: str, rate: str) -> dict[str, object]:
    """A row of the eviction table."""
    return {"id": f"{size}/{region}", "size": size.lower(), "region": region, "rate": rate}


def sku(
    name: str, region: str, cores: int, memory_gib: float, *, spot: bool = True, closed: str = "", **traits: str
) -> dict[str, object]:
    """A VM size as Resource Manager lists it; `closed` is `Location`, or the zone that the subscription may not use."""
    restriction = {
        "type": "Location" if closed == "Location" else "Zone",
        "values": [region],
        "restrictionInfo": {"locations": [region], **({} if closed == "Location" else {"zones": [closed]})},
        "reasonCode": "NotAvailableForSubscription",
    }
    capabilities = {
        "vCPUs": str(cores),
        "MemoryGB": f"{memory_gib:g}",
        "LowPriorityCapable": str(spot),
        "CpuArchitectureType": "x64",
        **traits,
    }
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "tier": "Standard",
        "size": name.removeprefix("Standard_"),
        "family": "standardDSv5Family",
        "locations": [region],
        "locationInfo": [{"location": region, "zones": ["3", "1", "2"], "zoneDetails": []}],
        "capabilities": [{"name": key, "value": value} for key, value in capabilities.items()],
        "restrictions": [restriction] if closed else [],
    }


@contextmanager
def serve_cloud() -> Iterator[Cloud]:
    """A cloud that answers until the end of the block."""
    cloud = Cloud()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            cloud.asked.append(f"{self.command} {self.path}")
            if cloud.down and self.path.startswith("/api/retail"):
                self.close_connection = True
                return
            if not self.path.startswith("/api/retail"):
                token = self.headers.get("Authorization", "")
                cloud.tokens.add(token)
                if not token.startswith("Bearer "):
                    self._reply(401, {"error": {"code": "AuthenticationFailed", "message": "no token"}}, {})
                    return
            self._reply(*cloud.answer(self.command, self.path, body))

        def _reply(self, status: int, document: object, headers: Mapping[str, str]) -> None:
            content = document.encode() if isinstance(document, str) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if status != 204:
                self.wfile.write(content)

        do_GET: Callable[[Handler], None] = _serve  # noqa: N815 -- the library's names
        do_POST: Callable[[Handler], None] = _serve  # noqa: N815
        do_PATCH: Callable[[Handler], None] = _serve  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
