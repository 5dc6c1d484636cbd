"""`spotfsm prices`: what is listed, exactly; what is not known, as that; and one line for what went wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.azure.planning import documents
from adapters.cli import planning
from tests.adapters.azure.planning.cloud import SUBSCRIPTION, Cloud, Refusal, history_row, rate_row, serve_cloud
from tests.adapters.azure.planning.price_rows import row, rows, spot
from tests.adapters.cli.conftest import Command
from tests.adapters.cli.planning import Ask, age_cache, asking, quotes

D2, D4 = "Standard_D2s_v5", "Standard_D4s_v5"
EAST, WEST = "eastus2", "westeurope"
ACTION = "Microsoft.Compute/locations/usages/read"
FORBIDDEN = (
    "The client 'a' with object id 'b' does not have authorization to perform action "
    f"'{ACTION}' over scope '/subscriptions/s' or the scope is invalid."
)
USAGE = {"name": {"value": "lowPriorityCores"}, "currentValue": 6, "limit": 20, "unit": "Count"}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """Two sizes in two regions, with every trap, and what Resource Manager has of them."""
    with serve_cloud() as cloud:
        cloud.items = [
            *rows(D2, EAST, spot_price=0.0173, price=0.096),
            *rows(D4, EAST, spot_price=0.0346, price=0.192),
            *rows(D2, WEST, spot_price=0.02, price=0.1),
            *rows(D4, WEST, spot_price=None, price=0.2),
        ]
        cloud.usages = [{**USAGE, "name": {"value": "cores"}, "limit": 100}, USAGE]
        cloud.rates = [rate_row(D2, EAST, "0-5"), rate_row(D4, EAST, "20+")]
        cloud.histories = [
            history_row(
                D2,
                EAST,
                ("2026-11-01T00:00:00Z", 0.0181),
                ("2026-10-01T00:00:00Z", 0.0162),
                ("2026-09-01T00:00:00Z", 0.02),
            )
        ]
        yield cloud


@pytest.fixture
def prices(inside: Command, cloud: Cloud, twin: str, directory: Path) -> Ask:
    """Runs `spotfsm prices` against it."""
    return asking(inside, cloud, twin, directory, "prices")


# -- what is shown -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page_size", [1, 7, 1000])
def test_sizes_and_regions_stand_side_by_side(prices: Ask, cloud: Cloud, page_size: int) -> None:
    """Whatever page a row is on, every pair has its own prices, and a saving only where both are listed."""
    cloud.page_size = page_size
    found = quotes(prices(D2, D4, "--region", f"{EAST},{WEST}", "--json", signed_in=False))
    assert [(one["size"], one["region"], one["spot_usd_per_h"], one["saving"]) for one in found] == [
        (D2, EAST, "0.0173", "0.8198"),
        (D4, EAST, "0.0346", "0.8198"),
        (D2, WEST, "0.02", "0.8000"),
        (D4, WEST, None, None),
    ]
    assert found[3]["pay_as_you_go_usd_per_h"] == "0.2"
    assert cloud.tokens == set()


def test_the_table_has_every_pair(prices: Ask) -> None:
    """A person sees the same: sizes, regions, prices, savings, evictions, a history and the quota."""
    ended = prices(D2, D4, "--region", f"{EAST},{WEST}")
    assert ended.code == 0
    line = next(line for line in ended.out.splitlines() if D2 in line and EAST in line)
    assert re.search(r"0\.0181\s+0\.0960\s+81 %\s+0-5 %\s+[▁▂▃▄▅▆▇█]{24}\s+0\.0162\s+0\.0200", line)
    assert re.search(rf"{D4}\s+{WEST}\s+unknown\s+0\.2000", ended.out)
    assert f"Spot quota in {EAST}: 14 of 20 cores are free" in ended.out


def test_what_contradicts_itself_is_shown_and_not_chosen(prices: Ask, cloud: Cloud) -> None:
    """Two prices for one thing: both are told, and no saving is computed from either."""
    cloud.items += [spot(D2, EAST, 0.0199)]
    ended = prices(D2, "--region", EAST, signed_in=False)
    assert "ambiguous: 0.0173 or 0.0199" in ended.out
    (found,) = quotes(prices(D2, "--region", EAST, "--json", signed_in=False))
    assert found["spot_usd_per_h"] is None
    assert found["saving"] is None
    assert found["spot_candidates"] == ["0.0173", "0.0199"]


def test_windows_has_its_own_prices(prices: Ask) -> None:
    """With --os windows both tariffs are those of Windows."""
    (found,) = quotes(prices(D2, "--region", EAST, "--os", "windows", "--json", signed_in=False))
    assert (found["spot_usd_per_h"], found["pay_as_you_go_usd_per_h"]) == ("0.0113", "0.0114")


def test_names_may_be_short_and_spoken(prices: Ask) -> None:
    """The prefix may be left out, and a region be written as the portal shows it."""
    for name in ("D2s_v5", "d2s_v5", "standard_d2s_v5"):
        (found,) = quotes(prices(name, "--region", "East US 2", "--json", signed_in=False))
        assert (found["size"], found["spot_usd_per_h"]) == (D2, "0.0173")


def test_a_b_series_is_called_what_it_is(prices: Ask, cloud: Cloud) -> None:
    """A size that can never be Spot says so beside its price."""
    cloud.items += [row("Standard_B2s", EAST, 0.05)]
    assert "Standard_B2s: B-series, and so never a Spot VM" in prices("B2s", "--region", EAST, signed_in=False).err


# -- Resource Graph and quota ------------------------------------------------------------------------------------------


def test_with_a_credential_evictions_history_and_quota_are_told(prices: Ask, cloud: Cloud) -> None:
    """Resource Graph's newest price is the current one, and the question names no subscription."""
    ended = prices(D2, D4, "--region", EAST, "--json", "--subscription", SUBSCRIPTION)
    first, second = quotes(ended)
    assert (first["spot_usd_per_h"], first["spot_from"], first["saving"]) == ("0.0181", "graph", "0.8115")
    assert (second["spot_usd_per_h"], second["spot_from"]) == ("0.0346", "list")
    assert [first["eviction_rate_percent_per_h"], second["eviction_rate_percent_per_h"]] == ["0-5", "20+"]
    assert first["history"] == [
        {"at": "2026-09-01T00:00:00+00:00", "usd_per_h": "0.02"},
        {"at": "2026-10-01T00:00:00+00:00", "usd_per_h": "0.0162"},
        {"at": "2026-11-01T00:00:00+00:00", "usd_per_h": "0.0181"},
    ]
    assert json.loads(ended.out)["quota"] == [{"region": EAST, "used": 6, "limit": 20, "free": 14}]
    assert cloud.bodies
    assert all("subscriptions" not in body for body in cloud.bodies)


