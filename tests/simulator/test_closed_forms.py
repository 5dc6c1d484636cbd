"""Where mathematics knows the answer, the simulator gives it.

Seeds are fixed; every comparison is of a sample mean with its expectation, and the interval is four standard errors of
that mean (a right simulator fails one such test in some 16,000 when the seed is changed). The whole simulation runs:
market, platform, operator, and the production worker; forms 6 and 7, which are about the market alone, ask its own
generators, and whole runs for evictions.

Symbols: λ eviction rate while running, W work of a segment, C its checkpoint's cost, R restart, D outage.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import islice, pairwise
from random import Random
from statistics import NormalDist, fmean, stdev

import pytest

from fsm.spot_vm import VmState
from simulator.market import PriceAndCapacity, stochastic
from simulator.result import SimulationResult
from simulator.scenario import (
    ConstantMarket,
    Length,
    OperatorPlan,
    Scenario,
    StochasticMarket,
    VmPlan,
    WorkerPlan,
    WorkloadPlan,
)
from simulator.simulation import simulate

STANDARD_ERRORS = 4.0


def assert_mean(sample: Sequence[float], expected: float) -> None:
    """The sample's mean is within four standard errors of what is expected."""
    half_width = STANDARD_ERRORS * stdev(sample) / math.sqrt(len(sample))
    assert abs(fmean(sample) - expected) <= half_width, f"{fmean(sample):g} ± {half_width:g}, expected {expected:g}"


# -- 1 to 3: one segment of work under evictions, by the whole worker -------------------------------------------------

JOBS = 150
RATE_PER_S = 6.0 / 3600.0
WORK_S = 600.0
RESTART_S = 30.0


@pytest.fixture(scope="module")
def segments() -> SimulationResult:
    """150 jobs of ten minutes, one after the other and without checkpoints, on a VM that is taken six times an hour."""
    scenario = Scenario(
        horizon_s=4_000_000.0,
        vms=(VmPlan(evictions_per_h=6.0, announced=0.0, outage_s=90.0, outage=Length.FIXED, boot_s=RESTART_S),),
        operator=OperatorPlan(first_pause_s=91.0, pause_s_max=91.0),
        workload=WorkloadPlan(jobs=JOBS, service_s=WORK_S, unit_s=WORK_S, checkpoint_every_s=0.0),
        worker=WorkerPlan(concurrency=1, imds_poll_s=60.0, idle_poll_s_max=0.5),
    )
    result = simulate(scenario, 7)
    assert result.summary.completed == JOBS
    return result


def _per_job(result: SimulationResult, state: VmState) -> list[float]:
    """Time the VM spent in a state, cut at the moments at which jobs were settled."""
    cuts = _cuts(result)
    spans = [span for span in result.vms if span.state is state]
    return [
        sum(max(0.0, min(span.to_s, to_s) - max(span.from_s, from_s)) for span in spans)
        for from_s, to_s in pairwise(cuts)
    ]


def _evictions_per_job(result: SimulationResult) -> list[float]:
    taken = [span.from_s for span in result.vms if span.row.startswith("E")]
    return [sum(from_s < at_s <= to_s for at_s in taken) for from_s, to_s in pairwise(_cuts(result))]


def _cuts(result: SimulationResult) -> list[float]:
    """From the worker's first start: the first segment has no restart before it."""
    return [RESTART_S, *sorted(job.settled_s for job in result.jobs if job.settled_s is not None)]


def test_time_of_a_segment(segments: SimulationResult) -> None:
    """Form 1: E[time] = e^(λR) (1/λ + D) (e^(λW) - 1), with D as it came out; interval: 4 standard errors."""
    evictions = sum(_evictions_per_job(segments))
    outage_s = sum(_per_job(segments, VmState.STOPPED)) / evictions
    expected_s = math.exp(RATE_PER_S * RESTART_S) * (1 / RATE_PER_S + outage_s) * math.expm1(RATE_PER_S * WORK_S)
    assert_mean([to_s - from_s for from_s, to_s in pairwise(_cuts(segments))], expected_s)


