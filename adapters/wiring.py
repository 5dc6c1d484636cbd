"""From addresses to ports: the only place that names the adapters behind them.

Whatever is not used is not imported: a worker on SQLite loads nothing of Azure's, and no HTTP client without IMDS.
Queue and store in one SQLite file share one connection and its commits; on Azure all share one session and one token.
"""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from adapters.addresses import NONE, Credential, SqliteAddress, StorageAddresses
from adapters.host.clock import SystemClock, SystemRandomness
from adapters.host.disks import KeptFile, WarningMetadata
from adapters.host.journal import JsonLinesJournal, NoJournal, ReceiptJournal, WatchedJournal
from adapters.host.loop_runner import LoopRunner, import_function, load_handler
from adapters.host.pulse import Heartbeat
from adapters.host.service_manager import ServiceManager
from adapters.host.signals import SystemSignals
from adapters.host.singleton import only_one, runtime_directory
from adapters.imds.turns import EventsInTurns, MetadataInTurns, Turn, Turns
from fsm.errors import ConfigurationError, MissingError, SpotfsmError
from fsm.ports import InstanceMetadata, JobRunner, JobStore, Journal, JsonScalar, ScheduledEvents, VmControl, WorkQueue

if TYPE_CHECKING:
    from adapters.azure.address import Address as AzureAddress
    from adapters.azure.connection import AzureConnection
    from adapters.azure.identity import Identity
    from adapters.azure.planning.planner import Planner
    from adapters.sqlite import Database
    from fsm.runner import Ports

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
CREATE_TIMEOUT_S = 10.0
IF_NOT_CREATED = "Check the address, or create it: `spotfsm enqueue --create` with the same --queue and --store."

Observer: TypeAlias = Callable[[str, Mapping[str, JsonScalar]], None]


# -- storage ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Open clients of the queue, its poison queue and the store."""

    queue: WorkQueue
    poison_queue: WorkQueue
    store: JobStore | None
    _addresses: StorageAddresses = field(repr=False)
    _azure: AzureConnection | None = field(default=None, repr=False)

    async def create(self, *, on_azure: bool, timeout_s: float = CREATE_TIMEOUT_S) -> None:
        """Create what does not exist yet in SQLite files, and, if so told, on Azure: a role a worker need not have.

        Raises:
            PlatformError: it cannot be created.
        """
        if on_azure or isinstance(self._addresses.queue, SqliteAddress):
            await self.queue.create(timeout_s=timeout_s)
            await self.poison_queue.create(timeout_s=timeout_s)
        if self.store is not None and (on_azure or isinstance(self._addresses.store, SqliteAddress)):
            await self.store.create(timeout_s=timeout_s)

    async def check_embedded(self, *, timeout_s: float = CREATE_TIMEOUT_S) -> None:
        """Make sure that what should lie in SQLite files was created there: a misspelt address is no empty queue.

        Raises:
            ConfigurationError: it was not.
            PlatformError: the file does not answer.
        """
        setting = "--queue"
        try:
            if isinstance(self._addresses.queue, SqliteAddress):
                await self.queue.length(timeout_s=timeout_s)
                await self.poison_queue.length(timeout_s=timeout_s)
            setting = "--store"
            if self.store is not None and isinstance(self._addresses.store, SqliteAddress):
                await self.store.read(self.queue.name, "none", timeout_s=timeout_s)  # that there is none is an answer
        except MissingError as exc:
            raise ConfigurationError(setting, str(exc), IF_NOT_CREATED) from exc

    async def fetch_token(self, *, timeout_s: float) -> None:
        """Have a token of Azure's; does nothing where none is needed.

        Raises:
            PlatformError: there is none to be had.
        """
        if self._azure is not None:
            await self._azure.fetch_token(timeout_s=timeout_s)


@asynccontextmanager
async def open_storage(addresses: StorageAddresses) -> AsyncIterator[Storage]:
    """Open the clients, and close them and what they share at the end.

    Raises:
        ConfigurationError: a file cannot be what its address says.
        PlatformError: a file stays locked.
    """
    async with AsyncExitStack() as stack:
        opener = _Opener(addresses, stack)
        yield Storage(
            queue=await opener.queue(addresses.queue),
            poison_queue=await opener.queue(addresses.poison_queue),
            store=None if addresses.store is None else await opener.store(addresses.store),
            _addresses=addresses,
            _azure=opener.azure,
        )


