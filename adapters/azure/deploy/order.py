"""What is to be deployed, and how: the options of `spotfsm deploy` as its steps take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from adapters.azure.deploy.commands import Variable, Word
from adapters.azure.planning.sizes import arm_by_name
from fsm.spot_vm import Terms


class Shape(StrEnum):
    """What runs the worker."""

    VM = "vm"
    SCALE_SET = "scale-set"


class PrincipalKind(StrEnum):
    """What an object id stands for, as Azure spells it."""

    USER = "User"
    GROUP = "Group"
    SERVICE_PRINCIPAL = "ServicePrincipal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be deployed, and how.

    Attributes:
        bicep: the directory of main.bicep.
        spotfsm: the words that start this program.
        subscription: its name or id, or None for the login's own.
        terms: the max price and what an eviction leaves.
        operator: an object id that is granted the operator's roles, `none`, or None for whoever is signed in.
        ssh_key: the private key; the public one lies beside it with `.pub` behind its name.
        package: an archive that is there, or None to make one of `version` in the working directory.
        overwrite: upload over a package that is not the same.
        actions: what a version of the VM Application runs to install, update and remove it.
        traces_query: what is asked of Application Insights.
    """

    bicep: Path
    spotfsm: Sequence[str]
    resource_group: str
    region: str
    subscription: str | None
    name: str
    shape: Shape
    size: str
    terms: Terms
    instances: int
    regular_base: int
    regular_percent: int
    queue_name: str
    container_name: str
    operator: str | None
    operator_kind: PrincipalKind
    bastion: bool
    admin: str
    ssh_key: Path
    handler: str
    settings: Path
    version: str
    package: Path | None
    overwrite: bool
    message: str
    count: int
    actions: Mapping[str, str]
    traces_query: str

    @property
    def archive(self) -> Path:
        return Path(f"spotfsm-{self.version}.tar.gz") if self.package is None else self.package

    @property
    def arm(self) -> bool:
        """Whether the VM's processor is an Arm one."""
        return arm_by_name(self.size)

    @property
    def compute_name(self) -> str:
        return f"{self.name}-vm" if self.shape is Shape.VM else f"{self.name}-set"

    @property
    def vm(self) -> Word:
        """The name of the VM, or of the first Spot VM of a scale set."""
        return self.compute_name if self.shape is Shape.VM else Variable("INSTANCE")
