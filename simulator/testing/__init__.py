"""Test your own handlers: the production worker on a simulated Spot VM, under virtual time, in your own test suite.

`SpotWorld` is a world that a plain test function moves along; the pytest plugin hands one out as the fixture
`spot_world`, and `simulator.testing.strategies` draws markets, evictions and faults for Hypothesis. Every world judges
itself: a promise that is broken fails the test, whatever it asserts.
"""

from simulator.faults import NO_FAULTS, FaultPlan
from simulator.scenario import (
    ConstantMarket,
    MarketAt,
    OperatorPlan,
    ScheduledMarket,
    StochasticMarket,
    TraceMarket,
    VmPlan,
    WorkerPlan,
)
from simulator.testing.jobs import JobRun, PutJob
from simulator.testing.queue import SpotQueue
from simulator.testing.spot_world import BrokenPromiseError, SpotWorld, UnfinishedError
from simulator.testing.steps import Eviction, Step, after_call, after_checkpoint, before_call, before_checkpoint

__all__ = [
    "NO_FAULTS",
    "BrokenPromiseError",
    "ConstantMarket",
    "Eviction",
    "FaultPlan",
    "JobRun",
    "MarketAt",
    "OperatorPlan",
    "PutJob",
    "ScheduledMarket",
    "SpotQueue",
    "SpotWorld",
    "Step",
    "StochasticMarket",
    "TraceMarket",
    "UnfinishedError",
    "VmPlan",
    "WorkerPlan",
    "after_call",
    "after_checkpoint",
    "before_call",
    "before_checkpoint",
]