def test_evictions_in_a_segment(segments: SimulationResult) -> None:
    """Form 2: E[evictions] = e^(λR) (e^(λW) - 1); interval: 4 standard errors."""
    expected = math.exp(RATE_PER_S * RESTART_S) * math.expm1(RATE_PER_S * WORK_S)
    assert_mean(_evictions_per_job(segments), expected)


def test_lost_up_time_of_a_segment(segments: SimulationResult) -> None:
    """Form 3: E[lost up-time] = E[evictions]/λ - W; interval: 4 standard errors."""
    evictions = math.exp(RATE_PER_S * RESTART_S) * math.expm1(RATE_PER_S * WORK_S)
    lost_s = [running_s - WORK_S for running_s in _per_job(segments, VmState.RUNNING)]
    assert_mean(lost_s, evictions / RATE_PER_S - WORK_S)


SEGMENTS, SEGMENT_S, CHECKPOINT_S = 400, 300.0, 30.0


@pytest.fixture(scope="module")
def saved_segments() -> SimulationResult:
    """One job of 400 segments of five minutes, each with a checkpoint of half a minute at its end, on such a VM."""
    scenario = Scenario(
        horizon_s=4_000_000.0,
        vms=(VmPlan(evictions_per_h=6.0, announced=0.0, outage_s=90.0, outage=Length.FIXED, boot_s=RESTART_S),),
        operator=OperatorPlan(first_pause_s=91.0, pause_s_max=91.0),
        workload=WorkloadPlan(
            jobs=1,
            service_s=(SEGMENTS + 1) * SEGMENT_S,
            unit_s=SEGMENT_S,
            checkpoint_every_s=SEGMENT_S,
            checkpoint_s=CHECKPOINT_S,
        ),
        worker=WorkerPlan(concurrency=1, imds_poll_s=60.0, idle_poll_s_max=0.5),
    )
    result = simulate(scenario, 3)
    assert result.summary.completed == 1
    return result


def _checkpoints_s(result: SimulationResult) -> list[float]:
    """When each checkpoint was durable, of the only job's runs, in order; before the first the worker's start."""
    saved_s = [at_s for run in result.jobs[0].runs for at_s, _ in run.checkpoints]
    assert len(saved_s) == SEGMENTS
    return [RESTART_S, *saved_s]


def test_time_of_a_segment_with_a_checkpoint(saved_segments: SimulationResult) -> None:
    """Form 1 with a checkpoint's cost C: E[time] = e^(λR) (1/λ + D) (e^(λ(W + C)) - 1); interval: 4 standard errors."""
    cuts_s, growth = _checkpoints_s(saved_segments), math.expm1(RATE_PER_S * (SEGMENT_S + CHECKPOINT_S))
    stopped_s = [span.to_s - span.from_s for span in saved_segments.vms if span.state is VmState.STOPPED]
    expected_s = math.exp(RATE_PER_S * RESTART_S) * (1 / RATE_PER_S + fmean(stopped_s)) * growth
    assert_mean([to_s - from_s for from_s, to_s in pairwise(cuts_s)], expected_s)


def test_evictions_in_a_segment_with_a_checkpoint(saved_segments: SimulationResult) -> None:
    """Form 2 with C: E[evictions] = e^(λR) (e^(λ(W + C)) - 1); interval: 4 standard errors."""
    taken_s = [span.from_s for span in saved_segments.vms if span.row.startswith("E")]
    counts = [
        float(sum(from_s < at_s <= to_s for at_s in taken_s))
        for from_s, to_s in pairwise(_checkpoints_s(saved_segments))
    ]
    growth = math.expm1(RATE_PER_S * (SEGMENT_S + CHECKPOINT_S))
    assert_mean(counts, math.exp(RATE_PER_S * RESTART_S) * growth)


