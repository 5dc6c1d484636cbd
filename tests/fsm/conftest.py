"""Whatever the workers of the runner's tests note must be a legal journal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fsm.runner.world import WORLDS
from tests.journal_checks import MARK, faults_in, lines_in


@pytest.fixture(autouse=True)
def journals_of_worlds_are_legal(request: pytest.FixtureRequest) -> Iterator[None]:
    """The journal of every world that a test made is replayed once the test is over."""
    WORLDS.clear()
    yield
    if request.node.get_closest_marker(MARK) is None:
        for world in WORLDS:
            assert faults_in(lines_in(world.journal.lines)) == []
