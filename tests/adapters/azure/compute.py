"""One Spot VM as Azure Resource Manager has it: operations that take their time, refusals, and moments of confusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.adapters.azure.planning.cloud import SUBSCRIPTION, Reply

GROUP, NAME = "rg-spot", "vm-spot"
PATH = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/{NAME}"
Error = tuple[str, str]
"""A code and a message."""


def error(code: str, message: str) -> dict[str, object]:
    """An error as Resource Manager wraps it: what matters is inside."""
    inner = {"code": code, "message": message}
    outer = {"code": "DeploymentFailed", "message": "At least one resource operation failed.", "details": [inner]}
    return {"error": outer}


@dataclass
class Operation:
    """A long-running one: so many looks, then its end."""

    looks: int
    ends: Callable[[], None]
    failure: Error | None = None


@dataclass
class Compute:
    """The VM. A test changes it at will.

    Attributes:
        url: of the service.
        looks: how often an operation is looked at before it ends.
        refused_at_once, refused_later: what becomes of an order, by its name in the path or `PATCH`.
        not_found, powerless: for how many looks the VM is not there yet, and has no power state.
        evicts_after: looks at the VM between an accepted eviction and its end.
        bodies: of repricings.
    """

    url: str = ""
    power: str = "deallocated"
    provisioning: str = "succeeded"
    priority: str | None = "Spot"
    policy: str | None = "Deallocate"
    max_price: float | None = 0.05
    size: str = "Standard_D2s_v5"
    exists: bool = True
    looks: int = 2
    refused_at_once: dict[str, tuple[int, Error]] = field(default_factory=dict)
    refused_later: dict[str, Error] = field(default_factory=dict)
    not_found: int = 0
    powerless: int = 0
    evicts_after: int = 2
    asked: list[str] = field(default_factory=list)
    bodies: list[Mapping[str, object]] = field(default_factory=list)
    elsewhere: str = ""
    _operations: dict[str, Operation] = field(default_factory=dict)
    _evicting: int | None = None

    def answer(self, method: str, path: str, body: Mapping[str, object]) -> Reply | None:
        """As Resource Manager would."""
        if "/locations/eastus2/operations/" in path:
            return self._operation(path.rsplit("/", 1)[-1])
        if "/virtualMachines/" not in path:
            return None
        self.asked.append(f"{method} {path.removeprefix(PATH)}".strip())
        if f"/resourceGroups/{GROUP}/" not in path:
            return 404, error("ResourceGroupNotFound", "Resource group could not be found."), {}
        if not path.startswith(PATH) or not self.exists or self._confused():
            return 404, error("ResourceNotFound", "The Resource was not found."), {}
        what = path.removeprefix(PATH).strip("/") or method
        if what in self.refused_at_once:
            status, why = self.refused_at_once[what]
            return status, error(*why), {}
        match what:
            case "GET":
                return (200, self._vm(), {}) if self._is_still_there() else (404, error("ResourceNotFound", "gone"), {})
            case "start":
                return self._begin(what, "starting", "running")
            case "deallocate":
                return self._begin(what, "deallocating", "deallocated")
            case "simulateEviction":
                self._evicting = self.evicts_after
                return 204, {}, {}
            case "PATCH":
                if self.power not in {"deallocated", "deallocating"}:
                    return 409, error("MaxPriceChangeNotAllowedForAllocatedVMs", "Deallocate the VM first."), {}
                self.bodies.append(body)
                return 200, self._vm(provisioning="Updating"), self._headers(what, lambda: self._reprice(body))
        return 400, error("InvalidParameter", path), {}

    def _confused(self) -> bool:
        self.not_found -= 1
        return self.not_found >= 0

    def _begin(self, what: str, meanwhile: str, then: str) -> Reply:
        before = self.power
        if what not in self.refused_later:
            self.power = meanwhile

        def end() -> None:
            self.power = then if what not in self.refused_later else before
            self.provisioning = (
                "succeeded" if what not in self.refused_later else f"failed/{self.refused_later[what][0]}"
            )

        return 202, "", self._headers(what, end)

    def _headers(self, what: str, end: Callable[[], None]) -> Mapping[str, str]:
        number = f"op-{len(self._operations)}"
        self._operations[number] = Operation(looks=self.looks, ends=end, failure=self.refused_later.get(what))
        root = self.elsewhere or self.url
        place = f"{root}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/eastus2/operations/{number}"
        return {"Azure-AsyncOperation": f"{place}?p=1&api-version=2026-04-01"}

    def _operation(self, number: str) -> Reply:
        operation = self._operations[number]
        operation.looks -= 1
        if operation.looks >= 0:
            return 200, {"name": number, "status": "InProgress", "startTime": "2026-11-25T12:00:00Z"}, {}
        operation.ends()
        if operation.failure is not None:
            return 200, {"name": number, "status": "Failed", **error(*operation.failure)}, {}
        return 200, {"name": number, "status": "Succeeded"}, {}

    def _reprice(self, body: Mapping[str, object]) -> None:
        properties = body["properties"]
        assert isinstance(properties, dict)
        self.max_price = properties["billingProfile"]["maxPrice"]

    def _is_still_there(self) -> bool:
        """An eviction that was accepted happens some looks later."""
        if self._evicting is not None:
            self._evicting -= 1
            if self._evicting < 0:
                self.power, self.exists, self._evicting = "deallocated", self.policy != "Delete", None
        return self.exists

    def _vm(self, *, provisioning: str = "") -> Mapping[str, object]:
        self.powerless -= 1
        statuses = [{"code": f"ProvisioningState/{self.provisioning}", "level": "Info"}]
        if self.powerless < 0:
            statuses.append({"code": f"PowerState/{self.power}", "level": "Info"})
        spot: dict[str, object] = {}
        if self.priority is not None:
            spot["priority"] = self.priority
        if self.policy is not None:
            spot["evictionPolicy"] = self.policy
        if self.max_price is not None:
            spot["billingProfile"] = {"maxPrice": self.max_price}
        return {
            "name": NAME,
            "id": PATH,
            "type": "Microsoft.Compute/virtualMachines",
            "location": "eastus2",
            "zones": ["1"],
            "properties": {
                "vmId": "00000000-0000-4000-8000-000000000000",
                "provisioningState": provisioning or "Succeeded",
                "hardwareProfile": {"vmSize": self.size},
                "storageProfile": {"osDisk": {"osType": "Linux", "createOption": "FromImage"}},
                **spot,
                "instanceView": {"statuses": statuses},
            },
        }
