"""Sizes and tables of Resource Manager, as documents: what is read, and what is not taken for something else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.azure.planning.graph import History, PricePoint, read_histories, read_rates
from adapters.azure.planning.sizes import Size, Unfit, arm_by_name, read_sizes
from adapters.cli.planning import money, sparkline
from tests.adapters.azure.planning.cloud import history_row, rate_row, sku

REGION = "eastus2"
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def read(*skus: object) -> dict[str, Size]:
    """Sizes by name, from a document that came as JSON."""
    document = json.loads(json.dumps({"value": skus}), parse_float=Decimal)
    return {size.name: size for size in read_sizes(document, REGION)}


def test_a_size_has_its_cores_memory_and_zones() -> None:
    """Everything that a VM of it would have, exactly."""
    assert read(sku("Standard_D2s_v5", REGION, 2, 8.5))["Standard_D2s_v5"] == Size(
        name="Standard_D2s_v5",
        family="standardDSv5Family",
        cores=2,
        memory_gib=Decimal("8.5"),
        architecture="x64",
        zones=("1", "2", "3"),
        unfit=None,
    )


def test_a_constrained_size_has_the_cores_that_are_left() -> None:
    """Standard_E4-2s_v5 is a machine of four cores with two."""
    found = read(sku("Standard_E4-2s_v5", REGION, 4, 32, vCPUsAvailable="2"))
    assert found["Standard_E4-2s_v5"].cores == 2


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (sku("Standard_B2s", REGION, 2, 4), Unfit.B_SERIES),
        (sku("Standard_B2as_v2", REGION, 2, 4, spot=False), Unfit.B_SERIES),
        (sku("Standard_D2_v2_Promo", REGION, 2, 7), Unfit.PROMO),
        (sku("Standard_NV6", REGION, 6, 56, spot=False), Unfit.NOT_SPOT),
        (sku("Basic_A1", REGION, 1, 1), Unfit.NOT_SPOT),
        (sku("Standard_D2s_v5", REGION, 2, 8, LowPriorityCapable=""), Unfit.NOT_SPOT),
        (sku("Standard_D2s_v5", REGION, 2, 8, closed="Location"), Unfit.RESTRICTED),
        (sku("Standard_D2s_v5", REGION, 2, 8, closed="2"), None),
        (sku("Standard_D2s_v5", REGION, 2, 8), None),
        (sku("Standard_DB2s_v5", REGION, 2, 8), None),
    ],
)
def test_what_cannot_be_a_spot_vm_is_said_why(one: dict[str, object], why: Unfit | None) -> None:
    """Each reason by itself; a closed zone is none."""
    (found,) = read(one).values()
    assert found.unfit is why


@pytest.mark.parametrize(
    ("name", "arm"),
    [
        *(
            (name, True)
            for name in ("Standard_D2ps_v5", "standard_e96-48pds_v6", "Standard_D2plds_v6", "Standard_B2pts_v2")
        ),
        *((name, False) for name in ("Standard_D2s_v5", "Standard_NP10s", "Standard_D2_v2_Promo", "Standard_M8ms")),
        *((name, False) for name in ("Standard_NC24ads_A100_v4", "Standard_E4-2s_v5", "Basic_A1", "pppp")),
    ],
)
def test_an_arm_processor_is_in_the_name(name: str, arm: bool) -> None:
    """The letter p among the features, and nowhere else."""
    assert arm_by_name(name) is arm


def test_a_closed_zone_is_not_offered() -> None:
    """The other two are."""
    assert read(sku("Standard_D2s_v5", REGION, 2, 8, closed="2"))["Standard_D2s_v5"].zones == ("1", "3")


def test_what_is_no_vm_size_of_the_region_is_left_out() -> None:
    """Disks, hosts, other regions, and entries without cores or memory; a doubled entry is one size."""
    good = sku("Standard_D2s_v5", REGION, 2, 8)
    disk = {**sku("Premium_LRS", REGION, 2, 8), "resourceType": "disks"}
    bare = {**sku("Standard_Z", REGION, 2, 8), "capabilities": [{"name": "vCPUs", "value": "2"}]}
    assert list(read(good, disk, bare, sku("Standard_Y", "westus", 2, 8), good)) == ["Standard_D2s_v5"]


@given(st.dictionaries(st.sampled_from(list(sku("a", REGION, 1, 1))), ANYTHING))
def test_an_entry_of_another_shape_is_no_error(changes: dict[str, object]) -> None:
    """Whatever a field holds, the list is read, and what comes out has cores and memory."""
    for size in read({**sku("Standard_D2s_v5", REGION, 2, 8), **changes}).values():
        assert isinstance(size.cores, int)


# -- Resource Graph ----------------------------------------------------------------------------------------------------


@given(st.lists(st.dictionaries(st.sampled_from(["size", "region", "prices", "rate"]), ANYTHING), max_size=3))
def test_rows_of_another_shape_are_no_error(rows: list[dict[str, object]]) -> None:
    """Tables are read as far as they have sizes, regions and values."""
    document = {"rows": rows}
    assert all(history.points for history in read_histories(document).values())
    assert all(read_rates(document).values())


def test_prices_are_in_the_order_of_their_times() -> None:
    """However they are listed; a placeholder of zero is none."""
    row = history_row("D2", REGION, ("2026-10-01", 0.2), ("2026-11-01T08:00:00Z", 0.3), ("2026-09-01T00:00:00", 0))
    document = json.loads(json.dumps({"rows": [row]}), parse_float=Decimal)
    history = read_histories(document)["d2", REGION]
    assert [point.usd_per_h for point in history.points] == [Decimal("0.2"), Decimal("0.3")]
    assert history.latest == Decimal("0.3")


def test_a_rate_is_the_band_that_azure_gives() -> None:
    """Nothing is computed from it, and an empty one is none."""
    rows = [rate_row("D2", REGION, "20+"), rate_row("D4", REGION, " ")]
    assert read_rates({"rows": rows}) == {("d2", REGION): "20+"}


# -- in the terminal ---------------------------------------------------------------------------------------------------


def history(*points: tuple[int, str]) -> History:
    """Prices since a day of November."""
    return History(
        points=tuple(
            PricePoint(usd_per_h=Decimal(price), at=datetime(2026, 11, day, tzinfo=UTC)) for day, price in points
        )
    )


@pytest.mark.parametrize(
    ("past", "drawn"),
    [
        (history((1, "1"), (9, "2")), "▁▁▁▁▁▁▁▁█"),
        (history((1, "2"), (2, "1"), (9, "1.5")), "█▁▁▁▁▁▁▁▅"),
        (history((1, "1"), (9, "1")), "▁" * 9),
        (history((5, "1")), "▁" * 9),
    ],
)
def test_the_line_is_true_to_time(past: History, drawn: str) -> None:
    """A price holds until the next one, so that a short spike is a narrow one."""
    assert sparkline(past, 9) == drawn


@given(st.lists(st.decimals("0.00001", "9", places=5), min_size=1, max_size=40), st.integers(2, 30))
def test_the_line_is_as_wide_as_asked(prices: list[Decimal], width: int) -> None:
    """Whatever the history is."""
    points = tuple(PricePoint(usd_per_h=price, at=None) for price in prices)
    assert len(sparkline(History(points=points), width)) == width


@pytest.mark.parametrize(
    ("price", "text"), [("0.1", "0.1000"), ("0.00001", "0.00001"), ("12", "12.0000"), ("1E+1", "10.0000")]
)
def test_a_price_is_never_rounded(price: str, text: str) -> None:
    """Four decimals at least, more where it has them."""
    assert money(Decimal(price)) == text
