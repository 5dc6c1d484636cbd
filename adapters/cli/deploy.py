"""`spotfsm deploy`: the way from nothing to an evicted and recovered worker, as commands of the Azure CLI."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.azure.deploy.commands import ENVIRONMENT, lookups_for
from adapters.azure.deploy.order import Order, PrincipalKind, Shape
from adapters.azure.deploy.steps import ABOUT, BUILD, BY_BASTION, TRACES_S, Step, commands, lookups
from adapters.azure.planning.sizes import unfit_by_name
from adapters.cli import azure_options, options
from adapters.cli.itself import own_command
from adapters.cli.output import show_json
from adapters.packaging import manage_actions
from adapters.telemetry.queries import overview_query
from fsm.errors import ConfigurationError
from fsm.spot_vm import PAY_AS_YOU_GO, Policy, Terms

_EXAMPLES = (
    "Example: spotfsm deploy --region eastus2 --size Standard_D2s_v5 > deploy.sh\n\n"
    "Example: spotfsm deploy --region eastus2 --run, and when it works: spotfsm deploy evict --run"
)
_STEPS = "\n\n".join(f"`{step}`: {ABOUT[step]}." for step in Step)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("deploy", epilog=f"{_EXAMPLES}\n\nSteps:\n\n{_STEPS}")(_deploy)


def _like(pattern: str, remedy: str) -> Callable[[str], str]:
    """A parser of text that matches as a whole."""

    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r:.80} cannot be one. {remedy}")
        return value

    return parse


def _text(flag: str, help_text: str, pattern: str, remedy: str, metavar: str = "NAME") -> Any:
    return options.setting(flag, help_text, metavar=metavar, parser=_like(pattern, remedy))


def _number(flag: str, help_text: str, least: int, most: int) -> Any:
    return options.setting(flag, help_text, metavar="N", parser=options.whole(least, most))


def _deploy(
    *,
    steps: Annotated[
        list[Step] | None,
        typer.Argument(metavar="[STEP]...", show_default=False, help="Take these; by default all that build."),
    ] = None,
    run: Annotated[
        bool,
        typer.Option("--run/--dry-run", help="Run the commands, or only print them, as a script that does the same."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before anything is deleted.")] = False,
    since: Annotated[
        Step | None,
        typer.Option("--from", metavar="STEP", show_default=False, help="Go on with this step and those behind it."),
    ] = None,
    region: Annotated[
        str,
        options.setting("--region", "Where everything is.", metavar="NAME", parser=azure_options.region_name),
    ] = "eastus2",
    resource_group: Annotated[
        str,
        _text("--resource-group", "What holds everything.", r"[\w().-]{0,89}[\w()-]", "Use letters, digits, -, _, ."),
    ] = "rg-spotfsm",
    subscription: Annotated[
        str | None,
        options.setting("--subscription", "Its name or id; the login's own by default.", metavar="ID"),
    ] = None,
    name: Annotated[
        str,
        _text("--name", "What all names begin with.", "[a-z][a-z0-9-]{1,22}[a-z0-9]", "Use 3 to 24 of a-z, 0-9 and -."),
    ] = "spotfsm",
    shape: Annotated[
        Shape, options.setting("--shape", "vm, or scale-set: Spot VMs above a base of regular ones.")
    ] = Shape.VM,
    size: Annotated[
        str,
        options.setting("--size", "The VM's; see spotfsm sizes.", metavar="NAME", parser=azure_options.size_name),
    ] = "Standard_D2s_v5",
    max_price: Annotated[
        Decimal,
        options.setting(
            "--max-price",
            "The most to pay in USD an hour; -1 is the pay-as-you-go price, and no eviction for it.",
            metavar="USD",
            parser=azure_options.max_price,
        ),
    ] = PAY_AS_YOU_GO,
    eviction_policy: Annotated[
        Policy,
        options.setting("--eviction-policy", "What an eviction does: Deallocate, or Delete, disks and all."),
    ] = Policy.DEALLOCATE,
    instances: Annotated[int, _number("--instances", "How many VMs a scale set has.", 1, 1000)] = 3,
    regular_base: Annotated[int, _number("--regular-base", "How many of them are never evicted.", 0, 1000)] = 1,
    regular_percent: Annotated[
        int, _number("--regular-percent", "How many percent above the base are regular as well.", 0, 100)
    ] = 0,
    queue_name: Annotated[
        str,
        _text(
            "--queue-name", "The queue.", "(?!.*--)[a-z0-9][a-z0-9-]{1,54}[a-z0-9]", "Use 3 to 56 of a-z, 0-9 and -."
        ),
    ] = "jobs",
    container_name: Annotated[
        str,
        _text(
            "--container-name",
            "The job store.",
            "(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
            "Use 3 to 63 of a-z, 0-9 and -.",
        ),
    ] = "records",
    operator: Annotated[
        str | None,
        _text(
            "--operator",
            "Who is granted the operator's roles: an object id, or none; whoever is signed in by default.",
            "none|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
            "Give an object id, or none.",
            "ID",
        ),
    ] = None,
    operator_kind: Annotated[
        PrincipalKind, options.setting("--operator-kind", "What it stands for: User, Group or ServicePrincipal.")
    ] = PrincipalKind.USER,
    bastion: Annotated[
        bool, options.setting("--bastion/--no-bastion", "Deploy a Bastion, billed by the hour, to reach the VM.")
    ] = True,
    admin: Annotated[
        str, _text("--admin", "The VM's administrator.", "[a-z_][a-z0-9_-]{0,31}", "Use a-z, 0-9, - and _.")
    ] = "azureuser",
    ssh_key: Annotated[
        Path,
        options.setting("--ssh-key", "The private key; the public one lies beside it as .pub.", metavar="FILE"),
    ] = Path("~/.ssh/spotfsm"),
    handler: Annotated[
        str, options.setting("--handler", "What does the jobs, in settings that are written.", metavar="NAME")
    ] = "jobs:handle",
    settings: Annotated[
        Path,
        options.setting("--settings", "The worker's settings, which the package takes along.", metavar="FILE"),
    ] = Path("worker.toml"),
    package_version: Annotated[
        str,
        _text("--package-version", "The package's version.", r"[0-9]{1,9}(\.[0-9]{1,9}){2}", "Give X.Y.Z.", "X.Y.Z"),
    ] = "0.1.0",
    package: Annotated[
        Path | None,
        typer.Option("--package", metavar="FILE", help="A package that spotfsm package made, in place of a new one."),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Upload over another package of this version; a version that was published stays as it is.",
        ),
    ] = False,
    message: Annotated[
        str, typer.Option("--message", metavar="TEXT", help="A message; {n} is its number.")
    ] = '{"page": {n}}',
    count: Annotated[
        int, typer.Option("--count", metavar="N", parser=options.whole(1, 1_000_000), help="How many messages.")
    ] = 100,
    as_json: options.AsJson = False,
    _config: options.Config = None,
) -> None:
    """Print the commands of the Azure CLI that deploy and operate a worker, or --run them, step by step.

    Without --run nothing is done: the script on stdout does what --run would. Each step may be taken again; a run that
    failed goes on with --from. Evicting, looking, reaching the VM and cleaning up are taken by name only, and what
    deletes is asked about first, or takes --yes. Keys of
    --json: steps, each name, about, commands (as a shell takes them).
    """
    if (unfit := unfit_by_name(size)) is not None:
        raise ConfigurationError(
            "--size", f"{size} can never be Spot: {unfit}", "`spotfsm sizes` lists sizes that can."
        )
    if as_json and run:
        raise ConfigurationError("--json", "it describes the commands and runs none", "Leave out --run.")
    if shape is Shape.SCALE_SET and regular_base > instances:
        raise ConfigurationError("--regular-base", "it is more than --instances", "Give less, or more instances.")
    if package is not None and not re.fullmatch(r"[\w.-]+", package.name):
        raise ConfigurationError("--package", f"{package.name!r:.80} would be part of an address", "Call it plainer.")
    chosen = _chosen(steps or [], since)
    if not bastion and (through := BY_BASTION.intersection(chosen)):
        problem = f"{min(through)} goes through the Bastion"
        raise ConfigurationError("--no-bastion", problem, "Deploy one; without it there is: spotfsm deploy unit.")
    order = Order(
        bicep=Path(str(files("adapters.azure.deploy"))),
        spotfsm=own_command(),
        resource_group=resource_group,
        region=region,
        subscription=subscription,
        name=name,
        shape=shape,
        size=size,
        terms=Terms(max_price_usd_per_h=max_price, policy=eviction_policy),
        instances=instances,
        regular_base=regular_base,
        regular_percent=regular_percent,
        queue_name=queue_name,
        container_name=container_name,
        operator=operator,
        operator_kind=operator_kind,
        bastion=bastion,
        admin=admin,
        ssh_key=ssh_key.expanduser(),
        handler=handler,
        settings=settings,
        version=package_version,
        package=package,
        overwrite=overwrite,
        message=message,
        count=count,
        actions=dict(manage_actions()),
        traces_query=overview_query(since_s=TRACES_S),
    )
    if as_json:
        show_json({"steps": [_described(step, order) for step in chosen]})
    elif run:
        from adapters.cli.deploy_run import Run

        if not yes:
            _have_agreed(chosen, order)
        Run(order=order, resume=_resume).take(chosen)
    else:
        for line in _script(chosen, order):
            print(line)


def _chosen(named: Sequence[Step], since: Step | None) -> Sequence[Step]:
    if named and since is not None:
        raise ConfigurationError("--from", "steps are named beside it", "Give one of the two.")
    if since is not None and since not in BUILD:
        raise ConfigurationError("--from", f"{since} is taken by name only", f"Use: spotfsm deploy {since}.")
    return named or (BUILD if since is None else BUILD[BUILD.index(since) :])


def _have_agreed(steps: Sequence[Step], order: Order) -> None:
    """Have somebody agree to what cannot be undone.

    Raises:
        ConfigurationError: there is nobody to ask.
    """
    deletions = {Step.CLEAN_UP: f"the resource group {order.resource_group} and everything in it"}
    if order.terms.policy is Policy.DELETE:
        deletions[Step.EVICT] = "the VM and its disks, by the eviction policy"
    for step in steps:
        if (what := deletions.get(step)) is None:
            continue
        if not sys.stdin.isatty():
            raise ConfigurationError("--yes", f"{step} deletes {what}", "Add it if that is meant.")
        typer.confirm(f"{step}: delete {what}?", abort=True, err=True)


def _resume(step: Step) -> str:
    return f"Then go on: the same options and --from {step}." if step in BUILD else "Then take the step again."


def _described(step: Step, order: Order) -> dict[str, object]:
    lines = [line for line in _lines(step, order, set()) if line]
    return {"name": step.value, "about": ABOUT[step], "commands": lines}


def _script(steps: Sequence[Step], order: Order) -> Iterator[str]:
    yield "#!/bin/bash"
    yield "# What `spotfsm deploy --run` does with the same options. Nothing has been run."
    yield "# shellcheck disable=SC2016 # what the VM's shell expands must not be expanded here"
    yield "set -euo pipefail"
    yield from (f"export {name}=${{{name}:-{value}}}" for name, value in ENVIRONMENT.items())
    known: set[str] = set()
    for step in steps:
        yield ""
        yield f"# {step}: {ABOUT[step]}"
        yield from _lines(step, order, known)


def _lines(step: Step, order: Order, known: set[str]) -> Iterator[str]:
    every_lookup = lookups(order)
    for command in commands(step, order):
        for name, lookup in lookups_for(command, every_lookup, known):
            yield f"{name}=$({lookup.shell})"
        yield command.shell
