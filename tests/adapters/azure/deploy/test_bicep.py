"""The Bicep that ships has no fault that can be found without a compiler; and whoever looks for them sees them."""

from __future__ import annotations

import ipaddress
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
import typer
from hatchling.builders.wheel import WheelBuilder

from adapters.azure import deploy
from adapters.azure.deploy import steps
from adapters.cli.main import build
from adapters.cli.permissions import NEEDS, Permission
from tests.adapters.azure.deploy.arm_shapes import MODELS
from tests.adapters.azure.deploy.bicep_file import parse
from tests.adapters.azure.deploy.bicep_lint import lint

ROOT = Path(deploy.__file__).parent
SHIPPED = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.bicep"))
}


README = (Path(__file__).resolve().parents[4] / "README.md").read_text(encoding="utf-8")
BUILT_IN = {
    "metricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "queueContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "blobContributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
}
"""Monitoring Metrics Publisher, Storage Queue Data Contributor, Storage Blob Data Contributor, Reader.
[https://learn.microsoft.com/azure/role-based-access-control/built-in-roles, read 2026-11]"""


def broken(path: str, before: str, after: str) -> Mapping[str, str]:
    """What ships, with one place changed."""
    assert SHIPPED[path].count(before) >= 1, before
    return {**SHIPPED, path: SHIPPED[path].replace(before, after, 1)}


def faults(path: str, before: str, after: str) -> str:
    """What is found in what ships with one place changed."""
    return "\n".join(lint(broken(path, before, after)))


