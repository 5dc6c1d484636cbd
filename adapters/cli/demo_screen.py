"""What a person sees of the demo while it runs: a bar on a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_PLAIN_LINE_EVERY_S = 2.0
"""Without a terminal progress is a line now and then."""


class DemoScreen:
    """Says what happens and shows how far it is. A context manager.

    Args:
        console: where to; a terminal gets a live bar.
        jobs: how many there are.
    """

    def __init__(self, console: Console, *, jobs: int) -> None:
        self._console = console
        self._jobs = jobs
        self._began_s = time.monotonic()
        self._last_line_s = self._began_s
        self._completed = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("jobs completed", total=jobs)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._last_line_s = time.monotonic()
        self._bar.console.print(f"{self._last_line_s - self._began_s:5.1f} s  {text}", highlight=False)

    def completed(self, jobs: int) -> None:
        """How many jobs are completed by now."""
        self._bar.update(self._task, completed=jobs)
        due = time.monotonic() >= self._last_line_s + _PLAIN_LINE_EVERY_S
        if jobs != self._completed and due and not self._console.is_terminal:
            self.say(f"[dim]{jobs} of {self._jobs} jobs completed[/]")
        self._completed = jobs
