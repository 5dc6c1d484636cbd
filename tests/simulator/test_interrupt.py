"""A run that is given up leaves nothing behind."""

from __future__ import annotations

import gc
import signal
import weakref

import pytest

from simulator.loading import load_scenario
from simulator.simulation import simulate
from simulator.swarm import drawn_scenario


def test_ctrl_c_ends_a_run_without_complaints(caplog: pytest.LogCaptureFixture) -> None:
    """Interrupted amid twenty VMs, a run raises KeyboardInterrupt, and no task of it is destroyed while pending."""

    def interrupt(*_progress: object) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        simulate(load_scenario("scale-out").scenario, 0, on_progress=interrupt)
    gc.collect()
    assert [record.getMessage() for record in caplog.records] == []


def test_ctrl_c_while_a_run_is_cleared_away_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is raised in a weak reference's callback is swallowed: an interrupt waits until the garbage is gone."""
    collect = gc.collect
    called = []

    class Ring:
        """Only the garbage collector frees it."""

        def __init__(self) -> None:
            self.itself = self

    def interrupt(reference: weakref.ref[Ring]) -> None:
        called.append(reference)
        signal.raise_signal(signal.SIGINT)

    def collect_a_ring() -> None:
        reference = weakref.ref(Ring(), interrupt)
        collect()
        assert called == [reference]

    monkeypatch.setattr(gc, "collect", collect_a_ring)
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, 1_000_000))
    with pytest.raises(KeyboardInterrupt):
        simulate(drawn_scenario(0), 0)
