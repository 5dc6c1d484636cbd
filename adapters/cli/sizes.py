"""`spotfsm sizes`: the VM sizes of a region that can be Spot, by cores, memory and price."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from adapters import wiring
from adapters.azure.planning.retail import Os
from adapters.cli import azure_options, options, planning
from adapters.cli.output import counted, say, show_json
from fsm.errors import ConfigurationError

if TYPE_CHECKING:
    from adapters.azure.planning.quotes import SizePlan, SizeQuote

_EXAMPLE = (
    "Example: spotfsm sizes --region eastus2 --cores-max 8 --memory-min 16 --price-max 0.05\n\n"
    "Example: spotfsm sizes --region eastus2 --size Standard_D2s_v5"
)
_COLUMNS = (
    ("size", False),
    ("cores", True),
    ("GiB", True),
    ("arch", False),
    ("zones", False),
    ("spot USD/h", True),
    ("pay-as-you-go", True),
    ("saved", True),
)
_LAST = Decimal("Infinity")
"""Where what is not known stands in an order."""


class Order(StrEnum):
    """What the sizes are sorted by."""

    PRICE = "price"
    CORES = "cores"
    MEMORY = "memory"
    NAME = "name"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sizes", epilog=_EXAMPLE)(_sizes)


def _number(value: str | Decimal) -> Decimal:
    try:
        number = Decimal(value)
    except ArithmeticError:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise ValueError(f"{value!r:.60} is not a number. Give one such as 4 or 0.05.")
    return number


def _limit(flag: str, text: str) -> object:
    return options.setting(flag, text, metavar="N", parser=_number)


def _sizes(
    *,
    region: Annotated[
        str,
        options.setting(
            "--region", "The region.", metavar="NAME", parser=azure_options.region_name, show_default=False
        ),
    ],
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="NAME",
            parser=azure_options.size_name,
            show_default=False,
            help="Only this one: can a Spot VM have it? If not, exit code 2 and a name that is close.",
        ),
    ] = None,
    cores_min: Annotated[Decimal | None, _limit("--cores-min", "At least so many cores.")] = None,
    cores_max: Annotated[Decimal | None, _limit("--cores-max", "At most so many cores.")] = None,
    memory_min: Annotated[Decimal | None, _limit("--memory-min", "At least so much memory, in GiB.")] = None,
    memory_max: Annotated[Decimal | None, _limit("--memory-max", "At most so much memory, in GiB.")] = None,
    price_max: Annotated[Decimal | None, _limit("--price-max", "At most this Spot price, in USD an hour.")] = None,
    os: Annotated[Os, options.setting("--os", "Whose licence is in the price: linux or windows.")] = Os.LINUX,
    order: Annotated[Order, options.setting("--sort", "By price, cores, memory or name.")] = Order.PRICE,
    refresh: azure_options.Refresh = False,
    as_json: options.AsJson = False,
    credential: azure_options.SignInOption = wiring.SignIn.DEFAULT,
    client_id: options.ClientId = None,
    subscription: azure_options.Subscription = None,
    prices_url: azure_options.PricesUrl = None,
    arm_url: azure_options.ArmUrl = None,
    _config: options.Config = None,
) -> None:
    """List the sizes that a Spot VM can have, with their prices.

    Left out, and counted: B-series and promotional sizes, sizes that cannot be Spot, and those that the subscription
    may not have in the region. Cores, memory and restrictions need a login; with --credential none the price list's
    names are all there is. The first look at a region reads some sixteen pages of prices; they are kept for an hour.
    Keys of --json: region, os, sizes, left_out, notes; numbers with decimals are texts.
    """
    bounds = _Bounds((cores_min, cores_max), (memory_min, memory_max), price_max)
    if credential is wiring.SignIn.NONE and bounds.need_sizes:
        remedy = "Sign in (`az login`), or leave out the limits on cores and memory."
        raise ConfigurationError("--credential", "the price list knows neither cores nor memory", remedy)
    if credential is wiring.SignIn.NONE and size is not None:
        raise ConfigurationError("--credential", "the price list does not say what can be had", "Sign in (`az login`).")
    settings = wiring.ManagementSettings(
        prices_url=prices_url,
        arm_url=arm_url,
        sign_in=credential,
        client_id=client_id,
        subscription=subscription,
        refresh=refresh,
    )
    with planning.worth_trying_again():
        plan = asyncio.run(_plan(settings, region, os, size))
    found = sorted(filter(bounds.hold, plan.sizes), key=_KEYS[order])
    for note in plan.notes:
        say(f"note: {note}")
    if as_json:
        show_json(_report(region, os, plan, found))
        return
    planning.show(planning.table(_COLUMNS, map(_row, found)))
    left_out = ", ".join(f"{number} {why}" for why, number in plan.left_out.items())
    print(f"{counted(len(found), 'size')} of {len(plan.sizes)} in {region}; left out: {left_out or 'none'}")


class _Bounds:
    """What the user asked for."""

    def __init__(
        self,
        cores: tuple[Decimal | None, Decimal | None],
        memory_gib: tuple[Decimal | None, Decimal | None],
        price_max: Decimal | None,
    ) -> None:
        self._cores, self._memory_gib, self._price_max = cores, memory_gib, price_max
        for what, (least, most) in (("cores", cores), ("memory", memory_gib)):
            if least is not None and most is not None and least > most:
                raise ConfigurationError(f"--{what}-min", f"it is more than --{what}-max", "No size is both.")
        self.need_sizes = any(bound is not None for bound in (*cores, *memory_gib))

    def hold(self, found: SizeQuote) -> bool:
        """Whether a size is within the bounds; what is not known is not."""
        size, spot = found.size, found.quote.spot.usd_per_h
        return (
            not self.need_sizes
            or (
                size is not None
                and _within(Decimal(size.cores), self._cores)
                and _within(size.memory_gib, self._memory_gib)
            )
        ) and (self._price_max is None or (spot is not None and spot <= self._price_max))


def _within(number: Decimal, bounds: tuple[Decimal | None, Decimal | None]) -> bool:
    least, most = bounds
    return (least is None or number >= least) and (most is None or number <= most)


def _price(found: SizeQuote) -> Decimal:
    price = found.quote.spot.usd_per_h
    return _LAST if price is None else price


_KEYS: dict[Order, Callable[[SizeQuote], tuple[Decimal | str, ...]]] = {
    Order.PRICE: lambda found: (_price(found), found.name),
    Order.CORES: lambda found: (_LAST if found.size is None else Decimal(found.size.cores), _price(found), found.name),
    Order.MEMORY: lambda found: (_LAST if found.size is None else found.size.memory_gib, _price(found), found.name),
    Order.NAME: lambda found: (found.name,),
}


async def _plan(settings: wiring.ManagementSettings, region: str, os: Os, size: str | None) -> SizePlan:
    read = planning.PagesRead()
    async with wiring.open_planner(
        settings,
        needs_credential=settings.sign_in is not wiring.SignIn.NONE,
        on_page=read.page,
        on_wait=read.wait,
    ) as planner:
        return await planner.size_plan(region, os, only=size)


def _row(found: SizeQuote) -> tuple[str, ...]:
    size = found.size
    known = (
        ("", "", "", "")
        if size is None
        else (str(size.cores), f"{size.memory_gib.normalize():f}", size.architecture, " ".join(size.zones))
    )
    return (
        found.name,
        *known,
        planning.price_text(found.quote.spot),
        planning.price_text(found.quote.pay_as_you_go),
        planning.share_text(found.quote.saving),
    )


def _report(region: str, os: Os, plan: SizePlan, found: Sequence[SizeQuote]) -> dict[str, object]:
    return {
        "region": region,
        "os": os.value,
        "sizes": [_size_report(one) for one in found],
        "left_out": {why.value: number for why, number in plan.left_out.items()},
        "notes": list(plan.notes),
    }


def _size_report(found: SizeQuote) -> dict[str, object]:
    size, quote = found.size, found.quote
    return {
        "name": found.name,
        "family": None if size is None else size.family,
        "cores": None if size is None else size.cores,
        "memory_gib": None if size is None else planning.exact(size.memory_gib),
        "architecture": None if size is None else size.architecture,
        "zones": None if size is None else list(size.zones),
        "spot_usd_per_h": planning.exact(quote.spot.usd_per_h),
        "pay_as_you_go_usd_per_h": planning.exact(quote.pay_as_you_go.usd_per_h),
        "saving": None if quote.saving is None else f"{quote.saving:.4f}",
    }
