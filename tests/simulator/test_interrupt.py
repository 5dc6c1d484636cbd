"""A run that is given up leaves nothing behind."""

from __future__ import annotations

import gc
import signal

import pytest

from simulator.loading import load_scenario
from simulator.simulation import simulate


def test_ctrl_c_ends_a_run_without_complaints(caplog: pytest.LogCaptureFixture) -> None:
    """Interrupted amid twenty VMs, a run raises KeyboardInterrupt, and no task of it is destroyed while pending."""

    def interrupt(*_progress: object) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        simulate(load_scenario("scale-out").scenario, 0, on_progress=interrupt)
    gc.collect()
    assert [record.getMessage() for record in caplog.records] == []
