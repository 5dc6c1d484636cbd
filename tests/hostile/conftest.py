"""The places of the process tests, and VMs whose journals are replayed in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes.conftest import MakeVm, place, sqlite
from tests.processes.places import Place
from tests.processes.spot_vm import SpotVm, WorkerOptions, spot_vm

__all__ = ["make_vm", "place", "sqlite"]


@pytest.fixture
def make_vm(tmp_path: Path) -> Iterator[MakeVm]:
    """Makes a VM; in the end it is taken, and then `tests.conftest` replays what its workers wrote."""
    with ExitStack() as vms:

        def make(on: Place, *, handler: str) -> SpotVm:
            return vms.enter_context(spot_vm("vm-a", on, tmp_path, WorkerOptions(handler=handler)))

        yield make
