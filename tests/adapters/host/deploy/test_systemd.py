"""The units and the script under a real systemd, without a network."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest

from fsm.runner import WorkerSettings
from fsm.runner.settings import SETTLING_S
from tests.adapters.host.deploy.conftest import STATE, Packer, Vm
from tests.container import Machine

pytestmark = [pytest.mark.processes, pytest.mark.root, pytest.mark.timeout(400)]

UNIT = "spotfsm-worker.service"
EXPOSURE_MAX = 1.5
"""As `systemd-analyze security` has it: 0 is sealed, 10 is bare; it calls up to 2 OK."""
UNINTERESTING = (
    "/var/log",
    "/var/tmp",
    "/var/lib/systemd",
    "/var/lib/waagent",
    "/var/cache",
    "/run",
    "/tmp",
    "/proc",
    "/sys",
    "/dev",
)


def test_an_installed_worker_runs_sandboxed_as_nobody_else_and_starts_at_boot(vm: Vm) -> None:
    """After the first boot it runs by itself, as a user of its own, and does jobs; systemd finds no fault."""
    machine = vm.machine
    assert machine.show(UNIT, "UnitFileState") == "enabled"
    assert machine.show(UNIT, "ActiveState") == "active"
    assert machine.run("stat", "-c", "%u", f"/proc/{vm.pid()}").stdout.strip() != "0"
    vm.enqueue(1, count=5)
    machine.wait_until(lambda: vm.completed() == 5, why="jobs are not done")
    machine.run("/opt/spotfsm/current/spotfsm", "doctor")
    machine.run("systemd-analyze", "verify", "--recursive-errors=yes", UNIT, "spotfsm-worker@7.service")
    said = machine.run("systemd-analyze", "security", "--no-pager", UNIT).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert exposure is not None
    assert float(exposure[1]) <= EXPOSURE_MAX


def test_its_log_in_the_journal_is_json_by_itself(vm: Vm) -> None:
    """Nobody has to ask for it: each line that the worker itself wrote is an event with its fields."""
    machine = vm.machine

    def said() -> list[str]:
        """Since the boot: before, there may have been a start without a queue."""
        lines = ("--no-pager", "--output=cat", "--boot", "--unit", UNIT, "_COMM=spotfsm")
        return machine.run("journalctl", *lines).stdout.splitlines()

    machine.wait_until(lambda: bool(said()), why="the worker says nothing")
    machine.run("systemctl", "stop", UNIT)
    events = [json.loads(line) for line in said()]
    assert {"state", "stop", "receipt"} <= {event["event"] for event in events}
    assert {event["worker"] for event in events} == {"1"}


def test_installing_again_disturbs_nobody(vm: Vm, packed: Packer) -> None:
    """The agent may run an action twice, and a worker goes on through it."""
    directory = vm.deliver(packed("1.0.0"), "again")
    before = vm.pid()
    vm.act("install", directory)
    assert vm.pid() == before


def test_stopping_hands_jobs_back_in_time_and_starting_resumes_them(vm: Vm) -> None:
    """`systemctl stop` ends well before systemd would kill, with exit code 0; nothing runs on, and nothing is lost."""
    machine = vm.machine
    vm.enqueue(600)
    vm.wait_for_steps()
    began_s = time.monotonic()
    machine.run("systemctl", "stop", UNIT)
    assert time.monotonic() - began_s < WorkerSettings().stop_grace_s + SETTLING_S
    assert machine.show(UNIT, "Result") == "success"
    assert machine.show(UNIT, "ExecMainStatus") == "0"
    found = vm.status()
    assert (found["queued"], found["running"], found["released"]) == (1, 0, 1)
    machine.run("systemctl", "start", UNIT)
    machine.wait_until(lambda: len(vm.said()) == 2, why="the job does not go on")
    assert int(vm.said()[1][3]) > 0
    machine.spotfsm("replay", f"{STATE}/worker.jsonl")


@pytest.mark.parametrize("instances", [1, 2])
def test_a_longer_grace_of_the_operator_s_is_waited_for(vm: Vm, packed: Packer, instances: int) -> None:
    """A drain is given what `worker.env` says, whatever the unit's own timeout is; nothing is killed."""
    machine = vm.machine
    machine.run("mkdir", "-p", "/etc/spotfsm", f"/etc/systemd/system/{UNIT}.d")
    env = f"SPOTFSM_STOP_GRACE=30s\nSPOTFSM_INSTANCES={instances}\n"
    (machine.root / "etc/spotfsm/worker.env").write_text(env)
    (machine.root / f"etc/systemd/system/{UNIT}.d/short.conf").write_text("[Service]\nTimeoutStopSec=2\n")
    vm.act("update", vm.deliver(packed.patient("5.0.0"), "5.0.0"))
    vm.enqueue(8)
    machine.wait_until(lambda: len(vm.said()) == 1, why="no job has begun")
    began_s = time.monotonic()
    machine.run("systemctl", "stop", UNIT)
    assert time.monotonic() - began_s > 4, "the job was over too soon to show anything"
    assert (machine.show(UNIT, "Result"), machine.show(UNIT, "ExecMainStatus")) == ("success", "0")
    assert vm.completed() == 1


