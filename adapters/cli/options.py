"""Options that several commands share, and the values they take.

Every setting has one name in three places: the flag `--visibility-timeout`, the variable `SPOTFSM_VISIBILITY_TIMEOUT`
and the key `visibility_timeout` of the TOML file. The flag wins over the variable, the variable over the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from adapters.addresses import Credential
from adapters.cli.config import read_config
from adapters.cli.output import duration_text
from fsm.messages import Encoding

_DURATION = re.compile(r"(?P<number>\d+(\.\d+)?|\.\d+)\s*(?P<unit>ms|s|m|h|d|)")
_UNITS_S = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
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


def whole(least: int, most: int) -> Callable[[str | int], int]:
    """A parser of whole numbers within limits."""

    def parse(value: str | int) -> int:
        text = str(value).strip()
        if not (text.isascii() and text.isdigit() and len(text) <= 12 and least <= int(text) <= most):
            raise ValueError(f"{text!r:.60} is not a whole number from {least} to {most}.")
        return int(text)

    return parse


def _instance(value: str) -> str:
    if not _INSTANCE.fullmatch(value):
        raise ValueError(f"{value!r:.60} is no name. Use up to 64 letters, digits, dots, hyphens and underscores.")
    return value


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="SPOTFSM_CONFIG",
        metavar="FILE",
        callback=read_config,
        is_eager=True,
        help="TOML file with settings; spotfsm.toml is read where there is one.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

Queue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        envvar="SPOTFSM_QUEUE",
        metavar="URL",
        help="Queue: sqlite:///FILE#NAME (sqlite:///spotfsm.db#jobs by default), "
        "https://ACCOUNT.queue.core.windows.net/NAME, or Azurite's address.",
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="SPOTFSM_STORE",
        metavar="URL|none",
        help="Job store: sqlite:///FILE (the queue's own file by default), "
        "https://ACCOUNT.blob.core.windows.net/CONTAINER, or none.",
    ),
]
CredentialOption = Annotated[
    Credential,
    typer.Option(
        "--credential",
        envvar="SPOTFSM_CREDENTIAL",
        help="Who asks Azure for tokens: the VM's managed identity, or the SDK's default chain (Azure CLI and others).",
    ),
]
ClientId = Annotated[
    str | None,
    typer.Option(
        "--client-id",
        envvar="SPOTFSM_CLIENT_ID",
        metavar="ID",
        help="Which user-assigned managed identity, where the VM has several.",
    ),
]
Imds = Annotated[
    str | None,
    typer.Option(
        "--imds",
        envvar="SPOTFSM_IMDS",
        metavar="URL|none",
        help="Instance metadata and Scheduled Events: http://169.254.169.254 by default with a queue on Azure, none "
        "with any other queue; or the URL of a twin.",
    ),
]
BootIdFile = Annotated[
    Path,
    typer.Option(
        "--boot-id-file",
        envvar="SPOTFSM_BOOT_ID_FILE",
        metavar="FILE",
        help="Where the boot id is read; a twin can write one.",
    ),
]
JournalFile = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        envvar="SPOTFSM_JOURNAL",
        metavar="FILE",
        help="Append every state change to this file, as JSON lines.",
    ),
]
Instance = Annotated[
    str,
    typer.Option(
        "--instance",
        envvar="SPOTFSM_INSTANCE",
        metavar="NAME",
        parser=_instance,
        help="Which of several workers on this VM this is; two at once must not share a name.",
    ),
]
MessageEncoding = Annotated[
    Encoding,
    typer.Option(
        "--message-encoding",
        envvar="SPOTFSM_MESSAGE_ENCODING",
        help="How bodies lie on the queue: as they are, or in base64 as Azure Functions has them.",
    ),
]
