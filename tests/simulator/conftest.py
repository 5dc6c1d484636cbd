"""Whatever simulated worlds note must be a legal journal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator import world
from simulator.journal import JournalLines
from tests.journal_checks import MARK, faults_in, lines_in


@pytest.fixture(autouse=True)
def simulated_journals_are_legal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The journal of every simulation is replayed once the test is over, and measured time with it."""
    journals: list[list[str]] = []

    class Kept(JournalLines):
        def __init__(self) -> None:
            super().__init__()
            journals.append(self.lines)

    monkeypatch.setattr(world, "JournalLines", Kept)
    yield
    if request.node.get_closest_marker(MARK) is None:
        for lines in journals:
            assert faults_in(lines_in(lines)) == []