class TestWhatShips:
    """Every file, as it is deployed."""

    def test_it_has_no_fault(self) -> None:
        """Names, modules, API versions and every body agree with the SDK's models."""
        assert lint(SHIPPED) == []

    def test_everything_that_the_guide_deploys_is_there(self) -> None:
        """Each kind of resource that the reference's guide lists, and what it lacks, and nothing without a model."""
        types = {
            resource.type
            for text in SHIPPED.values()
            for resource in parse(text).resources.values()
            if not resource.existing
        }
        assert types == MODELS.keys()

    def test_it_is_in_the_wheel(self, tmp_path: Path) -> None:
        """Whoever installs spotfsm has the templates, and what goes onto the VM."""
        root = Path(__file__).resolve().parents[4]
        (wheel,) = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
        names = set(zipfile.ZipFile(wheel).namelist())
        assert {f"adapters/azure/deploy/{path}" for path in SHIPPED} <= names
        assert "adapters/host/deploy/vm-application.json" in names

    def test_every_output_is_looked_up(self) -> None:
        """The commands of the walk-through ask for what the infrastructure tells, and for nothing else."""
        outputs = parse(SHIPPED["main.bicep"]).outputs.keys()
        assert {*steps.OUTPUTS.values(), "customAssignments"} == outputs
        assert "versionId" in parse(SHIPPED["version.bicep"]).outputs

    def test_the_worker_knows_what_it_is_told(self) -> None:
        """Each variable that cloud-init writes is a setting of `worker`, or one of Application Insights' own."""
        told = set(re.findall(r"'([A-Z_]+)=", SHIPPED["modules/settings.bicep"]))
        group = typer.main.get_command(build(["worker"]))
        worker = group.commands["worker"]  # type: ignore[attr-defined] # a group
        known = {parameter.envvar for parameter in worker.params}
        assert {name for name in told if not name.startswith("APPLICATIONINSIGHTS_")} <= known

    def test_the_platform_asks_for_health_as_the_readme_says(self) -> None:
        """The path that the worker serves, and a restart's time before it counts as ill."""
        settings = re.search(r"settings: \{\n( *protocol.*?)\}", SHIPPED["scaleset.bicep"], re.DOTALL)
        probes = re.search(r"`numberOfProbes` of (\d+), a minute", README)
        assert settings is not None
        assert probes is not None
        assert "requestPath: '/healthz/all'" in settings[1]
        assert "request path `/healthz/all`" in README
        assert f"numberOfProbes: {probes[1]}\n" in settings[1]
        assert int(probes[1]) * 5 == 60
        assert "intervalInSeconds: 5\n" in settings[1]

    def test_what_is_looked_up_is_what_is_deployed(self) -> None:
        """A VM finds network, identity and telemetry by name, and its subnet: under those that they were given."""
        files = {path: parse(text).resources for path, text in SHIPPED.items()}
        every = [resource for resources in files.values() for resource in resources.values()]
        deployed = {(one.type, str(one.body["name"])) for one in every if not one.existing}
        for one in every:
            name = str(one.body["name"])
            assert not one.existing or "${" not in name or (one.type, name) in deployed, name
            if one.type.endswith(("/queueServices", "/blobServices")):
                assert name == "default"
        subnets = set(re.findall(r"/subnets/(\w+)'", "".join(SHIPPED.values())))
        assert subnets == {"workers", "AzureBastionSubnet"}
        assert all(f"name: '{subnet}'\n" in SHIPPED["modules/network.bicep"] for subnet in subnets)
        assert set(re.findall(r"subscriptionResourceId\('([^']+)'", "".join(SHIPPED.values()))) <= MODELS.keys()
        assert {
            re.findall(r"targetScope = '(\w+)'", text)[0] for text in SHIPPED.values() if "targetScope" in text
        } == {"resourceGroup"}

    def test_a_scale_set_is_as_spot_needs_it(self) -> None:
        """Flexible, with a base of regular VMs and a restore policy; Azure refuses terminate notifications on Spot."""
        body = parse(SHIPPED["scaleset.bicep"]).resources["scaleSet"].body["properties"]
        properties = cast("Mapping[str, object]", body)
        assert (properties["orchestrationMode"], properties["platformFaultDomainCount"]) == ("Flexible", 1)
        assert properties["singlePlacementGroup"] is False
        assert properties["spotRestorePolicy"] == {"enabled": True, "restoreTimeout": "restoreTimeout"}
        mix = {
            "baseRegularPriorityCount": "regularBase",
            "regularPriorityPercentageAboveBase": "regularPercentAboveBase",
        }
        assert properties["priorityMixPolicy"] == mix
        assert cast("Mapping[str, object]", properties["virtualMachineProfile"])["priority"] == "Spot"
        assert "terminateNotificationProfile" not in SHIPPED["scaleset.bicep"]
        for path in ("vm.bicep", "scaleset.bicep"):
            assert "treatFailureAsDeploymentFailure: true" in SHIPPED[path]

    def test_the_network_is_one_that_azure_takes(self) -> None:
        """No two rules of a group have one priority and direction; a Bastion has 64 addresses of the network."""
        file = parse(SHIPPED["modules/network.bicep"])
        for name in ("workersGroup", "bastionGroup"):
            properties = cast(
                "Mapping[str, list[Mapping[str, Mapping[str, object]]]]", file.resources[name].body["properties"]
            )
            rules = [rule["properties"] for rule in properties["securityRules"]]
            assert len({(rule["direction"], rule["priority"]) for rule in rules}) == len(rules)
        whole, bastion, workers = (
            ipaddress.ip_network(str(file.variables[name]))
            for name in ("virtualNetworkPrefix", "bastionPrefix", "workersPrefix")
        )
        assert isinstance(whole, ipaddress.IPv4Network)
        assert isinstance(bastion, ipaddress.IPv4Network)
        assert isinstance(workers, ipaddress.IPv4Network)
        assert bastion.subnet_of(whole)
        assert workers.subnet_of(whole)
        assert not bastion.overlaps(workers)
        assert bastion.prefixlen <= 26
        host = file.resources["bastion"].body
        assert host["sku"] == {"name": "Standard"}
        assert cast("Mapping[str, object]", host["properties"])["enableTunneling"] is True

    def test_no_secret_is_in_it(self) -> None:
        """No key is listed, no SAS is made, no password is asked for."""
        for path, text in SHIPPED.items():
            for secret in ("listKeys", "listAccountSas", "listServiceSas", "adminPassword", "sig=", "@secure"):
                assert secret not in text, f"{path}: {secret}"

    def test_the_storage_account_is_closed(self) -> None:
        """Shared keys off, no anonymous reader, TLS 1.2, nothing over http."""
        properties = parse(SHIPPED["modules/storage.bicep"]).resources["account"].body["properties"]
        assert isinstance(properties, Mapping)
        assert properties["allowSharedKeyAccess"] is False
        assert properties["allowBlobPublicAccess"] is False
        assert properties["supportsHttpsTrafficOnly"] is True
        assert properties["minimumTlsVersion"] == "TLS1_2"

    def test_role_assignments_are_named_by_what_they_say(self) -> None:
        """A name made of scope, principal and role makes a second deployment the same one."""
        assignments = re.findall(
            r"^resource \w+ '[^']*/roleAssignments@.*?^}", SHIPPED["modules/access.bicep"], re.DOTALL | re.MULTILINE
        )
        assert len(assignments) == 9
        for assignment in assignments:
            name = re.search(r"name: guid\((\S+)\.id, (\w+), (\S+)\)\n", assignment)
            assert name is not None, assignment
            scope = re.search(r"scope: (\w+)\n", assignment)
            assert name[1] == ("resourceGroup()" if scope is None else scope[1])
            assert f"principalId: {name[2]}\n" in assignment
            assert re.search(rf"roleDefinitionId: .*{re.escape(name[3])}\)?\n", assignment), assignment


