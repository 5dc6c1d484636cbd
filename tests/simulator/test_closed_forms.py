"""Where mathematics knows the answer, the simulator gives it.

Seeds are fixed; every comparison is of a sample mean with its expectation, and the interval is four standard errors of
that mean (a right simulator fails one such test in some 16,000 when the seed is changed). The whole simulation runs:
market, platform, operator, and the production worker; forms 6 and 7, which are about the market alone, ask its own
generators, and whole runs for evictions.

An interval that is too wide proves nothing. So the scales make each factor of a formula weigh, control variates whose
mean is known take out what chance does, and where a test says so it also fails if a parameter is 15 % off.

Symbols: λ eviction rate while running, W work of a segment, C its checkpoint's cost, R restart, D outage.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice, pairwise
from operator import add
from random import Random
from statistics import NormalDist, fmean, linear_regression, stdev

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
WRONG = (0.85, 1.15)
"""A formula with a parameter as wrong as this is to disagree: otherwise the interval is too wide to say anything."""


def agrees(sample: Sequence[float], expected: float) -> bool:
    """Whether the sample's mean is within four standard errors of what is expected."""
    return abs(fmean(sample) - expected) <= half_width(sample)


def half_width(sample: Sequence[float]) -> float:
    return STANDARD_ERRORS * stdev(sample) / math.sqrt(len(sample))


def assert_mean(sample: Sequence[float], expected: float) -> None:
    """The sample's mean is within four standard errors of what is expected."""
    assert agrees(sample, expected), f"{fmean(sample):g} ± {half_width(sample):g}, expected {expected:g}"


def controlled(sample: Sequence[float], *controls: Sequence[float]) -> list[float]:
    """The sample less what is explained by control variates, which are 0 on average and do not correlate."""
    values = list(sample)
    for control in controls:
        slope = linear_regression(control, values).slope
        values = [value - slope * beside for value, beside in zip(values, control, strict=True)]
    return values


# -- 1 to 3: one segment of work under evictions, by the whole worker -------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SegmentLaw:
    """Forms 1 to 3; durations in seconds."""

    rate_per_s: float
    work_s: float
    checkpoint_s: float
    restart_s: float
    outage_s: float

    @property
    def evictions(self) -> float:
        """Form 2: e^(λR) (e^(λ(W + C)) - 1)."""
        growth = math.expm1(self.rate_per_s * (self.work_s + self.checkpoint_s))
        return math.exp(self.rate_per_s * self.restart_s) * growth

    @property
    def time_s(self) -> float:
        """Form 1: e^(λR) (1/λ + D) (e^(λ(W + C)) - 1)."""
        return self.evictions * (1 / self.rate_per_s + self.outage_s)

    @property
    def lost_s(self) -> float:
        """Form 3: up-time that came to nothing, E[evictions]/λ - W - C."""
        return self.evictions / self.rate_per_s - self.work_s - self.checkpoint_s


JOBS_OF_ONE_SEGMENT = SegmentLaw(rate_per_s=0.1, work_s=7.0, checkpoint_s=0.0, restart_s=5.0, outage_s=12.0)
ONE_JOB_OF_SEGMENTS = replace(JOBS_OF_ONE_SEGMENT, work_s=4.0, checkpoint_s=3.0)
SEGMENTS = 1_500


@dataclass(frozen=True, kw_only=True)
class Segments:
    """What became of each segment: a number for each of them in every list.

    Attributes:
        law: what is expected of them.
        time_s: from the end of the one before to its own.
        restarting_s, working_s: up-time in the restarts, and behind them.
        taken_restarting, taken_working: evictions in it.
    """

    law: SegmentLaw
    time_s: list[float]
    restarting_s: list[float]
    working_s: list[float]
    taken_restarting: list[float]
    taken_working: list[float]

    @property
    def evictions(self) -> list[float]:
        return list(map(add, self.taken_restarting, self.taken_working))

    @property
    def lost_s(self) -> list[float]:
        useful_s = self.law.work_s + self.law.checkpoint_s
        return [up_s - useful_s for up_s in map(add, self.restarting_s, self.working_s)]

    def surprises(self) -> list[list[float]]:
        """Evictions beyond λ times the up-time, in restarts and behind them: 0 on average, whatever the worker does."""
        return [
            [taken - self.law.rate_per_s * up_s for taken, up_s in zip(evictions, ups_s, strict=True)]
            for evictions, ups_s in (
                (self.taken_restarting, self.restarting_s),
                (self.taken_working, self.working_s),
            )
        ]


