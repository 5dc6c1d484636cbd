"""Azure Resource Manager's list of VM sizes, and the subscription's Spot quota.

A size may be Spot if its capability `LowPriorityCapable` says so. B-series and promotional sizes cannot be, and are
told apart by name as well, because the list has been wrong about them.
[https://learn.microsoft.com/rest/api/compute/resource-skus/list and
https://learn.microsoft.com/azure/virtual-machines/spot-vms, read 2026-11]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum

import httpx

from adapters.azure.planning.documents import Documents, JsonObject, as_decimal, as_list, as_object, as_text
from fsm.errors import BadReplyError, ConfigurationError

_SKUS_VERSION = "2021-07-01"
_USAGES_VERSION = "2024-07-01"
_SUBSCRIPTIONS_VERSION = "2022-12-01"
_PAGES_MAX = 100
_CLOSE_MAX = 3
"""So many sizes are named that one may have meant."""
_SPOT_CORES = "lowprioritycores"
"""The Spot quota's name among the usages, in lower case; Spot and low priority share it."""
_ARM = re.compile(r"standard_[a-z]+[0-9]+(-[0-9]+)?[a-z]*p[a-z]*(_.*)?", re.IGNORECASE)
"""The additive feature `p`, behind the number of cores.
[https://learn.microsoft.com/azure/virtual-machines/vm-naming-conventions, read 2026-11]"""


