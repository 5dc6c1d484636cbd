"""The checkers are checked: workers that are broken on purpose are caught, and by the promise that they break."""

from __future__ import annotations

import pytest

from simulator.simulation import simulate
from simulator.swarm import drawn_scenario
from tests.simulator.sabotages import SABOTAGES, Sabotage

SEEDS_MAX = 200


@pytest.mark.illegal_journal
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.name.replace(" ", "-"))
def test_a_sabotaged_worker_is_caught(sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 200 swarm seeds the promise that a sabotage breaks is seen to be broken."""
    sabotage.patch(monkeypatch)
    others = []
    for seed in sorted(range(SEEDS_MAX), key=lambda seed: seed != sabotage.likely_seed):
        result = simulate(drawn_scenario(seed), seed, make_worker=sabotage.make_worker)
        broken = {violation.promise for violation in result.violations}
        if broken & sabotage.caught_by:
            return
        others += sorted(broken)
    pytest.fail(f"{sabotage.name} was not caught in {SEEDS_MAX} seeds; broken were {others}")
