"""`spotfsm simulate`: scenarios by name and by file, their numbers, their verdict, and how to run them again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.cli import simulate
from simulator.loading import shipped_names
from tests.adapters.cli.conftest import Command
from tests.simulator.sabotages import SABOTAGES

SMALL = """
about = "Two jobs, and one VM that is taken once."
[workload]
jobs = 2
service_s = "2m"
checkpoint_every_s = 20
[[script]]
at_s = 90
do = "evict"
"""


@pytest.fixture
def small(directory: Path) -> Path:
    """A scenario of some milliseconds."""
    file = directory / "small.toml"
    file.write_text(SMALL)
    return file


def test_the_table_sets_spot_beside_pay_as_you_go(inside: Command, small: Path) -> None:
    """All that was asked for is there: completed, lost, makespan, cost, evictions, redone work, idle time."""
    ended = inside("simulate", small)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].split() == ["on", "Spot", "pay-as-you-go"]
    rows = {line[:19].strip(): line[19:].split() for line in lines[1:]}
    assert rows["completed"] == ["2"]
    assert rows["lost"] == ["0"]
    assert rows["evictions"] == ["1", "0"]
    assert {"makespan", "cost", "redone work", "of it idle"} <= set(rows)
    assert lines[-1] == "1 run, 0.1 VM-hours: every promise kept, every expectation met"


def test_json_holds_each_run(inside: Command, small: Path) -> None:
    """Programs get every number, money as text, and the command that runs it again."""
    shown = json.loads(inside("simulate", small, "--runs", 2, "--seed", 5, "--json").out)
    assert shown["ok"]
    assert [run["seed"] for run in shown["runs"]] == [5, 6]
    first = shown["runs"][0]
    assert first["summary"]["completed"] == 2
    assert float(first["costs"]["total_usd"]) > 0
    assert all(first["promises"].values())
    assert first["replay"] == f"spotfsm simulate {small} --seed 5"


def test_the_same_seed_says_the_same(inside: Command, small: Path) -> None:
    """A run is repeated by its command."""
    assert inside("simulate", small, "--seed", 3).out == inside("simulate", small, "--seed", 3).out


def test_several_runs_are_told_by_their_mean_least_and_most(inside: Command, small: Path) -> None:
    """One table for all seeds."""
    ended = inside("simulate", small, "--runs", 3)
    assert ended.out.splitlines()[0].split() == ["mean", "least", "most", "pay-as-you-go"]
    assert "3 runs, 0.2 VM-hours: every promise kept" in ended.out


def test_several_processes_say_what_one_says(inside: Command, small: Path) -> None:
    """How many runs there are at a time changes nothing but the time, and not the order."""
    small.write_text(SMALL + '[[sweep]]\nkey = "workload.checkpoint_every_s"\nvalues = [20, 60]\n')
    alone = inside("simulate", small, "--runs", 6, "--json")
    together = inside("simulate", small, "--runs", 6, "--json", "--processes", 3)
    assert (together.code, together.out) == (alone.code, alone.out)


def test_a_wrong_trace_is_one_line_from_another_process_too(inside: Command, small: Path) -> None:
    """Exit 2 with the setting and the remedy, wherever the file was looked for."""
    small.write_text(SMALL + '[market]\nkind = "trace"\ntrace = "nowhere.csv"\n')
    for processes in (1, 2):
        ended = inside("simulate", small, "--processes", processes)
        assert ended.code == 2
        assert ended.error_line.startswith("market.trace: there is no file ")


def test_a_sweep_has_a_table_for_each_value(inside: Command, small: Path) -> None:
    """Each variant is named above its numbers."""
    small.write_text(SMALL + '[[sweep]]\nkey = "workload.checkpoint_every_s"\nvalues = [20, 60]\n')
    out = inside("simulate", small).out
    assert out.index("workload.checkpoint_every_s = 20") < out.index("workload.checkpoint_every_s = 60")
    assert "2 runs, 0.1 VM-hours: every promise kept" in out


def test_a_missed_expectation_fails_and_tells_how_to_run_it_again(inside: Command, small: Path) -> None:
    """Exit 1 with the seed, what differs from the defaults, and one command."""
    small.write_text(SMALL + "[expect]\ncompleted = 3\n")
    ended = inside("simulate", small, "--seed", 4)
    assert ended.code == 1
    assert "completed: 3 expected, 2 found" in ended.out
    assert "workload.jobs = 2" in ended.out
    assert ended.out.splitlines()[-1] == f"replay: spotfsm simulate {small} --seed 4"


def test_a_broken_promise_is_shrunk_and_replayed(inside: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sabotaged worker is caught: with the seed, what was drawn, a shorter run that fails too, and one command."""
    sabotage = next(one for one in SABOTAGES if one.name == "rows not journaled")
    sabotage.patch(monkeypatch)
    ended = inside("simulate", "swarm", "--seed", 7)
    assert ended.code == 1
    before, _, after = ended.out.partition("a shorter one breaks it too, with 1 job, 1 VM and ")
    assert "seed 7 of swarm:" in before
    assert "row_by_row" in before
    assert "workload." in before
    assert "row_by_row" in after
    assert after.splitlines()[-1] == "replay: spotfsm simulate swarm --seed 7"
    assert "looking for a shorter run that fails" in ended.err
    shown = json.loads(inside("simulate", "swarm", "--seed", 7, "--json").out)
    assert not shown["ok"]
    assert not shown["runs"][0]["promises"]["row_by_row"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[workload]\njbos = 3\n", "small.toml: workload.jbos: there is no such key"),
        ("[workload]\njobs = 'many'\n", "small.toml: workload.jobs: 'many' is not of type int"),
        ("[workload\n", "small.toml: the file: not a TOML file"),
    ],
)
def test_a_bad_file_is_one_line(inside: Command, small: Path, text: str, complaint: str) -> None:
    """Exit 2; the line names the file, the key, and what was expected."""
    small.write_text(text)
    ended = inside("simulate", "small.toml")
    assert ended.code == 2
    if "TOML" in complaint:
        assert "small.toml: " in ended.error_line
        assert "not a TOML file" in ended.error_line
    else:
        assert ended.error_line.startswith(complaint)


