"""Rows of the price list as Azure writes them, with every row beside them that is not the price that was meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

Row = Mapping[str, object]

PAST, START, LATER, FUTURE = (
    "2019-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z",
    "2026-06-01T00:00:00Z",
    "2099-01-01T00:00:00Z",
)
PLAN = {"unitPrice": 0.05, "retailPrice": 0.05, "term": "1 Year"}
PRODUCT = "Virtual Machines Dsv5 Series"


def row(size: str, region: str, price: float, **changes: object) -> Row:
    """A pay-as-you-go row for Linux; `changes` make another of it."""
    short = size.removeprefix("Standard_").replace("_", " ")
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": price,
        "unitPrice": price,
        "armRegionName": region,
        "location": "US East 2",
        "effectiveStartDate": START,
        "meterId": "000a794b-bdb0-58be-a0cd-0c3a0f222923",
        "meterName": short,
        "productId": "DZH318Z0BQPS",
        "skuId": "DZH318Z0BQPS/00TG",
        "productName": PRODUCT,
        "skuName": short,
        "serviceName": "Virtual Machines",
        "serviceId": "DZH313Z7MMC8",
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": size,
        **changes,
    }


def named(size: str, ending: str) -> dict[str, object]:
    """The names of a row of another kind."""
    short = size.removeprefix("Standard_").replace("_", " ") + ending
    return {"skuName": short, "meterName": short}


def spot(size: str, region: str, price: float, **changes: object) -> Row:
    """A Spot row for Linux."""
    return row(size, region, price, **{**named(size, " Spot"), **changes})


WINDOWS = {"productName": f"{PRODUCT} Windows"}


def _mixed(size: str) -> dict[str, object]:
    """A meter of low priority under the name of a Spot size, as it has been seen."""
    return {**named(size, " Spot"), "meterName": named(size, " Low Priority")["meterName"]}


TRAPS: Mapping[str, Callable[[str, str], Row]] = {
    "low priority": lambda s, r: row(s, r, 0.0111, **named(s, " Low Priority")),
    "low priority under a Spot name": lambda s, r: row(s, r, 0.0112, **_mixed(s)),
    "Spot for Windows": lambda s, r: spot(s, r, 0.0113, **WINDOWS),
    "Windows": lambda s, r: row(s, r, 0.0114, **WINDOWS),
    "Cloud Services": lambda s, r: row(s, r, 0.0115, productName="Dsv5 Series Cloud Services"),
    "CloudServices": lambda s, r: row(s, r, 0.0116, productName="Virtual Machines Dsv5 CloudServices"),
    "a host by the hour": lambda s, r: row(s, r, 4.117, productName="Dedicated Host Dsv5"),
    "by the month": lambda s, r: row(s, r, 70.0, unitOfMeasure="1 Month"),
    "by the slashed month": lambda s, r: row(s, r, 71.0, unitOfMeasure="1/Month"),
    "dev/test": lambda s, r: row(s, r, 0.0118, type="DevTestConsumption"),
    "a reservation": lambda s, r: row(s, r, 505.0, type="Reservation", reservationTerm="1 Year"),
    "a placeholder": lambda s, r: row(s, r, 0.0),
    "a Spot placeholder": lambda s, r: spot(s, r, 0.0),
    "a price of the past": lambda s, r: spot(s, r, 0.0119, effectiveStartDate=PAST, effectiveEndDate=START),
    "an older price": lambda s, r: spot(s, r, 0.0120, effectiveStartDate=PAST),
    "a price to come": lambda s, r: spot(s, r, 0.0121, effectiveStartDate=FUTURE),
    "another meter": lambda s, r: spot(s, r, 0.0122, isPrimaryMeterRegion=False, effectiveStartDate=LATER),
    "in another currency": lambda s, r: spot(s, r, 0.0127, currencyCode="EUR", effectiveStartDate=LATER),
    "from 100 units on": lambda s, r: row(s, r, 0.0123, tierMinimumUnits=100.0),
    "elsewhere": lambda s, _r: row(s, "elsewhere", 0.0124),
    "another size": lambda s, r: row(f"{s}_v9", r, 0.0125),
    "no size": lambda _s, r: row("", r, 0.0126),
    "a saving plan": lambda s, r: row(s, r, 0.096, savingsPlan=[PLAN]),
}  # fmt: skip
"""Rows that do not change what a size costs; the last one is its price."""


WORSE = {"an older price", "another meter"}
"""Rows that would be the Spot price where there is no better one."""


def rows(size: str, region: str, *, spot_price: float | None, price: float | None) -> Iterator[Row]:
    """All rows of a size in a region: the two that are meant, among every trap."""
    for name, trap in TRAPS.items():
        if name != "a saving plan" and (spot_price is not None or name not in WORSE):
            yield trap(size, region)
    if spot_price is not None:
        yield spot(size, region, spot_price)
    if price is not None:
        yield row(size, region, price)
