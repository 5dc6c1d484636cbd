"""The TOML file of settings.

    queue = "https://ACCOUNT.queue.core.windows.net/jobs"   # for every command that has --queue

    [worker]                                                # for one command
    handler = "jobs:handle"
    visibility_timeout = "2m"

A key that no command knows is refused: a misspelt setting must not be a setting that is not there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import typer

from adapters.cli.commands import COMMANDS
from fsm.errors import ConfigurationError

DEFAULT_FILE = Path("spotfsm.toml")
SHARED = frozenset(
    {
        "queue",
        "store",
        "credential",
        "client_id",
        "imds",
        "boot_id_file",
        "journal",
        "instance",
        "message_encoding",
        "subscription",
        "region",
        "resource_group",
        "arm_url",
        "prices_url",
        "telemetry",
    }
)
"""Settings that stand at the top of the file; a command ignores those it does not have."""
_FILE_BYTES_MAX = 1024 * 1024


def read_config(context: typer.Context, file: Path | None) -> Path | None:
    """Make the file's settings the defaults of this command, as flags and variables are read after it.

    Raises:
        ConfigurationError: the file cannot be read, or holds what is no setting.
    """
    if file is None and not DEFAULT_FILE.is_file():
        return None
    path = file or DEFAULT_FILE
    document = _document(path)
    command = _command(context)
    known = {parameter.name for parameter in context.command.params if getattr(parameter, "envvar", None)} - {"_config"}
    tables = {name: value for name, value in document.items() if isinstance(value, dict)}
    shared = {name: value for name, value in document.items() if name not in tables}
    own = tables.get(command, {})
    found = {**{name: value for name, value in shared.items() if _key(name) in known}, **own}
    # Before anything is refused, for it is told in the form that one of them asks for.
    context.default_map = {_key(name): _value(path, name, value) for name, value in found.items()}
    _refuse_unknown(path, tables, frozenset(COMMANDS), "as a table in")
    _refuse_unknown(path, shared, SHARED, "at the top of")
    _refuse_unknown(path, own, known, f"under [{command}] in")
    return path


def _command(context: typer.Context) -> str:
    """The command's name; of one in a group, the group's."""
    name = context.info_name or ""
    return name if name in COMMANDS or context.parent is None else context.parent.info_name or ""


def _document(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as stream:
            text = stream.read(_FILE_BYTES_MAX).decode()
        return tomllib.loads(text)
    except OSError as exc:
        raise ConfigurationError("--config", f"{path} cannot be read: {exc.strerror}", "Name a TOML file.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError("--config", f"{path} is not TOML: {exc}", "Correct it.") from exc


def _refuse_unknown(path: Path, settings: Mapping[str, object], known: frozenset[str] | set[str], where: str) -> None:
    for name in settings:
        if _key(name) not in known:
            remedy = f"Known there: {', '.join(sorted(known))}."
            raise ConfigurationError("--config", f"{name!r:.60} {where} {path} is no setting", remedy)


def _key(name: str) -> str:
    """A setting's name, whether written with hyphens or underscores."""
    return name.replace("-", "_")


def _value(path: Path, name: str, value: object) -> str | bool:
    """The value as a flag would give it."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return str(value)
    raise ConfigurationError("--config", f"{name} in {path} is neither text nor number", "Write one value.")