class TestTheRoles:
    """Who may do what is what the commands do, and nothing else."""

    def test_the_worker_has_what_worker_status_and_doctor_take(self) -> None:
        """Those three run on the VM, as the worker; what each takes is held to what it calls, behind a guard."""
        needed = [NEEDS[command] for command in ("worker", "status", "doctor")]
        rights = {right for one in needed for right in (*one.queue, *one.poison_queue, *one.container)}
        rights -= {Permission.PUT_MESSAGES}  # who may write messages may put them
        assert Permission.WRITE_MESSAGES in rights
        permissions = permissions_of("workerRole")
        assert {*permissions["actions"]} == {Permission.COUNT_MESSAGES.full_name}
        assert {*permissions["actions"], *permissions["dataActions"]} == {right.full_name for right in rights}

    def test_the_role_in_the_readme_is_the_same_for_the_queue(self) -> None:
        """Whoever makes the role by hand gets the same."""
        told = json.loads(re.findall(r"```json\n(.*?)```", README, re.DOTALL)[0])
        permissions = permissions_of("workerRole")
        assert permissions["actions"] == told["Actions"]
        assert [right for right in permissions["dataActions"] if "/queueServices/" in right] == told["DataActions"]

    def test_the_worker_may_not_touch_vms(self) -> None:
        """It cannot evict, start or change what it runs on."""
        permissions = permissions_of("workerRole")
        assert not any("Compute" in right for right in (*permissions["actions"], *permissions["dataActions"]))

    def test_the_operator_has_what_vm_takes_but_for_repricing(self) -> None:
        """What the README says that `vm` takes; to reprice takes a right to change anything, which is an owner's."""
        sentence = re.search(r"It takes `Microsoft.Compute/virtualMachines/` with (.*?) on the VM;", README, re.DOTALL)
        assert sentence is not None
        taken = set(re.findall(r"`([\w/]+)`", sentence[1]))
        assert "write" in taken
        rights = {
            right.removeprefix("Microsoft.Compute/virtualMachines/")
            for right in permissions_of("operatorRole")["actions"]
        }
        assert rights == taken - {"write"} | {"instanceView/read"}

    def test_built_in_roles_are_the_ones_that_are_meant(self) -> None:
        """By the ids that Azure publishes."""
        assert parse(SHIPPED["modules/access.bicep"]).variables["builtIn"] == BUILT_IN


def permissions_of(role: str) -> Mapping[str, list[str]]:
    """The permissions of a custom role, by kind."""
    properties = parse(SHIPPED["modules/access.bicep"]).resources[role].body["properties"]
    assert isinstance(properties, Mapping)
    (permissions,) = cast("list[Mapping[str, list[str]]]", properties["permissions"])
    return permissions