def test_lost_up_time_of_a_segment_with_a_checkpoint(saved_segments: SimulationResult) -> None:
    """Form 3 with C: E[lost up-time] = E[evictions]/λ - W - C; interval: 4 standard errors."""
    spans = [span for span in saved_segments.vms if span.state is VmState.RUNNING]
    lost_s = [
        sum(max(0.0, min(span.to_s, to_s) - max(span.from_s, from_s)) for span in spans) - SEGMENT_S - CHECKPOINT_S
        for from_s, to_s in pairwise(_checkpoints_s(saved_segments))
    ]
    growth = math.expm1(RATE_PER_S * (SEGMENT_S + CHECKPOINT_S))
    expected_s = math.exp(RATE_PER_S * RESTART_S) * growth / RATE_PER_S - SEGMENT_S - CHECKPOINT_S
    assert_mean(lost_s, expected_s)


# -- 5 to 7: the market -----------------------------------------------------------------------------------------------


def _capacity(ticks: int, *, down: float, up: float, seed: int) -> list[int]:
    process = PriceAndCapacity(tick_s=60.0, mean_usd_per_h=Decimal(1), ceiling_usd_per_h=Decimal(10), down=down, up=up)
    return [0 if moment.capacity == 0 else 1 for moment in islice(stochastic(process, Random(seed)), ticks)]


def test_ticks_until_enough_good_ones_in_a_row() -> None:
    """Form 5: a job of n ticks takes (q^-n - 1)/(1 - q) of them where each is good by a fresh draw; 4 standard errors.

    The job has no checkpoint, needs a little less than n ticks without a break, and arrives at the beginning of a tick.
    The queue is empty when it comes: the one before it arrived 70 ticks ago.
    """
    tick_s, bad, wanted, jobs, apart = 30.0, 0.2, 4, 180, 70
    scenario = Scenario(
        horizon_s=(jobs + 2) * apart * tick_s,
        market=StochasticMarket(tick_s=tick_s, price_deviation=0.0, capacity_down=bad, capacity_up=1.0 - bad),
        vms=(VmPlan(announced=0.0, boot_s=0.0),),
        operator=OperatorPlan(first_pause_s=5.0, pause_s_max=5.0),
        workload=WorkloadPlan(
            jobs=jobs,
            at_once=1,
            every_s=apart * tick_s,
            arrivals=Length.FIXED,
            service_s=(wanted - 1) * tick_s + 10.0,
            unit_s=wanted * tick_s,
            checkpoint_every_s=0.0,
        ),
        worker=WorkerPlan(concurrency=1, visibility_timeout_s=20.0, imds_poll_s=60.0, idle_poll_s_max=10.0),
    )
    result = simulate(scenario, 5)
    assert result.summary.completed == jobs
    ticks = []
    for job in result.jobs:
        assert job.settled_s is not None
        assert job.settled_s < job.arrived_s + apart * tick_s
        ticks.append(float(math.ceil((job.settled_s - job.arrived_s) / tick_s)))
    good = 1.0 - bad
    assert_mean(ticks, (good**-wanted - 1) / (1 - good))


def test_availability_of_two_state_capacity() -> None:
    """Form 6: π = u/(u + d), and π·d evictions a tick; 500 blocks of 1,000 ticks, 4 standard errors of block means."""
    down, up = 0.02, 0.1
    path = _capacity(500_000, down=down, up=up, seed=6)
    share = up / (up + down)
    blocks = [path[at : at + 1000] for at in range(0, len(path), 1000)]
    assert_mean([fmean(block) for block in blocks], share)
    losses = [sum(before > after for before, after in pairwise(block)) / 999 for block in blocks]
    assert_mean(losses, share * down)