def test_a_killed_worker_is_started_anew_and_its_job_goes_on(vm: Vm) -> None:
    """SIGKILL costs what was not saved and the rest of the lease, and needs no human."""
    machine = vm.machine
    vm.enqueue(50)
    vm.wait_for_steps()
    before = vm.pid()
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", UNIT)
    machine.wait_until(lambda: vm.completed() == 1, why="the job is not done")
    assert vm.pid() not in {0, before}
    assert machine.show(UNIT, "NRestarts") == "1"
    assert int(vm.said()[1][3]) > 0
    machine.spotfsm("replay", f"{STATE}/worker.jsonl")


def test_a_reboot_and_a_power_cut_are_survived(vm: Vm) -> None:
    """The unit starts at boot, the state directory is still there, and the job goes on each time."""
    machine = vm.machine
    vm.enqueue(100)
    vm.wait_for_steps()
    machine.reboot()
    machine.wait_until(lambda: len(vm.said()) == 2, why="the job does not go on after a reboot")
    machine.cut_power()
    machine.boot()
    machine.wait_until(lambda: vm.completed() == 1, why="the job is not done")
    steps = [int(run[3]) for run in vm.said()]
    assert len(steps) == 3
    assert steps == sorted(steps)
    assert steps[1] > 0


def test_an_upgrade_drains_the_old_and_can_be_taken_back(vm: Vm, packed: Packer) -> None:
    """The new version goes on with the old one's job; the old one stays beside it until it is removed."""
    machine = vm.machine
    vm.enqueue(1000)
    vm.wait_for_steps()
    vm.act("update", vm.deliver(packed("1.1.0"), "1.1.0"))
    machine.wait_until(lambda: len(vm.said()) == 2, why="the job does not go on")
    assert [run[0] for run in vm.said()] == ["1.0.0", "1.1.0"]
    assert int(vm.said()[1][3]) > 0

    machine.run("/bin/bash", "/opt/spotfsm/versions/1.0.0/orchestrate.sh", "-i")
    machine.wait_until(lambda: len(vm.said()) == 3, why="the job does not go on")
    assert vm.said()[2][0] == "1.0.0"

    machine.run("/bin/bash", "/opt/spotfsm/versions/1.1.0/orchestrate.sh", "-u")
    assert machine.run("ls", "/opt/spotfsm/versions").stdout.split() == ["1.0.0"]
    assert vm.pid() != 0
    machine.spotfsm("replay", f"{STATE}/worker.jsonl")


def test_an_upgrade_that_was_cut_short_is_completed_by_the_next_try(vm: Vm, packed: Packer) -> None:
    """With the link replaced and the worker not yet restarted, the second run restarts it."""
    machine = vm.machine
    directory = vm.deliver(packed("1.1.0"), "1.1.0")
    vm.act("update", directory)
    machine.run("ln", "-sfn", "/opt/spotfsm/versions/1.0.0", "/opt/spotfsm/current")
    machine.run("systemctl", "restart", UNIT)
    machine.run("ln", "-sfn", "/opt/spotfsm/versions/1.1.0", "/opt/spotfsm/current")
    vm.act("update", directory)
    assert machine.run("readlink", f"/proc/{vm.pid()}/cwd").stdout.strip() == "/opt/spotfsm/versions/1.1.0/app"


