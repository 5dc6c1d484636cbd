"""Fixtures that more than one package of tests uses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.azurite import Azurite, shared
from tests.journal_checks import MARK, faults_below

settings.register_profile("spotfsm", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("spotfsm")  # time is measured in the benchmark and never asserted: machines are busy


@pytest.fixture(scope="session")
def azurite() -> Azurite:
    """One Azurite for the whole run: take queues and containers of your own."""
    return shared()


@pytest.fixture(autouse=True)
def journals_are_legal(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever journals a test leaves below its directory are replayed once all its processes have gone."""
    directory = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if directory is not None and request.node.get_closest_marker(MARK) is None:
        assert faults_below(directory) == []


def pytest_sessionstart() -> None:
    """Have no current event loop: pytest-asyncio would make one to restore later, and nobody would close it."""
    asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever uses Azurite, so that `make check` can leave it out and nobody can forget the mark."""
    for item in items:
        if "azurite" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.azurite)