def _simulated(law: SegmentLaw) -> SimulationResult:
    """The segments are jobs one after the other or, with checkpoints, pieces of one job whose last is left out.

    The operator does not look before there is room again, so that an outage takes 3/4 of its pause on average; by then
    the lease of a worker that was taken has lapsed.
    """
    pause_s = law.outage_s / 0.75
    one_job = law.checkpoint_s > 0
    scenario = Scenario(
        horizon_s=4_000_000.0,
        vms=(
            VmPlan(
                evictions_per_h=3600.0 * law.rate_per_s,
                announced=0.0,
                outage_s=pause_s / 4,
                outage=Length.FIXED,
                boot_s=law.restart_s,
            ),
        ),
        operator=OperatorPlan(first_pause_s=pause_s, pause_s_max=pause_s),
        workload=WorkloadPlan(
            jobs=1 if one_job else SEGMENTS,
            service_s=(SEGMENTS + 1) * law.work_s if one_job else law.work_s,
            unit_s=law.work_s,
            checkpoint_every_s=law.work_s if one_job else 0.0,
            checkpoint_s=law.checkpoint_s,
        ),
        worker=WorkerPlan(concurrency=1, visibility_timeout_s=pause_s / 2 + law.restart_s - 1.0, imds_poll_s=60.0),
    )
    result = simulate(scenario, 3 if one_job else 1)
    assert result.summary.completed == scenario.workload.jobs
    return result


@pytest.fixture(scope="module", params=[JOBS_OF_ONE_SEGMENT, ONE_JOB_OF_SEGMENTS], ids=["jobs", "checkpoints"])
def segments(request: pytest.FixtureRequest) -> Segments:
    """1,500 segments on a VM that is taken every ten seconds it runs, on average."""
    law: SegmentLaw = request.param
    result = _simulated(law)
    if law.checkpoint_s > 0:
        ends_s = [at_s for run in result.jobs[0].runs for at_s, _ in run.checkpoints]
    else:
        ends_s = sorted(job.settled_s for job in result.jobs if job.settled_s is not None)
    assert len(ends_s) == SEGMENTS
    cuts_s = [law.restart_s, *ends_s]  # from the worker's first start: no restart comes before the first segment
    running = [(span.from_s, span.to_s) for span in result.vms if span.state is VmState.RUNNING]
    started = [(from_s, min(to_s, from_s + law.restart_s), to_s) for from_s, to_s in running]
    taken = [(to_s, to_s < from_s + law.restart_s) for from_s, to_s in running[:-1]]
    return Segments(
        law=law,
        time_s=[to_s - from_s for from_s, to_s in pairwise(cuts_s)],
        restarting_s=_time_between(cuts_s, [(from_s, ready_s) for from_s, ready_s, _ in started]),
        working_s=_time_between(cuts_s, [(ready_s, to_s) for _, ready_s, to_s in started]),
        taken_restarting=_number_between(cuts_s, [at_s for at_s, restarting in taken if restarting]),
        taken_working=_number_between(cuts_s, [at_s for at_s, restarting in taken if not restarting]),
    )


def _time_between(cuts_s: Sequence[float], spans: Iterable[tuple[float, float]]) -> list[float]:
    """How much of the spans is between each two cuts."""
    sums_s = [0.0] * (len(cuts_s) - 1)
    for from_s, to_s in spans:
        first, last = bisect_right(cuts_s, from_s) - 1, bisect_left(cuts_s, to_s)
        for piece in range(max(0, first), min(last, len(sums_s))):
            sums_s[piece] += min(to_s, cuts_s[piece + 1]) - max(from_s, cuts_s[piece])
    return sums_s


def _number_between(cuts_s: Sequence[float], moments_s: Iterable[float]) -> list[float]:
    """How many of the moments are between each two cuts."""
    counts = Counter(bisect_left(cuts_s, at_s) - 1 for at_s in moments_s)
    return [float(counts[piece]) for piece in range(len(cuts_s) - 1)]


def test_evictions_strike_at_their_rate_whatever_the_vm_does(segments: Segments) -> None:
    """λ per second of up-time, in restarts as at work; 15 % more or less of it would be noticed."""
    for surprises in (*segments.surprises(), list(map(add, *segments.surprises()))):
        assert_mean(surprises, 0.0)
    for factor in WRONG:
        wrong = replace(segments.law, rate_per_s=factor * segments.law.rate_per_s)
        assert not agrees(list(map(add, *replace(segments, law=wrong).surprises())), 0.0), factor


