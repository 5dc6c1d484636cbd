"""`spotfsm twin`: serve the IMDS twin, and give orders to it from another shell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from adapters.cli import options
from adapters.cli.output import say, show_help, show_json
from adapters.twin.client import TwinClient
from adapters.twin.faults import Endpoint, FaultKind
from adapters.twin.wire import Json
from fsm.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
PORT = 8169
"""Where a twin listens, and where orders go, unless they are told otherwise."""
_DAY_S = 86400.0
_SERVE_EXAMPLE = "Example: spotfsm twin serve --eviction-policy Delete --boot-id-file /tmp/boot_id"
_EVENT_ORDERS = {
    "evict": "Announce that the VM is evicted (a Preempt).",
    "freeze": "Announce that the VM pauses for some seconds (a Freeze).",
    "reboot": "Announce a reboot.",
    "redeploy": "Announce a redeployment to another host.",
    "terminate": "Announce a deletion by the operator.",
    "rebalance": "Announce a rebalance recommendation, which is advice.",
}

Url = Annotated[
    str,
    typer.Option("--url", envvar="SPOTFSM_TWIN", metavar="URL", help="The twin, as `spotfsm twin serve` printed it."),
]
EventId = Annotated[str | None, typer.Option("--event-id", metavar="ID", help="Which event; all of them by default.")]
_DEFAULT_URL = f"http://127.0.0.1:{PORT}"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    twin = typer.Typer(
        help="Play IMDS on loopback: Scheduled Events, instance metadata, tokens, faults.",
        invoke_without_command=True,
        rich_markup_mode="markdown",
    )
    twin.callback()(show_help)
    twin.command("serve", epilog=_SERVE_EXAMPLE)(_serve)
    for order, text in _EVENT_ORDERS.items():
        twin.command(order, help=text, epilog=f"Example: spotfsm twin {order} --notice 8s")(_announcing(order))
    twin.command("withdraw", epilog="Example: spotfsm twin withdraw")(_withdraw)
    twin.command("boot", epilog="Example: spotfsm twin boot")(_boot)
    twin.command("identity", epilog="Example: spotfsm twin identity --eviction-policy Delete")(_identity)
    twin.command("fault", epilog="Example: spotfsm twin fault 429 --for 10s")(_fault)
    twin.command("clear", epilog="Example: spotfsm twin clear")(_clear)
    twin.command("state", epilog="Example: spotfsm twin state")(_state)
    app.add_typer(twin, name="twin")


# -- serving -----------------------------------------------------------------------------------------------------------


def _serve(
    *,
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="N", parser=options.whole(0, 65535), help="Where to listen; 0 picks a free port."
        ),
    ] = PORT,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="The address to listen at. Beyond loopback, the whole network gives orders.",
        ),
    ] = LOOPBACK,
    name: Annotated[str, typer.Option("--vm-name", metavar="NAME", help="The VM's name.")] = "vm-spot",
    vm_id: Annotated[
        str | None, typer.Option("--vm-id", metavar="ID", help="The VM's id; a fixed one by default.")
    ] = None,
    priority: Annotated[str, typer.Option("--priority", metavar="NAME", help="Spot, Regular, or another.")] = "Spot",
    eviction_policy: Annotated[
        str, typer.Option("--eviction-policy", metavar="NAME", help="Deallocate or Delete.")
    ] = "Deallocate",
    boot_id_file: Annotated[
        Path | None,
        typer.Option(
            "--boot-id-file", metavar="FILE", help="Keep this file at the VM's boot id; give it to the worker too."
        ),
    ] = None,
) -> None:
    """Serve the twin until Ctrl-C. The first line on stdout is its URL: give it to workers as --imds."""
    from dataclasses import replace

    from adapters.twin.profile import VmProfile
    from adapters.twin.running import run_twin
    from adapters.twin.state import TwinState

    profile = VmProfile(name=name, priority=priority, eviction_policy=eviction_policy)
    if vm_id is not None:
        profile = replace(profile, vm_id=vm_id)
    run_twin(TwinState(profile=profile), host=host, port=port, boot_id_file=boot_id_file, on_ready=_say_ready)
    say("the twin has ended")


def _say_ready(url: str) -> None:
    print(url, flush=True)
    say(f"the twin answers at {url}; give orders with: spotfsm twin evict --url {url}")


# -- orders ------------------------------------------------------------------------------------------------------------


def _order(url: str, order: str, fields: Mapping[str, Json]) -> None:
    """Give an order and print the reply. Fields without a value are left to the twin.

    Raises:
        ConfigurationError: the twin refused it; names the option.
    """
    try:
        show_json(TwinClient(url).order(order, fields))
    except ConfigurationError as exc:
        setting = (
            exc.setting if exc.setting.startswith("-") else f"--{exc.setting.removesuffix('_s').replace('_', '-')}"
        )
        raise ConfigurationError(setting, exc.problem, exc.remedy) from exc


def _announcing(order: str) -> Callable[..., None]:
    """The command that announces an event."""

    def announce(
        *,
        notice: Annotated[
            float | None,
            typer.Option(
                "--notice",
                metavar="TIME",
                parser=options.duration(0.0, 7 * _DAY_S),
                help="How long before it starts; 0 announces it as Started. Azure's usual notice by default.",
            ),
        ] = None,
        vm: Annotated[
            list[str] | None,
            typer.Option("--vm", metavar="NAME", help="Whom it is about, repeatable; this VM by default."),
        ] = None,
        stands: Annotated[
            float | None,
            typer.Option(
                "--started",
                metavar="TIME",
                parser=options.duration(0.0, 7 * _DAY_S),
                help="How long it stands as Started before it disappears.",
            ),
        ] = None,
        lasts: Annotated[
            float | None,
            typer.Option(
                "--duration",
                metavar="TIME",
                parser=options.duration(0.0, _DAY_S),
                help="How long the interruption is said to last, in whole seconds.",
            ),
        ] = None,
        event_id: Annotated[
            str | None, typer.Option("--event-id", metavar="ID", help="The event's id; a fresh one.")
        ] = None,
        url: Url = _DEFAULT_URL,
    ) -> None:
        fields: dict[str, Json] = {
            "notice_s": notice,
            "vm": vm or None,
            "started_s": stands,
            "duration_s": None if lasts is None else round(lasts),
            "event_id": event_id,
        }
        _order(url, order, fields)

    return announce


def _withdraw(*, event_id: EventId = None, url: Url = _DEFAULT_URL) -> None:
    """Cancel an event, or all of them: they disappear."""
    _order(url, "withdraw", {"event_id": event_id})


def _boot(
    *,
    boot_id: Annotated[str | None, typer.Option("--boot-id", metavar="ID", help="The boot id; a fresh one.")] = None,
    vm_id: Annotated[str | None, typer.Option("--vm-id", metavar="ID", help="Come up as this, recreated VM.")] = None,
    url: Url = _DEFAULT_URL,
) -> None:
    """Let the VM come up anew: what was announced to it is over."""
    _order(url, "boot", {"boot_id": boot_id, "vm_id": vm_id})


def _identity(
    *,
    name: Annotated[str | None, typer.Option("--vm-name", metavar="NAME", help="The VM's name.")] = None,
    vm_id: Annotated[str | None, typer.Option("--vm-id", metavar="ID", help="The VM's id.")] = None,
    priority: Annotated[str | None, typer.Option("--priority", metavar="NAME", help="Spot, Regular, ...")] = None,
    eviction_policy: Annotated[
        str | None, typer.Option("--eviction-policy", metavar="NAME", help="Deallocate or Delete.")
    ] = None,
    url: Url = _DEFAULT_URL,
) -> None:
    """Change who the VM is."""
    fields = {"name": name, "vm_id": vm_id, "priority": priority, "eviction_policy": eviction_policy}
    _order(url, "identity", fields)


def _fault(
    kind: Annotated[FaultKind, typer.Argument(help="How IMDS misbehaves; a number is an HTTP status.")],
    *,
    endpoint: Annotated[Endpoint | None, typer.Option("--endpoint", help="Where; everywhere by default.")] = None,
    lasts: Annotated[
        float | None,
        typer.Option(
            "--for",
            metavar="TIME",
            parser=options.duration(0.0, _DAY_S),
            help="For how long; until `clear` by default.",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="N", parser=options.whole(1, 1_000_000), help="For how many requests."),
    ] = None,
    delay: Annotated[
        float | None,
        typer.Option(
            "--delay",
            metavar="TIME",
            parser=options.duration(0.0, 3600.0),
            help="Of a slow reply, or each byte of a drip.",
        ),
    ] = None,
    retry_after: Annotated[
        int | None,
        typer.Option(
            "--retry-after", metavar="SECONDS", parser=options.whole(0, 3600), help="Sent along with a status."
        ),
    ] = None,
    url: Url = _DEFAULT_URL,
) -> None:
    """Let IMDS misbehave."""
    fields: dict[str, Json] = {
        "kind": kind.value,
        "endpoint": None if endpoint is None else endpoint.value,
        "for_s": lasts,
        "count": count,
        "delay_s": delay,
        "retry_after_s": retry_after,
    }
    _order(url, "fault", fields)


def _clear(*, url: Url = _DEFAULT_URL) -> None:
    """No event and no fault any more."""
    _order(url, "clear", {})


def _state(*, url: Url = _DEFAULT_URL) -> None:
    """Print what stands, what was asked and what was acknowledged, as JSON."""
    show_json(TwinClient(url).state())