def test_evictions_under_two_state_capacity() -> None:
    """Form 6, as VMs live it: each is evicted π·d times a tick; 60 blocks of 100 ticks, 4 standard errors.

    Whoever has lost its VM asks for it every five seconds, so that it is back within the tick in which there is room.
    The second of two jobs comes at the end, and keeps the run going until then.
    """
    tick_s, down, up, blocks, block = 15.0, 0.1, 0.1, 60, 100
    over_s = blocks * block * tick_s
    scenario = Scenario(
        horizon_s=2 * over_s,
        market=StochasticMarket(tick_s=tick_s, price_deviation=0.0, capacity_down=down, capacity_up=up),
        vms=(VmPlan(count=2, announced=0.5, boot_s=0.0),),
        operator=OperatorPlan(first_pause_s=5.0, pause_s_max=5.0),
        workload=WorkloadPlan(jobs=2, at_once=1, every_s=over_s, arrivals=Length.FIXED, service_s=10.0),
        worker=WorkerPlan(concurrency=1, imds_poll_s=60.0, idle_poll_s_max=60.0),
    )
    result = simulate(scenario, 6)
    assert result.summary.completed == 2
    share = up / (up + down)
    for name in ("vm-1", "vm-2"):
        taken_s = [span.from_s for span in result.vms if span.vm == name and span.row.startswith("E")]
        in_block = Counter(int(at_s // (block * tick_s)) for at_s in taken_s)
        assert_mean([in_block[number] / block for number in range(blocks)], share * down)


@pytest.mark.parametrize("lag", [1, 5, 20])
def test_correlation_of_two_state_capacity(lag: int) -> None:
    """Form 6: the correlation at lag k is (1 - d - u)^k; 500 blocks, 4 standard errors."""
    down, up = 0.02, 0.1
    path = _capacity(500_000, down=down, up=up, seed=6)
    share = up / (up + down)
    products = [(a - share) * (b - share) / (share * (1 - share)) for a, b in zip(path, path[lag:], strict=False)]
    assert_mean([fmean(products[at : at + 1000]) for at in range(0, 499_000, 1000)], (1 - down - up) ** lag)


def test_price_of_an_autoregressive_market() -> None:
    """Form 7: the mean price, and the share of time above a cap; 500 blocks of 1,000 ticks, 4 standard errors.

    E[p] = exp(m + s²/2) and P(p > cap) = 1 - Φ((ln cap - m)/s), where m and s are the logarithm's mean and deviation.
    """
    deviation, persistence, cap = 0.05, 0.9, 1.15
    process = PriceAndCapacity(
        tick_s=60.0,
        mean_usd_per_h=Decimal(1),
        ceiling_usd_per_h=Decimal(1000),
        deviation=deviation,
        persistence=persistence,
    )
    prices = [float(moment.price_usd_per_h) for moment in islice(stochastic(process, Random(7)), 500_000)]
    sigma = deviation / math.sqrt(1 - persistence**2)
    blocks = [prices[at : at + 1000] for at in range(0, len(prices), 1000)]
    assert_mean([fmean(block) for block in blocks], math.exp(sigma**2 / 2))
    above = [fmean(price > cap for price in block) for block in blocks]
    assert_mean(above, 1 - NormalDist().cdf(math.log(cap) / sigma))


# -- 8: a queue whose server breaks down ------------------------------------------------------------------------------


def test_queue_with_a_server_that_breaks_down() -> None:
    """Form 8: L of M/M/1 with breakdowns, preempt-resume, by one VM whose every eviction is announced in time.

    Breakdowns and repairs enter at the rates at which they came out, for the operator takes some seconds to notice that
    there is room; 30 batches, 4 standard errors.
    """
    arrive, serve, batches = 0.003, 0.01, 30
    scenario = Scenario(
        horizon_s=10_000_000.0,
        vms=(
            VmPlan(
                evictions_per_h=3.6, announced=1.0, notice_s_min=30.0, notice_s_max=30.0, outage_s=250.0, boot_s=0.0
            ),
        ),
        operator=OperatorPlan(first_pause_s=1.0, pause_s_max=5.0),
        workload=WorkloadPlan(
            jobs=1_000,
            every_s=1 / arrive,
            service_s=1 / serve,
            service=Length.EXPONENTIAL,
            unit_s=10.0,
            checkpoint_every_s=10.0,
        ),
        worker=WorkerPlan(concurrency=1, imds_poll_s=10.0, idle_poll_s_max=3.0, acknowledge=True),
    )
    result = simulate(scenario, 8)
    assert result.summary.announced == result.summary.evictions > 100
    assert result.summary.redone_s == 0.0
    up_s, down_s = (sum(span.to_s - span.from_s for span in result.vms if span.state is state)
                    for state in (VmState.RUNNING, VmState.STOPPED))  # fmt: skip
    fail, repair = result.summary.evictions / up_s, result.summary.evictions / down_s
    both = repair + fail
    assert arrive / serve < repair / both, "stable"
    expected = arrive * (both**2 + fail * serve) / (both * (serve * repair - arrive * both))
    last_s = result.jobs[-1].arrived_s  # afterwards the queue runs dry
    first_s = last_s / (batches + 1)  # from the empty queue to the steady one
    cuts_s = [first_s + number * (last_s - first_s) / batches for number in range(batches + 1)]
    assert_mean([_mean_length(result, from_s, to_s) for from_s, to_s in pairwise(cuts_s)], expected)


def _mean_length(result: SimulationResult, from_s: float, to_s: float) -> float:
    """How many jobs there were on average, waiting or at work."""
    stays_s = (min(to_s, job.settled_s or to_s) - max(from_s, job.arrived_s) for job in result.jobs)
    return sum(max(0.0, stay_s) for stay_s in stays_s) / (to_s - from_s)


# -- 10: notices, and what a run costs --------------------------------------------------------------------------------


def test_a_notice_that_covers_the_checkpoint_loses_no_work() -> None:
    """Form 10: with 10 s and more of notice and work in pieces of 1 s, makespan = W + N (R + D), and nothing is redone.

    Exact but for the piece at hand and the way to the store and back: at most 3 s an eviction. N is Poisson's, at the
    rate of evictions over the time the VM ran: within four standard deviations of its mean.
    """
    work_s, boot_s = 36_000.0, 20.0
    scenario = Scenario(
        horizon_s=4_000_000.0,
        vms=(VmPlan(evictions_per_h=12.0, announced=1.0, notice_s_min=10.0, outage_s=60.0, boot_s=boot_s),),
        operator=OperatorPlan(first_pause_s=10.0, pause_s_max=60.0),
        workload=WorkloadPlan(jobs=1, service_s=work_s, unit_s=1.0, checkpoint_every_s=60.0),
        worker=WorkerPlan(concurrency=1, acknowledge=True),
    )
    result = simulate(scenario, 10)
    evictions = result.summary.evictions
    wanted = 12.0 / 3600.0 * result.summary.running_s
    assert abs(evictions - wanted) <= STANDARD_ERRORS * math.sqrt(wanted)
    assert result.summary.announced == evictions
    assert result.summary.redone_s == 0.0
    stopped_s = sum(span.to_s - span.from_s for span in result.vms if span.state is VmState.STOPPED)
    expected_s = work_s + boot_s * (evictions + 1) + stopped_s
    assert expected_s <= result.summary.makespan_s + 1e-6 <= expected_s + 3.0 * evictions + 1.0


def test_a_run_without_eviction_costs_exactly_its_time() -> None:
    """Form 10: price x (W + nC), to the last digit, and the disks beside it."""
    price, disks = Decimal("0.12345"), Decimal("0.00417")
    scenario = Scenario(
        pay_as_you_go_usd_per_h=Decimal("0.5"),
        market=ConstantMarket(price_usd_per_h=price),
        vms=(VmPlan(boot_s=0.0, disks_usd_per_h=disks),),
        workload=WorkloadPlan(jobs=1, service_s=6000.0, unit_s=100.0, checkpoint_every_s=1000.0, checkpoint_s=30.0),
        worker=WorkerPlan(concurrency=1),
    )
    result = simulate(scenario, 0)
    seconds = 6000 + 5 * 30
    assert result.summary.makespan_s == seconds
    assert result.costs.compute_usd == price * seconds / 3600
    assert result.costs.disks_usd == disks * seconds / 3600
    assert result.costs.pay_as_you_go_usd == (Decimal("0.5") + disks) * 6000 / 3600