class _Opener:
    """Opens each SQLite file and the connection to Azure once."""

    def __init__(self, addresses: StorageAddresses, stack: AsyncExitStack) -> None:
        self._addresses = addresses
        self._stack = stack
        self._databases: dict[Path, Database] = {}
        self.azure: AzureConnection | None = None

    async def queue(self, address: SqliteAddress | AzureAddress) -> WorkQueue:
        if isinstance(address, SqliteAddress):
            from adapters.sqlite import SqliteQueue

            return SqliteQueue(await self._database(address.file, "--queue"), address.name)
        return (await self._azure()).queue(f"{address.account_url}/{address.name}", setting="--queue")

    async def store(self, address: SqliteAddress | AzureAddress) -> JobStore:
        if isinstance(address, SqliteAddress):
            from adapters.sqlite import SqliteStore

            return SqliteStore(await self._database(address.file, "--store"))
        return (await self._azure()).store(f"{address.account_url}/{address.name}", setting="--store")

    async def _database(self, file: Path, setting: str) -> Database:
        from adapters.sqlite import Database

        if file not in self._databases:
            self._databases[file] = await self._stack.enter_async_context(Database(file, setting=setting))
        return self._databases[file]

    async def _azure(self) -> AzureConnection:
        from adapters.azure.connection import AzureConnection
        from adapters.azure.identity import Identity

        if self.azure is None:
            managed = self._addresses.credential is Credential.MANAGED_IDENTITY
            connection = AzureConnection(
                identity=Identity.MANAGED if managed else Identity.DEVELOPER, client_id=self._addresses.client_id
            )
            self.azure = await self._stack.enter_async_context(connection)
        return self.azure


async def check_embedded(addresses: StorageAddresses) -> None:
    """Open the storage only to make sure that what should lie in SQLite files is there.

    Raises:
        ConfigurationError, PlatformError: it is not.
    """
    async with open_storage(addresses) as storage:
        await storage.check_embedded()


# -- planning ----------------------------------------------------------------------------------------------------------


class SignIn(StrEnum):
    """Who asks Azure Resource Manager for a token."""

    DEFAULT = "default"
    MANAGED_IDENTITY = "managed-identity"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementSettings:
    """How Azure is asked about itself.

    Attributes:
        prices_url, arm_url: the services' roots; None for Azure's own.
        subscription: its id; None for the only one there is.
        client_id: which user-assigned identity, where the VM has several.
        refresh: ask again what was asked less than an hour ago.
        fall_back: take older answers where a service does not answer.
    """

    prices_url: str | None = None
    arm_url: str | None = None
    sign_in: SignIn = SignIn.DEFAULT
    client_id: str | None = None
    subscription: str | None = None
    refresh: bool = False
    fall_back: bool = True


@asynccontextmanager
async def open_planner(
    settings: ManagementSettings,
    *,
    needs_credential: bool,
    on_page: Callable[[str, int], None] | None = None,
    on_wait: Callable[[str, float], None] | None = None,
) -> AsyncIterator[Planner]:
    """What knows of prices and sizes.

    Args:
        settings: as the user gave them.
        needs_credential: whether nothing can be done without one.
        on_page: told each page of the price list.
        on_wait: told each pause before another try.

    Raises:
        ConfigurationError: an address is none; or nobody is signed in where somebody has to be.
    """
    from adapters.azure.planning.cache import Cache, cache_directory
    from adapters.azure.planning.documents import Documents, checked_root, open_client
    from adapters.azure.planning.graph import ResourceGraph
    from adapters.azure.planning.planner import Management, Planner
    from adapters.azure.planning.retail import RETAIL_URL, PriceList
    from adapters.azure.planning.sizes import Subscription

    if needs_credential and settings.sign_in is SignIn.NONE:
        raise ConfigurationError("--credential", "nothing of this can be asked without one", "Sign in: `az login`.")
    prices_url = checked_root(settings.prices_url or RETAIL_URL, setting="--prices-url")
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client())
        management, unsigned, arm_url = None, "", ""
        if settings.sign_in is not SignIn.NONE:
            from adapters.azure.management import ARM_URL, ArmToken, refusal

            arm_url = checked_root(settings.arm_url or ARM_URL, setting="--arm-url")
            token = await stack.enter_async_context(ArmToken(_identity(settings.sign_in), client_id=settings.client_id))
            documents = Documents(client, name="Azure Resource Manager", refusal=refusal, token=token, on_wait=on_wait)
            subscription = settings.subscription or os.environ.get("AZURE_SUBSCRIPTION_ID") or None
            management = Management(
                token=token,
                root=arm_url,
                graph=ResourceGraph(documents, root=arm_url),
                subscription=Subscription(documents, root=arm_url, subscription=subscription),
            )
            try:
                await token()
            except SpotfsmError as exc:
                if needs_credential:
                    raise
                management, unsigned = None, f"no eviction rates, no price history, no quota: {exc}"
        yield Planner(
            prices=PriceList(client, root=prices_url, on_page=on_page, on_wait=on_wait),
            management=management,
            cache=Cache(cache_directory(os.environ), refresh=settings.refresh, fall_back=settings.fall_back),
            places=f"{prices_url} {arm_url}",
            unsigned=unsigned,
        )


