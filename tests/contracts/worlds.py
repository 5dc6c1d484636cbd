"""The worlds a port's contract is stated against: what a test may ask of any implementation, and no more.

A world is one service with fresh, empty data. Its clients are independent of each other, as two processes are; what
they share is the data. To put an implementation under contract, write a module beside this one with a `WorldMaker` and
add it to `WORLDS` in `conftest.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from fsm.ports import JobStore, WorkQueue

TIMEOUT_S = 10.0
"""What every call of the suite is given; no promise is about reaching it."""


class TimedWorld(Protocol):
    """A world in which time can be let pass.

    Attributes:
        exact: whether nothing but `pass_time` moves the clock, so that an instant can be met exactly.
        margin_s: how far from an instant the world has to be looked at for a sure answer.
    """

    @property
    @abstractmethod
    def exact(self) -> bool: ...

    @property
    @abstractmethod
    def margin_s(self) -> float: ...

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let that much time pass for the service: by its own clock, virtual or real."""


class QueueWorld(TimedWorld, Protocol):
    """A queue service.

    Attributes:
        lease_s: a visibility timeout that a test can wait for; whole seconds, at least four margins.
        tears_letters: whether the service spoils letters of several bytes in long texts: a bug of its, not of ours.
    """

    tears_letters: bool = False

    @property
    @abstractmethod
    def lease_s(self) -> float: ...

    @abstractmethod
    async def client(self, name: str = "jobs") -> WorkQueue:
        """A client of its own for the queue `name`, which exists once some client has created it."""


class StoreWorld(TimedWorld, Protocol):
    """A job store, which exists once some client has created it.

    Attributes:
        retention_s: an age that a test can wait for; at least four margins.
    """

    @property
    @abstractmethod
    def retention_s(self) -> float: ...

    @abstractmethod
    async def client(self) -> JobStore:
        """A client of its own."""

    @abstractmethod
    async def spoil(self, queue: str, message_id: str) -> None:
        """Replace a record that was written by something that is not a record, behind the clients' backs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldMaker:
    """How to make the worlds of one implementation.

    Attributes:
        id: how the implementation is called in a test's name.
        queue_world, store_world: each call makes a fresh world, in the directory given if it needs one, closed on exit.
        marks: what the tests against it are marked with.
    """

    id: str
    queue_world: Callable[[Path], AbstractAsyncContextManager[QueueWorld]]
    store_world: Callable[[Path], AbstractAsyncContextManager[StoreWorld]]
    marks: tuple[pytest.MarkDecorator, ...] = ()
