"""A Spot VM's operator on Azure: `VmControl` over the compute SDK.

The SDK is `spotfsm[azure-vm]`, 14 MB that only an operator needs. Its own retries are kept: every order here may be
sent twice. What an operation came to is read from the error's innermost code, whether it stood in the first reply or,
after a 202, in the operation's own document.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from adapters.azure.management import ArmToken, Fault, meaning, root_cause
from fsm.errors import (
    BadReplyError,
    ConfigurationError,
    MissingError,
    RefusalCause,
    RefusedError,
    ReplyLostError,
    SpotfsmError,
)
from fsm.ports import VmControl, VmView
from fsm.spot_vm import PAY_AS_YOU_GO, Policy, Terms, VmState

if TYPE_CHECKING:
    from azure.mgmt.compute.aio import ComputeManagementClient
    from azure.mgmt.compute.models import VirtualMachine

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
RETRIES_MAX = 4
RETRY_PAUSE_S_MAX = 30
POLL_S = 3.0
"""Between looks at a long-running operation, unless Azure says how long to wait."""
LOOKS_MAX = 5
LOOK_PAUSE_S = 2.0
"""A VM that was just created is not found for a moment, and has no power state for a moment: both are asked again."""

_ALLOCATED = frozenset({"creating", "starting", "running", "stopping", "stopped"})
_FREED = frozenset({"deallocating", "deallocated"})
"""Power states; shut down inside, a VM is `stopped`, and as allocated and billed as one that runs.
[https://learn.microsoft.com/azure/virtual-machines/states-billing, read 2026-11]"""
_CAUSES: Mapping[str, RefusalCause] = {
    "SpotPriceGreaterThanProvidedMaxPrice": RefusalCause.PRICE,
    "MaxPriceChangeNotAllowedForAllocatedVMs": RefusalCause.PRICE,
    "MaxPriceChangeNotAllowed": RefusalCause.PRICE,
    "SkuNotAvailable": RefusalCause.CAPACITY,
    "AllocationFailed": RefusalCause.CAPACITY,
    "ZonalAllocationFailed": RefusalCause.CAPACITY,
    "OverconstrainedAllocationRequest": RefusalCause.CAPACITY,
    "OverconstrainedZonalAllocationRequest": RefusalCause.CAPACITY,
    "QuotaExceeded": RefusalCause.QUOTA,
}
"""By error code. [https://learn.microsoft.com/azure/virtual-machines/error-codes-spot and
https://learn.microsoft.com/troubleshoot/azure/virtual-machines/allocation-failure, read 2026-11]"""
_ABSENT = frozenset({"ResourceNotFound", "NotFound"})


class AzureVmControl(VmControl):
    """One VM by its name. An async context manager.

    Args:
        token: for Azure Resource Manager.
        root: its address.
        subscription, resource_group, name: which VM.
    """

    def __init__(self, token: ArmToken, *, root: str, subscription: str, resource_group: str, name: str) -> None:
        self._token = token
        self._root = root
        self._subscription = subscription
        self._group = resource_group
        self._name = name
        self._opened: ComputeManagementClient | None = None

    async def __aenter__(self) -> Self:
        from azure.mgmt.compute.aio import ComputeManagementClient

        self._opened = ComputeManagementClient(
            _NoCredential(),
            self._subscription,
            base_url=self._root,
            authentication_policy=_Bearer(self._token, self._root),
            connection_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retry_total=RETRIES_MAX,
            retry_backoff_max=RETRY_PAUSE_S_MAX,
            polling_interval=POLL_S,
        )
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._client.close()

    @property
    def _client(self) -> ComputeManagementClient:
        assert self._opened is not None, "the client is not open"
        return self._opened

    async def look(self, *, timeout_s: float) -> VmView:
        """The VM as it is; asked again while it may just have been created."""
        async with self._within(timeout_s, "looking"):
            for _ in range(LOOKS_MAX):
                view = await self._seen()
                if view is not None and view.power:
                    return view
                await asyncio.sleep(LOOK_PAUSE_S)
        if view is None:
            return VmView(state=VmState.NOT_DEPLOYED, power="", priority="", terms=None)
        raise BadReplyError(f"Azure does not tell the power state of {self._name}; it may be about to change")

    async def _seen(self) -> VmView | None:
        """One look; None where there is no such VM."""
        try:
            vm = await self._client.virtual_machines.get(self._group, self._name, expand="instanceView")
        except HttpResponseError as exc:
            if exc.status_code == 404 and _fault(exc).code in _ABSENT:
                return None
            raise
        return _view(vm)

    async def start(self, *, timeout_s: float) -> None:
        """Start, and wait for it."""
        await self._carried_out(
            lambda: self._client.virtual_machines.begin_start(self._group, self._name), "start", timeout_s
        )

    async def deallocate(self, *, timeout_s: float) -> None:
        """Deallocate, and wait for it."""
        await self._carried_out(
            lambda: self._client.virtual_machines.begin_deallocate(self._group, self._name), "deallocate", timeout_s
        )

    async def reprice(self, max_price_usd_per_h: Decimal, *, timeout_s: float) -> None:
        """Change the max price, and nothing else of the VM."""
        from azure.mgmt.compute.models import BillingProfile, VirtualMachineProperties, VirtualMachineUpdate

        price = Terms(max_price_usd_per_h=max_price_usd_per_h).max_price_usd_per_h
        # The model takes a float. Up to five decimal places, it is written with the very digits of the price.
        profile = BillingProfile(max_price=float(price))
        body = VirtualMachineUpdate(properties=VirtualMachineProperties(billing_profile=profile))
        await self._carried_out(
            lambda: self._client.virtual_machines.begin_update(self._group, self._name, body), "reprice", timeout_s
        )

    async def simulate_eviction(self, *, timeout_s: float) -> None:
        """Have Azure evict the VM."""
        async with self._within(timeout_s, "simulate-eviction"):
            await self._client.virtual_machines.simulate_eviction(self._group, self._name)

    async def _carried_out(self, begin: Callable[[], Awaitable[_Poller]], what: str, timeout_s: float) -> None:
        async with self._within(timeout_s, what):
            poller = await begin()
            await poller.wait()

    @asynccontextmanager
    async def _within(self, timeout_s: float, what: str) -> AsyncIterator[None]:
        """One deadline for an order and all its polls, and every failure in the core's words."""
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except SpotfsmError:
            raise
        except TimeoutError as exc:
            raise ReplyLostError(f"{what}: {self._name} is not known to be done within {timeout_s:g} s") from exc
        except HttpResponseError as exc:
            self._refuse(exc, what)
        except AzureError as exc:
            text = " ".join(str(exc).split()) or type(exc).__name__
            raise ReplyLostError(f"{what}: Azure Resource Manager does not answer: {text:.300}") from exc
        except (TypeError, KeyError, AttributeError, ValueError) as exc:  # of the SDK's, on a reply of another shape
            raise BadReplyError(f"{what}: the reply cannot be read ({type(exc).__name__}: {exc})") from exc

    def _refuse(self, error: HttpResponseError, what: str) -> NoReturn:
        """Raise what the refusal means."""
        fault = _fault(error)
        cause = cause_of(fault)
        if fault.code == "MaxPriceValueInvalid":
            remedy = "Give -1 or up to five decimal places."
            raise ConfigurationError("--max-price", f"Azure does not take it ({fault.code})", remedy) from error
        if cause is not None:
            text = f"{what}: {fault.code}: {' '.join(fault.message.split()) or 'no text'}"
            raise RefusedError(text, cause=cause, code=fault.code) from error
        if error.status_code == 404 and fault.code in _ABSENT:
            raise MissingError(f"{what}: there is no VM {self._name} in {self._group}") from error
        if not fault.code and error.status_code is not None and error.status_code < 300:
            raise BadReplyError(f"{what}: the reply cannot be read, or does not say what failed") from error
        raise meaning(error.status_code, fault) from error


def cause_of(fault: Fault) -> RefusalCause | None:
    """Which kind of refusal an error code is; None for one that is about something else.

    `OperationNotAllowed` is the code of many things, and its text tells which.
    """
    if fault.code in _CAUSES:
        return _CAUSES[fault.code]
    if fault.code in {"OperationNotAllowed", "Conflict"}:
        text = fault.message.lower()
        if "quota" in text:
            return RefusalCause.QUOTA
        return RefusalCause.PRICE if "max price" in text else RefusalCause.OTHER
    return None


def _fault(error: HttpResponseError) -> Fault:
    """The innermost cause, from the body of whichever reply told of the failure."""
    response = error.response
    try:
        text = response.text() if response is not None else ""
        document = json.loads(text)
    except (ValueError, AttributeError):
        return Fault(code="", message="")
    return root_cause(document) if isinstance(document, dict) else Fault(code="", message="")


# -- reading a VM ------------------------------------------------------------------------------------------------------


def _view(vm: VirtualMachine) -> VmView:
    properties = vm.properties
    statuses = {}
    if properties is not None and properties.instance_view is not None:
        for status in properties.instance_view.statuses or ():
            kind, _, word = (status.code or "").partition("/")
            statuses[kind.lower()] = word
    provisioning = statuses.get("provisioningstate", "")
    power = statuses.get("powerstate", "").lower()
    if power in {"", "unknown"}:
        power = "deleting" if provisioning.lower() == "deleting" else ""
    os_disk = None if properties is None or properties.storage_profile is None else properties.storage_profile.os_disk
    hardware = None if properties is None else properties.hardware_profile
    priority = "" if properties is None else _word(properties.priority)
    return VmView(
        state=_state(power),
        power=power,
        priority=priority or "Regular",  # Azure leaves it out for what was created without one
        terms=_terms(vm) if priority == "Spot" else None,
        size="" if hardware is None else _word(hardware.vm_size),
        region=(vm.location or "").lower(),
        zone=" ".join(vm.zones or ()),
        provisioning=provisioning,
        os="" if os_disk is None else _word(os_disk.os_type).lower(),
    )


def _state(power: str) -> VmState:
    """The state of the table; what is not known yet counts as allocated: it may be, and costs if it is."""
    return VmState.STOPPED if power in _FREED else VmState.RUNNING


def _terms(vm: VirtualMachine) -> Terms:
    """The VM's terms; Azure's defaults where it leaves them out.

    Raises:
        BadReplyError: a max price or a policy that cannot be.
    """
    properties = vm.properties
    profile = None if properties is None else properties.billing_profile
    price = None if profile is None else profile.max_price
    policy = "" if properties is None else _word(properties.eviction_policy)
    try:
        return Terms(
            max_price_usd_per_h=PAY_AS_YOU_GO if price is None else Decimal(repr(price)).normalize(),
            policy=Policy(policy or Policy.DEALLOCATE),
        )
    except ValueError as exc:
        raise BadReplyError(f"Azure tells terms that cannot be: {exc}") from exc


def _word(value: object) -> str:
    """A value of one of the SDK's enumerations, or of one it does not know yet."""
    return "" if value is None else str(getattr(value, "value", value))


# -- the token ---------------------------------------------------------------------------------------------------------


class _Poller(Protocol):
    """As much of the SDK's poller as is used."""

    async def wait(self) -> None: ...


class _NoCredential(AsyncTokenCredential):
    """Stands where the SDK wants a credential and our own policy sends the token."""

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: Any,
    ) -> AccessToken:
        """Never called."""
        raise AssertionError(f"asked for {scopes}, {claims}, {tenant_id}, {enable_cae}, {options}")

    async def close(self) -> None:
        """Nothing to do."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Nothing to do, either."""


class _Bearer(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Sends the token along, to Azure Resource Manager and nobody else.

    The SDK's own policy would ask the credential for each client anew, and does not know our errors.
    """

    def __init__(self, token: ArmToken, root: str) -> None:
        self._token = token
        self._place = urlsplit(root)[:2]

    async def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        """Authorize, and send."""
        url = request.http_request.url
        if urlsplit(url)[:2] != self._place:
            raise BadReplyError(f"Azure Resource Manager sends us elsewhere, to {url!r:.200}")
        request.http_request.headers["Authorization"] = f"Bearer {await self._token()}"
        return await self.next.send(request)