def test_several_share_the_work_and_one_is_the_only_one_of_its_name(vm: Vm, packed: Packer) -> None:
    """Instances of the template take the singleton's place, each gets its share, and the singleton's name is taken."""
    machine = vm.machine
    machine.run("mkdir", "/etc/spotfsm")
    machine.run("/bin/bash", "-c", "echo SPOTFSM_HEALTH_PORT=8181 > /etc/spotfsm/worker.env")
    vm.act("update", vm.deliver(packed("2.0.0", "--units", "3"), "2.0.0"))
    units = [f"spotfsm-worker@{number}.service" for number in (1, 2, 3)]
    assert [machine.show(unit, "ActiveState") for unit in units] == ["active"] * 3
    assert machine.show(UNIT, "UnitFileState") == "disabled"
    assert machine.show(UNIT, "ActiveState") == "inactive"
    vm.enqueue(5, count=30)
    machine.wait_until(lambda: vm.completed() == 30, why="jobs are not done")
    shares = [sum(run[1] == instance for run in vm.said()) for instance in ("1", "2", "3")]
    assert sum(shares) == 30
    assert min(shares) >= 5
    for port in (8181, 8182, 8183):
        ask = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/healthz').status)"
        assert machine.run("python3", "-c", ask).stdout.strip() == "200"

    machine.run("systemctl", "start", UNIT)
    machine.wait_until(
        lambda: "runs on this host already" in machine.run("journalctl", "--no-pager", "-u", UNIT).stdout,
        why="two workers of one name run",
    )
    machine.run("systemctl", "stop", UNIT, units[0])
    machine.run("systemctl", "start", UNIT)
    machine.wait_until(lambda: vm.pid() != 0, why="the name is not free")

    vm.act("update", vm.deliver(packed("2.0.1"), "2.0.1"))
    assert [machine.show(unit, "ActiveState") for unit in units] == ["inactive"] * 3
    assert machine.show(UNIT, "ActiveState") == "active"


@pytest.mark.parametrize("kept", [False, True])
def test_removing_leaves_nothing_behind_but_what_is_to_be_kept(
    blank: Machine, installed: Machine, booted: Callable[[Machine], Vm], *, kept: bool
) -> None:
    """Every file, every unit and the user are gone; the state directory stays if its operator says so."""
    before = files(booted(blank))
    vm = booted(installed)
    machine = vm.machine
    vm.enqueue(1)
    machine.wait_until(lambda: vm.completed() == 1, why="the job is not done")
    if kept:
        machine.run("touch", f"{STATE}/keep")
    directory = "/var/lib/waagent/Microsoft.CPlat.Core.VMApplicationManagerLinux/worker/1.0.0"
    vm.act("remove", directory)
    vm.act("remove", directory)
    left = files(vm) - before
    if kept:
        assert {file for file in left if not file.startswith("/var/lib/private/spotfsm")} == {STATE}
        assert "/var/lib/private/spotfsm/jobs.db" in left
        vm.act("install", directory)
        assert vm.completed() == 1
        vm.act("remove", directory)
    else:
        assert left == set()
    assert before - files(vm) == set()
    assert machine.run("find", "/run", "/tmp", "/var/tmp", "-name", "*spotfsm*").stdout == ""
    assert machine.run("getent", "passwd", "spotfsm", check=False).returncode != 0
    assert machine.run("systemctl", "list-units", "--all", "--no-legend", "spotfsm*").stdout == ""


def files(vm: Vm) -> set[str]:
    """All files of a machine, but for what comes and goes by itself."""
    prune = [word for path in UNINTERESTING for word in ("-path", path, "-prune", "-o")]
    return set(vm.machine.run("find", "/", *prune, "-print").stdout.splitlines())