def test_a_name_that_is_none_lists_those_there_are(inside: Command) -> None:
    """Exit 2, with the names to choose from; without any name, the way to them."""
    ended = inside("simulate", "price-spite")
    assert ended.code == 2
    assert "price-spike" in ended.error_line
    assert "--list" in inside("simulate").error_line


def test_the_list_has_every_scenario_with_a_sentence(inside: Command) -> None:
    """What ships is found without the manual."""
    out = inside("simulate", "--list").out
    assert [line.split()[0] for line in out.splitlines()] == [*shipped_names(), "swarm"]
    assert set(json.loads(inside("simulate", "--list", "--json").out)) == set(shipped_names())


def test_a_swarm_draws_a_world_from_each_seed(inside: Command) -> None:
    """Every seed has its own mix, and its own command."""
    shown = json.loads(inside("simulate", "swarm", "--runs", 3, "--json").out)
    assert shown["ok"]
    assert [run["replay"] for run in shown["runs"]] == [f"spotfsm simulate swarm --seed {seed}" for seed in range(3)]
    assert len({run["summary"]["jobs"] for run in shown["runs"]}) > 1


def test_a_long_run_says_how_far_it_is(inside: Command, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress goes to stderr once a run has taken a while, and a quick one is silent."""
    assert inside("simulate", small).err == ""
    small.write_text(SMALL.replace("2m", "15m"))
    monkeypatch.setattr(simulate, "QUIET_S", 0.0)
    assert "seed 0: 10m simulated, 0 of 2 jobs settled" in inside("simulate", small).err


def test_the_page_is_written(inside: Command, small: Path, directory: Path) -> None:
    """--html leaves one file, and a directory that is not there is refused before the run."""
    ended = inside("simulate", small, "--html", "small.html")
    assert ended.code == 0
    assert "wrote small.html about seed 0" in ended.err
    assert "Two jobs, and one VM" in (directory / "small.html").read_text(encoding="utf-8")
    assert inside("simulate", small, "--html", "nowhere/small.html").error_line.startswith("--html: ")


def test_other_commands_do_not_import_the_simulator() -> None:
    """A worker never pays for what only simulations need."""
    code = (
        "import sys; from adapters.cli.main import run; run(['simulate', '--help']); run(['worker', '--help']); "
        "bad = {'looptime', 'plotly', 'simulator'} & set(sys.modules); assert not bad, bad"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
