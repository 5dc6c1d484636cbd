"""The Retail Prices API: what a size costs in a region, as Spot and pay-as-you-go.

The list has many rows for one size: Spot, low priority (Batch), Windows, Cloud Services, hosts, placeholders of price
0, prices of the past and of the future, and several meters. So rows are told apart by the ends of their names, one by
one (`kind_of`), from all pages, and what is then left has to agree: two prices for the same thing are an ambiguity
that is reported, never a choice.
[https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices, read 2026-11]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

import httpx

from adapters.azure.planning.documents import Documents, JsonObject, OnWait, as_decimal, as_list, as_object, as_text
from fsm.errors import BadReplyError, MissingError, PlatformError, SpotfsmError

RETAIL_URL = "https://prices.azure.com"
_PATH = "/api/retail/prices"
_API_VERSION = "2023-01-01-preview"
PAGES_MAX = 400
"""A region's virtual machines are about 16 pages of 1,000."""
_HOUR = "1 Hour"
_CURRENCY = "USD"
"""What is asked for, and what is billed; others are for reference."""
_PART = re.compile(r"^([a-z]+)(.*)$")
_VERSION = re.compile(r"v[0-9]+")
"""Of a size's name, between underscores."""
_KEPT = (
    "armSkuName", "armRegionName", "productName", "skuName", "meterName", "meterId", "type", "unitOfMeasure",
    "currencyCode", "retailPrice", "tierMinimumUnits", "isPrimaryMeterRegion", "effectiveStartDate", "effectiveEndDate",
)  # fmt: skip
"""What is kept of a row."""
_SEEN = "seen"
"""Beside it, in a row that the list has no more: when it still had it."""


class Os(StrEnum):
    """Whose licence is in the price."""

    LINUX = "linux"
    WINDOWS = "windows"


