"""A twin to be asked, and the client under test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.imds.client import ImdsClient
from adapters.twin.server import Twin, serve_twin
from tests.adapters.twin.clock import HandClock

BOOT_ID = "5b0a1b0e-6f59-4a7e-9a94-7c2c1d1f0a01"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def twin(clock: HandClock) -> AsyncIterator[Twin]:
    async with serve_twin(moment=clock) as twin:
        yield twin


@pytest.fixture
def boot_id_file(tmp_path: Path) -> Path:
    file = tmp_path / "boot_id"
    file.write_text(f"{BOOT_ID}\n")
    return file


@pytest.fixture
async def imds(twin: Twin, boot_id_file: Path) -> AsyncIterator[ImdsClient]:
    async with ImdsClient(twin.url, boot_id_file=boot_id_file) as client:
        yield client
