"""The scenarios that ship: each loads, runs, keeps every promise and meets its own expectations."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fsm.errors import ConfigurationError
from fsm.journal_kinds import Kind
from fsm.promises import Promise
from fsm.record import DEATHS_MAX
from fsm.spot_vm import VmState
from simulator.faults import UNITS, FaultPlan
from simulator.journal import Entry
from simulator.loading import load_scenario, parse_scenario, shipped_names, variants, with_option
from simulator.observing import Observer, Run
from simulator.process import Process
from simulator.result import SimulationResult
from simulator.scenario import Deed, Scenario, ScriptedEvent, VmPlan, WorkloadPlan
from simulator.simulation import simulate

TIMETABLE = """
[market]
kind = "schedule"
repeat_every_s = 9
moments = [{ price_usd_per_h = 0.1 }, { at_s = 90, price_usd_per_h = 0.2 }]
"""


def _all_variants() -> list[tuple[str, Mapping[str, str], Scenario]]:
    return [
        (name, values, scenario)
        for name in shipped_names()
        for values, scenario in variants(load_scenario(name).scenario)
    ]


@pytest.mark.parametrize(
    ("values", "scenario"),
    [(values, scenario) for _, values, scenario in _all_variants()],
    ids=[" ".join((name, *values.values())) for name, values, _ in _all_variants()],
)
def test_a_scenario_that_ships_meets_its_expectations(values: Mapping[str, str], scenario: Scenario) -> None:
    """It breaks no promise and misses no expectation, in every variant of its sweep."""
    result = simulate(scenario, 0)
    assert not result.violations, [str(violation) for violation in result.violations]
    assert not result.missed, (values, result.missed)


def _taken_over(result: SimulationResult) -> int:
    """Runs that another VM took over while their own handler was still there, and knew nothing of it."""
    return sum(
        before.to_s > after.from_s and before.vm != after.vm
        for job in result.jobs
        for before, after in pairwise(sorted(job.runs, key=lambda run: run.from_s))
    )


def _stopped_s(result: SimulationResult) -> float:
    return max((span.to_s - span.from_s for span in result.vms if span.state is VmState.STOPPED), default=0.0)


def _rows(result: SimulationResult) -> set[str]:
    return {span.row for span in result.vms}


ABOUT: Mapping[str, Callable[[SimulationResult], bool]] = {
    "capacity-drought": lambda result: _stopped_s(result) > 70 * 3600 and result.summary.refusals > 10,
    "deadly-job": lambda result: max(job.counts.get("fruitless_deaths", 0) for job in result.jobs) == DEATHS_MAX,
    "delete-and-recreate": lambda result: "E3" in _rows(result) and '"recreated"' in "".join(result.journal),
    "evicted-at-start": lambda result: min(result.faults[f"evicted_{at}"] for at in ("at_start", "recovering")) > 0,
    "late-presence": lambda result: result.faults["death"] > 5 and result.faults["slow"] > 100,
    "metadata-silent-at-start": lambda result: sum('"call": "identity"' in line for line in result.journal) > 20,
    "no-notice-at-all": lambda result: result.summary.announced == 0 and result.faults["imds_wrong"] > 0,
    "planned-maintenance": lambda result: (
        result.faults == {"advice": 2, "reboot": 1, "redeploy": 1, "terminate": 1} and {"S1", "O4"} <= _rows(result)
    ),
    "poison-among-the-good": lambda result: 0 < result.summary.poisoned < result.summary.completed,
    "price-spike": lambda result: "E4" in _rows(result) and _stopped_s(result) >= 6 * 3600,
    "stopped-while-starting": lambda result: result.faults["stop"] > 10,
    "withdrawn-notice": lambda result: result.faults == {"notice_withdrawn": 3},
    "zombie-after-freeze": lambda result: _taken_over(result) > 5,
}


@pytest.mark.parametrize("name", ABOUT)
def test_what_a_scenario_is_about_happens(name: str) -> None:
    """A scenario that is named for something shows it."""
    assert ABOUT[name](simulate(load_scenario(name).scenario, 0))


@pytest.mark.parametrize(
    ("name", "changes", "missed"),
    [
        ("zombie-after-freeze", {"script": ()}, "abandoned: at least"),
        ("freeze-during-checkpoint", {"script": ()}, "frozen_checkpoints: at least"),
        ("freeze-during-checkpoint", {"workload.checkpoint_every_s": 0}, "frozen_checkpoints: at least"),
        ("weekend", {"market.weekly": 0, "horizon_s": 73 * 3600}, "makespan_s: at most"),
        ("weekend", {"workload.jobs": 3, "market.capacity_down": 0}, "makespan_s: at least"),
        ("evicted-at-start", {"faults.evicted_at_start": 0, "faults.evicted_recovering": 0}, "evictions: at least"),
        ("deadly-job", {"workload.deadly": 0}, "poisoned: at least"),
        ("poison-among-the-good", {"workload.poison": 0}, "poisoned: at least"),
        ("poison-among-the-good", {"workload.failing": 0.1}, "misjudged: at most"),
    ],
)
def test_a_scenario_without_its_cause_misses_what_it_expects(
    name: str, changes: Mapping[str, Any], missed: str
) -> None:
    """What a scenario is about is what it asks for: take the cause out, and the run is not ok."""
    scenario = load_scenario(name).scenario
    for key, value in changes.items():
        scenario = replace(scenario, script=value) if key == "script" else with_option(scenario, key, value)
    assert any(sentence.startswith(missed) for sentence in simulate(scenario, 0).missed)


class _Writes(Observer):
    """When writes were sent, when handlers were told of them, and when VMs froze."""

    def __init__(self) -> None:
        self.sent_s: list[float] = []
        self.saved_s: list[float] = []
        self.frozen_s: list[float] = []

    def sent(self, _process: Process, call: str) -> None:
        if call == "store.write":
            self.sent_s.append(asyncio.get_running_loop().time())

    def run_saved(self, _run: Run, _units: int) -> None:
        self.saved_s.append(asyncio.get_running_loop().time())

    def noted(self, entry: Entry) -> None:
        if entry.kind is Kind.FREEZE:
            self.frozen_s.append(entry.at_s)


def test_a_vm_freezes_during_a_checkpoint() -> None:
    """In the scenario of that name a write is on its way when the VM stands still, and is told of when it goes on."""
    seen = _Writes()
    simulate(load_scenario("freeze-during-checkpoint").scenario, 0, observers=[seen])
    under_way = (
        (sent_s, frozen_s, min(at_s for at_s in seen.saved_s if at_s > sent_s))
        for frozen_s in seen.frozen_s
        for sent_s in seen.sent_s
        if sent_s < frozen_s < sent_s + 4.0
    )
    assert any(saved_s >= frozen_s + 20.0 for _, frozen_s, saved_s in under_way)


def test_at_least_twelve_ship_and_each_says_what_it_is_about() -> None:
    """An architect finds the situations they would ask about, each told in one sentence."""
    assert len(shipped_names()) >= 12
    for name in shipped_names():
        assert load_scenario(name).scenario.about.endswith("."), name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("horizon_s =", "not a TOML file"),
        ("horizont_s = 3", "horizont_s: there is no such key"),
        ("horizon_s = true", "horizon_s: True is not a number"),
        ('horizon_s = "soon"', "horizon_s: 'soon' is not a duration"),
        ("horizon_s = 0", "horizon_s: 0 is below 1"),
        ("[market]\nkind = 'lunar'", "market.kind: 'lunar' is no kind of market"),
        ("[market]\nkind = 'schedule'\nmoments = []", "market.moments: the first moment is not at 0"),
        ("[[vms]]\npolicy = 'Keep'", "vms[0].policy: 'Keep' is none of its values"),
        ("[[vms]]\nmax_price_usd_per_h = 0", "vms.max_price_usd_per_h: a max price is -1 or above 0"),
        ("[[vms]]\nmax_price_usd_per_h = 'much'", "vms[0].max_price_usd_per_h: 'much' is not an amount of money"),
        ("[[vms]]\ncount = 1.5", "vms[0].count: 1.5 is not of type int"),
        ("[[vms]]\nearly = 0.7\nlate = 0.7", "vms.late: early and late are more than all evictions"),
        ("[[vms]]\n[[vms]]", "vms: two groups of VMs have one name"),
        ("vms = []", "vms: there is no VM"),
        ("vms = 3", "vms: a list is expected, not 3"),
        ("[workload]\npoison = 1.5", "workload.poison: 1.5 is above 1"),
        ("faults = 1", "faults: a table is expected, not 1"),
        ("[[script]]\ndo = 'evict'", "script[0].at_s: this key is missing"),
        ("[[script]]\nat_s = 5\ndo = 'evict'\nvm = 'vm-9'", "script[0].vm: there is no VM 'vm-9'"),
        ("[[script]]\nat_s = 5\ndo = 'freeze'\nlasts_s = -5", "script[0].lasts_s: only a clock can jump back"),
        ("horizon_s = nan", "horizon_s: nan is not a finite number"),
        ("calm_s_max = inf", "calm_s_max: inf is not a finite number"),
        ("pay_as_you_go_usd_per_h = 'nan'", "pay_as_you_go_usd_per_h: 'nan' is not a finite number"),
        ("[market]\nprice_usd_per_h = 0", "market.price_usd_per_h: 0 is below 1e-05"),
        ("[market]\nkind = ['lunar']", "market.kind: ['lunar'] is no kind of market"),
        (
            TIMETABLE,
            "market.repeat_every_s: it is over before the last moment, at 90 s",
        ),
        (
            "[faults]\nkill_before = 0.7\nkill_after = 0.7",
            "faults.kill_after: with kill_before it is 1.4 of all",
        ),
        (
            "[faults]\nimds_silent = 0.7\nimds_late = 0.7",
            "faults.imds_late: with imds_silent it is 1.4 of all",
        ),
        ("[faults]\ndeath = inf", "faults.death: inf is not a finite number"),
        ("[[vms]]\nevictions_per_h = 1e9", "vms[0].evictions_per_h: 1000000000.0 is above 3600"),
    ],
)
def test_a_wrong_scenario_is_told_in_one_line(text: str, complaint: str) -> None:
    """The message names the file, the key and what was expected."""
    with pytest.raises(ConfigurationError) as caught:
        parse_scenario(text, where="mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert complaint in message.removeprefix("mine.toml: ") or complaint in message
    assert "\n" not in message.removesuffix("\n")


def test_durations_are_numbers_or_words() -> None:
    """`90`, "90s" and "1.5m" are the same time."""
    for text in ("90", '"90s"', '"1.5m"'):
        assert parse_scenario(f"horizon_s = {text}", where="mine.toml").horizon_s == 90.0


def test_a_sweep_without_values_is_told() -> None:
    """A sweep over nothing would run nothing, and is a mistake."""
    scenario = parse_scenario("[[sweep]]\nkey = 'workload.jobs'\nvalues = []", where="mine.toml")
    with pytest.raises(ConfigurationError, match=r"sweep: workload\.jobs: it has no values"):
        list(variants(scenario))


def test_a_trace_that_is_over_is_told() -> None:
    """Whoever begins after the end of a trace learns when that is."""
    text = "[market]\nkind = 'trace'\ntrace = 'aws-us-west-2a-k80.csv'\nfrom_s = '900d'"
    with pytest.raises(ConfigurationError, match=r"market\.from_s: aws-us-west-2a-k80\.csv is over after \d+ s"):
        simulate(parse_scenario(text, where="mine.toml"), 0)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    """A file of another kind is one line, too."""
    file = tmp_path / "picture.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="it cannot be read as text"):
        load_scenario(str(file))


def test_an_unknown_scenario_names_the_known_ones() -> None:
    """Whoever misspells a name sees all names."""
    with pytest.raises(ConfigurationError, match="price-spike"):
        load_scenario("price-spice")


def test_options_can_be_changed_by_their_key() -> None:
    """A sweep changes any key, in every group of VMs, and refuses what does not fit."""
    scenario = with_option(Scenario(), "vms.count", 3)
    assert [plan.count for plan in scenario.vms] == [3]
    assert with_option(Scenario(), "faults.slow", 0.5).faults == FaultPlan(slow=0.5)
    with pytest.raises(ConfigurationError, match=r"faults\.slow: 2 is above 1"):
        with_option(Scenario(), "faults.slow", 2)
    with pytest.raises(ConfigurationError, match="there is no key 'slowness'"):
        with_option(Scenario(), "faults.slowness", 2)


def test_expectations_decide() -> None:
    """A run that misses what its scenario expects is not ok, and says what was found."""
    scenario = load_scenario("price-spike").scenario
    wrong = replace(scenario, expect=replace(scenario.expect, completed=41, evictions_max=0))
    result = simulate(wrong, 0)
    assert result.missed == ("completed: 41 expected, 40 found", "evictions: at most 0 expected, 1 found")
    assert not result.ok


def test_work_that_never_came_is_no_success() -> None:
    """A run that is over before its jobs have arrived has shown nothing, and says so."""
    text = "horizon_s = 60\ncalm_s_max = 60\n[workload]\njobs = 3\nevery_s = '1d'\nat_once = 1\nservice_s = 10"
    result = simulate(parse_scenario(text, where="mine.toml"), 0)
    assert (result.summary.jobs, result.violations) == (1, ())
    assert result.missed == ("jobs: 3 planned, 1 had arrived when horizon_s and calm_s_max were over",)


def test_work_that_does_not_end_in_time_has_no_end() -> None:
    """A message that is still there when `calm_s_max` is over breaks `nothing_lost`: workers come back all the same."""
    text = "horizon_s = 60\ncalm_s_max = 120\n[workload]\njobs = 3\nservice_s = '1d'"
    result = simulate(parse_scenario(text, where="mine.toml"), 0)
    (violation,) = result.violations
    assert violation.promise is Promise.NOTHING_LOST
    stated = re.fullmatch(r"messages without an end after (\d+) s of calm: 3, such as .+", violation.what)
    assert stated is not None, violation.what
    assert float(stated[1]) >= 120.0
    assert result.promises[Promise.ALWAYS_COMES_BACK]


def test_pay_as_you_go_does_the_same_jobs_in_their_order() -> None:
    """A job takes its time on a regular VM, too, and begins no sooner than it comes and there is room for it."""
    work = "unit_s = 100\nservice_s = 100\narrivals = 'fixed'\n[worker]\nconcurrency = 2\n[[vms]]\nboot_s = 0"
    for jobs, at_once, expected_s in ((1, 1, 100.0), (3, 3, 200.0), (3, 2, 1100.0)):
        text = f"[workload]\njobs = {jobs}\nat_once = {at_once}\nevery_s = 1000\n{work}"
        costs = simulate(parse_scenario(text, where="mine.toml"), 0).costs
        assert costs.pay_as_you_go_s == expected_s
        per_h = Scenario().pay_as_you_go_usd_per_h + Scenario().vms[0].disks_usd_per_h
        assert costs.pay_as_you_go_usd == per_h * int(expected_s) / 3600


def test_a_fault_that_did_not_happen_is_not_counted() -> None:
    """A VM taken for its price, in a scenario whose faults hold no price spike, is no fault."""
    result = simulate(load_scenario("price-spike").scenario, 0)
    assert result.summary.evictions == 1
    assert result.faults == {}


def test_every_fault_has_a_unit() -> None:
    """Nothing goes wrong at a rate that nobody can read."""
    assert set(UNITS.values()) == {
        "per call", "per write", "per delivery", "per poll", "per document", "per notice", "per hour and VM",
        "per start", "per run", "s",
    }  # fmt: skip


@pytest.mark.parametrize("unit_s", [10.0, 300.0, 600.0])
def test_redone_work_is_all_the_time_that_came_to_nothing(unit_s: float) -> None:
    """A handler that is killed after 460 s without a checkpoint redoes 460 s, in however big pieces it works."""
    result = simulate(
        Scenario(
            vms=(VmPlan(boot_s=40.0),),
            workload=WorkloadPlan(jobs=1, service_s=600.0, unit_s=unit_s, checkpoint_every_s=0.0),
            script=(ScriptedEvent(at_s=500.0, do=Deed.EVICT, lasts_s=100.0),),
        ),
        0,
    )
    assert result.summary.completed == 1
    assert result.summary.redone_s == pytest.approx(460.0)


def test_failures_are_work_for_nothing() -> None:
    """A job that always fails in its first piece is tried five times, and all of it comes to nothing."""
    workload = WorkloadPlan(jobs=1, service_s=60.0, unit_s=20.0, poison=1.0)
    result = simulate(Scenario(workload=workload), 0)
    assert (result.summary.poisoned, result.summary.useful_s) == (1, 0.0)
    assert result.summary.redone_s == pytest.approx(5 * 20.0)
