"""Handlers that are coroutine functions: found by name, run in the worker's own loop."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from adapters.host.outcome import in_one_line, result_text
from fsm.errors import ConfigurationError, Evicted, HandlerFailedError
from fsm.handler import Job, Json
from fsm.ports import JobControl, JobInput, JobRunner

Handler = Callable[[Job], Awaitable[Json]]


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
            raise HandlerFailedError(in_one_line(exc)) from exc
        return result_text(result)

    async def close(self) -> None:
        """Nothing outlives `run`."""


def load_handler(name: str) -> Handler:
    """Import a coroutine function, `module:function`; the working directory is searched first.

    Raises:
        ConfigurationError: it cannot be imported, is not there, or is not a coroutine function.
    """
    handler = import_function(name)
    if not inspect.iscoroutinefunction(handler):
        remedy = "Write it as `async def`; a plain function runs in a process of its own, and not here."
        raise ConfigurationError("--handler", f"{name!r} is not a coroutine function", remedy)
    loaded: Handler = handler
    return loaded


def import_function(name: str) -> Callable[..., object]:
    """Import `module:function`, of whatever kind; the working directory is searched first.

    Raises:
        ConfigurationError: it cannot be imported, is not there, or cannot be called as a handler is.
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
            "--handler", f"{module_name!r} cannot be imported: {in_one_line(exc)}", remedy
        ) from exc
    handler = getattr(module, function_name, None)
    if handler is None:
        raise ConfigurationError("--handler", f"{module_name!r} has no {function_name!r}", "Check the function's name.")
    if not callable(handler) or inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        remedy = "Write it as `async def handle(job)` or `def handle(job)`."
        raise ConfigurationError("--handler", f"{name!r} is not a function that returns a result", remedy)
    found: Callable[..., object] = handler
    return found