@pytest.mark.parametrize("form", ["time_s", "evictions", "lost_s"])
def test_segments_under_evictions(segments: Segments, form: str) -> None:
    """Forms 1, 2 and 3; 15 % more or less of any duration in the formula would be noticed.

    That evictions came more or less often than λ says is noticed by the test before, and taken out here.
    """
    law = segments.law
    sample = controlled(getattr(segments, form), *segments.surprises())
    expected = getattr(law, form)
    assert_mean(sample, expected)
    for name in ("work_s", "checkpoint_s", "restart_s", "outage_s"):
        for factor in WRONG:
            wrong = getattr(replace(law, **{name: factor * getattr(law, name)}), form)
            assert wrong == expected or not agrees(sample, wrong), f"{name} x {factor}"


# -- 5 to 7: the market -----------------------------------------------------------------------------------------------


def _capacity(ticks: int, *, down: float, up: float, seed: int) -> list[int]:
    process = PriceAndCapacity(tick_s=60.0, mean_usd_per_h=Decimal(1), ceiling_usd_per_h=Decimal(10), down=down, up=up)
    return [0 if moment.capacity == 0 else 1 for moment in islice(stochastic(process, Random(seed)), ticks)]


def test_ticks_until_enough_good_ones_in_a_row() -> None:
    """Form 5: a job of n ticks takes (q^-n - 1)/(1 - q) of them where each is good by a fresh draw; 4 standard errors.

    The job has no checkpoint, and needs a little more than n - 1 ticks without a break. The next one begins when it
    ends, in a tick that is good already: what is left of the formula from there is (q^-n - 1/q)/(1 - q).
    """
    tick_s, bad, wanted, jobs = 10.0, 0.2, 4, 1_500
    scenario = Scenario(
        horizon_s=1_000_000.0,
        market=StochasticMarket(tick_s=tick_s, price_deviation=0.0, capacity_down=bad, capacity_up=1.0 - bad),
        vms=(VmPlan(announced=0.0, boot_s=0.0),),
        operator=OperatorPlan(first_pause_s=5.0, pause_s_max=5.0),
        workload=WorkloadPlan(
            jobs=jobs,
            service_s=(wanted - 1) * tick_s + 0.01,
            unit_s=wanted * tick_s,
            checkpoint_every_s=0.0,
        ),
        worker=WorkerPlan(concurrency=1, visibility_timeout_s=9.0, imds_poll_s=60.0),
    )
    result = simulate(scenario, 6)
    assert result.summary.completed == jobs
    ended_in = sorted(job.settled_s // tick_s for job in result.jobs if job.settled_s is not None)
    ticks = [later - earlier for earlier, later in pairwise(ended_in)]

    def expected(bad: float) -> float:
        good = 1.0 - bad
        return (good**-wanted - 1 / good) / bad

    assert_mean(ticks, expected(bad))
    for factor in WRONG:
        assert not agrees(ticks, expected(factor * bad)), factor


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
    """Form 6, as a VM lives it: it is evicted π·d times a tick; 80 blocks of 100 ticks, 4 standard errors.

    Whoever has lost its VM asks for it more than once a tick, so that it is back within the tick in which there is
    room. The second of two jobs comes at the end, and keeps the run going until then.
    """
    tick_s, down, up, blocks, block = 10.0, 0.4, 0.4, 80, 100
    over_s = blocks * block * tick_s
    scenario = Scenario(
        horizon_s=2 * over_s,
        market=StochasticMarket(tick_s=tick_s, price_deviation=0.0, capacity_down=down, capacity_up=up),
        vms=(VmPlan(announced=0.0, boot_s=0.0),),
        operator=OperatorPlan(first_pause_s=9.0, pause_s_max=9.0),
        workload=WorkloadPlan(jobs=2, at_once=1, every_s=over_s, arrivals=Length.FIXED, service_s=1.0),
        worker=WorkerPlan(concurrency=1, imds_poll_s=60.0, idle_poll_s_max=60.0),
    )
    result = simulate(scenario, 6)
    assert result.summary.completed == 2
    in_block = Counter(int(span.from_s // (block * tick_s)) for span in result.vms if span.row.startswith("E"))
    rates = [in_block[number] / block for number in range(blocks)]
    assert_mean(rates, up / (up + down) * down)
    for factor in WRONG:
        wrong = factor * up
        assert not agrees(rates, wrong / (wrong + down) * down), f"capacity_up x {factor}"


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


def test_outages_last_as_long_as_planned() -> None:
    """Repair, of form 8: exponential outages, and the operator's pauses; 15 % more or less would be noticed.

    An operator who asks after pauses from U(p/2, p) finds an outage of mean D over after 3p/4 / (1 - f) on average,
    where f = 2D/p (e^(-p/2D) - e^(-p/D)) is the chance that it outlasts a pause.
    """
    pause_s, outage_s, over_s = 20.0, 25.0, 60_000.0

    def stop_s(outage_s: float) -> float:
        outlasting = 2 * outage_s / pause_s * (math.exp(-pause_s / 2 / outage_s) - math.exp(-pause_s / outage_s))
        return 0.75 * pause_s / (1 - outlasting)

    scenario = Scenario(
        horizon_s=2 * over_s,
        vms=(VmPlan(evictions_per_h=360.0, announced=0.0, outage_s=outage_s, boot_s=0.0),),
        operator=OperatorPlan(first_pause_s=pause_s, pause_s_max=pause_s),
        workload=WorkloadPlan(jobs=2, at_once=1, every_s=over_s, arrivals=Length.FIXED, service_s=1.0),
        worker=WorkerPlan(concurrency=1, imds_poll_s=60.0, idle_poll_s_max=60.0),
    )
    result = simulate(scenario, 4)
    assert result.summary.completed == 2
    stops_s = [span.to_s - span.from_s for span in result.vms if span.state is VmState.STOPPED]
    assert_mean(stops_s, stop_s(outage_s))
    for factor in WRONG:
        assert not agrees(stops_s, stop_s(factor * outage_s)), f"outage_s x {factor}"


def test_queue_with_a_server_that_breaks_down() -> None:
    """Form 8: L of M/M/1 with breakdowns, preempt-resume, by one VM whose every eviction is announced in time.

    Breakdowns and repairs enter at the rates at which they came out, which other tests hold to their plan. The control
    variate is the queue that the same jobs make at a server without breakdowns, whose mean is known; 40 batches, 4
    standard errors.
    """
    arrive, serve, batches = 0.01, 1 / 30, 40
    scenario = Scenario(
        horizon_s=10_000_000.0,
        vms=(
            VmPlan(
                evictions_per_h=36.0, announced=1.0, notice_s_min=10.0, notice_s_max=10.0, outage_s=25.0, boot_s=0.0
            ),
        ),
        operator=OperatorPlan(first_pause_s=2.0, pause_s_max=2.0),
        workload=WorkloadPlan(
            jobs=1_200,
            every_s=1 / arrive,
            service_s=1 / serve,
            service=Length.EXPONENTIAL,
            unit_s=3.0,
            checkpoint_every_s=1_000_000.0,  # it saves when there is a notice
        ),
        worker=WorkerPlan(concurrency=1, imds_poll_s=3.0, idle_poll_s_max=1.0, acknowledge=True),
    )
    result = simulate(scenario, 8)
    assert result.summary.announced == result.summary.evictions > 100
    assert result.summary.redone_s == pytest.approx(0.0, abs=1e-6)
    stops_s = [span.to_s - span.from_s for span in result.vms if span.state is VmState.STOPPED]
    up_s = sum(span.to_s - span.from_s for span in result.vms if span.state is VmState.RUNNING)
    fail, repair = result.summary.evictions / up_s, 1 / fmean(stops_s)
    both, load = repair + fail, arrive / serve
    assert load < repair / both, "stable"
    expected = arrive * (both**2 + fail * serve) / (both * (serve * repair - arrive * both))
    last_s = result.jobs[-1].arrived_s  # afterwards the queue runs dry
    first_s = last_s / (batches + 1)  # from the empty queue to the steady one
    cuts_s = [first_s + number * (last_s - first_s) / batches for number in range(batches + 1)]
    lengths = _mean_lengths(cuts_s, [(job.arrived_s, job.settled_s or last_s) for job in result.jobs])
    unbroken = [length - load / (1 - load) for length in _mean_lengths(cuts_s, _stays_without_breakdowns(result))]
    sample = controlled(lengths, unbroken)
    assert_mean(sample, expected)
    assert not agrees(sample, load / (1 - load)), "breakdowns make the queue longer"


def _stays_without_breakdowns(result: SimulationResult) -> list[tuple[float, float]]:
    """From when to when each job would be there if its server worked all the time."""
    stays, free_s = [], 0.0
    for job in result.jobs:
        free_s = max(free_s, job.arrived_s) + job.units * job.unit_s
        stays.append((job.arrived_s, free_s))
    return stays


def _mean_lengths(cuts_s: Sequence[float], stays: Iterable[tuple[float, float]]) -> list[float]:
    """How many jobs there were on average, waiting or at work, between each two cuts."""
    return [
        sum_s / (to_s - from_s)
        for sum_s, (from_s, to_s) in zip(_time_between(cuts_s, stays), pairwise(cuts_s), strict=True)
    ]


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