class Tariff(StrEnum):
    """How a VM is paid."""

    SPOT = "spot"
    PAY_AS_YOU_GO = "pay-as-you-go"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What the list says of one size, region, system and tariff.

    Attributes:
        candidates: every price it may be, USD an hour: none where the list says nothing, several where it contradicts
            itself.
        seen: when the list still said so, where it does not say it any more.
    """

    candidates: tuple[Decimal, ...] = ()
    seen: datetime | None = None

    @property
    def usd_per_h(self) -> Decimal | None:
        """The price, if there is exactly one."""
        return self.candidates[0] if len(self.candidates) == 1 else None

    @property
    def ambiguous(self) -> bool:
        """Whether the list gives several prices for the same thing."""
        return len(self.candidates) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """One row of the list that is the price of a VM by the hour.

    Attributes:
        size: as the list writes it (`Standard_D2s_v5`).
        ends: when it stops to hold, where that is said.
        seen: when the list still had it, where it has it no more.
    """

    size: str
    region: str
    os: Os
    tariff: Tariff
    usd_per_h: Decimal
    primary: bool
    starts: datetime
    ends: datetime | None
    seen: datetime | None


PriceKey = tuple[str, Os, Tariff]
"""A size in lower case, a system and a tariff."""


def row_of(item: JsonObject) -> PriceRow | None:
    """The row, or None for one that is no price of a VM by the hour."""
    size, region = as_text(item.get("armSkuName")), as_text(item.get("armRegionName"))
    product = as_text(item.get("productName"))
    price, starts = as_decimal(item.get("retailPrice")), _date(item.get("effectiveStartDate"))
    kind = kind_of(as_text(item.get("skuName")), as_text(item.get("meterName")), product)
    if (
        kind is None
        or not size
        or item.get("type") != "Consumption"
        or item.get("unitOfMeasure") != _HOUR
        or item.get("currencyCode", _CURRENCY) != _CURRENCY
        or as_decimal(item.get("tierMinimumUnits") or 0) != 0
        or price is None
        or price <= 0  # a placeholder, not a present
        or starts is None
    ):
        return None
    return PriceRow(
        size=size,
        region=region,
        os=kind[0],
        tariff=kind[1],
        usd_per_h=price,
        primary=item.get("isPrimaryMeterRegion") is True,
        starts=starts,
        ends=_date(item.get("effectiveEndDate")),
        seen=_date(item.get(_SEEN)),
    )


def kind_of(sku_name: str, meter_name: str, product_name: str) -> tuple[Os, Tariff] | None:
    """What a row is the price of, by its names; None for low priority, Cloud Services and hosts.

    A meter of low priority is found under the name of a Spot size and the other way round, so both names are looked at,
    and low priority wins: it is never the price of a Spot VM.
    """
    product = product_name.lower()
    if "cloudservices" in product.replace(" ", "") or "dedicated host" in product:
        return None
    if any(name.endswith("Low Priority") for name in (sku_name, meter_name)):
        return None
    spot = any(name.endswith(" Spot") for name in (sku_name, meter_name))
    os = Os.WINDOWS if product_name.endswith("Windows") else Os.LINUX
    return os, Tariff.SPOT if spot else Tariff.PAY_AS_YOU_GO


def prices_of(items: Iterable[object], region: str, *, now: datetime) -> Mapping[PriceKey, Price]:
    """What a region's rows say, size by size.

    Of the rows that hold now, primary meters win over others, and then the latest start; prices that still differ are
    all given.
    """
    rows: dict[PriceKey, list[PriceRow]] = {}
    for item in items:
        row = row_of(as_object(item))
        if row is not None and row.region == region and row.starts <= now and (row.ends is None or row.ends > now):
            rows.setdefault((row.size.lower(), row.os, row.tariff), []).append(row)
    return {key: _agreed(found) for key, found in rows.items()}


def _agreed(rows: Sequence[PriceRow]) -> Price:
    best = max((row.primary, row.starts) for row in rows)
    chosen = [row for row in rows if (row.primary, row.starts) == best]
    prices = {row.usd_per_h for row in chosen}
    seen = min((row.seen for row in chosen if row.seen is not None), default=None)
    return Price(candidates=tuple(sorted(prices)), seen=seen)


def with_lost_prices(
    document: JsonObject, older: JsonObject, region: str, *, seen: datetime, now: datetime
) -> JsonObject:
    """An answer of the list, and the rows of an older one for prices that it has no more.

    The list loses rows for hours, Spot's first of all; a size that had a price has not become free, or unfit.

    Args:
        document: as `PriceList.fetch` gives it.
        older: the same, of before.
        region: whose rows they are.
        seen: when the older one was given.
        now: for which prices hold.
    """
    items = as_list(document.get("items"))
    known = prices_of(items, region, now=now).keys()
    lost = [
        {_SEEN: seen.isoformat(), **item}  # one that was lost before keeps its time
        for item in map(as_object, as_list(older.get("items")))
        if (row := row_of(item)) is not None and (row.size.lower(), row.os, row.tariff) not in known
    ]
    return {**document, "items": [*items, *lost]}


def usual_spelling(size: str) -> str:
    """A size as the list would write it, for one that somebody wrote without capitals; any other is left as it is.

    The list takes names with their very capitals: the family and an accelerator have them, what follows a number has
    none (`Standard_NC24ads_A100_v4`).
    """
    prefix, *parts = size.split("_")
    if any(part != part.lower() for part in parts):
        return size
    return "_".join((prefix.capitalize(), *(_PART.sub(_with_capitals, part) for part in parts)))


def _with_capitals(part: re.Match[str]) -> str:
    if _VERSION.fullmatch(part[0]):
        return part[0]
    return "Promo" if part[0] == "promo" else f"{part[1].upper()}{part[2]}"


# -- asking ------------------------------------------------------------------------------------------------------------


class PriceList:
    """The API at one address.

    Args:
        client: shared, and closed by its owner.
        root: without a slash at the end.
        on_page: told the region and the number of each page that has come.
        on_wait: told of each pause before another try.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        root: str = RETAIL_URL,
        on_page: Callable[[str, int], None] | None = None,
        on_wait: OnWait | None = None,
    ) -> None:
        self._root = root
        self._documents = Documents(client, name="the price list", refusal=_refusal, on_wait=on_wait)
        self._on_page = on_page

    async def fetch(self, region: str, size: str | None = None) -> JsonObject:
        """Every row of the region's virtual machines, or those of one size: `items`, and whether they are `complete`.

        The filter takes names exactly as the list writes them.

        Raises:
            MissingError: there is no such row.
            PlatformError: it cannot be had.
        """
        wanted = [
            "serviceName eq 'Virtual Machines'",
            "priceType eq 'Consumption'",
            f"armRegionName eq '{region}'",
            *(() if size is None else (f"armSkuName eq '{size}'",)),
        ]
        parameters = {"api-version": _API_VERSION, "currencyCode": f"'{_CURRENCY}'", "$filter": " and ".join(wanted)}
        found = await self._pages(region, parameters)
        if not found["items"]:
            raise MissingError(f"the price list has no row of {size or 'any size'} in {region}")
        return found

    async def knows(self, region: str) -> bool:
        """Whether the list has anything in this region."""
        wanted = f"serviceName eq 'Virtual Machines' and armRegionName eq '{region}'"
        page = await self._documents.get(f"{self._root}{_PATH}", {"api-version": _API_VERSION, "$filter": wanted})
        return bool(as_list(page.get("Items")))

    async def _pages(self, region: str, parameters: Mapping[str, str]) -> JsonObject:
        items: list[JsonObject] = []
        url = str(httpx.URL(f"{self._root}{_PATH}", params=dict(parameters)))
        seen: set[str] = set()
        while url and url not in seen:
            if len(seen) == PAGES_MAX:
                raise BadReplyError(f"the price list goes on after {PAGES_MAX} pages")
            seen.add(url)
            page = await self._documents.get(url)
            if not isinstance(page.get("Items"), list):
                raise BadReplyError("the price list answered a page without items")
            items += (_kept(as_object(item)) for item in as_list(page["Items"]))
            if self._on_page is not None:
                self._on_page(region, len(seen))
            url = self._next(as_text(page.get("NextPageLink")))
        return {"items": items, "complete": not url}  # a link back to a page that was read leads nowhere

    def _next(self, link: str) -> str:
        """The next page, which has to be the same service's."""
        if not link:
            return ""
        try:
            there, here = httpx.URL(link), httpx.URL(self._root)
        except httpx.InvalidURL as exc:
            raise BadReplyError("the price list's next page has no address") from exc
        if (there.scheme, there.host, there.port) != (here.scheme, here.host, here.port):
            raise BadReplyError(f"the price list's next page is elsewhere, at {link!r:.200}")
        return str(there)


def _kept(item: JsonObject) -> JsonObject:
    return {name: item[name] for name in _KEPT if name in item}


def _date(value: object) -> datetime | None:
    """An ISO 8601 time; without a zone it is UTC."""
    try:
        date = datetime.fromisoformat(as_text(value))
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _refusal(status: int, document: JsonObject) -> SpotfsmError:
    """A refusal of the price list, which asks for no identity: what was asked is wrong, or the address is."""
    error = as_object(document.get("Error") or document.get("error"))
    text = as_text(error.get("Message") or error.get("message"))
    return PlatformError(f"the price list refuses ({status}){f': {text:.200}' if text else ''}")
