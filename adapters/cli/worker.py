"""`spotfsm worker`: run jobs until told to stop, or until none is left."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters import wiring
from adapters.addresses import Credential, find_storage
from adapters.cli import options
from adapters.cli.instances import INSTANCES_MAX
from adapters.cli.log import LogFormat
from adapters.cli.running import Place, run_alone
from adapters.cli.several import run_several
from adapters.telemetry.backends import Backend
from adapters.telemetry.watching import LOOPBACK, Watching
from fsm.errors import ConfigurationError
from fsm.messages import MESSAGE_BYTES_MAX, Encoding
from fsm.runner import WorkerSettings

_DAY_S = 86400.0
PORT_MAX = 65535
_EXAMPLE = (
    "Example: spotfsm worker --handler jobs:handle --concurrency 16 --until-empty --journal worker.jsonl\n\n"
    "Example: spotfsm worker --instances 2 --job-memory 2G -- ./job.sh --quality high"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    behind_the_options = {"allow_interspersed_args": False}  # whatever follows the command is the command's
    app.command("worker", context_settings=behind_the_options, epilog=f"{_EXAMPLE}\n\n{options.ADDRESSES}")(_worker)


def _worker(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            show_default=False,
            help="Behind --, in place of --handler: a program and its arguments that do a job. The message is on its "
            "standard input; exit code 0 is done, 75 interrupted, anything else failed.",
        ),
    ] = None,
    *,
    handler: Annotated[
        str | None,
        options.setting(
            "--handler",
            "The function that does a job, as module:function; the working directory is searched first. An `async "
            "def` runs in the worker and must not block it, a `def` in a process of its own.",
            metavar="NAME",
        ),
    ] = None,
    python: Annotated[
        str | None,
        options.setting(
            "--python",
            "The interpreter for a plain `def` handler, of Python 3.9 or newer; the worker's own by default.",
            metavar="FILE",
        ),
    ] = None,
    queue: options.Queue = None,
    store: options.Store = None,
    concurrency: Annotated[
        int,
        options.setting(
            "--concurrency", "How many jobs run at once, 1 to 256.", metavar="N", parser=options.whole(1, 256)
        ),
    ] = 8,
    instances: Annotated[
        int,
        options.setting(
            "--instances",
            f"How many workers run on this VM, 1 to {INSTANCES_MAX}: processes of their own, called NAME-1, NAME-2 and "
            "so on after --instance; one that dies is started again.",
            metavar="N",
            parser=options.whole(1, INSTANCES_MAX),
        ),
    ] = 1,
    until_empty: Annotated[bool, options.setting("--until-empty", "End once nothing waits or runs.")] = False,
    journal: options.JournalFile = None,
    as_json: options.AsJson = False,
    imds: options.Imds = None,
    instance: options.Instance = "1",
    visibility_timeout: Annotated[
        float,
        options.setting(
            "--visibility-timeout",
            "The lease of a message, renewed at half of it: how long a killed worker's job stays hidden.",
            metavar="TIME",
            parser=options.duration(2.0, 7 * _DAY_S),
            show_default="1m",
        ),
    ] = 60.0,
    job_timeout: Annotated[
        float | None,
        options.setting(
            "--job-timeout",
            "How long a job may run before it counts as failed; as long as it likes by default.",
            metavar="TIME",
            parser=options.duration(0.1, 365 * _DAY_S),
        ),
    ] = None,
    job_memory: Annotated[
        int | None,
        options.setting(
            "--job-memory",
            "What a job may occupy before it is ended and counts as failed, with all the processes that it starts; "
            "not for coroutines, which share the worker's.",
            metavar="SIZE",
            parser=options.size(16 * 2**20),
        ),
    ] = None,
    retry_pause: Annotated[
        float,
        options.setting(
            "--retry-pause",
            "The pause after a job's first failure; it doubles with each.",
            metavar="TIME",
            parser=options.duration(0.0, _DAY_S),
            show_default="1s",
        ),
    ] = 1.0,
    stop_grace: Annotated[
        float,
        options.setting(
            "--stop-grace",
            "How long a stop by SIGTERM or SIGINT may drain; a unit with NotifyAccess=main is asked for the time, any "
            "other needs a longer TimeoutStopSec.",
            metavar="TIME",
            parser=options.duration(0.0, _DAY_S),
            show_default="25s",
        ),
    ] = 25.0,
    idle_poll_max: Annotated[
        float,
        options.setting(
            "--idle-poll-max",
            "The longest pause between looks at an empty queue.",
            metavar="TIME",
            parser=options.duration(0.1, 3600.0),
            show_default="5s",
        ),
    ] = 5.0,
    imds_poll: Annotated[
        float,
        options.setting(
            "--imds-poll",
            "How often Scheduled Events are asked for; IMDS allows 5 requests a second to a whole VM.",
            metavar="TIME",
            parser=options.duration(0.2, 60.0),
            show_default="1s",
        ),
    ] = 1.0,
    message_encoding: options.MessageEncoding = Encoding.TEXT,
    message_bytes_max: Annotated[
        int,
        options.setting(
            "--message-bytes-max",
            "A larger message is poisoned.",
            metavar="N",
            parser=options.whole(1, MESSAGE_BYTES_MAX),
        ),
    ] = MESSAGE_BYTES_MAX,
    log: Annotated[
        LogFormat,
        options.setting(
            "--log",
            "What stderr is told: lines of text, JSON objects, or auto: JSON if it is systemd's journal, else text.",
        ),
    ] = LogFormat.AUTO,
    health_port: Annotated[
        int | None,
        options.setting(
            "--health-port",
            "Serve /healthz, /readyz and /metrics on this port; with --instances on as many from there on, and at the "
            "first one /healthz/all, the health of the one that is worst off. 0 is any free port, and then each knows "
            "of itself alone.",
            metavar="PORT",
            parser=options.whole(0, PORT_MAX),
        ),
    ] = None,
    health_address: Annotated[
        str,
        options.setting(
            "--health-address",
            "Where they are served; who can connect can read. 0.0.0.0 is everywhere.",
            metavar="ADDRESS",
        ),
    ] = LOOPBACK,
    queue_metrics: Annotated[
        float | None,
        options.setting(
            "--queue-metrics",
            "Count the whole queue for /metrics too, when it is read and no more often than this; not at all by "
            "default, for on Azure each count lists every record.",
            metavar="TIME",
            parser=options.duration(1.0, _DAY_S),
        ),
    ] = None,
    telemetry: options.Telemetry = Backend.NONE,
    acknowledge: Annotated[
        bool,
        options.setting("--acknowledge", "Once drained, let the eviction begin at once instead of at its time."),
    ] = False,
    credential: options.CredentialOption = Credential.MANAGED_IDENTITY,
    client_id: options.ClientId = None,
    boot_id_file: options.BootIdFile = wiring.BOOT_ID_FILE,
    _config: options.Config = None,
) -> int:
    """Run jobs: receive messages, keep their leases, checkpoint, and hand on what an eviction interrupts.

    SIGTERM and Ctrl-C drain: what can be finished is finished, the rest is saved and handed back; a second Ctrl-C
    leaves a second for it. The receipt at the end goes to stdout, everything else to stderr. Keys of --json: queue,
    instance, origin (fresh, recreated, redeployed, restarted), received, begun, completed, released, poisoned,
    abandoned, failures, checkpoints, notices, margin_s (the least that an eviction's drain left of its notice),
    redone_s (work of interrupted jobs since their last checkpoint), stopped_by, hung, seconds; with --instances a list
    of such receipts.

    A command finds SPOTFSM_JOB_ID, SPOTFSM_ATTEMPT and SPOTFSM_EVICTIONS in its environment, and the names of three
    files: SPOTFSM_PROGRESS_FILE (read it at the start; replace it atomically to checkpoint), SPOTFSM_RESULT_FILE, and
    SPOTFSM_DEADLINE_FILE, which is there once a drain is on. SIGTERM says the same.
    """
    addresses = find_storage(queue, store, credential=credential, client_id=client_id)
    place = Place(
        addresses=addresses,
        imds=wiring.find_imds(imds, addresses),
        boot_id_file=boot_id_file,
        journal_file=journal,
        log=log,
        watching=_watching(health_port, health_address, queue_metrics, telemetry, instances=instances),
    )
    settings = WorkerSettings(
        instance=instance,
        concurrency=concurrency,
        visibility_timeout_s=visibility_timeout,
        idle_poll_s_max=idle_poll_max,
        imds_poll_s=imds_poll,
        stop_grace_s=stop_grace,
        job_timeout_s=job_timeout,
        retry_pause_s=retry_pause,
        encoding=message_encoding,
        message_bytes_max=message_bytes_max,
        until_empty=until_empty,
        acknowledge=acknowledge,
    )
    handling = wiring.Handling(
        handler=handler, command=tuple(command or ()), python=python, memory_bytes_max=job_memory
    )
    if instances == 1:
        return run_alone(place, settings, handling, as_json=as_json)
    return run_several(place, settings, handling, count=instances, as_json=as_json)


def _watching(
    health_port: int | None, health_address: str, queue_metrics: float | None, telemetry: Backend, *, instances: int
) -> Watching:
    """How the worker is watched.

    Raises:
        ConfigurationError: settings that do not go together.
    """
    if queue_metrics is not None and health_port is None:
        remedy = "Give --health-port as well, or leave it out."
        raise ConfigurationError("--queue-metrics", "nobody can read them", remedy)
    if health_port and health_port + instances - 1 > PORT_MAX:
        problem = f"{instances} instances need ports {health_port} to {health_port + instances - 1}"
        raise ConfigurationError("--health-port", problem, f"Choose one up to {PORT_MAX - instances + 1}.")
    return Watching(
        health_port=health_port, health_address=health_address, backlog_s=queue_metrics, telemetry=telemetry
    )