@asynccontextmanager
async def open_operator(
    settings: ManagementSettings,
    *,
    resource_group: str,
    name: str,
    on_wait: Callable[[str, float], None] | None = None,
) -> AsyncIterator[tuple[VmControl, Planner]]:
    """What operates one VM, and what knows the price of its size.

    Raises:
        ConfigurationError: the compute SDK is not installed; or as `open_planner` does.
    """
    if find_spec("azure.mgmt") is None or find_spec("azure.mgmt.compute") is None:
        remedy = "Install it: pip install 'spotfsm[azure-vm]'."
        raise ConfigurationError("vm", "the compute SDK is not installed", remedy)
    from adapters.azure.vm_control import AzureVmControl

    async with open_planner(settings, needs_credential=True, on_wait=on_wait) as planner:
        management = planner.management
        assert management is not None, "nobody is signed in"
        async with AzureVmControl(
            management.token,
            root=management.root,
            subscription=await management.subscription.id(),
            resource_group=resource_group,
            name=name,
        ) as control:
            yield control, planner


def _identity(sign_in: SignIn) -> Identity:
    from adapters.azure.identity import Identity

    return Identity.MANAGED if sign_in is SignIn.MANAGED_IDENTITY else Identity.DEVELOPER


# -- the VM and the process --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Vm:
    """Who this VM is, and what is announced to it."""

    metadata: InstanceMetadata
    events: ScheduledEvents


@asynccontextmanager
async def open_vm(imds: str, *, boot_id_file: Path = BOOT_ID_FILE) -> AsyncIterator[Vm]:
    """Instance metadata and Scheduled Events.

    Args:
        imds: the root URL of IMDS or of its twin, or `none`: then the host itself is asked who it is.
        boot_id_file: where the boot id is read.

    Raises:
        ConfigurationError: it is no such URL.
    """
    if imds.lower() == NONE:
        from adapters.imds.absent import HostMetadata, NoScheduledEvents

        yield Vm(metadata=HostMetadata(boot_id_file=boot_id_file), events=NoScheduledEvents())
        return
    from adapters.imds.client import ImdsClient

    async with ImdsClient(imds, boot_id_file=boot_id_file) as client:
        yield Vm(metadata=client, events=client)


def find_imds(imds: str | None, addresses: StorageAddresses) -> str:
    """The setting, or its default: Azure's own address for a queue on Azure, `none` for any other."""
    if imds is not None:
        return imds
    return "http://169.254.169.254" if addresses.on_azure else NONE


def open_journal(file: Path | None, *observers: Observer) -> Journal:
    """A journal that is watched, with a receipt of each drain; without a file it is only watched. The caller closes it.

    Raises:
        ConfigurationError: the file cannot be opened for appending.
    """
    journal: Journal = NoJournal() if file is None else JsonLinesJournal(file)
    for observe in observers:
        journal = WatchedJournal(journal, observe)
    return ReceiptJournal(journal)


