"""`spotfsm prices`: what sizes cost in regions, as Spot and pay-as-you-go, and how often they were evicted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters import wiring
from adapters.azure.planning.retail import Os
from adapters.cli import azure_options, options, planning
from adapters.cli.output import say, show_json

if TYPE_CHECKING:
    from adapters.azure.planning.quotes import PricePlan, Quote

_EXAMPLE = "Example: spotfsm prices Standard_D2s_v5 Standard_D4s_v5 --region eastus2,westeurope"
_SPARKS = 24
_COLUMNS = (
    ("size", False),
    ("region", False),
    ("spot USD/h", True),
    ("pay-as-you-go", True),
    ("saved", True),
    ("evicted/h", True),
    ("90 days", False),
    ("from", True),
    ("to", True),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prices", epilog=_EXAMPLE)(_prices)


def _prices(
    sizes: Annotated[
        list[str],
        typer.Argument(
            metavar="SIZE",
            parser=azure_options.size_name,
            help="VM sizes, as Azure writes them: Standard_D2s_v5.",
            show_default=False,
        ),
    ],
    *,
    region: Annotated[
        str,
        options.setting(
            "--region",
            "One or more regions, with commas between them.",
            metavar="NAMES",
            parser=azure_options.region_names,
            show_default=False,
        ),
    ],
    os: Annotated[Os, options.setting("--os", "Whose licence is in the price: linux or windows.")] = Os.LINUX,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Draw ninety days of Spot prices; needs a credential and Plotly."),
    ] = None,
    refresh: azure_options.Refresh = False,
    as_json: options.AsJson = False,
    credential: azure_options.SignInOption = wiring.SignIn.DEFAULT,
    client_id: options.ClientId = None,
    subscription: azure_options.Subscription = None,
    prices_url: azure_options.PricesUrl = None,
    arm_url: azure_options.ArmUrl = None,
    _config: options.Config = None,
) -> None:
    """Compare Spot and pay-as-you-go, size by size and region by region.

    Prices are the Retail Prices API's, and need no login. With one, Resource Graph adds what Spot really costs, ninety
    days of it, and the share of VMs evicted an hour (over four weeks); the subscription's Spot quota is told as well.
    What contradicts itself is shown, what is not listed is unknown. Answers are kept for an hour, and longer where a
    service does not answer, or has a price no more. Keys of --json: os, quotes, quota, notes; numbers with decimals are
    texts.
    """
    settings = wiring.ManagementSettings(
        prices_url=prices_url,
        arm_url=arm_url,
        sign_in=credential,
        client_id=client_id,
        subscription=subscription,
        refresh=refresh,
    )
    with planning.worth_trying_again():
        plan = asyncio.run(_plan(settings, sizes, region.split(","), os))
    for note in plan.notes:
        say(f"note: {note}")
    if html is not None:
        from adapters.report.history import write_history

        write_history(plan.quotes, html)
        say(f"wrote {html}")
    if as_json:
        show_json(_report(plan, os))
    else:
        _show(plan)


async def _plan(settings: wiring.ManagementSettings, sizes: list[str], regions: list[str], os: Os) -> PricePlan:
    read = planning.PagesRead()
    async with wiring.open_planner(settings, needs_credential=False, on_page=read.page, on_wait=read.wait) as planner:
        return await planner.price_plan(list(dict.fromkeys(sizes)), regions, os)


def _show(plan: PricePlan) -> None:
    planning.show(planning.table(_COLUMNS, map(_row, plan.quotes)))
    for region, quota in plan.quotas.items():
        print(f"Spot quota in {region}: {quota.free} of {quota.limit} cores are free")


def _row(quote: Quote) -> tuple[str, ...]:
    history = quote.history
    past = (
        ("", "", "")
        if history is None
        else (planning.sparkline(history, _SPARKS), planning.money(history.least), planning.money(history.most))
    )
    return (
        quote.size,
        quote.region,
        planning.price_text(quote.spot),
        planning.price_text(quote.pay_as_you_go),
        planning.share_text(quote.saving),
        "" if quote.eviction_rate is None else f"{quote.eviction_rate} %",
        *past,
    )


def _report(plan: PricePlan, os: Os) -> dict[str, object]:
    return {
        "os": os.value,
        "quotes": [
            {
                "size": quote.size,
                "region": quote.region,
                "spot_usd_per_h": planning.exact(quote.spot.usd_per_h),
                "spot_from": None if not quote.spot.candidates else "list" if quote.history is None else "graph",
                "spot_seen_at": None if quote.spot.seen is None else quote.spot.seen.isoformat(),
                "spot_candidates": [planning.exact(price) for price in quote.spot.candidates],
                "pay_as_you_go_usd_per_h": planning.exact(quote.pay_as_you_go.usd_per_h),
                "pay_as_you_go_candidates": [planning.exact(price) for price in quote.pay_as_you_go.candidates],
                "saving": None if quote.saving is None else f"{quote.saving:.4f}",
                "eviction_rate_percent_per_h": quote.eviction_rate,
                "history": [
                    {"at": None if point.at is None else point.at.isoformat(), "usd_per_h": f"{point.usd_per_h:f}"}
                    for point in (() if quote.history is None else quote.history.points)
                ],
            }
            for quote in plan.quotes
        ],
        "quota": [
            {"region": region, "used": quota.used, "limit": quota.limit, "free": quota.free}
            for region, quota in plan.quotas.items()
        ],
        "notes": list(plan.notes),
    }
