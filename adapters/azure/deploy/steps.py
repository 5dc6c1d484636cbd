"""The walk-through, step by step: which commands take it, for one VM or a scale set.

Every command can be given again: what is there stays as it is. Values that Azure alone knows, such as the name of the
storage account, are looked up in the outputs of the deployment that made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import assert_never

from adapters.azure.deploy.commands import Command, Variable, Word
from adapters.azure.deploy.order import Order, Shape
from adapters.azure.deploy.troubles import Trouble

PACKAGES = "packages"
"""The container of packages, as modules/storage.bicep calls it."""
TUNNEL_PORT = 50022
TRACES_S = 3600
TRACES_OFFSET = "0d1h"
"""How far back traces are looked at, for a query and for the command that asks it."""
UNIT = "spotfsm-worker"
_SIGNED_IN = Variable("OPERATOR")


class Step(StrEnum):
    """A step, in the order in which they are taken."""

    LOGIN = "login"
    SIZE = "size"
    KEY = "key"
    GROUP = "group"
    INFRASTRUCTURE = "infrastructure"
    MESSAGES = "messages"
    SETTINGS = "settings"
    PACKAGE = "package"
    UPLOAD = "upload"
    PUBLISH = "publish"
    COMPUTE = "compute"
    STATUS = "status"
    ASSIGN = "assign"
    EVICT = "evict"
    TRACES = "traces"
    START = "start"
    UNIT = "unit"
    SSH = "ssh"
    TUNNEL = "tunnel"
    COPY = "copy"
    DROP_ROLES = "drop-roles"
    CLEAN_UP = "clean-up"


BUILD = tuple(Step)[: tuple(Step).index(Step.COMPUTE) + 1]
"""What is taken when no step is named: everything up to a VM that works. The others are taken by name only."""

BY_BASTION = frozenset({Step.SSH, Step.TUNNEL, Step.COPY})
"""What goes through the Bastion."""

ABOUT: Mapping[Step, str] = {
    Step.LOGIN: "is somebody signed in, and to which subscription",
    Step.SIZE: "is there such a size, and can a Spot VM have it",
    Step.KEY: "make an SSH key, where there is none",
    Step.GROUP: "make the resource group",
    Step.INFRASTRUCTURE: "deploy network, storage, identities, roles, telemetry and gallery",
    Step.MESSAGES: "put messages on the queue",
    Step.SETTINGS: "write the settings that the package takes along, where there are none",
    Step.PACKAGE: "package the jobs",
    Step.UPLOAD: "upload the package",
    Step.PUBLISH: "publish it as a version of the VM Application",
    Step.COMPUTE: "deploy the VM, or the scale set, with this version on it",
    Step.STATUS: "count what waits and what became of the rest",
    Step.ASSIGN: "give the VM, or the scale set, this version in place of another",
    Step.EVICT: "simulate an eviction: a real one, which takes up to half an hour to come",
    Step.TRACES: "look at what the worker told Application Insights",
    Step.START: "start the VM after an eviction",
    Step.UNIT: "ask systemd on the VM for the worker",
    Step.SSH: "open a shell on the VM, through the Bastion",
    Step.TUNNEL: "open a tunnel to the VM, through the Bastion",
    Step.COPY: "copy the package to the VM by hand, through the tunnel",
    Step.DROP_ROLES: "delete the custom roles, which outlive their resource group",
    Step.CLEAN_UP: "delete the resource group and all that is in it, for good",
}


# -- what is looked up -----------------------------------------------------------------------------------------------

OUTPUTS = {
    "ACCOUNT": "storageAccountName",
    "QUEUE_URL": "queueUrl",
    "STORE_URL": "storeUrl",
    "PACKAGES_URL": "packagesUrl",
    "GALLERY": "galleryName",
    "APPLICATION": "applicationName",
    "INSIGHTS": "insightsName",
    "WORKER_ROLE": "workerRoleName",
    "OPERATOR_ROLE": "operatorRoleName",
}
"""By variable: the output of main.bicep."""
_ASSIGNMENTS_MAX = 4
"""Of custom roles: the worker on queue, poison queue and container, and the operator, if there is one."""


def lookups(order: Order) -> Mapping[str, Command]:
    """By variable: the command that prints its value."""
    az = _az(order)
    deployment = ("deployment", "group", "show", "--name", f"{order.name}-infrastructure")
    found = {name: az(*deployment, *_text(f"properties.outputs.{output}.value")) for name, output in OUTPUTS.items()}
    for number in range(_ASSIGNMENTS_MAX):
        query = f"properties.outputs.customAssignments.value[{number}]"
        found[f"ASSIGNMENT_{number}"] = az(*deployment, *_text(query))
    found["SUBSCRIPTION"] = az("account", "show", *_text("id"), grouped=False)
    found["OPERATOR"] = Command(words=["az", "ad", "signed-in-user", "show", *_text("id")])
    found["VERSION_ID"] = az(
        *("sig", "gallery-application", "version", "show", "--gallery-name", Variable("GALLERY")),
        *("--application-name", Variable("APPLICATION"), "--version-name", order.version, *_text("id")),
    )
    found["INSTANCE"] = az("vm", "list", "--vmss", order.compute_name, *_text("[?priority=='Spot'] | [0].name"))
    found["VM_ID"] = az("vm", "show", "--name", order.vm, *_text("id"))
    return found


def _text(query: str) -> Sequence[str]:
    return ("--query", query, "--output", "tsv")


def _az(order: Order) -> Callable[..., Command]:
    """Makes commands of the Azure CLI for this subscription and, unless told otherwise, this resource group."""
    subscription: Sequence[str] = () if order.subscription is None else ("--subscription", order.subscription)

    def az(*words: Word, grouped: bool = True, interactive: bool = False) -> Command:
        group = ("--resource-group", order.resource_group) if grouped else ()
        return Command(words=["az", *words, *group, *subscription], interactive=interactive)

    return az


# -- what is done ----------------------------------------------------------------------------------------------------


def commands(step: Step, order: Order) -> Sequence[Command]:
    """The commands of a step."""
    az = _az(order)
    words: Sequence[Word]
    match step:
        case Step.LOGIN:
            return [az("account", "show", "--output", "table", grouped=False)]
        case Step.SIZE:
            words = (*order.spotfsm, "sizes", "--region", order.region, "--size", order.size)
            return [Command(words=[*words, "--subscription", Variable("SUBSCRIPTION"), "--credential", "default"])]
        case Step.KEY:
            words = (
                "ssh-keygen",
                "-q",
                "-m",
                "PEM",
                "-t",
                "rsa",
                "-b",
                "4096",
                "-N",
                "",
                "-C",
                f"{order.admin}@{order.name}",
            )
            directory = Command(words=["mkdir", "-p", str(order.ssh_key.parent)], unless=order.ssh_key.parent)
            return [directory, Command(words=[*words, "-f", str(order.ssh_key)], unless=order.ssh_key)]
        case Step.GROUP:
            words = ("group", "create", "--name", order.resource_group, "--location", order.region)
            return [az(*words, "--output", "none", grouped=False)]
        case Step.INFRASTRUCTURE:
            return [_deployment(order, "infrastructure", "main.bicep", _infrastructure(order))]
        case Step.MESSAGES:
            return [_messages(order)]
        case Step.SETTINGS | Step.PACKAGE if order.package is not None:
            return []
        case Step.SETTINGS:
            return [_settings(order)]
        case Step.PACKAGE:
            words = (*order.spotfsm, "package", "--version", order.version, "--config", str(order.settings))
            processor = ("--architecture", "aarch64") if order.arm else ()
            return [Command(words=[*words, "--extra", "telemetry", *processor])]
        case Step.UPLOAD:
            return [_upload(order)]
        case Step.PUBLISH:
            return [_deployment(order, f"version-{order.version}", "version.bicep", _version(order))]
        case Step.COMPUTE:
            template = "vm.bicep" if order.shape is Shape.VM else "scaleset.bicep"
            return [_deployment(order, "compute", template, _compute(order))]
        case Step.STATUS:
            return [Command(words=[*order.spotfsm, "status", *_places(), "--credential", "default"])]
        case Step.ASSIGN:
            kind = "vm" if order.shape is Shape.VM else "vmss"
            words = (
                kind,
                "application",
                "set",
                "--name",
                order.compute_name,
                "--app-version-ids",
                Variable("VERSION_ID"),
            )
            return [az(*words, "--treat-deployment-as-failure", "true", "--output", "none")]
        case Step.EVICT:
            return [az("vm", "simulate-eviction", "--name", order.vm)]
        case Step.TRACES:
            words = ("monitor", "app-insights", "query", "--app", Variable("INSIGHTS"), "--offset", TRACES_OFFSET)
            return [az(*words, "--analytics-query", order.traces_query, "--output", "table")]
        case Step.START:
            return [az("vm", "start", "--name", order.vm)]
        case Step.UNIT:
            return [_unit(order)]
        case Step.SSH:
            words = ("--auth-type", "ssh-key", "--username", order.admin, "--ssh-key", str(order.ssh_key))
            return [az(*_bastion("ssh", order), *words, interactive=True)]
        case Step.TUNNEL:
            return [
                az(*_bastion("tunnel", order), "--resource-port", "22", "--port", str(TUNNEL_PORT), interactive=True)
            ]
        case Step.COPY:
            words = (
                "scp",
                "-i",
                str(order.ssh_key),
                "-P",
                str(TUNNEL_PORT),
                str(order.archive),
                f"{order.admin}@127.0.0.1:",
            )
            return [Command(words=words, interactive=True)]
        case Step.DROP_ROLES:
            return list(_drop_roles(order))
        case Step.CLEAN_UP:
            return [az("group", "delete", "--name", order.resource_group, "--yes", grouped=False)]
        case _:
            assert_never(step)


def _deployment(order: Order, name: str, template: str, parameters: Mapping[str, Word]) -> Command:
    given = [(f"{key}=", *(value if isinstance(value, tuple) else (value,))) for key, value in parameters.items()]
    return _az(order)(
        *("deployment", "group", "create", "--name", f"{order.name}-{name}", "--output", "none"),
        *("--template-file", str(order.bicep / template), "--parameters", *(_joined(word) for word in given)),
    )


def _joined(word: tuple[str | Variable, ...]) -> Word:
    """Text alone as text, so that a shell sees one word without a seam."""
    return "".join(part for part in word if isinstance(part, str)) if all(isinstance(p, str) for p in word) else word


def _infrastructure(order: Order) -> Mapping[str, Word]:
    parameters: dict[str, Word] = {
        "name": order.name,
        "queueName": order.queue_name,
        "containerName": order.container_name,
        "deployBastion": "true" if order.bastion else "false",
    }
    if order.operator != "none":
        parameters["operatorPrincipalId"] = order.operator or _SIGNED_IN
        parameters["operatorPrincipalType"] = order.operator_kind.value
    return parameters


def _version(order: Order) -> Mapping[str, Word]:
    return {
        "galleryName": Variable("GALLERY"),
        "applicationName": Variable("APPLICATION"),
        "version": order.version,
        "packageUrl": (Variable("PACKAGES_URL"), f"/{order.archive.name}"),
        "packageFileName": order.archive.name,
        **{f"{action}Command": command for action, command in order.actions.items()},
    }


def _compute(order: Order) -> Mapping[str, Word]:
    parameters: dict[str, Word] = {
        "name": order.name,
        "vmSize": order.size,
        "maxPrice": f"{order.terms.max_price_usd_per_h:f}",
        "evictionPolicy": order.terms.policy.value,
        "adminUsername": order.admin,
        "adminPublicKey": f"@{order.ssh_key}.pub",
        "imageSku": "server-arm64" if order.arm else "server",
        "applicationVersionId": Variable("VERSION_ID"),
        "storageAccountName": Variable("ACCOUNT"),
        "queueName": order.queue_name,
        "containerName": order.container_name,
    }
    if order.shape is Shape.VM:
        return {**parameters, "vmName": order.compute_name}
    return {
        **parameters,
        "scaleSetName": order.compute_name,
        "instances": str(order.instances),
        "regularBase": str(order.regular_base),
        "regularPercentAboveBase": str(order.regular_percent),
    }


def _messages(order: Order) -> Command:
    words = (*order.spotfsm, "enqueue", order.message, "--count", str(order.count))
    return Command(words=[*words, "--queue", Variable("QUEUE_URL"), "--credential", "default"])


def _places() -> Sequence[Word]:
    return ("--queue", Variable("QUEUE_URL"), "--store", Variable("STORE_URL"))


def _settings(order: Order) -> Command:
    form = 'queue = "%s"\nstore = "%s"\n\n[worker]\nhandler = "%s"\ntelemetry = "azure-monitor"\n'
    words = ("printf", form, Variable("QUEUE_URL"), Variable("STORE_URL"), order.handler)
    return Command(words=words, output=order.settings, unless=order.settings)


def _upload(order: Order) -> Command:
    """A version may be published already: what was uploaded stays as it is, and has to be the same."""
    az, archive = _az(order), order.archive
    blob: Sequence[Word] = (
        *("--account-name", Variable("ACCOUNT"), "--container-name", PACKAGES, "--name", archive.name),
        *("--auth-mode", "login", "--output", "none"),
    )
    upload = ("storage", "blob", "upload", *blob, "--file", str(archive), "--overwrite")
    if order.overwrite:
        return az(*upload, "true", grouped=False)
    there = f"{archive.name}.uploaded"
    download = az("storage", "blob", "download", *blob, "--file", there, "--no-progress", grouped=False)
    compare = Command(words=["cmp", "--silent", there, str(archive)], means=_another(order, there))
    command = az(*upload, "false", grouped=False)
    return replace(command, if_made=[download, compare, Command(words=["rm", there])])


def _another(order: Order, there: str) -> Trouble:
    """Something else was uploaded under this name."""
    remedy = f"or add --overwrite if it was never published. What is there lies in {there}."
    if order.package is not None:
        problem = f"another file is uploaded as {order.package.name}"
        return Trouble(setting="--package", problem=problem, remedy=f"Call this one otherwise, {remedy}")
    first, second, third = order.version.split(".")
    return Trouble(
        setting="--package-version",
        problem=f"{order.version} is uploaded already, and what is packaged now is not the same",
        remedy=f"A published version never changes: take {first}.{second}.{int(third) + 1}, {remedy}",
        since=Step.PACKAGE,
    )


def _unit(order: Order) -> Command:
    script = f"systemctl status --no-pager --full '{UNIT}*' ; journalctl --no-pager --lines 20 --unit '{UNIT}*'"
    return _az(order)(
        *("vm", "run-command", "invoke", "--command-id", "RunShellScript", "--name", order.vm, "--scripts", script),
        *_text("value[0].message"),
    )


def _bastion(verb: str, order: Order) -> Sequence[Word]:
    return ("network", "bastion", verb, "--name", f"{order.name}-bastion", "--target-resource-id", Variable("VM_ID"))


def _drop_roles(order: Order) -> Iterator[Command]:
    """First what was assigned, for a role that is in use stays."""
    az = _az(order)
    assignments = [Variable(f"ASSIGNMENT_{number}") for number in range(_ASSIGNMENTS_MAX - (order.operator == "none"))]
    yield az("role", "assignment", "delete", "--ids", *assignments, grouped=False)
    for role in ("WORKER_ROLE", "OPERATOR_ROLE"):
        yield az("role", "definition", "delete", "--name", Variable(role), "--custom-role-only", "true")
