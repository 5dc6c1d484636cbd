"""What the checkers have to know of the jobs of a world, whatever handlers work them off."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

from fsm.ports import JobRunner
from fsm.record import Record
from simulator.observing import Run
from simulator.process import Process

Rank = tuple[int, int]
"""How far a job is: of two, the smaller one is the older."""


class Work(Protocol):
    """The jobs of a world and their handlers."""

    @property
    @abstractmethod
    def arrived(self) -> bool:
        """Whether all jobs are on the queue: from then on each of them must find its end."""

    @abstractmethod
    def runner(self, whose: Callable[[], Process]) -> JobRunner:
        """The handlers of one process."""

    @abstractmethod
    def accepts(self, job: str, result: str | None) -> bool:
        """Whether this result, as canonical JSON, may be recorded for the job: it comes of the whole work."""

    @abstractmethod
    def rank(self, job: str, record: Record | None) -> Rank:
        """How far the progress in this record is."""

    @abstractmethod
    def saved_rank(self, run: Run, units: int) -> Rank:
        """How far a run was when it was told that its checkpoint is durable."""
