"""`spotfsm simulate`: scenarios by name and by file, their numbers, their verdict, and how to run them again."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.cli import simulate_runs
from adapters.host.journal_lines import read_journals
from fsm.replay import replay
from simulator.loading import read_value, shipped_names, written
from tests.adapters.cli.conftest import PATIENCE_S, Command, Ended
from tests.process_groups import members
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


def test_what_several_runs_saved_is_of_their_cost_together(inside: Command) -> None:
    """A run of seconds costs many times what it would have: it must not outweigh those of hours beside it."""
    arguments = ("simulate", "swarm", "--runs", 4)
    costs = [run["costs"] for run in json.loads(inside(*arguments, "--json").out)["runs"]]
    spot_usd, regular_usd = (sum(Decimal(one[name]) for one in costs) for name in ("total_usd", "pay_as_you_go_usd"))
    shares = [one["saving"] for one in costs]
    (line,) = (line for line in inside(*arguments).out.splitlines() if line.startswith("saved"))
    assert line.split()[1:] == [f"{share:.1%}" for share in (1 - spot_usd / regular_usd, min(shares), max(shares))]
    assert abs(sum(shares) / len(shares) - float(1 - spot_usd / regular_usd)) > 0.01


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
        ("[workload]\njbos = 3\n", "small.toml: workload.jbos: there is no such key. Did you mean 'jobs'?"),
        ("[wrokload]\njobs = 3\n", "small.toml: wrokload: there is no such key. Did you mean 'workload'?"),
        ("[market]\nkind = 'stochastik'\n", "small.toml: market.kind: 'stochastik' is no kind of market. Did you mean"),
        ("[workload]\njobs = -3\n", "small.toml: workload.jobs: -3 is below 1"),
        ("[expect]\ncompleted = -1\n", "small.toml: expect.completed: -1 is below 0"),
        ("[vms]\ncount = 3\n", "small.toml: vms: a list is expected, not {'count': 3}. Write [[vms]]."),
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


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (
            "price-spite",
            "scenario: there is no file and no scenario 'price-spite'. Did you mean 'price-spike'? There are",
        ),
        (
            "Price-Spike",
            "scenario: there is no file and no scenario 'Price-Spike'. Did you mean 'price-spike'? There are",
        ),
        ("swarm.toml", "scenario: there is no file and no scenario 'swarm.toml'. Did you mean 'swarm'? There are"),
        ("zzz", "scenario: there is no file and no scenario 'zzz'. There are: bad-network, "),
        ("nowhere.toml", "scenario: there is no file nowhere.toml. Check the path."),
        (".", "scenario: . is a directory. Name a TOML file in it."),
        ("", "scenario: none is named. Name one of `spotfsm simulate --list`, or a file."),
    ],
)
def test_a_name_that_is_none_is_one_line(inside: Command, name: str, complaint: str) -> None:
    """Exit 2, with the one that was meant and those there are."""
    ended = inside("simulate", name)
    assert ended.code == 2
    assert ended.error_line.startswith(complaint)


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
    monkeypatch.setattr(simulate_runs, "QUIET_S", 0.0)
    assert "seed 0: 10m simulated, 0 of 2 jobs settled" in inside("simulate", small).err
    small.write_text(small.read_text() + '[[sweep]]\nkey = "workload.checkpoint_every_s"\nvalues = [20, 60, 90]\n')
    assert "3 of 6 runs done" in inside("simulate", small, "--runs", 2).err


def test_the_page_is_written(inside: Command, small: Path, directory: Path) -> None:
    """--html leaves one file, and a directory that is not there is refused before the run."""
    ended = inside("simulate", small, "--html", "small.html")
    assert ended.code == 0
    assert "wrote small.html about seed 0" in ended.err
    assert "Two jobs, and one VM" in (directory / "small.html").read_text(encoding="utf-8")
    assert inside("simulate", small, "--html", "nowhere/small.html").error_line.startswith("--html: ")
    assert inside("simulate", small, "--html", directory).error_line.startswith("--html: ")
    assert inside("simulate", small, "--html", "/proc/small.html").error_line.startswith(
        "--html: /proc/small.html cannot"
    )
    ended = inside("simulate", small, "--html", "beside.html", "--json")
    assert json.loads(ended.out)["ok"]
    assert (directory / "beside.html").stat().st_size > 10_000


# -- journals ---------------------------------------------------------------------------------------------------------


@pytest.mark.illegal_journal  # the same seed twice: one process's lines in two files
def test_the_same_seed_has_the_same_journal(inside: Command, small: Path, directory: Path) -> None:
    """Byte for byte, however many runs there are at a time; and each alone is one that replay accepts."""
    small.write_text(SMALL + '[[sweep]]\nkey = "vms.policy"\nvalues = ["Delete", "Deallocate"]\n')
    places = [directory / name for name in ("alone", "again", "together")]
    for place, processes in zip(places, (1, 1, 2), strict=True):
        place.mkdir()
        ended = inside("simulate", small, "--runs", 2, "--processes", processes, "--journal", place.name)
        assert ended.code == 0
        assert f"wrote 4 journals in {place.name}" in ended.err
    alone, *others = [{file.name: file.read_bytes() for file in place.iterdir()} for place in places]
    assert sorted(alone) == [
        f"small-seed-{seed}-vms.policy={policy}.jsonl" for seed in (0, 1) for policy in ("Deallocate", "Delete")
    ]
    assert others == [alone, alone]
    for file in places[0].iterdir():
        judged = json.loads(inside("replay", file, "--json").out)
        assert judged["legal"]
        assert judged["completed"] == 2
    one = "small-seed-1-vms.policy=Delete.jsonl"
    ended = inside("simulate", small, "--seed", 1, "--set", "vms.policy=Delete", "--journal", "one.jsonl", "--json")
    assert json.loads(ended.out)["runs"][0]["journal"] == "one.jsonl"
    assert (directory / "one.jsonl").read_bytes() == alone[one]
    assert inside("draw", "job", "--journal", "one.jsonl").code == 0


def test_a_run_that_fails_leaves_its_journal(inside: Command, small: Path, directory: Path) -> None:
    """It is wanted most then; it takes the place of what was there, through a link as well, and leaves nothing else."""
    small.write_text(SMALL + "[expect]\ncompleted = 3\n")
    (directory / "there").mkdir()
    (directory / "there" / "old.jsonl").write_text("what was there before")
    (directory / "link.jsonl").symlink_to("there/old.jsonl")
    ended = inside("simulate", small, "--journal", "link.jsonl")
    assert ended.code == 1
    assert "wrote link.jsonl" in ended.err
    assert (directory / "link.jsonl").is_symlink()
    assert [file.name for file in (directory / "there").iterdir()] == ["old.jsonl"]
    assert "2 completed" in inside("replay", "link.jsonl").out


@pytest.mark.parametrize(
    ("place", "options", "complaint"),
    [
        ("nowhere/one.jsonl", (), "nowhere is not there. Create the directory."),
        ("/proc/one.jsonl", (), "/proc/one.jsonl cannot be written ("),
        ("/proc", (), "/proc cannot be written ("),
        ("/dev/null", (), "/dev/null is no regular file. Name a file or a directory."),
        ("one.jsonl", ("--runs", 2), "one.jsonl is no directory, and several runs need a file each. Name a directory"),
        ("one.jsonl", ("--lasting", "1s"), "one.jsonl is no directory, and several runs need a file each."),
        ("one.jsonl", ("--set", "workload.jobs=3"), ""),
    ],
)
def test_a_journal_without_a_place_is_refused_before_the_run(
    inside: Command, directory: Path, place: str, options: tuple[object, ...], complaint: str
) -> None:
    """Exit 2 with one line, before minutes are spent; a place that will do is not touched."""
    file = directory / "slow.toml"
    file.write_text(SMALL if not complaint else SMALL.replace("2\n", "100000\n", 1))
    ended = inside("simulate", file, "--journal", place, *options)
    if complaint:
        assert ended.code == 2
        assert ended.error_line.startswith("--journal: ")
        assert complaint in ended.error_line
        assert [file.name for file in directory.iterdir()] == ["slow.toml"]
    else:
        assert ended.code == 0


def test_a_journal_that_cannot_be_written_ends_the_runs_and_keeps_what_was_there(
    inside: Command, small: Path, directory: Path
) -> None:
    """The runs that were made are shown, the last line says why there are no more, and no half of a journal is left."""
    (directory / "runs").mkdir()
    (directory / "runs" / "small-seed-1.jsonl").mkdir()  # cannot be replaced by a file, as on a full disk none is made
    ended = inside("simulate", small, "--runs", 5, "--journal", "runs")
    assert ended.code == 2
    last_line = ended.err.splitlines()[-1]
    assert last_line.startswith("error: --journal: runs/small-seed-1.jsonl cannot be written (")
    assert "2 runs, " in ended.out
    assert sorted(file.name for file in (directory / "runs").iterdir()) == ["small-seed-0.jsonl", "small-seed-1.jsonl"]


def test_other_commands_do_not_import_the_simulator() -> None:
    """A worker never pays for what only simulations need."""
    code = (
        "import sys; from adapters.cli.main import run; run(['simulate', '--help']); run(['worker', '--help']); "
        "bad = {'looptime', 'plotly', 'simulator'} & set(sys.modules); assert not bad, bad"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------


class Interrupted:
    """A command in a process group of its own, as a shell starts it."""

    def __init__(self, directory: Path, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "adapters.cli", "simulate", *map(str, arguments)],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def interrupt(self, *, group: bool) -> tuple[Ended, float]:
        """Press Ctrl-C, or interrupt the parent alone; what it left, and how long it took to end, in seconds."""
        began_s = time.monotonic()
        (os.killpg if group else os.kill)(self.process.pid, signal.SIGINT)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        took_s = time.monotonic() - began_s
        while members(self.process.pid) and time.monotonic() - began_s < PATIENCE_S:
            time.sleep(0.01)  # the resource tracker of multiprocessing goes when it sees that its parent has gone
        assert members(self.process.pid) == []
        return Ended(code=self.process.returncode, out=out, err=err), took_s

    def close(self) -> None:
        """Leave nothing, whatever the test came to."""
        for left in members(self.process.pid):
            os.kill(left, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def interrupted(directory: Path) -> Iterator[Callable[..., Interrupted]]:
    """Starts simulations that are to be interrupted."""
    started: list[Interrupted] = []

    def start(*arguments: object) -> Interrupted:
        started.append(Interrupted(directory, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.processes
@pytest.mark.parametrize("group", [True, False], ids=["as-a-terminal-does", "the-parent-alone"])
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.illegal_journal  # of many worlds, whose workers have the same names
def test_after_ctrl_c_there_is_what_was_finished(
    interrupted: Callable[..., Interrupted], directory: Path, processes: int, *, group: bool
) -> None:
    """Exit 130 with a table and the journals of the runs that were done, none of which is lost; no complaint."""
    (directory / "runs").mkdir()
    command = interrupted("swarm", "--runs", 100_000, "--processes", processes, "--journal", "runs")
    assert command.process.stderr is not None
    done = (int(line.split()[0]) for line in command.process.stderr if "runs done" in line)
    told = next(count for count in done if count >= 2)  # the table about one run alone has another head
    ended, took_s = command.interrupt(group=group)
    assert ended.code == 130
    lines = ended.out.splitlines()
    assert lines[0].split() == ["mean", "least", "most", "pay-as-you-go"]
    count, _, rest = lines[-1].partition(" runs, ")
    assert int(count) >= told
    assert rest.endswith(" VM-hours: interrupted; every promise kept, every expectation met until then")
    *progress, wrote = ended.err.splitlines()
    assert wrote == f"wrote {count} journals in runs"
    assert all("runs done" in line or " simulated, " in line for line in progress), ended.err
    journals = sorted((directory / "runs").iterdir())
    assert len(journals) == int(count)
    assert all(replay(read_journals(journal)).legal for journal in journals)
    assert took_s < 10.0  # a second or two on an idle machine


@pytest.mark.processes
@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_amid_runs_without_end(interrupted: Callable[..., Interrupted], processes: int) -> None:
    """Nobody waits for what is under way: the end comes at once, and JSON says that it was not the end of the work."""
    options = ("--set", "workload.jobs=200000", "--runs", 5, "--processes", processes, "--json")
    command = interrupted("scale-out", *options)
    assert command.process.stderr is not None
    told = command.process.stderr.readline()
    assert told.startswith("0 of 5 runs done, " if processes == 2 else "run 1 of 5, seed 0: "), told
    ended, _ = command.interrupt(group=True)
    assert ended.code == 130
    assert json.loads(ended.out) == {"ok": False, "interrupted": True, "scenario": "scale-out", "runs": []}
    assert "Traceback" not in ended.err


def test_a_variant_is_replayed_alone(inside: Command, small: Path) -> None:
    """The command printed for a run of a sweep makes that run again, and no other; values need not be numbers."""
    sweep = '[[sweep]]\nkey = "{}"\nvalues = {}\n'
    small.write_text(
        SMALL
        + "[expect]\nevictions_max = 0\n"
        + sweep.format("workload.checkpoint_every_s", "[20, 60]")
        + sweep.format("vms.policy", '["Delete", "Deallocate"]')
        + sweep.format("worker.store", "[true, false]")
    )
    told = json.loads(inside("simulate", small, "--json").out)
    assert len(told["runs"]) == 8
    for run in told["runs"]:
        command, *arguments = shlex.split(run["replay"])
        assert command == "spotfsm"
        (again,) = json.loads(inside(*arguments, "--json").out)["runs"]
        assert {**again, "variant": run["variant"]} == run
    shown = inside("simulate", small).out
    assert f"{small}:" in shown
    assert shown.splitlines()[-1] == f"replay: {told['runs'][0]['replay']}"
    assert "--set workload.checkpoint_every_s=20 --set vms.policy=Delete --set worker.store=true" in shown


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("workload.jobs", "--set: 'workload.jobs' is not KEY=VALUE"),
        ("workload.jobs=many", "--set: workload.jobs: 'many' is not of type int"),
        ("workload.jbos=3", "--set: workload.jbos: there is no key 'jbos'. Did you mean 'jobs'?"),
        ("vms.count=-1", "--set: vms.count: -1 is below 1"),
    ],
)
def test_a_wrong_setting_is_one_line(inside: Command, small: Path, setting: str, complaint: str) -> None:
    """Exit 2; the line names the key, and the one that was meant."""
    ended = inside("simulate", small, "--set", setting)
    assert ended.code == 2
    assert ended.error_line.startswith(complaint)


@given(st.text() | st.floats(allow_nan=False) | st.integers() | st.booleans())
def test_a_value_on_the_command_line_is_that_of_the_file(value: str | float) -> None:
    """Whatever a sweep has, its text is read as the same value, of the same type."""
    again = read_value(written(value))
    assert (again, type(again)) == (value, type(value))
