"""The way in: finds the command, and turns whatever goes wrong into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from adapters.cli.commands import COMMANDS
from adapters.cli.exits import EXIT_BUG, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_MISUSE
from adapters.cli.output import one_line, show_help
from fsm.errors import ConfigurationError, SpotfsmError

_DEBUG = "SPOTFSM_DEBUG"
_PYDANTIC_PREFIX = "Value error, "


def main() -> NoReturn:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; never raises but for a kill."""
    try:
        code = build(arguments)(list(arguments), prog_name="spotfsm", standalone_mode=False)
        sys.stdout.flush()
    except ConfigurationError as exc:
        return _failed(EXIT_MISUSE, str(exc))
    except SpotfsmError as exc:
        return _failed(EXIT_FAILED, str(exc))
    except typer.TyperException as exc:
        return _failed(EXIT_MISUSE, _misuse(exc))
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as exc:  # noqa: BLE001 -- a traceback is for us, not for the user
        remedy = f"This is a bug; run it again with {_DEBUG}=1 and report what it shows."
        return _failed(EXIT_BUG, f"{type(exc).__name__}: {exc}. {remedy}")
    return code if isinstance(code, int) else 0


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


def _failed(code: int, text: str) -> int:
    """One line on stderr; with SPOTFSM_DEBUG, what led to it as well."""
    if os.environ.get(_DEBUG):
        import traceback

        traceback.print_exc()
    print(f"error: {one_line(text)}", file=sys.stderr)
    return code


def _misuse(error: typer.TyperException) -> str:
    """What is wrong with the command line: first the option, then the problem, then where help is."""
    option = ""
    if isinstance(error, typer.BadParameter) and error.param is not None:
        option = f"{error.param.opts[0]}: " if error.param.param_type_name == "option" else f"{error.param.name}: "
        text = error.message.removeprefix(_PYDANTIC_PREFIX) or "it is missing"
    else:
        text = error.format_message()
    ending = "" if text.endswith((".", ")")) else "."
    return f"{option}{text}{ending} See spotfsm --help and spotfsm COMMAND --help."
