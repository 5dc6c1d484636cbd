"""Options that several commands share, and the values they take.

Every setting has one name in three places: the flag `--visibility-timeout`, the variable `SPOTFSM_VISIBILITY_TIMEOUT`
and the key `visibility_timeout` of the TOML file. The flag wins over the variable, the variable over the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.addresses import Credential
from adapters.cli.config import read_config
from adapters.cli.output import duration_text
from adapters.telemetry.backends import Backend
from fsm.messages import Encoding

ADDRESSES = (
    "Addresses: sqlite:///FILE#NAME for a queue and sqlite:///FILE for a store (////FILE is absolute); on Azure "
    "https://ACCOUNT.queue.core.windows.net/NAME and https://ACCOUNT.blob.core.windows.net/CONTAINER; on Azurite "
    "http://127.0.0.1:PORT/devstoreaccount1/NAME, or https, with a token."
)
"""For the end of a command's help."""
_DURATION = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?|\.[0-9]+) *(?P<unit>ms|s|m|h|d|)")
_UNITS_S = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(?P<number>[0-9]{1,12}(\.[0-9]+)?)(?P<unit>[kmgt]|)(ib|b|)")
_UNITS_BYTES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def duration(least_s: float, most_s: float) -> Callable[[str | float], float]:
    """A parser of durations such as `30`, `30s`, `1.5m`, `2h`, `7d` and `250ms`, within limits."""

    def parse(value: str | float) -> float:
        found = _DURATION.fullmatch(str(value).strip().lower())
        remedy = f"Give {duration_text(least_s)} to {duration_text(most_s)}, such as 30, 30s or 5m."
        if found is None:
            raise ValueError(f"{str(value)!r:.60} is not a duration. {remedy}")
        seconds = float(found["number"]) * _UNITS_S[found["unit"]]
        if not least_s <= seconds <= most_s:
            raise ValueError(f"{value} is out of range. {remedy}")
        return seconds

    return parse


def size(least_bytes: int) -> Callable[[str | int], int]:
    """A parser of sizes such as `512M`, `2G` and `1.5GiB`, in powers of 1024."""

    def parse(value: str | int) -> int:
        found = _SIZE.fullmatch(str(value).strip().lower())
        if found is None:
            raise ValueError(f"{str(value)!r:.60} is not a size. Give one such as 512M or 2G.")
        count = round(float(found["number"]) * _UNITS_BYTES[found["unit"]])
        if count < least_bytes:
            raise ValueError(f"{value} is too small. Give at least {least_bytes // 2**20}M.")
        return count

    return parse


def whole(least: int, most: int) -> Callable[[str | int], int]:
    """A parser of whole numbers within limits."""

    def parse(value: str | int) -> int:
        text = str(value).strip()
        if not (text.isascii() and text.isdigit() and len(text) <= 12 and least <= int(text) <= most):
            raise ValueError(f"{text!r:.60} is not a whole number from {least} to {most}.")
        return int(text)

    return parse


def setting(
    flag: str,
    help_text: str,
    *,
    metavar: str | None = None,
    parser: Callable[[str], object] | None = None,
    show_default: bool | str = True,
) -> Any:
    """An option that is a setting: it has a variable in the environment and a key in the TOML file as well.

    The flag may be `--on/--off`, whose first is the setting's name.
    """
    envvar = f"SPOTFSM_{flag.partition('/')[0].removeprefix('--').replace('-', '_').upper()}"
    return typer.Option(
        flag,
        envvar=envvar,
        show_envvar=False,
        metavar=metavar,
        parser=parser,
        show_default=show_default,
        help=help_text,
    )


def _instance(value: str) -> str:
    if not _INSTANCE.fullmatch(value):
        raise ValueError(f"{value!r:.60} is no name. Use up to 64 letters, digits, dots, hyphens and underscores.")
    return value


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="SPOTFSM_CONFIG",
        show_envvar=False,
        metavar="FILE",
        callback=read_config,
        is_eager=True,
        help="TOML file with settings; spotfsm.toml is read where there is one.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

Queue = Annotated[
    str | None,
    setting("--queue", "The queue's address; sqlite:///spotfsm.db#jobs by default.", metavar="URL"),
]
Store = Annotated[
    str | None,
    setting(
        "--store",
        "The job store's address, or none; by default the file of an embedded queue, and none for one on Azure.",
        metavar="URL",
    ),
]
CredentialOption = Annotated[
    Credential,
    setting(
        "--credential",
        "Who asks Azure for tokens: managed-identity, the VM's own; or default, the SDK's chain (Azure CLI and more).",
        metavar="NAME",
    ),
]
ClientId = Annotated[
    str | None,
    setting("--client-id", "Which user-assigned managed identity, where the VM has several.", metavar="ID"),
]
Imds = Annotated[
    str | None,
    setting(
        "--imds",
        "Instance metadata and Scheduled Events: http://169.254.169.254 by default with a queue on Azure, none "
        "with any other queue; or the URL of a twin.",
        metavar="URL",
    ),
]
BootIdFile = Annotated[
    Path,
    setting("--boot-id-file", "Where the boot id is read; a twin can write one.", metavar="FILE"),
]
JournalFile = Annotated[
    Path | None,
    setting("--journal", "Append every state change to this file, as JSON lines.", metavar="FILE"),
]
Telemetry = Annotated[
    Backend,
    setting(
        "--telemetry",
        "Where OpenTelemetry goes: azure-monitor, by APPLICATIONINSIGHTS_CONNECTION_STRING in the environment; otlp, "
        "by OTEL_EXPORTER_OTLP_ENDPOINT; or none.",
    ),
]
Instance = Annotated[
    str,
    setting(
        "--instance",
        "Which of several workers on this VM this is; two at once must not share a name.",
        metavar="NAME",
        parser=_instance,
    ),
]
MessageEncoding = Annotated[
    Encoding,
    setting(
        "--message-encoding", "How bodies lie on the queue: as they are, or in base64 as Azure Functions has them."
    ),
]
