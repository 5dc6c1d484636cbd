"""Runs the steps of `spotfsm deploy`: each command is shown, then done; the first that fails ends it, in one line."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from adapters.azure.deploy.commands import ENVIRONMENT, Command, lookups_for
from adapters.azure.deploy.order import Order
from adapters.azure.deploy.steps import ABOUT, Step, commands, lookups
from adapters.azure.deploy.troubles import Trouble, explain
from adapters.cli.output import duration_text, say
from fsm.errors import ConfigurationError, PlatformError

QUIET_S = 30.0
"""A command that takes longer says so, again and again."""
ARRIVING_S = 600.0
"""How long a role that was just assigned is waited for."""
RETRY_EVERY_S = 15.0


@dataclass(slots=True, kw_only=True)
class Run:
    """One run.

    Attributes:
        resume: says how the run is taken up again at a step.
    """

    order: Order
    resume: Callable[[Step], str]
    _values: dict[str, str] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)

    def take(self, steps: Sequence[Step]) -> None:
        """Take these steps, one after the other.

        Raises:
            ConfigurationError: one failed for something that the user can put right.
            PlatformError: one failed for another reason.
        """
        every_lookup = lookups(self.order)
        for step in steps:
            say(f"{step}: {ABOUT[step]}")
            for command in commands(step, self.order):
                if command.unless is not None and command.unless.exists():
                    say(f"{command.unless} is there already")
                    continue
                for name, lookup in lookups_for(command, every_lookup, self._known):
                    self._values[name] = self._looked_up(step, lookup)
                self._do(step, command)

    def _looked_up(self, step: Step, lookup: Command) -> str:
        value = self._do(step, lookup, captured=True).strip()
        if not value:
            missing = "something that an earlier step makes is not there"
            self._fail(step, Trouble(setting=None, problem=missing, remedy="Run the earlier steps first."))
        return value

    def _do(self, step: Step, command: Command, *, captured: bool = False) -> str:
        """Show a command and run it, until it is done or there is no hope; returns what it printed, if captured."""
        words = command.filled(self._values)
        print(f"+ {shlex.join(words)}", file=sys.stderr, flush=True)
        waited_s = 0.0
        while True:
            code, out, err = _ended(step, command, words, captured=captured)
            if code == 0:
                if tuple(words[: len(self.order.spotfsm)]) == tuple(self.order.spotfsm):
                    print(err, end="", file=sys.stderr, flush=True)  # notes of ours; the CLI's are of no use
                return out
            if command.interactive:
                problem = f"it ended with exit code {code}"
                self._fail(step, Trouble(setting=None, problem=problem, remedy="What it said stands above."))
            trouble = command.means or explain(err)
            if trouble.made and command.if_made:
                for other in command.if_made:
                    self._do(step, other)
                say(f"{step}: it is there already, byte for byte the same")
                return out
            if not (trouble.arriving and waited_s < ARRIVING_S):
                self._fail(step, trouble)
            say(f"{step}: {trouble.problem}, or not yet: trying again for {duration_text(ARRIVING_S - waited_s)}")
            time.sleep(RETRY_EVERY_S)
            waited_s += RETRY_EVERY_S

    def _fail(self, step: Step, trouble: Trouble) -> None:
        remedy = f"{trouble.remedy} {self.resume(Step(trouble.since or step))}"
        if trouble.setting is None:
            raise PlatformError(f"{step}: {trouble.problem}. {remedy}")
        raise ConfigurationError(trouble.setting, trouble.problem, remedy)


def _ended(step: Step, command: Command, words: Sequence[str], *, captured: bool) -> tuple[int, str, str]:
    """Run a process to its end: its exit code, what it printed if that is captured, and what it complained of."""
    with contextlib.ExitStack() as stack:
        stdout: int | None = subprocess.PIPE if captured else None
        if command.output is not None:
            stdout = stack.enter_context(command.output.open("wb")).fileno()
        try:
            process = stack.enter_context(
                subprocess.Popen(  # noqa: S603 -- words of our own, and no shell
                    words,
                    env={**ENVIRONMENT, **os.environ},
                    stdin=None if command.interactive else subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=None if command.interactive else subprocess.PIPE,
                    text=True,
                    errors="replace",
                )
            )
        except OSError as exc:
            where = "https://learn.microsoft.com/cli/azure/install-azure-cli"
            remedy = f"Install the Azure CLI: {where}." if words[0] == "az" else "Install it."
            raise ConfigurationError(words[0], f"it cannot be started: {exc.strerror}", remedy) from exc
        out, err = _communicated(step, process)
        return process.returncode, out or "", err or ""


def _communicated(step: Step, process: subprocess.Popen[str]) -> tuple[str, str]:
    began_s = time.monotonic()
    with _spinning(str(step)) if process.stderr is not None else contextlib.nullcontext():
        while True:
            try:
                return process.communicate(timeout=QUIET_S)
            except subprocess.TimeoutExpired:
                if not sys.stderr.isatty():
                    say(f"{step}: {duration_text(time.monotonic() - began_s)} so far")


@contextmanager
def _spinning(text: str) -> Iterator[None]:
    """Something that moves, where somebody looks on."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(text, total=None)
        yield
