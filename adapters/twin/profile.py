"""Who the twin says the VM is: its instance metadata, and tokens for its managed identities.

Facts: https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service and
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token (read 2026-11).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from adapters.twin.wire import IdentityReport, Json

INSTANCE_VERSIONS = (
    "2025-04-07", "2024-07-17", "2024-03-15", "2023-11-15", "2023-07-01", "2021-12-13", "2021-11-15", "2021-11-01",
    "2021-10-01", "2021-08-01", "2021-05-01", "2021-03-01", "2021-02-01", "2021-01-01", "2020-12-01", "2020-10-01",
    "2020-09-01", "2020-07-15", "2020-06-01", "2019-11-01", "2019-08-15", "2019-08-01", "2019-06-04", "2019-06-01",
    "2019-04-30", "2019-03-11", "2019-02-01", "2018-10-01", "2018-04-02", "2018-02-01", "2017-12-01", "2017-10-01",
    "2017-08-01", "2017-04-02", "2017-03-01",
)  # fmt: skip
"""What instance metadata speaks, newest first: not the list of scheduled events."""
IDENTITY_VERSIONS = tuple(version for version in INSTANCE_VERSIONS if version >= "2018-02-01")
"""Tokens: "use 2018-02-01 or greater"."""

_SINCE = {
    "resourceGroupName": "2017-08-01", "subscriptionId": "2017-08-01", "zone": "2017-12-01",
    "vmScaleSetName": "2017-12-01", "provider": "2018-10-01", "resourceId": "2019-03-11", "tagsList": "2019-06-04",
    "osProfile": "2020-07-15", "priority": "2020-12-01", "evictionPolicy": "2020-12-01", "userData": "2021-01-01",
    "virtualMachineScaleSet": "2021-03-01",
}  # fmt: skip
"""The version that brought a field of `compute`; the others were always there."""
_SIGNING_KEY = b"the spotfsm twin signs for nobody"
"""Not a secret: whoever checks a signature must refuse the twin's tokens."""
_SKEW_S = 300
"""Entra dates tokens back by five minutes, for clocks that are behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmProfile:
    """The VM behind the twin.

    Attributes:
        name: `compute.name`, which stands in the resources of its events; the host name is another one on purpose.
        system_assigned: whether it has a system-assigned identity.
        client_ids: its user-assigned identities.
        token_lifetime_s: how long a token is good for.
    """

    vm_id: str = "7f6bd0c7-3f6e-4d0e-9a39-3d1f5c1b2a10"
    name: str = "vm-spot"
    priority: str = "Spot"
    eviction_policy: str = "Deallocate"
    location: str = "westeurope"
    vm_size: str = "Standard_D2s_v5"
    zone: str = ""
    resource_group: str = "rg-spot"
    subscription_id: str = "5d1f2d3c-0c34-4a7a-8f0b-6f1f6b0c9e11"
    tenant_id: str = "9b0f7c52-6a1e-4d0f-8b5e-2f3a4c5d6e77"
    system_assigned: bool = True
    client_ids: tuple[str, ...] = ("c1d2e3f4-0a1b-4c2d-8e3f-405162738495",)
    token_lifetime_s: int = 24 * 60 * 60

    def report(self) -> IdentityReport:
        return {
            "vm_id": self.vm_id,
            "name": self.name,
            "priority": self.priority,
            "eviction_policy": self.eviction_policy,
        }


def instance_metadata(profile: VmProfile, version: str) -> Mapping[str, Json]:
    """`/metadata/instance` under this api-version; every primitive is a string, as IMDS has it."""
    resource_id = (
        f"/subscriptions/{profile.subscription_id}/resourceGroups/{profile.resource_group}"
        f"/providers/Microsoft.Compute/virtualMachines/{profile.name}"
    )
    compute: dict[str, Json] = {
        "evictionPolicy": profile.eviction_policy,
        "location": profile.location,
        "name": profile.name,
        "osProfile": {"adminUsername": "azureuser", "computerName": f"{profile.name}-host"},
        "osType": "Linux",
        "priority": profile.priority,
        "provider": "Microsoft.Compute",
        "resourceGroupName": profile.resource_group,
        "resourceId": resource_id,
        "subscriptionId": profile.subscription_id,
        "tagsList": [],
        "userData": "",
        "virtualMachineScaleSet": {"id": ""},
        "vmId": profile.vm_id,
        "vmScaleSetName": "",
        "vmSize": profile.vm_size,
        "zone": profile.zone,
    }
    shown = {name: value for name, value in compute.items() if _SINCE.get(name, "") <= version}
    address = {"privateIpAddress": "10.0.0.4", "publicIpAddress": ""}
    subnet = {"address": "10.0.0.0", "prefix": "24"}
    interface: dict[str, Json] = {
        "ipv4": {"ipAddress": [address], "subnet": [subnet]},
        "ipv6": {"ipAddress": []},
        "macAddress": "000D3A000004",
    }
    return {"compute": shown, "network": {"interface": [interface]}}


def token_reply(profile: VmProfile, *, client_id: str, resource: str, now: datetime) -> Json:
    """A token as the identity endpoint hands it out: numbers as strings."""
    issued = int(now.timestamp())
    expires = issued + profile.token_lifetime_s
    claims: Json = {
        "aud": resource,
        "iss": f"https://sts.windows.net/{profile.tenant_id}/",
        "iat": issued - _SKEW_S,
        "nbf": issued - _SKEW_S,
        "exp": expires,
        "appid": client_id,
        "oid": client_id,
        "sub": client_id,
        "tid": profile.tenant_id,
        "ver": "1.0",
    }
    return {
        "access_token": _signed(claims),
        "client_id": client_id,
        "expires_in": str(profile.token_lifetime_s),
        "expires_on": str(expires),
        "ext_expires_in": str(profile.token_lifetime_s),
        "not_before": str(issued - _SKEW_S),
        "resource": resource,
        "token_type": "Bearer",
    }


def _signed(claims: Json) -> str:
    """A JWT (RFC 7519) signed with HS256."""
    content = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
    signature = hmac.new(_SIGNING_KEY, content.encode("ascii"), hashlib.sha256).digest()
    return f"{content}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode('ascii')}"


def _encoded(part: Json) -> str:
    """JSON in base64url without padding."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode("ascii")