def test_a_history_without_times_is_taken_as_it_is_listed(prices: Ask, cloud: Cloud) -> None:
    """The first price is the newest, as the documentation's query has it, whatever the times are called."""
    cloud.histories = [history_row(D2, EAST, ("x", 0.03), ("y", 0.02), time_name="unheardOf")]
    (found,) = quotes(prices(D2, "--region", EAST, "--json"))
    assert found["spot_usd_per_h"] == "0.03"
    assert "▁" in prices(D2, "--region", EAST).out


def test_no_rows_are_unknown_and_not_zero(prices: Ask, cloud: Cloud) -> None:
    """The tables have been empty for days: the rate is not known, the price is the list's, and a note says so."""
    cloud.histories, cloud.rates, cloud.usages = [], [], []
    ended = prices(D2, "--region", EAST, "--json")
    (found,) = quotes(ended)
    assert found["eviction_rate_percent_per_h"] is None
    assert (found["spot_usd_per_h"], found["spot_from"], found["history"]) == ("0.0173", "list", [])
    assert json.loads(ended.out)["quota"] == []
    assert "no eviction rates of these: they are not known" in ended.err
    assert "no price history of these" in ended.err
    assert "Spot quota in eastus2 is not told" in ended.err


@pytest.mark.parametrize(("used", "limit"), [(20, 20), (21, 20), (0, 0)])
def test_a_quota_that_is_used_up_says_what_to_do(prices: Ask, cloud: Cloud, used: int, limit: int) -> None:
    """Before a deployment fails for it; while a core is free nothing is said."""
    said = f"0 of {limit} Spot cores are free in {EAST}, and no VM with more can be had: ask for more"
    assert said not in prices(D2, "--region", EAST).err
    cloud.usages = [{**USAGE, "currentValue": used, "limit": limit}]
    ended = prices(D2, "--region", EAST)
    assert f"Spot quota in {EAST}: 0 of {limit} cores are free" in ended.out
    assert said in ended.err


def test_tables_of_many_rows_are_read_page_by_page(prices: Ask, cloud: Cloud) -> None:
    """Resource Graph gives a token for what is left, and the same question is asked with it."""
    cloud.rates = [*(rate_row(D2, WEST, "5-10") for _ in range(3)), *cloud.rates]
    cloud.graph_page_size = 2
    first, second = quotes(prices(D2, D4, "--region", f"{EAST},{WEST}", "--json"))[:2]
    assert (first["eviction_rate_percent_per_h"], second["eviction_rate_percent_per_h"]) == ("0-5", "20+")
    assert len([body for body in cloud.bodies if "evictionrate" in str(body["query"])]) == 3