class Unfit(StrEnum):
    """Why a size is left out."""

    B_SERIES = "B-series"
    PROMO = "promotional"
    NOT_SPOT = "cannot be Spot"
    RESTRICTED = "not for this subscription"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A VM size in a region.

    Attributes:
        cores: those the VM has; a constrained size has fewer than it is named after.
        zones: those the subscription may place it in by name; a VM without a zone needs none.
        unfit: why no Spot VM of this size can be had here, or None.
    """

    name: str
    family: str
    cores: int
    memory_gib: Decimal
    architecture: str
    zones: tuple[str, ...]
    unfit: Unfit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotQuota:
    """The Spot cores of a subscription in a region, of all sizes together."""

    used: int
    limit: int

    @property
    def free(self) -> int:
        return max(0, self.limit - self.used)


class Subscription:
    """Asks what a subscription may have.

    Args:
        documents: of Azure Resource Manager.
        root: its address.
        subscription: its id, or None for the only one there is.
    """

    def __init__(self, documents: Documents, *, root: str, subscription: str | None) -> None:
        self._documents = documents
        self._root = root
        self._id = subscription

    async def id(self) -> str:
        """The subscription's id.

        Raises:
            ConfigurationError: none is named, and there is not exactly one.
        """
        if self._id is None:
            found = await self._all(f"{self._root}/subscriptions", {"api-version": _SUBSCRIPTIONS_VERSION})
            named = {as_text(one.get("subscriptionId")): as_text(one.get("displayName")) for one in found["value"]}
            if len(named) != 1:
                problem = "several could be meant" if named else "the identity sees none"
                known = ", ".join(f"{key} ({name})" for key, name in list(named.items())[:5])
                remedy = f"Give one of: {known}." if named else "Give it the role Reader on a subscription."
                raise ConfigurationError("--subscription", problem, remedy)
            (self._id,) = named
        return self._id

    async def sizes(self, region: str) -> JsonObject:
        """The list of a region, as `read_sizes` reads it."""
        url = f"{self._root}/subscriptions/{await self.id()}/providers/Microsoft.Compute/skus"
        return await self._all(url, {"api-version": _SKUS_VERSION, "$filter": f"location eq '{region}'"})

    async def quota(self, region: str) -> SpotQuota | None:
        """The Spot quota, or None where it is not told."""
        url = f"{self._root}/subscriptions/{await self.id()}/providers/Microsoft.Compute/locations/{region}/usages"
        found = await self._all(url, {"api-version": _USAGES_VERSION})
        for usage in found["value"]:
            name = as_text(as_object(usage.get("name")).get("value")).lower()
            used, limit = as_decimal(usage.get("currentValue")), as_decimal(usage.get("limit"))
            if name == _SPOT_CORES and used is not None and limit is not None:
                return SpotQuota(used=int(used), limit=int(limit))
        return None

    async def _all(self, url: str, parameters: Mapping[str, str]) -> Mapping[str, Sequence[JsonObject]]:
        """Every page of a list."""
        values: list[JsonObject] = []
        page = await self._documents.get(url, parameters)
        for _ in range(_PAGES_MAX):
            if not isinstance(page.get("value"), list):
                raise BadReplyError("Azure Resource Manager answered a list without values")
            values += (as_object(value) for value in as_list(page["value"]))
            link = as_text(page.get("nextLink"))
            if not link:
                return {"value": values}
            if httpx.URL(link).copy_with(raw_path=b"/") != httpx.URL(self._root).copy_with(raw_path=b"/"):
                raise BadReplyError(f"the list goes on elsewhere, at {link!r:.200}")  # the token must not go there
            page = await self._documents.get(link)
        raise BadReplyError(f"the list goes on after {_PAGES_MAX} pages")


def read_sizes(document: JsonObject, region: str) -> Sequence[Size]:
    """The VM sizes of a list, fit or not; what has no cores or no memory is no VM size."""
    skus = map(as_object, as_list(document.get("value")))
    found = (
        _size(sku, region)
        for sku in skus
        if as_text(sku.get("resourceType")).lower() == "virtualmachines"
        and region in {as_text(place).lower() for place in as_list(sku.get("locations"))}
    )
    return list({size.name: size for size in found if size is not None}.values())


def _size(sku: JsonObject, region: str) -> Size | None:
    traits = {
        as_text(trait.get("name")): as_text(trait.get("value"))
        for trait in map(as_object, as_list(sku.get("capabilities")))
    }
    name = as_text(sku.get("name"))
    cores, memory = as_decimal(traits.get("vCPUsAvailable") or traits.get("vCPUs")), as_decimal(traits.get("MemoryGB"))
    if not name or cores is None or memory is None:
        return None
    everywhere, zones_closed = _restrictions(sku, region)
    zones = {
        as_text(zone)
        for place in map(as_object, as_list(sku.get("locationInfo")))
        if as_text(place.get("location")).lower() == region
        for zone in as_list(place.get("zones"))
    }
    return Size(
        name=name,
        family=as_text(sku.get("family")),
        cores=int(cores),
        memory_gib=memory,
        architecture=traits.get("CpuArchitectureType", ""),
        zones=tuple(sorted(zones - zones_closed)),
        unfit=unfit_by_name(name)
        or (Unfit.NOT_SPOT if traits.get("LowPriorityCapable", "").lower() != "true" else None)
        or (Unfit.RESTRICTED if everywhere else None),
    )


def fit_size(sizes: Sequence[Size], name: str, region: str) -> Size:
    """The size of this name, however its capitals are written, if a Spot VM can have it.

    Raises:
        ConfigurationError: there is none, and which is meant perhaps; or it cannot be had as Spot, and why.
    """
    known = {size.name.lower(): size for size in sizes}
    found = known.get(name.lower())
    every = f"`spotfsm sizes --region {region}` lists those that can."
    if found is None:
        fit = {_bare(size.name): size.name for size in sizes if size.unfit is None}
        close = [fit[key] for key in get_close_matches(_bare(name), fit, n=_CLOSE_MAX)]
        remedy = f"Did you mean {' or '.join(close)}?" if close else every
        raise ConfigurationError("--size", f"there is no {name} in {region}", remedy)
    if found.unfit is not None:
        raise ConfigurationError("--size", f"{found.name} cannot be a Spot VM in {region}: {found.unfit}", every)
    return found


def _bare(name: str) -> str:
    """What is unlike in a name: nearly all begin with the same word."""
    return name.lower().removeprefix("standard_")


def unfit_by_name(name: str) -> Unfit | None:
    """What a size's name alone says against it."""
    if name.lower().startswith(("standard_b", "basic_")):
        return Unfit.B_SERIES if name.lower().startswith("standard_b") else Unfit.NOT_SPOT
    return Unfit.PROMO if name.lower().endswith("_promo") else None


def arm_by_name(name: str) -> bool:
    """Whether a size's name says that its processor is an Arm one, which runs other images and other wheels."""
    return _ARM.fullmatch(name) is not None


def _restrictions(sku: JsonObject, region: str) -> tuple[bool, set[str]]:
    """Whether the region is closed to the subscription, and which of its zones are."""
    everywhere, zones = False, set[str]()
    for restriction in map(as_object, as_list(sku.get("restrictions"))):
        info = as_object(restriction.get("restrictionInfo"))
        places = {as_text(place).lower() for place in as_list(info.get("locations") or restriction.get("values"))}
        if as_text(restriction.get("type")).lower() == "zone":
            zones |= {as_text(zone) for zone in as_list(info.get("zones"))}
        elif not places or region in places:
            everywhere = True
    return everywhere, zones
