"""Whatever simulated worlds note must be a legal journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from simulator import simulation
from simulator.journal import Entry, journal_lines
from tests.journal_checks import MARK, faults_in, lines_in


@pytest.fixture(autouse=True)
def simulated_journals_are_legal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The journal of every simulation is replayed once the test is over, and measured time with it."""
    journals: list[tuple[str, ...]] = []

    def kept(entries: Iterable[Entry]) -> tuple[str, ...]:
        journals.append(tuple(journal_lines(entries)))
        return journals[-1]

    monkeypatch.setattr(simulation, "journal_lines", kept)
    yield
    if request.node.get_closest_marker(MARK) is None:
        for lines in journals:
            assert faults_in(lines_in(lines)) == []