def test_sources_that_disagree_are_both_told(prices: Ask, cloud: Cloud) -> None:
    """A list price far from what is charged is a note with both numbers."""
    cloud.histories = [history_row(D2, EAST, ("2026-11-01T00:00:00Z", 0.1))]
    assert "the price list says 0.0173 as Spot, Resource Graph 0.1 USD an hour" in prices(D2, "--region", EAST).err


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (
            401,
            "ExpiredAuthenticationToken",
            "--credential: the login has expired (ExpiredAuthenticationToken). Sign in",
        ),
        (401, "", "--credential: Azure does not accept the token (401)"),
        (
            403,
            "AuthorizationFailed",
            f"--credential: the identity lacks {ACTION} on /subscriptions/s. Give it the role",
        ),
        (404, "SubscriptionNotFound", "--subscription: Azure knows no such subscription (SubscriptionNotFound)"),
        (400, "NoRegisteredProviderFound", "--region: Azure knows no such region here"),
        (409, "Unheard", f"Azure refuses: Unheard (409): {FORBIDDEN}"),
    ],
)
def test_what_management_refuses_is_a_note_and_prices_are_still_true(
    prices: Ask, cloud: Cloud, status: int, code: str, said: str
) -> None:
    """Prices need no credential: whatever is wrong with it is told in a line that names setting and remedy."""
    cloud.refuse(status, code, FORBIDDEN, path="/usages")
    ended = prices(D2, "--region", EAST, "--json", "--subscription", SUBSCRIPTION)
    assert quotes(ended)[0]["spot_usd_per_h"] == "0.0181"
    assert f"the Spot quota in {EAST} is not known: {said}" in ended.err


@pytest.mark.parametrize("path", ["/Microsoft.ResourceGraph", "/usages", "/subscriptions"])
@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"data": 3, "value": {}}'])
def test_a_reply_of_another_shape_is_a_note(prices: Ask, cloud: Cloud, path: str, body: str) -> None:
    """What management answers amiss is not known, and the price list's prices are told all the same."""
    cloud.refusals = [Refusal(status=200, body=body, path=path)]
    ended = prices(D4, "--region", EAST, "--json")
    assert quotes(ended)[0]["spot_usd_per_h"] == "0.0346"
    assert "not known" in ended.err


def test_of_several_subscriptions_one_has_to_be_named(prices: Ask, cloud: Cloud) -> None:
    """Which subscription is meant is never guessed, and those there are are named."""
    other = SUBSCRIPTION[:-1] + "2"
    cloud.subscriptions = [SUBSCRIPTION, other]
    ended = prices(D2, "--region", EAST)
    assert f"--subscription: several could be meant. Give one of: {SUBSCRIPTION} (name of 1), {other}" in ended.err


def test_nobody_signed_in_is_a_note(inside: Command, cloud: Cloud, directory: Path) -> None:
    """Without a login the chain ends, prices are told, and the note says how to sign in."""
    environment = {
        "XDG_CACHE_HOME": str(directory),
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
        "AZURE_CLIENT_ID": "",
    }
    ended = inside("prices", D2, "--region", EAST, "--prices-url", cloud.url, "--arm-url", cloud.url, env=environment)
    assert ended.code == 0
    assert "0.0173" in ended.out
    assert "nobody is signed in to Azure. Run `az login`" in ended.err


# -- keeping -----------------------------------------------------------------------------------------------------------


def test_answers_are_kept_for_an_hour_and_asked_anew_on_request(prices: Ask, cloud: Cloud, directory: Path) -> None:
    """A second look asks nothing of the list; --refresh and an hour do. The cache is nobody else's to read."""
    for asked, arguments, hours in [(1, (), 0), (1, (), 0), (2, ("--refresh",), 0), (2, (), 0), (3, (), 1)]:
        age_cache(directory, hours)
        assert (
            quotes(prices(D2, "--region", EAST, "--json", *arguments, signed_in=False))[0]["spot_usd_per_h"] == "0.0173"
        )
        assert cloud.pages() == asked
    assert (directory / "cache" / "spotfsm").stat().st_mode & 0o777 == 0o700
    assert not list((directory / "cache" / "spotfsm").glob("*.new"))


