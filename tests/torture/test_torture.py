"""A short kill campaign on each kind of queue; `make torture KILLS=500` runs long ones."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.azurite import Azurite
from tests.processes.places import Place, azurite_place, sqlite_place
from tests.torture.campaign import Campaign

KILLS = 20


def _survives(name: str, place: Callable[[Path], AbstractContextManager[Place]]) -> None:
    seed = secrets.randbelow(1_000_000)
    replay = f"python -m tests.torture --kills {KILLS} --seed {seed} --only {name}"
    summary = Campaign(name=name, kills=KILLS, seed=seed, replay=replay, tell=lambda _text: None).run(place)
    assert summary.startswith(f"{KILLS} kills")


@pytest.mark.processes
@pytest.mark.timeout(400)
def test_workers_on_sqlite_killed_at_random_lose_nothing_and_record_nothing_twice() -> None:
    """Nothing is lost, nothing recorded twice and no progress goes back, however often workers on SQLite are killed."""
    _survives("sqlite", sqlite_place)


@pytest.mark.processes
@pytest.mark.timeout(400)
def test_workers_on_azurite_killed_at_random_lose_nothing_and_record_nothing_twice(azurite: Azurite) -> None:
    """Nothing is lost, nothing recorded twice and no progress goes back, however often workers on Azure are killed."""
    _survives("azurite", lambda _directory: azurite_place(azurite))
