"""The public pages that rows and constants rest on, and the month each was read.

A fact of the platform is cited where it is used, as `SPOT_VMS.says("...")`: the claim in our words, and where a
stranger can check it. A page that changes its mind is looked up here first.
"""

from __future__ import annotations

from dataclasses import dataclass

_LEARN = "https://learn.microsoft.com"
_GITHUB = "https://github.com"


@dataclass(frozen=True, slots=True)
class Source:
    """A public page.

    Attributes:
        url: where it is.
        read: the month it was read, as year and month.
    """

    url: str
    read: str = "2026-11"

    def __str__(self) -> str:
        return f"{self.url} read {self.read}"

    def says(self, claim: str) -> str:
        """A claim of this page, with the page behind it."""
        return f"{claim} ({self})"


# -- Spot VMs --------------------------------------------------------------------------------------------------------

REFERENCE = Source(f"{_GITHUB}/mspnp/interruptible-workload-on-spot")
"""The reference implementation's guide: the nine rows of a Spot VM, the four stages of an application."""
SPOT_VMS = Source(f"{_LEARN}/azure/virtual-machines/spot-vms")
"""Max price, eviction types and policies, what is billed, and notice "up to 30 seconds"."""
SPOT_ERRORS = Source(f"{_LEARN}/azure/virtual-machines/error-codes-spot")
"""SkuNotAvailable, SpotPriceGreaterThanProvidedMaxPrice, MaxPriceChangeNotAllowedForAllocatedVMs and the rest."""
VM_STATES = Source(f"{_LEARN}/azure/virtual-machines/states-billing")
"""Power states, and what each is billed."""
SPOT_GUIDE = Source(f"{_LEARN}/azure/architecture/guide/spot/spot-eviction")
"""A VM can be designated for eviction as soon as it is created."""
EVICTION_TIMES = Source(f"{_GITHUB}/Azure/karpenter-provider-azure/issues/1769")
"""Microsoft's own observation: notices "often will actually evict in less than 10 seconds"."""

# -- inside the VM ---------------------------------------------------------------------------------------------------

SCHEDULED_EVENTS = Source(f"{_LEARN}/azure/virtual-machines/linux/scheduled-events")
"""Event types, notice times, StartRequests; an event that is over or cancelled disappears."""
REBALANCE = Source(f"{_LEARN}/azure/virtual-machines/spot-eviction-risk-notifications")
"""The rebalance recommendation: advice, on the same endpoint."""
INSTANCE_METADATA = Source(f"{_LEARN}/azure/virtual-machines/instance-metadata-service")
"""compute.name and compute.vmId."""
BOOT_ID = Source("https://docs.kernel.org/admin-guide/sysctl/kernel.html")
"""random/boot_id: generated once after a boot, and the same until the next."""

ROLE_ASSIGNMENTS = Source(f"{_LEARN}/azure/role-based-access-control/troubleshooting")
"""A new role assignment takes minutes to arrive."""

# -- storage ---------------------------------------------------------------------------------------------------------

QUEUES_COMPARED = Source(
    f"{_LEARN}/azure/service-bus-messaging/service-bus-azure-and-service-bus-queues-compared-contrasted"
)
"""Storage queues: at least once, no order, no automatic dead-lettering."""
QUEUE_LIMITS = Source(f"{_LEARN}/azure/storage/queues/scalability-targets")
"""64 KiB a message, 2,000 messages a second a queue."""
GET_MESSAGES = Source(f"{_LEARN}/rest/api/storageservices/get-messages")
"""1 to 32 messages a call, visibility 1 s to 7 days, the dequeue count rises with each."""
PEEK_MESSAGES = Source(f"{_LEARN}/rest/api/storageservices/peek-messages")
"""Up to 32 messages that are visible, without hiding them or raising their dequeue counts."""
UPDATE_MESSAGE = Source(f"{_LEARN}/rest/api/storageservices/update-message")
"""An update brings a new pop receipt, and only the newest works; visibility 0 shows the message at once."""
QUEUE_SDK = Source("https://pypi.org/project/azure-storage-queue/12.18.1")
"""The SDK's behaviour, measured: under its decode policies one bad message fails a whole page."""
CONDITIONAL_WRITES = Source(
    f"{_LEARN}/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations"
)
"""A write under If-Match over another version answers 412."""