# -- what does the jobs ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """What does a job: a handler or a command, one of the two.

    Attributes:
        handler: `module:function`.
        command: a program and its arguments.
        python: the interpreter of a plain handler; the worker's own by default.
        memory_bytes_max: what a job may occupy, with all the processes that it starts.
    """

    handler: str | None = None
    command: Sequence[str] = ()
    python: str | None = None
    memory_bytes_max: int | None = None


def open_job_runner(handling: Handling) -> JobRunner:
    """What runs it. Nothing is started before the first job is.

    Raises:
        ConfigurationError: there is no such handler or command, or it cannot be had as set.
    """
    if handling.command:
        return _command_runner(handling)
    if handling.handler is None:
        remedy = "Give --handler module:function, or a command behind --."
        raise ConfigurationError("--handler", "nothing is there to do the jobs", remedy)
    if handling.python is None and inspect.iscoroutinefunction(import_function(handling.handler)):
        if handling.memory_bytes_max is not None:
            remedy = "Write it as a plain `def`, which runs in a process of its own, or run a command."
            raise ConfigurationError("--job-memory", "a coroutine shares the worker's own memory", remedy)
        return LoopRunner(load_handler(handling.handler))
    from adapters.host.children import Children
    from adapters.host.process_runner import ProcessRunner, check_python

    children = Children(memory_bytes_max=handling.memory_bytes_max)
    if handling.python is None:
        return ProcessRunner(handling.handler, children)
    check_python(handling.python, handling.handler)
    return ProcessRunner(handling.handler, children, python=handling.python)


def _command_runner(handling: Handling) -> JobRunner:
    from adapters.host.children import Children
    from adapters.host.command_runner import CommandRunner

    if handling.handler is not None:
        remedy = "Give one of the two; it may stand in the environment or in the settings file."
        raise ConfigurationError("--handler", "there is a command as well", remedy)
    if handling.python is not None:
        raise ConfigurationError("--python", "a command has its own interpreter", "Leave it out.")
    if shutil.which(handling.command[0]) is None:
        remedy = "Give a program on the PATH, or the path of an executable file, such as ./job.sh."
        raise ConfigurationError("COMMAND", f"{handling.command[0]!r} cannot be executed", remedy)
    return CommandRunner(handling.command, Children(memory_bytes_max=handling.memory_bytes_max))


# -- a whole worker ----------------------------------------------------------------------------------------------------


def only_worker(
    addresses: StorageAddresses, *, imds: str, boot_id_file: Path, instance: str
) -> AbstractContextManager[None]:
    """Be the only worker of this name for this queue on this VM, which is whatever IMDS and the boot id say.

    Raises:
        ConfigurationError: another one runs.
    """
    queue = addresses.queue
    if isinstance(queue, SqliteAddress):
        place = f"{queue.file.resolve()}#{queue.name}"
    else:
        place = f"{queue.account_url}/{queue.name}"
    key = "\n".join((place, instance, imds, str(boot_id_file.resolve())))
    return only_one(key, name=instance, directory=runtime_directory(os.environ))


@asynccontextmanager
async def open_ports(
    addresses: StorageAddresses,
    *,
    imds: str,
    boot_id_file: Path,
    job_runner: JobRunner,
    journal: Journal,
    journal_file: Path | None,
    stop_grace_s: float = 25.0,
    heartbeat: Heartbeat | None = None,
    turn: Turn | None = None,
) -> AsyncIterator[Ports]:
    """Everything a worker needs; it creates nothing.

    Closes everything at the end but the journal, which belongs to the caller.

    Args:
        addresses: of the queue and the store.
        imds: as `open_vm` takes it.
        boot_id_file: where the boot id is read.
        job_runner: what runs the handler.
        journal: gets a `warning` for each file that an eviction of this VM would destroy.
        journal_file: the journal's own file, as an absolute path, if it has one.
        stop_grace_s: how long a stop may drain before a process whose loop is blocked is ended.
        heartbeat: beats with the loop while the worker runs.
        turn: whose turn it is to ask IMDS, where several workers share this VM.

    Raises:
        ConfigurationError: a setting cannot work, or the embedded queue or store was never created.
        PlatformError: the embedded queue or store does not answer just now.
    """
    from fsm.runner import Ports

    files = addresses.files
    if journal_file is not None:
        files = (*files, KeptFile(setting="--journal", path=journal_file, holds="its lines"))
    async with open_storage(addresses) as storage, open_vm(imds, boot_id_file=boot_id_file) as vm:
        await storage.check_embedded()
        events, metadata = vm.events, vm.metadata
        if turn is not None and imds.lower() != NONE:
            turns = Turns(turn)
            events, metadata = EventsInTurns(events, turns), MetadataInTurns(metadata, turns)
        try:
            yield Ports(
                queue=storage.queue,
                poison_queue=storage.poison_queue,
                store=storage.store,
                events=events,
                metadata=WarningMetadata(metadata, files, journal),
                job_runner=job_runner,
                clock=SystemClock(),
                randomness=SystemRandomness(),
                signals=SystemSignals(
                    journal,
                    grace_s=stop_grace_s,
                    heartbeat=heartbeat,
                    service_manager=ServiceManager.taken_from(os.environ),
                ),
                journal=journal,
            )
        finally:
            await job_runner.close()