class TestTheLint:
    """It must be able to fail: every rule is broken once, and then every property."""

    @pytest.mark.parametrize(
        ("path", "before", "after", "says"),
        [
            ("vm.bicep", "evictionPolicy: evictionPolicy", "evictionPolice: evictionPolicy", "has no such property"),
            ("vm.bicep", "priority: 'Spot'", "priority: 'Sport'", "'Sport' is none of"),
            ("vm.bicep", "'Deallocate'\n  'Delete'", "'Deallocated'\n  'Delete'", "'Deallocated' is none of"),
            ("vm.bicep", "vmSize: vmSize", "vmSize: vmsize", "vmsize is not declared"),
            ("vm.bicep", "param vmSize string", "param vmSize int", "vmSize is int"),
            ("vm.bicep", "enabled: true", "enabled: 'true'", "takes bool, and is string"),
            ("vm.bicep", "order: 1", "order: '1'", "takes int, and is string"),
            ("vm.bicep", "virtualMachines@2026-04-01", "virtualMachines@2026-04-31", "is not the version"),
            ("vm.bicep", "settings.outputs.customData", "settings.outputs.customDate", "has no such output"),
            ("vm.bicep", "healthPort: healthPort", "port: healthPort", "has no parameter port"),
            ("vm.bicep", "    healthPort: healthPort\n", "", "requires the parameter healthPort"),
            ("vm.bicep", "modules/settings.bicep", "modules/setting.bicep", "there is no file"),
            ("vm.bicep", "vm.id", "vm.properties.vmID", "has no such property"),
            ("vm.bicep", "param location string", "param spare string\nparam location string", "not used"),
            ("vm.bicep", "json(maxPrice)", "jsn(maxPrice)", "there is no function jsn"),
            ("vm.bicep", "'${worker.id}'", "'${workers.id}'", "workers is not declared"),
            (
                "vm.bicep",
                "    priority: 'Spot'\n",
                "    priority: 'Spot'\n    priority: 'Low'\n",
                "priority is there twice",
            ),
            ("vm.bicep", "param vmSize string", "param name string = 'x'\nparam vmSize string", "name is there twice"),
            ("vm.bicep", "output vmId string", "output vmId int", "takes int, and vm.id is string"),
            ("vm.bicep", "string = vm.id", "string = vmSize.id", "a string has no properties"),
            ("vm.bicep", "id: networkInterface.id", "id: networkInterface", "networkInterface is a resource"),
            ("vm.bicep", "settings.outputs.customData", "settings", "settings is a module"),
            ("vm.bicep", "@maxLength(64)", "@maxValue(64)", "max_value is nothing to say of a string"),
            ("vm.bicep", "@maxLength(64)", "@maxLenght(64)", "is nothing to say of a string"),
            ("vm.bicep", "param healthPort int = 0", "param healthPort int = '0'", "takes int, and is string"),
            (
                "vm.bicep",
                "param evictionPolicy string = 'Deallocate'",
                "param evictionPolicy string = 'Stop'",
                "is none",
            ),
            ("main.bicep", "deployBastion bool = true", "deployBastion bool = 'yes'", "takes bool, and is string"),
            ("main.bicep", "customAssignments array", "customAssignments string", "customAssignments is array"),
            ("main.bicep", "deployBastion: deployBastion", "deployBastion: insights.outputs.name", "name is string"),
            ("version.bicep", "regions array = [\n  location\n]", "regions array = location", "location is string"),
            ("modules/storage.bicep", "'StorageV2'", "'StorageV3'", "'StorageV3' is none of"),
            ("modules/storage.bicep", "minimumTlsVersion: 'TLS1_2'", "minimumTlsVersion: 'TLS1_4'", "is none of"),
            ("modules/storage.bicep", "  kind: 'StorageV2'\n", "", "lacks kind"),
            ("modules/storage.bicep", "parent: queueService", "parent: blobService", "cannot be the parent"),
            ("modules/storage.bicep", "  parent: account\n", "", "has no parent"),
            ("modules/network.bicep", "bastionGroup.id }", "bastionGroup.ids }", "has no such property"),
            ("modules/network.bicep", "{ id: bastionGroup.id }", "{ ids: bastionGroup.id }", "has no such property"),
            ("modules/network.bicep", "direction: 'Outbound'", "direction: 'Out'", "is none of"),
            ("modules/network.bicep", "addressPrefixes: [", "addressPrefix: [", "has no such property"),
            ("modules/access.bicep", "builtIn.reader)\n", "builtIn.readers)\n", "no such property"),
            ("modules/access.bicep", "principalType: 'ServicePrincipal'", "principalType: 'Service'", "is none of"),
            ("modules/access.bicep", "    principalId: workerPrincipalId\n", "", "lacks principalId"),
            ("modules/insights.bicep", "output name string", "output names string", "nobody asks for it"),
            ("modules/insights.bicep", "component.name", "component.properties.nameX", "no such property"),
            ("modules/identity.bicep", "worker.properties.principalId", "worker.principalId", "no such property"),
            ("version.bicep", "regionalReplicaCount: 1", "regionalReplicaCount: true", "takes int, and is bool"),
            ("version.bicep", "mediaLink: packageUrl", "mediaUrl: packageUrl", "has no such property"),
            (
                "main.bicep",
                "@description('The region of all resources.')\nparam location string",
                "param place string",
                "location is not declared",
            ),
        ],
    )
    def test_each_kind_of_fault_is_found(self, path: str, before: str, after: str, says: str) -> None:
        """A misspelt name, a wrong type, a wrong value, a wrong version, a missing or a spare part."""
        assert says in faults(path, before, after)

    @pytest.mark.parametrize("policy", ["spotRestorePolicy", "priorityMixPolicy"])
    def test_a_property_in_the_wrong_place_is_found(self, policy: str) -> None:
        """The policies of a scale set are the set's; a page shows one of them in the profile of its VMs, and errs."""
        text = SHIPPED["scaleset.bicep"]
        block = re.search(rf"^    {policy}: {{\n.*?^    }}\n", text, re.DOTALL | re.MULTILINE)
        assert block is not None
        profile = "    virtualMachineProfile: {\n"
        moved = text.replace(block[0], "").replace(profile, profile + block[0])
        found = lint({**SHIPPED, "scaleset.bicep": moved})
        where = f"scaleset.bicep: resource scaleSet: properties.virtualMachineProfile.{policy}"
        assert found == [f"{where}: VirtualMachineScaleSetVMProfile has no such property"]

    @pytest.mark.parametrize("path", sorted(SHIPPED))
    def test_every_misspelt_property_is_found(self, path: str) -> None:
        """Whichever key of whichever body, module or variable is misspelt: something is said of it."""
        unseen = [text for text in _misspelt(SHIPPED[path]) if not lint({**SHIPPED, path: text})]
        assert unseen == []

    def test_every_wrong_word_is_found(self) -> None:
        """Every value of an enumeration, made nonsense: what is not noticed is text that may be anything."""
        unseen = set()
        for path, text in SHIPPED.items():
            for found in re.finditer(r"^ +(\w+): '([A-Za-z0-9_]+)'$", text, re.MULTILINE):
                spoilt = f"{text[: found.start(2)]}Nonsense{text[found.end(2) :]}"
                if not lint({**SHIPPED, path: spoilt}):
                    unseen.add((path, found[1]))
        assert {(path, key) for path, key in unseen if key not in FREE_EVERYWHERE} == FREE


FREE_EVERYWHERE = {"name", "sourceAddressPrefix", "destinationAddressPrefix", "destinationPortRange"}
FREE = {
    ("modules/access.bicep", "type"),  # CustomRole
    ("modules/insights.bicep", "kind"),  # other
    *(("vm.bicep", key) for key in ("publisher", "version")),  # of the image
    *(("scaleset.bicep", key) for key in ("publisher", "version", "tier")),
    *(("scaleset.bicep", key) for key in ("type", "protocol")),  # of the health extension
}
"""Properties that take text of which no model has a list."""


def _misspelt(text: str) -> Iterator[str]:
    """The text, each time with another key misspelt; what the health extension is given is known to it alone."""
    free = re.search(r"settings: \{\n\s*protocol.*?\}", text, re.DOTALL)
    for found in re.finditer(r"^\s+(\w+): ", text, re.MULTILINE):
        if free is None or not free.start() < found.start() < free.end():
            yield f"{text[: found.end(1)]}X{text[found.end(1) :]}"
