"""Mixes of faults: what fits into one call, and what is drawn."""

from __future__ import annotations

from random import Random

import pytest

from fsm.errors import ConfigurationError
from simulator.faults import FaultPlan, Injector, check_shares, drawn


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        (FaultPlan(kill_before=0.7, kill_after=0.7), "faults.kill_after: with kill_before it is 1.4 of all"),
        (FaultPlan(slow=0.6, write_late=0.6), "faults.write_late: with slow it is 1.2 of all"),
        (FaultPlan(kill_before=0.6, imds_refused=0.6), "faults.imds_refused: with kill_before it is 1.2 of all"),
    ],
)
def test_more_faults_than_calls_are_refused(plan: FaultPlan, complaint: str) -> None:
    """A mix whose shares of one call add up to more than 1 is refused, whoever made it, at once or in its turn."""
    with pytest.raises(ConfigurationError) as caught:
        Injector(plan, Random(0))
    assert str(caught.value).startswith(complaint)
    injector = Injector(FaultPlan(slow=0.5, throttled=0.5, imds_late=1.0), Random(0))
    with pytest.raises(ConfigurationError):
        injector.plan = plan


@pytest.mark.parametrize("seed", range(200))
def test_what_is_drawn_fits(seed: int) -> None:
    """A mix that is drawn never has more faults than calls."""
    check_shares(drawn(Random(seed), run_s=600.0))