@pytest.mark.parametrize("outage", ["down", "empty", "503", "torn", "no items"])
def test_in_an_outage_the_last_good_prices_are_told_with_their_age(
    prices: Ask, cloud: Cloud, directory: Path, monkeypatch: pytest.MonkeyPatch, outage: str
) -> None:
    """A list that does not answer, answers nonsense or lost the series: the last good one, never a zero."""
    monkeypatch.setattr(documents, "FIRST_PAUSE_S", 0.0)
    prices(D2, "--region", EAST, signed_in=False)
    age_cache(directory, 5)
    match outage:
        case "down":
            cloud.down = True
        case "empty":
            cloud.items = []
        case "503":
            cloud.refusals = [Refusal(status=503, headers={"Retry-After": "0"})]
        case "torn":
            cloud.refusals = [Refusal(status=200, body='{"Items": [')]
        case _:
            cloud.refusals = [Refusal(status=200, body={"Items": None})]
    ended = prices(D2, "--region", EAST, "--json", signed_in=False)
    assert quotes(ended)[0]["spot_usd_per_h"] == "0.0173"
    assert "what is shown is 5.0 hours old" in ended.err


@pytest.mark.parametrize("called", ["Spot", "pay-as-you-go"])
def test_a_price_that_alone_is_gone_from_the_list_is_told_with_its_age(
    prices: Ask, cloud: Cloud, directory: Path, called: str
) -> None:
    """However often it is asked for in vain, it keeps its own age; what comes back is believed."""
    whole = cloud.items
    prices(D2, "--region", EAST, signed_in=False)
    cloud.items = [one for one in whole if str(one["skuName"]).endswith(" Spot") is not (called == "Spot")]
    for hours in (5, 3):
        age_cache(directory, hours)
        ended = prices(D2, "--region", EAST, "--json", signed_in=False)
        (found,) = quotes(ended)
        assert (found["spot_usd_per_h"], found["pay_as_you_go_usd_per_h"]) == ("0.0173", "0.096")
        note = f"{D2} in {EAST}: the price list has no {called} price any more; what is shown is 5.0 hours old"
        assert note in ended.err
        assert (found["spot_seen_at"] is not None) == (called == "Spot")
    cloud.items = whole
    ended = prices(D2, "--region", EAST, "--refresh", "--json", signed_in=False)
    assert quotes(ended)[0]["spot_seen_at"] is None
    assert "any more" not in ended.err


