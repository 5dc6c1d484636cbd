"""The price list's rows: which are a price, and what they say together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.azure.planning.retail import Os, Price, PriceKey, Tariff, prices_of, usual_spelling
from tests.adapters.azure.planning.price_rows import FUTURE, PAST, TRAPS, WINDOWS, Row, row, rows, spot

SIZE, REGION = "Standard_D2s_v5", "eastus2"
NOW = datetime(2026, 11, 25, tzinfo=UTC)
SPOT: PriceKey = (SIZE.lower(), Os.LINUX, Tariff.SPOT)
REGULAR: PriceKey = (SIZE.lower(), Os.LINUX, Tariff.PAY_AS_YOU_GO)


def read(*items: Row) -> dict[PriceKey, Price]:
    """What rows say that came as JSON."""
    return dict(prices_of(json.loads(json.dumps(items), parse_float=Decimal), REGION, now=NOW))


@given(st.permutations(list(rows(SIZE, REGION, spot_price=0.0173, price=0.096))))
def test_no_row_beside_it_changes_a_price(items: Sequence[Row]) -> None:
    """Whatever stands beside them and in whatever order, both prices are exactly those of their own rows."""
    found = read(*items)
    assert found[SPOT] == Price(candidates=(Decimal("0.0173"),))
    assert found[REGULAR] == Price(candidates=(Decimal("0.096"),))
    assert found[SIZE.lower(), Os.WINDOWS, Tariff.SPOT].usd_per_h == Decimal("0.0113")
    assert found[SIZE.lower(), Os.WINDOWS, Tariff.PAY_AS_YOU_GO].usd_per_h == Decimal("0.0114")


@pytest.mark.parametrize(
    "trap",
    [
        name
        for name in TRAPS
        if name
        not in {"a saving plan", "an older price", "another meter", "Windows", "Spot for Windows", "another size"}
    ],
)
def test_a_row_that_is_no_price_is_none_by_itself_either(trap: str) -> None:
    """A size whose only row is not a price has none: unknown, and not a wrong one."""
    assert read(TRAPS[trap](SIZE, REGION)) == {}


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"isPrimaryMeterRegion": False}, {}),
        ({"effectiveStartDate": PAST}, {}),
        ({"isPrimaryMeterRegion": False, "effectiveStartDate": "2026-09-01T00:00:00Z"}, {}),
        ({"effectiveStartDate": FUTURE}, {}),
        ({"effectiveEndDate": "2026-11-24T00:00:00"}, {"effectiveEndDate": "2026-11-26T00:00:00"}),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_the_better_of_two_rows_is_taken(worse: dict[str, object], better: dict[str, object], turned: bool) -> None:
    """Primary meters come first, then the latest start, among those that hold today; the order does not matter."""
    items = [spot(SIZE, REGION, 0.05, **worse), spot(SIZE, REGION, 0.04, **better)]
    assert read(*(reversed(items) if turned else items))[SPOT].usd_per_h == Decimal("0.04")


def test_two_prices_are_an_ambiguity_and_no_choice() -> None:
    """Equal rows with different prices give both and neither; equal prices are one."""
    found = read(spot(SIZE, REGION, 0.05), spot(SIZE, REGION, 0.04), spot(SIZE, REGION, 0.05))[SPOT]
    assert found.ambiguous
    assert found.usd_per_h is None
    assert found.candidates == (Decimal("0.04"), Decimal("0.05"))
    assert not read(spot(SIZE, REGION, 0.05), spot(SIZE, REGION, 0.05))[SPOT].ambiguous


def test_an_end_of_a_name_in_the_middle_is_none() -> None:
    """Names are told apart by how they end: a product of Windows on its name's way is Linux, as `Spot` elsewhere is."""
    found = read(row(SIZE, REGION, 0.03, productName="Windows-free Dsv5", skuName="Spotless D2s v5"))
    assert set(found) == {REGULAR}


@pytest.mark.parametrize("price", [0.1, 0.00001, 12.3456789, 3])
def test_prices_are_exact(price: float) -> None:
    """A price is the decimal that the list writes, never a binary fraction near it."""
    assert read(row(SIZE, REGION, price))[REGULAR].candidates == (Decimal(str(price)),)


@given(
    st.dictionaries(
        st.sampled_from([*row(SIZE, REGION, 0.1), "effectiveEndDate"]),
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=9) | st.lists(st.none(), max_size=2),
    )
)
def test_rows_of_another_shape_are_no_prices_and_no_error(changes: dict[str, object]) -> None:
    """A field that is missing or of another type never ends in a traceback, and never in a price at or below zero."""
    for price in prices_of([{**row(SIZE, REGION, 0.1), **WINDOWS, **changes}], REGION, now=NOW).values():
        assert all(candidate > 0 for candidate in price.candidates)


@pytest.mark.parametrize(
    "name",
    [
        "Standard_D2s_v5", "Standard_DS2_v2", "Standard_E4-2s_v5", "Standard_NC24ads_A100_v4", "Standard_NC4as_T4_v3",
        "Standard_NV36adms_A10_v5", "Standard_M416ms_v2", "Standard_HB120rs_v3", "Standard_F1", "Standard_L8as_v3",
        "Standard_DC2as_v5", "Standard_D2_v2_Promo", "Standard_B2s", "Basic_A1", "Standard_D4pds_v6",
    ],
)  # fmt: skip
def test_a_name_without_capitals_is_given_them(name: str) -> None:
    """As somebody typed it or Azure keeps it; a name that has capitals is left as it is."""
    assert usual_spelling(name.lower()) == name
    assert usual_spelling(name) == name
    assert usual_spelling("Standard_d2S_v5") == "Standard_d2S_v5"
