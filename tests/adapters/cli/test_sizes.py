"""`spotfsm sizes`: what can be Spot, and what it costs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.azure.planning.cloud import SUBSCRIPTION, Cloud, serve_cloud, sku
from tests.adapters.azure.planning.price_rows import rows
from tests.adapters.cli.conftest import Command, Ended
from tests.adapters.cli.planning import Ask, age_cache, asking

REGION = "eastus2"
PRICED = {"Standard_D2s_v5": "0.0173", "Standard_D4s_v5": "0.0346", "Standard_E2s_v5": "0.01"}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """Four sizes that can be Spot, one of them without a price, and one of each that cannot."""
    with serve_cloud() as cloud:
        for name, price in PRICED.items():
            cloud.items += rows(name, REGION, spot_price=float(price), price=0.1)
        cloud.items += [*rows("Standard_B2s", REGION, spot_price=None, price=0.05)]
        cloud.skus = [
            sku("Standard_D2s_v5", REGION, 2, 8),
            sku("Standard_D4s_v5", REGION, 4, 16),
            sku("Standard_E2s_v5", REGION, 2, 16, CpuArchitectureType="Arm64"),
            sku("Standard_D64s_v5", REGION, 64, 256),
            sku("Standard_B2s", REGION, 2, 4, spot=False),
            sku("Standard_D2_v2_Promo", REGION, 2, 7),
            sku("Standard_NV6", REGION, 6, 56, spot=False),
            sku("Standard_M8ms", REGION, 8, 218, closed="Location"),
        ]
        yield cloud


@pytest.fixture
def sizes(inside: Command, cloud: Cloud, twin: str, directory: Path) -> Ask:
    """Runs `spotfsm sizes` against it."""
    return asking(inside, cloud, twin, directory, "sizes")


def names(ended: Ended) -> list[str]:
    """The sizes of a report, in its order."""
    assert ended.code == 0, ended.err
    return [size["name"] for size in json.loads(ended.out)["sizes"]]


def test_what_can_be_spot_is_listed_by_price(sizes: Ask) -> None:
    """What has no price comes last, and what is left out is counted by its reason."""
    ended = sizes("--region", REGION, "--json")
    assert names(ended) == ["Standard_E2s_v5", "Standard_D2s_v5", "Standard_D4s_v5", "Standard_D64s_v5"]
    found = json.loads(ended.out)
    assert found["left_out"] == {
        "B-series": 1, "promotional": 1, "cannot be Spot": 1, "not for this subscription": 1,
    }  # fmt: skip
    assert found["sizes"][0] == {
        "name": "Standard_E2s_v5",
        "family": "standardDSv5Family",
        "cores": 2,
        "memory_gib": "16",
        "architecture": "Arm64",
        "zones": ["1", "2", "3"],
        "spot_usd_per_h": "0.01",
        "pay_as_you_go_usd_per_h": "0.1",
        "saving": "0.9000",
    }
    assert found["sizes"][3]["spot_usd_per_h"] is None


def test_one_size_is_looked_for_by_itself(sizes: Ask, cloud: Cloud) -> None:
    """However its capitals are written; its price is good to know, and no reason to fail."""
    ended = sizes("--region", REGION, "--size", "d4S_V5", "--json")
    assert names(ended) == ["Standard_D4s_v5"]
    assert cloud.pages() == 1
    cloud.refuse(400, "BadRequest", "no", path="/api/retail")
    ended = sizes("--region", REGION, "--size", "D4s_v5", "--refresh", "--json")
    assert names(ended) == ["Standard_D4s_v5"]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("D2s_v55", "there is no Standard_D2s_v55 in eastus2. Did you mean Standard_D2s_v5"),
        ("Standard_D64_v5", "there is no Standard_D64_v5 in eastus2. Did you mean Standard_D64s_v5"),
        ("Quux", "there is no Standard_Quux in eastus2. `spotfsm sizes --region eastus2` lists those that can."),
        ("NV6", "Standard_NV6 cannot be a Spot VM in eastus2: cannot be Spot. `spotfsm sizes --region eastus2`"),
        ("B2s", "Standard_B2s cannot be a Spot VM in eastus2: B-series. "),
        ("M8ms", "Standard_M8ms cannot be a Spot VM in eastus2: not for this subscription. "),
    ],
)
def test_a_size_that_cannot_be_had_is_one_line(sizes: Ask, size: str, said: str) -> None:
    """Exit code 2, why, and those that may be meant: only such as can be had."""
    ended = sizes("--region", REGION, "--size", size, "--json")
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith(f"error: --size: {said}")
    assert not re.search(r"Did you mean.*(NV6|B2s|M8ms|Promo)", ended.err)


def test_spot_prices_that_are_gone_from_the_list_are_told_with_their_age(
    sizes: Ask, cloud: Cloud, directory: Path
) -> None:
    """A list that lost its Spot rows has lost no size: all keep their prices, in one note, and none is left out."""
    before = json.loads(sizes("--region", REGION, "--json", signed_in=False).out)
    cloud.items = [one for one in cloud.items if not str(one["skuName"]).endswith(" Spot")]
    age_cache(directory, 4)
    ended = sizes("--region", REGION, "--json", signed_in=False)
    assert json.loads(ended.out)["sizes"] == before["sizes"]
    (note,) = json.loads(ended.out)["notes"]
    assert note.endswith("in eastus2: the price list has no Spot price any more; what is shown is 4.0 hours old")
    assert all(name in note for name in PRICED)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--cores-max", 2), ["E2s", "D2s"]),
        (("--cores-min", 3, "--cores-max", 8), ["D4s"]),
        (("--memory-min", 16, "--memory-max", "16.0"), ["E2s", "D4s"]),
        (("--price-max", "0.0173"), ["E2s", "D2s"]),
        (("--price-max", "0.01729"), ["E2s"]),
        (("--sort", "cores"), ["E2s", "D2s", "D4s", "D64s"]),
        (("--sort", "memory"), ["D2s", "E2s", "D4s", "D64s"]),
        (("--sort", "name"), ["D2s", "D4s", "D64s", "E2s"]),
    ],
)
def test_cores_memory_and_price_are_bounds_and_orders(
    sizes: Ask, arguments: tuple[object, ...], found: list[str]
) -> None:
    """Bounds include what is on them, and a price that is not known is under none."""
    assert [name.split("_")[1] for name in names(sizes("--region", REGION, "--json", *arguments))] == found


def test_the_table_is_for_people(sizes: Ask) -> None:
    """A line a size, and what was left out."""
    ended = sizes("--region", REGION, "--cores-max", 4)
    line = next(line for line in ended.out.splitlines() if "Standard_D4s_v5" in line)
    assert line.split() == ["Standard_D4s_v5", "4", "16", "x64", "1", "2", "3", "0.0346", "0.1000", "65", "%"]
    assert "3 sizes of 4 in eastus2; left out: 1 B-series, 1 promotional, 1 cannot be Spot, 1 not for" in ended.out


def test_without_a_login_the_price_list_names_what_it_can(sizes: Ask, cloud: Cloud) -> None:
    """Names and prices, no invented cores; B-series stay out."""
    ended = sizes("--region", REGION, "--json", signed_in=False)
    assert {name for name in names(ended) if not name.endswith("_v9")} == set(PRICED)
    assert json.loads(ended.out)["sizes"][0]["cores"] is None
    assert json.loads(ended.out)["left_out"]["B-series"] == 2  # the size, and the other one among its rows
    assert cloud.tokens == set()
    refused = sizes("--region", REGION, "--cores-max", 2, signed_in=False)
    assert refused.code == 2
    assert refused.error_line.startswith("--credential: the price list knows neither cores nor memory. Sign in")


def test_a_second_look_asks_nothing_again(sizes: Ask, cloud: Cloud) -> None:
    """Sizes and prices are kept for an hour; the quota alone is asked for as it is."""
    cloud.page_size = 5
    first = sizes("--region", REGION, "--subscription", SUBSCRIPTION)
    asked = len(cloud.asked)
    assert cloud.pages() > 5
    assert sizes("--region", REGION, "--subscription", SUBSCRIPTION).out == first.out
    assert all("/usages" in one for one in cloud.asked[asked:])


@pytest.mark.parametrize(("used", "told"), [(0, False), (30, False), (31, True), (94, True)])
def test_a_quota_with_no_room_for_a_size_is_told(sizes: Ask, cloud: Cloud, used: int, told: bool) -> None:
    """The largest of those listed has 64 cores; what is within the quota is listed without a word on it."""
    cloud.usages = [{"name": {"value": "lowPriorityCores"}, "currentValue": used, "limit": 94, "unit": "Count"}]
    ended = sizes("--region", REGION)
    assert ended.code == 0
    assert (f"{94 - used} of 94 Spot cores are free in {REGION}, and no VM with more" in ended.err) is told


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "ExpiredAuthenticationToken", "--credential: the login has expired"),
        (403, "AuthorizationFailed", "--credential: the identity may not do this (AuthorizationFailed)"),
        (404, "SubscriptionNotFound", "--subscription: Azure knows no such subscription"),
        (400, "InvalidSubscriptionId", "--subscription: Azure knows no such subscription"),
        (409, "MissingSubscriptionRegistration", "--subscription: it is not registered for compute"),
        (400, "LocationNotAvailableForResourceType", "--region: Azure knows no such region here"),
        (409, "Unheard", "Azure refuses: Unheard (409): no text"),
    ],
)
def test_what_goes_wrong_is_one_line(sizes: Ask, cloud: Cloud, status: int, code: str, said: str) -> None:
    """The setting, the problem, the remedy; what is no setting's fault is the service's. Nothing is shown in part."""
    cloud.refuse(status, code, path="/skus")
    ended = sizes("--region", REGION)
    assert ended.code == (2 if said.startswith("--") else 1)
    assert ended.error_line.startswith(said)


def test_a_region_that_is_none_is_named(sizes: Ask) -> None:
    """Resource Manager lists nothing for it, and neither does the price list."""
    ended = sizes("--region", "estus2")
    assert ended.code == 2
    assert ended.error_line.startswith("--region: Azure has no prices in a region 'estus2'")


def test_a_subscription_that_is_none_is_named(sizes: Ask) -> None:
    """Exit code 2, and how to see those there are."""
    ended = sizes("--region", REGION, "--subscription", "nope")
    assert ended.code == 2
    assert ended.error_line.startswith("--subscription: Azure knows no such subscription (SubscriptionNotFound). `az")


@pytest.mark.processes
def test_nobody_signed_in_is_one_line(spotfsm: Command, cloud: Cloud, directory: Path) -> None:
    """Sizes need a login: the line says how to have one, and the SDK adds nothing of its own."""
    environment = {"XDG_CACHE_HOME": str(directory), "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential"}
    ended = spotfsm("sizes", "--region", REGION, "--arm-url", cloud.url, "--prices-url", cloud.url, env=environment)
    assert ended.code == 2
    assert ended.error_line == (
        "--credential: nobody is signed in to Azure. Run `az login`, or name another --credential."
    )


@pytest.mark.processes
@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("ERROR: Please run 'az login' to setup account.", "nobody is signed in to Azure. Run `az login`, or"),
        (
            "ERROR: AADSTS700082: The refresh token has expired due to inactivity. Please run: az login",
            "the login has expired or is refused (AADSTS700082). Sign in again: `az login`.",
        ),
    ],
)
def test_what_the_azure_cli_says_of_a_login_is_one_line(
    spotfsm: Command, cloud: Cloud, directory: Path, said: str, line: str
) -> None:
    """Never signed in, and signed in too long ago, are told apart."""
    az = directory / "az"
    az.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    az.chmod(0o755)
    environment = {
        "PATH": f"{directory}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(directory),
        "AZURE_TOKEN_CREDENTIALS": "AzureCliCredential",
    }
    places = ("--arm-url", cloud.url, "--prices-url", cloud.url)
    ended = spotfsm("sizes", "--region", REGION, *places, env=environment)
    assert ended.code == 2
    assert ended.error_line.startswith(f"--credential: {line}")


@pytest.mark.parametrize("what", ["cores", "memory"])
def test_bounds_that_nothing_is_within_are_named(sizes: Ask, what: str) -> None:
    """An empty table would not say why."""
    ended = sizes("--region", REGION, f"--{what}-min", 8, f"--{what}-max", 4)
    assert ended.code == 2
    assert ended.error_line == f"--{what}-min: it is more than --{what}-max. No size is both."


def test_wrong_numbers_are_named(sizes: Ask) -> None:
    """Limits are numbers, not below zero."""
    for flag in ("--cores-min", "--memory-max", "--price-max"):
        for number in ("many", "-1", "NaN"):
            ended = sizes("--region", REGION, flag, number)
            assert ended.code == 2
            assert ended.error_line.startswith(f"{flag}: '{number}' is not a number")