def test_a_package_that_does_not_fit_or_is_damaged_changes_nothing(vm: Vm, packed: Packer) -> None:
    """One line says what is wrong, and the worker that runs goes on."""
    machine, before = vm.machine, vm.pid()
    directory = vm.deliver(packed("1.1.0"), "1.1.0")
    machine.run("tar", "-xzf", "worker", cwd=directory)
    machine.run("sed", "-i", "s/^readonly python=.*/readonly python=3.99/", "orchestrate.sh", cwd=directory)
    ended = machine.run("/bin/bash", "orchestrate.sh", "-i", check=False, cwd=directory)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: this package is for Python 3.99")
    assert len(ended.stderr.splitlines()) == 1

    whole = vm.deliver(packed("1.1.0"), "damaged")
    machine.run("tar", "-xzf", "worker", cwd=whole)
    machine.run("/bin/bash", "-c", "echo >> app/jobs.py", cwd=whole)
    ended = machine.run("/bin/bash", "orchestrate.sh", "-i", check=False, cwd=whole)
    assert ended.returncode == 1
    assert "is damaged" in ended.stderr
    assert machine.run("ls", "-A", "/opt/spotfsm/versions").stdout.split() == ["1.0.0"]
    assert vm.pid() == before


def test_a_notice_drains_and_a_withdrawn_one_resumes(vm: Vm) -> None:
    """Under the unit's sandbox the worker reads IMDS, whose address the operator's own settings give."""
    machine = vm.machine
    twin = "http://127.0.0.1:8169"
    machine.run("mkdir", "/etc/spotfsm")
    machine.run("/bin/bash", "-c", f"echo SPOTFSM_IMDS={twin} > /etc/spotfsm/worker.env")
    spotfsm = "/opt/spotfsm/current/venv/bin/spotfsm"
    machine.run("systemd-run", "--unit=twin", spotfsm, "twin", "serve", "--port", "8169")
    machine.run("systemctl", "restart", UNIT)
    vm.enqueue(1000)
    vm.wait_for_steps()
    machine.run(spotfsm, "twin", "evict", "--notice", "20s", "--url", twin)
    machine.wait_until(lambda: vm.status()["released"] == 1, why="the job is not handed back")
    assert machine.show(UNIT, "ActiveState") == "active"
    machine.run(spotfsm, "twin", "withdraw", "--url", twin)
    machine.wait_until(lambda: len(vm.said()) == 2, why="the job does not go on")
    assert int(vm.said()[1][3]) > 0


def test_a_command_does_jobs_with_its_words_as_they_were_given(vm: Vm, packed: Packer) -> None:
    """A program of the user's, in place of a handler, under the sandbox and with systemd's own reading of the words."""
    machine = vm.machine
    words = ["100%", "$HOME", 'a "quoted" word', "back\\slash", "", ";", "new\nline"]
    vm.act("update", vm.deliver(packed.command("3.0.0", *words), "3.0.0"))
    vm.enqueue(1)
    machine.wait_until(lambda: vm.completed() == 1, why="the job is not done")
    assert (machine.root / "var/lib/private/spotfsm/words").read_text().split("\0")[:-1] == words


def test_a_job_that_holds_too_much_memory_fails_alone(vm: Vm, packed: Packer) -> None:
    """The sandbox hides neither the jobs' processes from the worker nor what they occupy; others go on beside it."""
    machine = vm.machine
    vm.act("update", vm.deliver(packed.plain("4.0.0"), "4.0.0"))
    before = vm.pid()
    vm.enqueue(512)
    machine.wait_until(lambda: "of memory, over --job-memory" in vm.journal(), why="nobody looks at memory")
    vm.enqueue(1, count=3)
    machine.wait_until(lambda: vm.completed() == 3, why="other jobs are not done")
    assert vm.pid() == before


def test_a_killed_worker_leaves_no_process_of_a_job_behind(vm: Vm, packed: Packer) -> None:
    """What a job runs in ends with the worker, before the next one starts."""
    machine = vm.machine
    vm.act("update", vm.deliver(packed.plain("4.0.0"), "4.0.0"))
    vm.enqueue(64)
    machine.wait_until(lambda: len(processes(vm)) > 2, why="no process of a job runs")
    old = processes(vm)
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", UNIT)
    machine.wait_until(lambda: vm.pid() not in {0, *old}, why="no worker runs")
    assert not old & processes(vm)


def processes(vm: Vm) -> set[int]:
    """All that the unit runs."""
    files = f"/sys/fs/cgroup/{{systemd,.}}{vm.machine.show(UNIT, 'ControlGroup')}/cgroup.procs"
    found = vm.machine.run("/bin/bash", "-c", f"cat {files}", check=False).stdout
    return {int(line) for line in found.split()}
