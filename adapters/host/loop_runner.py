"""Handlers that are coroutine functions: found by name, run in the worker's own loop."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from fsm.errors import ConfigurationError, Evicted, HandlerFailedError
from fsm.handler import Job, Json
from fsm.ports import JobControl, JobInput, JobRunner
from fsm.record import canonical

Handler = Callable[[Job], Awaitable[Json]]
ERROR_CHARS_MAX = 2000


class LoopRunner(JobRunner):
    """Awaits the handler. It shares the loop with the worker and must not block it."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def run(self, job: JobInput, control: JobControl) -> str:
        try:
            result = await self._handler(Job(job, control))
        except Evicted:
            raise
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is not None and task.cancelling() > 0:
                raise
            raise HandlerFailedError("the handler cancelled itself") from exc
        except SystemExit as exc:
            raise HandlerFailedError(f"the handler called sys.exit({exc.code!r})") from exc
        except BaseException as exc:
            raise HandlerFailedError(_in_one_line(exc)) from exc
        try:
            return canonical(result)
        except (TypeError, ValueError) as exc:
            raise HandlerFailedError(f"the handler's result is not JSON: {exc}") from exc

    async def close(self) -> None:
        """Nothing outlives `run`."""


def _in_one_line(error: BaseException) -> str:
    """The error and where it was raised, bounded."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"[:ERROR_CHARS_MAX]


def load_handler(name: str) -> Handler:
    """Import `module:function`; the working directory is searched first.

    Raises:
        ConfigurationError: it cannot be imported, is not there, or is not a coroutine function.
    """
    module_name, colon, function_name = name.partition(":")
    if not (colon and module_name and function_name):
        raise ConfigurationError("--handler", f"{name!r} is not of the form module:function", "Example: jobs:handle.")
    working_directory = str(Path.cwd())
    if working_directory not in sys.path:
        sys.path.insert(0, working_directory)
    try:
        module = importlib.import_module(module_name)
    except BaseException as exc:
        remedy = "Run from the directory that holds the module, or install it; then try `python -c 'import ...'`."
        raise ConfigurationError(
            "--handler", f"{module_name!r} cannot be imported: {_in_one_line(exc)}", remedy
        ) from exc
    handler = getattr(module, function_name, None)
    if handler is None:
        raise ConfigurationError("--handler", f"{module_name!r} has no {function_name!r}", "Check the function's name.")
    if not inspect.iscoroutinefunction(handler):
        remedy = "Write it as `async def`; plain functions and commands are not supported yet."
        raise ConfigurationError("--handler", f"{name!r} is not a coroutine function", remedy)
    loaded: Handler = handler
    return loaded