def test_an_outage_without_anything_kept_is_one_line(
    prices: Ask, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1: the service did not do what was asked."""
    monkeypatch.setattr(documents, "FIRST_PAUSE_S", 0.0)
    cloud.down = True
    ended = prices(D2, "--region", EAST, signed_in=False)
    assert ended.code == 1
    assert ended.error_line.startswith("the price list does not answer: ")
    assert ended.error_line.endswith(". Try again later.")
    assert cloud.pages() == documents.TRIES_MAX


def test_a_broken_cache_is_none(prices: Ask, cloud: Cloud, directory: Path) -> None:
    """A file that is torn, of another version or of another question is asked for again."""
    prices(D2, "--region", EAST, signed_in=False)
    (file,) = (directory / "cache" / "spotfsm").glob("*.json")
    whole = json.loads(file.read_text())
    for text in ("", "[]", '{"at": 3}', json.dumps({**whole, "version": 0}), json.dumps({**whole, "key": "other"})):
        asked = cloud.pages()
        file.write_text(text)
        assert quotes(prices(D2, "--region", EAST, "--json", signed_in=False))[0]["spot_usd_per_h"] == "0.0173"
        assert cloud.pages() == asked + 1


def test_a_cache_that_cannot_be_written_is_done_without(prices: Ask, directory: Path) -> None:
    """A file in its place is no reason to fail."""
    (directory / "cache").write_text("in the way")
    assert prices(D2, "--region", EAST, signed_in=False).code == 0


def test_being_refused_for_now_is_waited_for(prices: Ask, cloud: Cloud) -> None:
    """429 with Retry-After is asked again, as often as it takes within bounds, and the answer is then whole."""
    cloud.refusals = [Refusal(status=429, headers={"Retry-After": "0"}, times=documents.TRIES_MAX - 1)]
    assert quotes(prices(D2, "--region", EAST, "--json", signed_in=False))[0]["spot_usd_per_h"] == "0.0173"
    cloud.refusals = [Refusal(status=429, headers={"Retry-After": "0"})]
    ended = prices(D2, "--region", EAST, "--refresh", signed_in=False)
    assert "the price list refuses for now (429); what is shown is 0.0 hours old" in ended.err


def test_what_takes_long_says_how_far_it_is(prices: Ask, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are counted, and a pause is told before it is made."""
    monkeypatch.setattr(planning, "QUIET_S", 0.0)
    cloud.page_size = 4
    cloud.refusals = [Refusal(status=429, headers={"Retry-After": "0"}, times=1)]
    said = prices(D2, "--region", EAST, signed_in=False).err
    assert "the price list refuses for now (429); trying again in 0s" in said
    assert f"reading the price list: {cloud.pages() - 1} pages so far, now of {EAST}" in said


# -- lists that lead astray --------------------------------------------------------------------------------------------


def test_a_next_link_to_its_own_page_ends_the_list(prices: Ask, cloud: Cloud) -> None:
    """The list is not read for ever; what it said is told, with a note that there may be more."""
    last = len([one for one in cloud.items if one["armSkuName"] == D2 and one["armRegionName"] == EAST])
    cloud.page_size, cloud.loops_at = 1, last
    (found,) = quotes(ended := prices(D2, "--region", EAST, "--json", signed_in=False))
    assert found["pay_as_you_go_usd_per_h"] == "0.096"
    assert "leads back to itself: prices may be missing" in ended.err
    assert cloud.pages() < last + 2


def test_a_list_that_loops_before_any_price_is_no_list_without_the_size(prices: Ask, cloud: Cloud) -> None:
    """What was not read is not known: the size is not called misspelt, the service did not do what was asked."""
    cloud.page_size, cloud.loops_at = 1, 1
    ended = prices(D2, "--region", EAST, signed_in=False)
    assert ended.code == 1
    assert ended.error_line == "the price list leads back to itself before it comes to a price"
    assert cloud.pages() == 2


def test_a_next_link_to_another_host_is_not_followed(prices: Ask, cloud: Cloud) -> None:
    """A list that goes on elsewhere is no answer."""
    cloud.page_size, cloud.next_host = 3, "http://127.0.0.1:9"
    ended = prices(D2, "--region", EAST, signed_in=False)
    assert ended.code == 1
    assert ended.error_line.startswith("the price list's next page is elsewhere")


# -- wrong use ---------------------------------------------------------------------------------------------------------


def test_a_region_that_is_none_is_named(prices: Ask) -> None:
    """Exit code 2: the setting, the problem and the remedy."""
    ended = prices(D2, "--region", "estus2", signed_in=False)
    assert ended.code == 2
    assert ended.error_line == (
        "--region: Azure has no prices in a region 'estus2'. Write it as Azure does: eastus2, westeurope."
    )


def test_a_size_that_is_none_is_named(prices: Ask) -> None:
    """A size that nobody lists is a mistake when it is alone, and a note beside others."""
    ended = prices("Standard_d2S_v5", "--region", EAST, signed_in=False)
    assert ended.code == 2
    assert ended.error_line.startswith("sizes: the price list has no row of Standard_d2S_v5. Write it as Azure does")
    both = prices(D2, "Standard_Q9", "--region", EAST, signed_in=False)
    assert both.code == 0
    assert "Standard_Q9 in eastus2: not in the price list" in both.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("D2; drop", "--region", EAST), "sizes: 'D2; drop' is no VM size"),
        ((D2, "--region", "east'us"), "--region: "),
        ((D2,), "--region: it is missing"),
        ((), "sizes: it is missing"),
        (
            (D2, "--region", EAST, "--prices-url", "http://prices.azure.com"),
            "--prices-url: 'http://prices.azure.com' is not https",
        ),
        ((D2, "--region", EAST, "--prices-url", "prices"), "--prices-url: 'prices' is not the root of a service"),
        ((D2, "--region", EAST, "--credential", "default", "--arm-url", "https://a?b=c"), "--arm-url: "),
    ],
)
def test_wrong_use_is_one_line(prices: Ask, arguments: tuple[str, ...], said: str) -> None:
    """Nothing is asked, and the line begins with what to change."""
    ended = prices(*arguments, signed_in=False)
    assert ended.code == 2
    assert ended.error_line.startswith(said), ended.error_line


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_history_is_a_page_that_asks_nobody(prices: Ask, cloud: Cloud, directory: Path) -> None:
    """One file with a line for each size that has a history, drawn as steps, and nothing to fetch."""
    ended = prices(D2, D4, "--region", EAST, "--html", "history.html")
    assert ended.code == 0
    page = (directory / "history.html").read_text()
    assert f"{D2}, {EAST}" in page
    assert f"{D4}, {EAST}" not in page
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)


def test_a_page_without_a_history_is_refused(prices: Ask) -> None:
    """Nothing to draw is said, with the remedy."""
    ended = prices(D2, "--region", EAST, "--html", "history.html", signed_in=False)
    assert ended.code == 2
    assert ended.error_line.startswith("--html: there is no price history to draw. Sign in")
