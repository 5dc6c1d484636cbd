"""Whatever goes wrong, as one line and an exit code: a traceback is for us, not for the user.

Where a command keeps a log for programs, the line is an event of it: who collects that log reads nothing else.
"""

from __future__ import annotations

import errno
import os
import sys

import typer

from adapters.cli.exits import EXIT_BUG, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_MISUSE
from adapters.cli.log import Level, Log, LogFormat
from adapters.cli.output import one_line
from fsm.errors import ConfigurationError, SpotfsmError

_DEBUG = "SPOTFSM_DEBUG"
_PYDANTIC_PREFIX = "Value error, "


def report(error: BaseException, log: Log | None = None) -> int:
    """Tell the user, or the programs that read this log, and return the exit code."""
    match error:
        case ConfigurationError():
            return _failed(EXIT_MISUSE, str(error), error, log, setting=error.setting)
        case SpotfsmError():
            return _failed(EXIT_FAILED, str(error), error, log)
        case typer.TyperException():
            setting, text = _misuse(error)
            return _failed(EXIT_MISUSE, f"{setting}: {text}" if setting else text, error, log, setting=setting)
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
            return _failed(EXIT_FAILED, text, error, log)
        case _:
            remedy = f"This is a bug; run it again with {_DEBUG}=1 and report what it shows."
            return _failed(EXIT_BUG, f"{type(error).__name__}: {error}. {remedy}", error, log)


def _print_no_more() -> None:
    """Python would try once more in the end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(code: int, text: str, error: BaseException, log: Log | None, *, setting: str | None = None) -> int:
    """One line on stderr; with SPOTFSM_DEBUG, what led to it as well."""
    if os.environ.get(_DEBUG):
        import traceback

        traceback.print_exception(error)
    if log is not None and log.form is LogFormat.JSON:
        fields = {"setting": setting, "exit_code": code}
        log.tell(f"the worker ends: {text}", event="failed", level=Level.ERROR, fields=fields)
    else:
        print(f"error: {one_line(text)}", file=sys.stderr)
    return code


def _misuse(error: typer.TyperException) -> tuple[str | None, str]:
    """What is wrong with the command line: the option, if it is one; and the problem, and where help is."""
    option = None
    if isinstance(error, typer.BadParameter) and error.param is not None:
        option = error.param.opts[0] if error.param.param_type_name == "option" else error.param.name
        text = error.message.removeprefix(_PYDANTIC_PREFIX) or "it is missing"
    else:
        text = error.format_message()
    ending = "" if text.endswith((".", "?")) else "."
    return option, f"{text}{ending} See spotfsm --help and spotfsm COMMAND --help."
