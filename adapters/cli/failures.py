"""Whatever goes wrong, as one line and an exit code: a traceback is for us, not for the user."""

from __future__ import annotations

import errno
import os
import sys

import typer

from adapters.cli.exits import EXIT_BUG, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_MISUSE
from adapters.cli.output import one_line
from fsm.errors import ConfigurationError, SpotfsmError

_DEBUG = "SPOTFSM_DEBUG"
_PYDANTIC_PREFIX = "Value error, "


def report(error: BaseException) -> int:
    """Tell the user, and return the exit code."""
    match error:
        case ConfigurationError():
            return _failed(EXIT_MISUSE, str(error), error)
        case SpotfsmError():
            return _failed(EXIT_FAILED, str(error), error)
        case typer.TyperException():
            return _failed(EXIT_MISUSE, _misuse(error), error)
        case KeyboardInterrupt() | typer.Abort():
            return EXIT_INTERRUPTED
        case SystemExit(code=int(code)):
            return code
        case BrokenPipeError():  # whoever read our output has seen enough
            _print_no_more()
            return EXIT_FAILED
        case OSError(errno=errno.ENOSPC):
            _print_no_more()
            text = "there is no room for what was to be written, on standard output or in a file. Make some."
            return _failed(EXIT_FAILED, text, error)
        case _:
            remedy = f"This is a bug; run it again with {_DEBUG}=1 and report what it shows."
            return _failed(EXIT_BUG, f"{type(error).__name__}: {error}. {remedy}", error)


def _print_no_more() -> None:
    """Python would try once more in the end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(code: int, text: str, error: BaseException) -> int:
    """One line on stderr; with SPOTFSM_DEBUG, what led to it as well."""
    if os.environ.get(_DEBUG):
        import traceback

        traceback.print_exception(error)
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
