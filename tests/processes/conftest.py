"""Places, and VMs on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.azurite import shared
from tests.processes.places import Place, SqlitePlace, azurite_place, sqlite_place
from tests.processes.spot_vm import SpotVm, WorkerOptions, spot_vm

MakeVm = Callable[..., SpotVm]
"""Called with a place and a worker's options: a VM without a worker as yet."""


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqlitePlace]:
    """The embedded default, empty."""
    with sqlite_place(tmp_path) as opened:
        yield opened


@pytest.fixture(params=["sqlite", pytest.param("azurite", marks=pytest.mark.azurite)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each kind of queue and store, empty."""
    with sqlite_place(tmp_path) if request.param == "sqlite" else azurite_place(shared()) as opened:
        yield opened


@pytest.fixture
def make_vm(tmp_path: Path) -> Iterator[MakeVm]:
    """Makes VMs; in the end they are taken, and then `tests.conftest` replays what their workers wrote."""
    with ExitStack() as vms:

        def make(place: Place, *, name: str = "vm-a", **options: str | float | tuple[str, ...]) -> SpotVm:
            return vms.enter_context(spot_vm(name, place, tmp_path, WorkerOptions(**options)))  # type: ignore[arg-type]

        yield make
