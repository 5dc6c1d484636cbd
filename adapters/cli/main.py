"""The way in: finds the command, and runs it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from adapters.cli.commands import COMMANDS
from adapters.cli.failures import report
from adapters.cli.log import Log, LogFormat
from adapters.cli.output import show_help
from adapters.cli.streams import prepare_streams
from adapters.host.imports import uncollected


def main() -> NoReturn:
    """The console script."""
    prepare_streams()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; never raises but for a kill."""
    try:
        code = build(arguments)(list(arguments), prog_name="spotfsm", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as exc:  # noqa: BLE001 -- a traceback is for us, not for the user
        return report(exc, _log_of(arguments))
    return code if isinstance(code, int) else 0


def _log_of(arguments: Sequence[str]) -> Log | None:
    """The log of the command that was called, if it keeps one: as far as its settings can be read, for one is wrong."""
    with suppress(Exception):
        group = typer.main.get_command(build(arguments))
        command = group.commands[arguments[0]]  # type: ignore[attr-defined] # it is a group
        asked = command.make_context(arguments[0], [*arguments[1:]], resilient_parsing=True).params
        if "log" in asked:
            form = asked["log"] or LogFormat.AUTO
            return Log(form=form.resolved(), worker=asked["instance"] or "")
    return None


def build(arguments: Sequence[str]) -> typer.Typer:
    """The application with the command that is called, which alone is imported, or with all of them for help."""
    app = typer.Typer(
        help="Run interruptible work on Azure Spot VMs, and lose nothing.",
        epilog="Settings come from flags, then from the environment (--boot-id-file is SPOTFSM_BOOT_ID_FILE "
        "there), then from spotfsm.toml or the file of --config.",
        invoke_without_command=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_group)
    called = arguments[0] if arguments else ""
    with uncollected():
        for name in (called,) if called in COMMANDS else COMMANDS:
            importlib.import_module(f"adapters.cli.{name}").register(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"spotfsm {version('spotfsm')}")
        raise typer.Exit


def _group(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    show_help(context)
