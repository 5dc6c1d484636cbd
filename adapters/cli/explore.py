"""`spotfsm explore`: your own handler, killed at every step, and what comes out held against an undisturbed run."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.cli import options
from adapters.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED
from adapters.cli.failures import report
from adapters.cli.output import counted, one_line, say, show_json
from adapters.host.loop_runner import import_function
from fsm.errors import ConfigurationError

if TYPE_CHECKING:
    from simulator.explore import Explored, Handler, Onlooker, Progress

_EXAMPLE = 'Example: spotfsm explore jobs:handle --message \'{"book": "Emma", "pages": 3}\''
QUIET_S = 2.0
_RUNS_MAX = 2000
_RUN_S_MAX = 10.0
_SETTING = "handler"
_ENDLESS = "Let it end; if it is only slow, raise --run-timeout or give it a smaller --message."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explore", epilog=_EXAMPLE)(_explore)


def _explore(
    *,
    handler: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FUNCTION", help="Coroutine or plain function; the working directory is searched."
        ),
    ],
    message: Annotated[
        list[str] | None,
        typer.Option("--message", metavar="TEXT", help="The message to work on; may be given again. {} by default."),
    ] = None,
    given: Annotated[
        list[Path] | None,
        typer.Option("--copy", metavar="PATH", help="A file or directory the handler reads; may be given again."),
    ] = None,
    runs_max: Annotated[
        int,
        typer.Option(
            "--runs-max",
            metavar="N",
            parser=options.whole(1, 10**9),
            help="At most so many runs a message; the first passes of every line come first.",
        ),
    ] = _RUNS_MAX,
    run_timeout_s: Annotated[
        float,
        typer.Option(
            "--run-timeout",
            metavar="DURATION",
            parser=options.duration(1.0, 7 * 86_400.0),
            show_default="10s",
            help="A run that takes longer than this, in real time, is taken for one that never ends.",
        ),
    ] = _RUN_S_MAX,
    as_json: options.AsJson = False,
) -> int:
    """Kill a handler before and after each of its lines, waits and checkpoints, resume it, and compare; exit 1 if a
    result, a file or an error differs from the undisturbed run.

    Each run is a new process of the handler's module under virtual time, in an empty working directory that outlives
    the VM; the directory for temporary files does not. What is compared is the recorded result, the files there, and
    whether the handler raised. Other effects are not undone and not seen: let the handler write them to a file.
    After Ctrl-C there is what was found until then, and exit code 130.
    Keys of --json: ok, interrupted, messages (text, result, steps, kills, notices, left_out, untried, findings with
    step, way, kind, file, line, passing, differences, times).
    """  # noqa: D205 -- the first paragraph is the help's summary
    from simulator.explore import EndlessError, Subject, UndisturbedError, explore

    load, files = _loader(handler)
    copies = tuple(path.resolve() for path in given or ())
    for path in copies:
        if not path.exists():
            raise ConfigurationError("--copy", f"{path} is not there", "Check the path.")
    explored: list[Explored] = []
    for text in message or ["{}"]:
        subject = Subject(load=load, files=files, text=text, given=copies)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # the handler's own words, a thousand times over
                explored.append(explore(subject, runs_max=runs_max, run_s_max=run_timeout_s, onlooker=_onlooker(text)))
        except UndisturbedError as exc:
            remedy = "Give it a --message and what else it needs (--copy), and let nothing it leaves depend on chance."
            raise _wrong(text, exc, _ENDLESS if isinstance(exc, EndlessError) else remedy) from exc
        if explored[-1].interrupted:
            break
    interrupted = explored[-1].interrupted
    ok = all(one.ok for one in explored)
    if as_json:
        show_json({"ok": ok, "interrupted": interrupted, "messages": [_as_json(one) for one in explored]})
    else:
        for one in explored:
            _show(one)
    return EXIT_INTERRUPTED if interrupted else 0 if ok else EXIT_FAILED


def _wrong(message: str, problem: object, remedy: str) -> ConfigurationError:
    return ConfigurationError(_SETTING, one_line(f"message {message!r}: {problem}"), remedy)


# -- the handler ------------------------------------------------------------------------------------------------------


def _loader(name: str) -> tuple[Callable[[], Handler], frozenset[str]]:
    """What imports the handler anew, and the user's files: its module, and those it imported from this directory."""
    before = set(sys.modules)
    try:
        import_function(name)
    except ConfigurationError as exc:
        raise ConfigurationError(_SETTING, exc.problem, exc.remedy) from exc
    root = Path.cwd()
    module_name, _, function_name = name.partition(":")
    own = {module_name: _file(sys.modules[module_name])}
    for other in set(sys.modules) - before:
        file = _file(sys.modules[other])
        if file and Path(file).is_relative_to(root) and "site-packages" not in file:
            own[other] = file

    def load() -> Handler:
        for module in own:
            sys.modules.pop(module, None)
        with contextlib.chdir(root):
            loaded: Handler = getattr(importlib.import_module(module_name), function_name)
        return loaded

    return load, frozenset(file for file in own.values() if file)


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or ""


# -- telling ----------------------------------------------------------------------------------------------------------


def _onlooker(message: str) -> Onlooker:
    """Says on stderr how far it is, once it has taken a while; and ends a process that nothing else can end."""
    from simulator.explore import Onlooker

    class Teller(Onlooker):
        def __init__(self) -> None:
            self._last_s = time.monotonic()

        def look(self, progress: Progress) -> None:
            if time.monotonic() - self._last_s >= QUIET_S:
                self._last_s = time.monotonic()
                say(_told(progress))

        def stuck(self, progress: Progress, *, interrupted: bool) -> None:
            if interrupted:
                os._exit(EXIT_INTERRUPTED)
            problem = f"it has not ended after {progress.run}, and catches whatever is to end it"
            os._exit(report(_wrong(message, problem, _ENDLESS)))

    return Teller()


def _told(progress: Progress) -> str:
    if progress.runs is None:
        return f"undisturbed run: {progress.run}"
    present = f"; this one: {progress.run}" if progress.run_s >= QUIET_S else ""
    return f"{progress.done} of {progress.runs} runs{present}"


def _show(explored: Explored) -> None:
    print(
        f"message {one_line(explored.text)}: {counted(explored.steps, 'step')}, {counted(explored.kills, 'kill')}, "
        f"{counted(explored.notices, 'eviction')} with notice"
    )
    if explored.left_out:
        print(f"  {counted(explored.left_out, 'strike')} at later passes left out: --runs-max")
    for finding in explored.findings:
        print(f"  goes astray when {one_line(str(finding))}")
    if explored.untried:
        why = "interrupted" if explored.interrupted else "stopped at the run that does not end"
        print(f"  {counted(explored.untried, 'run')} not made: {why}")
    if explored.ok:
        print(f"  always as undisturbed: {one_line(explored.result or 'no result')}", flush=True)
    elif explored.findings:
        print(
            "  After a kill, whatever followed the last checkpoint is done again, in a process that knows only "
            "job.progress.",
            flush=True,
        )


def _as_json(explored: Explored) -> dict[str, object]:
    return {
        "text": explored.text,
        "result": explored.result,
        "steps": explored.steps,
        "kills": explored.kills,
        "notices": explored.notices,
        "left_out": explored.left_out,
        "untried": explored.untried,
        "findings": [
            {
                "step": finding.step.number,
                "way": finding.way.value,
                "kind": finding.step.kind.name.lower(),
                "file": finding.step.file,
                "line": finding.step.line,
                "passing": finding.step.passing,
                "differences": list(finding.differences),
                "times": finding.times,
            }
            for finding in explored.findings
        ],
    }
