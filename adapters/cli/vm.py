"""`spotfsm vm`: look at a Spot VM, start it, deallocate it, change its max price, have it evicted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

import typer

from adapters import wiring
from adapters.cli import azure_options, options, planning, vm_orders
from adapters.cli.output import show_help
from adapters.cli.vm_orders import Ordered, Place
from fsm.orders import Order
from fsm.ports import VmView

_TIMEOUT_S = 1200.0
_HALF_HOUR_S = 1800.0
"""A simulated eviction comes within half an hour. [https://learn.microsoft.com/azure/virtual-machines/spot-vms, read
2026-11]"""


def _example(command: str, more: str = "") -> str:
    return f"Example: spotfsm vm {command} vm-spot{more} --resource-group rg-spot"


Name = Annotated[str, typer.Argument(metavar="NAME", help="The VM's name.", show_default=False)]
ResourceGroup = Annotated[
    str, options.setting("--resource-group", "Where the VM is.", metavar="NAME", show_default=False)
]


def _timeout(shown: str) -> object:
    return options.setting(
        "--timeout",
        "How long to wait for Azure to be done.",
        metavar="TIME",
        parser=options.duration(1.0, 24 * 3600.0),
        show_default=shown,
    )


SignIn = Annotated[
    wiring.SignIn,
    options.setting(
        "--credential",
        "Who asks Azure for tokens: default, the SDK's chain (Azure CLI and more); or managed-identity, the VM's own.",
        metavar="NAME",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    vm = typer.Typer(
        help="Operate a Spot VM; each order is first put to the Spot VM table.",
        epilog=_example("show"),
        invoke_without_command=True,
        rich_markup_mode="markdown",
    )
    vm.callback()(show_help)
    vm.command("show", epilog=_example("show"))(_show)
    for order, text in _PLAIN.items():
        vm.command(order.value, help=f"{text}\n\n{_KEYS}", epilog=_example(order.value))(_ordering(order))
    vm.command("reprice", epilog=_example("reprice", " --max-price 0.05"))(_reprice)
    vm.command("simulate-eviction", epilog=_example("simulate-eviction", " --wait"))(_simulate_eviction)
    app.add_typer(vm, name="vm")


_KEYS = "Keys of --json: those of `vm show` but for orders, and row, the id of the table's row that was taken."
_PLAIN = {
    Order.START: "Start a deallocated VM, if its max price affords the current one. Where Azure refuses, the line says "
    "whether for the price, for capacity or for quota; exit code 1.",
    Order.DEALLOCATE: "Stop the VM and give its compute back: only its disks are paid then, and its quota stays used.",
}


def _place(
    name: str,
    resource_group: str,
    *,
    credential: wiring.SignIn,
    client_id: str | None,
    subscription: str | None,
    prices_url: str | None,
    arm_url: str | None,
) -> Place:
    settings = wiring.ManagementSettings(
        prices_url=prices_url,
        arm_url=arm_url,
        sign_in=credential,
        client_id=client_id,
        subscription=subscription,
        refresh=True,
        fall_back=False,
    )
    return Place(settings=settings, resource_group=resource_group, name=name)


def _carry_out(place: Place, ordered: Ordered, *, as_json: bool) -> None:
    with planning.worth_trying_again():
        view, row = asyncio.run(vm_orders.carry_out(place, ordered))
    vm_orders.show_outcome(place.name, view, row, as_json=as_json)


def _show(
    name: Name,
    *,
    resource_group: ResourceGroup,
    as_json: options.AsJson = False,
    credential: SignIn = wiring.SignIn.DEFAULT,
    client_id: options.ClientId = None,
    subscription: azure_options.Subscription = None,
    prices_url: azure_options.PricesUrl = None,
    arm_url: azure_options.ArmUrl = None,
    _config: options.Config = None,
) -> None:
    """Show the VM, the current price of its size, and what the table says of each order.

    Keys of --json: name, state (the table's), power (Azure's own word), provisioning, priority, size, region, zone, os,
    eviction_policy, max_price_usd_per_h, spot_usd_per_h (null where not known), orders: of each the ids of the rows
    that may decide it.
    """
    place = _place(
        name,
        resource_group,
        credential=credential,
        client_id=client_id,
        subscription=subscription,
        prices_url=prices_url,
        arm_url=arm_url,
    )

    async def look() -> tuple[VmView, Decimal | None]:
        async with vm_orders.operating(place) as operator:
            view = await operator.look()
            return view, None if view.terms is None else await operator.price(view)

    with planning.worth_trying_again():
        view, price = asyncio.run(look())
    vm_orders.show_vm(name, view, price, as_json=as_json)


def _ordering(order: Order) -> Callable[..., None]:
    """The command of an order that needs nothing but the VM."""

    def carry_out(
        name: Name,
        *,
        resource_group: ResourceGroup,
        timeout: Annotated[float, _timeout("20m")] = _TIMEOUT_S,
        as_json: options.AsJson = False,
        credential: SignIn = wiring.SignIn.DEFAULT,
        client_id: options.ClientId = None,
        subscription: azure_options.Subscription = None,
        prices_url: azure_options.PricesUrl = None,
        arm_url: azure_options.ArmUrl = None,
        _config: options.Config = None,
    ) -> None:
        place = _place(
            name,
            resource_group,
            credential=credential,
            client_id=client_id,
            subscription=subscription,
            prices_url=prices_url,
            arm_url=arm_url,
        )
        _carry_out(place, Ordered(order=order, timeout_s=timeout), as_json=as_json)

    return carry_out


def _reprice(
    name: Name,
    *,
    max_price: Annotated[
        Decimal,
        typer.Option(
            "--max-price",
            metavar="USD",
            parser=azure_options.max_price,
            help="USD an hour with up to five decimals, or -1 for up to pay-as-you-go.",
            show_default=False,
        ),
    ],
    resource_group: ResourceGroup,
    timeout: Annotated[float, _timeout("20m")] = _TIMEOUT_S,
    as_json: options.AsJson = False,
    credential: SignIn = wiring.SignIn.DEFAULT,
    client_id: options.ClientId = None,
    subscription: azure_options.Subscription = None,
    prices_url: azure_options.PricesUrl = None,
    arm_url: azure_options.ArmUrl = None,
    _config: options.Config = None,
) -> None:
    """Change the max price of a deallocated VM; Azure and the table refuse it for one that is allocated.

    Keys of --json: those of `vm show` but for orders, and row, the id of the table's row that was taken.
    """
    place = _place(
        name,
        resource_group,
        credential=credential,
        client_id=client_id,
        subscription=subscription,
        prices_url=prices_url,
        arm_url=arm_url,
    )
    ordered = Ordered(order=Order.REPRICE, timeout_s=timeout, max_price_usd_per_h=max_price)
    _carry_out(place, ordered, as_json=as_json)


def _simulate_eviction(
    name: Name,
    *,
    resource_group: ResourceGroup,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a VM and its disks are deleted.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the VM is taken.")] = False,
    timeout: Annotated[float, _timeout("30m")] = _HALF_HOUR_S,
    as_json: options.AsJson = False,
    credential: SignIn = wiring.SignIn.DEFAULT,
    client_id: options.ClientId = None,
    subscription: azure_options.Subscription = None,
    prices_url: azure_options.PricesUrl = None,
    arm_url: azure_options.ArmUrl = None,
    _config: options.Config = None,
) -> None:
    """Have Azure evict the VM. It is a real eviction: under policy Delete, the VM and its disks are deleted.

    Azure accepts it at once, and takes the VM within half an hour, usually in a minute or two and after a notice.
    Keys of --json: those of `vm show` but for orders, and row, the id of the table's row that was taken.
    """
    place = _place(
        name,
        resource_group,
        credential=credential,
        client_id=client_id,
        subscription=subscription,
        prices_url=prices_url,
        arm_url=arm_url,
    )
    ordered = Ordered(order=Order.SIMULATE_EVICTION, timeout_s=timeout, yes=yes, watch=wait)
    _carry_out(place, ordered, as_json=as_json)
