"""Whether a worker is alive and whether it takes work are two questions."""

from __future__ import annotations

import pytest

from adapters.telemetry.health import STANDS_STILL_S_MIN, Health
from fsm.application import AppState


def health(state: AppState = AppState.PROCESSING, *, silent_s: float = 0.1, lease_s: float = 60.0) -> Health:
    return Health(state=lambda: state.value, silent_s=lambda: silent_s, lease_s=lease_s)


@pytest.mark.parametrize("state", AppState)
def test_no_state_is_unhealthy_and_one_is_ready(state: AppState) -> None:
    """An eviction, a start and an outage are no reason to replace a VM; but only a worker at work takes messages."""
    assert health(state).alive().good
    ready = health(state).ready()
    assert ready.good == (state is AppState.PROCESSING)
    assert ready.state == state.value
    assert ready.reason


@pytest.mark.parametrize(
    ("lease_s", "silent_s", "good"),
    [
        (60.0, 60.0, True),
        (60.0, 60.001, False),
        (2.0, STANDS_STILL_S_MIN, True),
        (2.0, STANDS_STILL_S_MIN + 0.001, False),
    ],
)
def test_a_loop_that_outlasts_its_leases_is_dead(lease_s: float, silent_s: float, *, good: bool) -> None:
    """At the lease's end the worker is alive, after it is not, and then it is not ready either; the reason says why."""
    asked = health(silent_s=silent_s, lease_s=lease_s)
    assert (asked.alive().good, asked.ready().good) == (good, good)
    assert ("stood still" in asked.alive().reason) is not good
