"""Options of the commands that ask Azure about itself: prices, sizes, VMs."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

import typer

from adapters.azure.planning.retail import usual_spelling
from adapters.cli.options import setting
from adapters.wiring import SignIn
from fsm.spot_vm import Terms

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}", re.IGNORECASE)


def size_name(value: str) -> str:
    """A VM size, with the prefix that everybody leaves out, and the capitals."""
    name = value.strip()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{value!r:.60} is no VM size. Give one such as Standard_D2s_v5.")
    return usual_spelling(name if name.lower().startswith(("standard_", "basic_")) else f"Standard_{name}")


def region_name(value: str) -> str:
    """A region, as Azure writes it or as the portal shows it (`East US 2`)."""
    name = "".join(value.split()).lower()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{value!r:.60} is no region. Give one such as eastus2.")
    return name


def region_names(value: str) -> str:
    """Several regions, with commas between them; each once."""
    return ",".join(dict.fromkeys(region_name(part) for part in value.split(",")))


def max_price(value: str | Decimal) -> Decimal:
    """A max price that Azure takes."""
    try:
        return Terms(max_price_usd_per_h=Decimal(value)).max_price_usd_per_h
    except ArithmeticError as exc:
        raise ValueError(f"{value!r:.60} is not a number. Give USD an hour, such as 0.05, or -1.") from exc


SignInOption = Annotated[
    SignIn,
    setting(
        "--credential",
        "Who asks Azure for tokens: default, the SDK's chain (Azure CLI and more); managed-identity, the VM's own; or "
        "none.",
        metavar="NAME",
    ),
]
Subscription = Annotated[
    str | None,
    setting(
        "--subscription",
        "The subscription's id; AZURE_SUBSCRIPTION_ID, or the only one there is, by default.",
        metavar="ID",
    ),
]
PricesUrl = Annotated[
    str | None,
    setting("--prices-url", "The price list; https://prices.azure.com by default.", metavar="URL"),
]
ArmUrl = Annotated[
    str | None,
    setting("--arm-url", "Azure Resource Manager; https://management.azure.com by default.", metavar="URL"),
]
Refresh = Annotated[bool, typer.Option("--refresh", help="Ask again what was asked less than an hour ago.")]
