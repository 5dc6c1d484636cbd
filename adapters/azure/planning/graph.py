"""Resource Graph: ninety days of Spot prices, and how often sizes were evicted.

The request names no subscriptions: with one, these tables come back empty. They have been empty for days as well, so
that no row is "not known", never "no eviction". [https://learn.microsoft.com/azure/virtual-machines/spot-vms, read
2026-11]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from adapters.azure.planning.documents import Documents, JsonObject, as_decimal, as_list, as_object, as_text
from adapters.azure.planning.retail import Os
from fsm.errors import BadReplyError

_PATH = "/providers/Microsoft.ResourceGraph/resources"
_API_VERSION = "2021-03-01"
_ROWS_MAX = 1000
"""Of one answer; more come page by page."""
_PAGES_MAX = 100
_TIME_NAMES = ("effectiveDate", "dateTime", "date", "timestamp")
"""What a price's time is called is not documented; these have been seen."""

Place = tuple[str, str]
"""A size in lower case, and a region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePoint:
    """A Spot price and since when it held, where that is said."""

    usd_per_h: Decimal
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Up to ninety days of Spot prices, the oldest first; those without a time come as they were listed."""

    points: tuple[PricePoint, ...]

    @property
    def latest(self) -> Decimal:
        """The newest price, USD an hour."""
        return self.points[-1].usd_per_h

    @property
    def least(self) -> Decimal:
        return min(point.usd_per_h for point in self.points)

    @property
    def most(self) -> Decimal:
        return max(point.usd_per_h for point in self.points)


class ResourceGraph:
    """Asks the two tables.

    Args:
        documents: of Azure Resource Manager.
        root: its address.
    """

    def __init__(self, documents: Documents, *, root: str) -> None:
        self._documents = documents
        self._root = root

    async def histories(self, sizes: Sequence[str], regions: Sequence[str], os: Os) -> JsonObject:
        """Rows of prices, as `read_histories` reads them."""
        return await self._rows(
            "SpotResources"
            " | where type =~ 'microsoft.compute/skuspotpricehistory/ostype/location'"
            f" | where sku.name in~ ({_listed(sizes)}) and location in~ ({_listed(regions)})"
            f" | where properties.osType =~ '{os.value}'"
            " | project id, size = tostring(sku.name), region = location, prices = properties.spotPrices"
            " | order by id asc"
        )

    async def rates(self, sizes: Sequence[str], regions: Sequence[str]) -> JsonObject:
        """Rows of eviction rates, as `read_rates` reads them."""
        return await self._rows(
            "SpotResources"
            " | where type =~ 'microsoft.compute/skuspotevictionrate/location'"
            f" | where sku.name in~ ({_listed(sizes)}) and location in~ ({_listed(regions)})"
            " | project id, size = tostring(sku.name), region = location, rate = tostring(properties.evictionRate)"
            " | order by id asc"
        )

    async def _rows(self, query: str) -> JsonObject:
        rows: list[object] = []
        options: dict[str, object] = {"resultFormat": "objectArray", "$top": _ROWS_MAX}
        for _ in range(_PAGES_MAX):
            page = await self._documents.post(
                f"{self._root}{_PATH}", {"query": query, "options": options}, {"api-version": _API_VERSION}
            )
            if not isinstance(page.get("data"), list):
                raise BadReplyError("Resource Graph answered without data")
            rows += as_list(page["data"])
            token = as_text(page.get("$skipToken"))
            if not token:
                return {"rows": rows}
            options = {**options, "$skipToken": token}
        raise BadReplyError(f"Resource Graph goes on after {_PAGES_MAX} pages")


def _listed(names: Iterable[str]) -> str:
    """Names for a query; they hold nothing but letters, digits, hyphens and underscores."""
    assert all(name.replace("_", "").replace("-", "").isalnum() for name in names)
    return ", ".join(f"'{name.lower()}'" for name in names)


def read_histories(document: JsonObject) -> Mapping[Place, History]:
    """Histories that have at least one price."""
    found: dict[Place, History] = {}
    for place, row in _places(document):
        points = [point for entry in as_list(row.get("prices")) if (point := _point(as_object(entry)))]
        if points and all(point.at is not None for point in points):
            points.sort(key=lambda point: point.at or datetime.min.replace(tzinfo=UTC))
        else:
            points.reverse()  # the first is the newest, as the documentation's own query takes it
        if points:
            found[place] = History(points=tuple(points))
    return found


def read_rates(document: JsonObject) -> Mapping[Place, str]:
    """Bands of percent an hour, such as `0-5` and `20+`, as they are written."""
    return {place: rate for place, row in _places(document) if (rate := as_text(row.get("rate")).strip())}


def _places(document: JsonObject) -> Iterable[tuple[Place, JsonObject]]:
    for entry in as_list(document.get("rows")):
        row = as_object(entry)
        size, region = as_text(row.get("size")).lower(), as_text(row.get("region")).lower()
        if size and region:
            yield (size, region), row


def _point(entry: JsonObject) -> PricePoint | None:
    price = as_decimal(entry.get("priceUSD"))
    if price is None or price <= 0:
        return None
    for name in _TIME_NAMES:
        try:
            at = datetime.fromisoformat(as_text(entry.get(name)))
        except ValueError:
            continue
        return PricePoint(usd_per_h=price, at=at if at.tzinfo is not None else at.replace(tzinfo=UTC))
    return PricePoint(usd_per_h=price, at=None)
