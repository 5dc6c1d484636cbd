"""The README says what is so: its example runs, its settings exist, its keys are the keys."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from adapters.cli.commands import COMMANDS
from adapters.cli.config import SHARED
from adapters.cli.permissions import NEEDS, Permission
from adapters.telemetry.table import metrics_table
from fsm.drawing.files import marked
from tests.adapters.azure.compute import GROUP, NAME, Compute
from tests.adapters.azure.planning.cloud import history_row, serve_cloud, sku
from tests.adapters.azure.planning.price_rows import rows
from tests.adapters.cli.conftest import Command
from tests.adapters.cli.planning import asking
from tests.adapters.cli.test_worker import RECEIPT_KEYS

README = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first code block in a language."""
    found = re.search(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def section(title: str) -> str:
    """What stands under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", README, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def keys(command: str) -> set[str]:
    """The keys that the README documents for a command: the names in code, before what is said of each."""
    found = re.search(rf"^\| `{command}` \| (.*) \|$", section("Keys of `--json`"), re.MULTILINE)
    assert found is not None
    return set(re.findall(r"`([a-z0-9_]+)`", found[1]))


@pytest.mark.processes
def test_the_example_runs_as_it_stands(spotfsm: Command, directory: Path) -> None:
    """A newcomer who copies the handler and the commands sees the jobs completed."""
    source = block("python")
    assert len(source.splitlines()) <= 20
    (directory / "jobs.py").write_text(source)
    assert spotfsm("enqueue", '{"book": "Emma", "pages": 2}', "--count", 5).code == 0
    assert spotfsm("worker", "--handler", "jobs:handle", "--until-empty").code == 0
    assert json.loads(spotfsm("status", "--json").out)["completed"] == 5


def test_every_command_is_in_the_table_and_no_other() -> None:
    """What can be called is described."""
    assert set(re.findall(r"^\| `([a-z]+)` \|", section("Commands"), re.MULTILINE)) == {*COMMANDS}


def test_every_setting_of_the_worker_is_in_the_table_and_no_other(inside: Command) -> None:
    """The table is complete, and names nothing that does not exist."""
    documented = set()
    for row in re.findall(r"^\| (`--.*?) \|", section("Settings"), re.MULTILINE):
        documented |= set(re.findall(r"--[a-z-]+", row))
    offered = set(re.findall(r"^│ \*?\s*(--[a-z-]+)", inside("worker", "--help").out, re.MULTILINE))
    assert documented == offered - {"--json", "--config", "--help"}


def test_the_example_file_of_settings_is_one(inside: Command, directory: Path) -> None:
    """It is TOML that a command reads; the queue of an account that nobody has is not asked."""
    (directory / "spotfsm.toml").write_text(block("toml"))
    ended = inside("worker", "--queue", "sqlite:///a.db", "--store", "none", "--until-empty")
    assert ended.code == 2
    assert ended.error_line.startswith("--handler: 'jobs' cannot be imported")
    assert {"queue", "store"} <= SHARED


def test_the_keys_of_status_and_enqueue_are_documented(inside: Command) -> None:
    """Programs may rely on the README."""
    assert keys("enqueue") == json.loads(inside("enqueue", "a", "--json").out).keys()
    assert keys("status") == json.loads(inside("status", "--json").out).keys()
    assert keys("prune") == json.loads(inside("prune", "--json").out).keys()
    assert keys("worker") == RECEIPT_KEYS
    doctor = json.loads(inside("doctor", "--json").out)
    assert keys("doctor") == doctor.keys() | doctor["checks"][0].keys()


def test_the_keys_of_the_planning_commands_are_documented(inside: Command, directory: Path, twin: str) -> None:
    """Every key of a report is in its row, and no other, but for the texts of an example."""
    with serve_cloud() as cloud:
        cloud.items = [*rows("Standard_D2s_v5", "eastus2", spot_price=0.01, price=0.1)]
        cloud.skus = [sku("Standard_D2s_v5", "eastus2", 2, 8)]
        cloud.usages = [{"name": {"value": "lowPriorityCores"}, "currentValue": 0, "limit": 3}]
        cloud.histories = [history_row("Standard_D2s_v5", "eastus2", ("2026-11-01", 0.01))]
        prices = json.loads(
            asking(inside, cloud, twin, directory, "prices")("D2s_v5", "--region", "eastus2", "--json").out
        )
        sizes = json.loads(asking(inside, cloud, twin, directory, "sizes")("--region", "eastus2", "--json").out)
    (quote,), (quota,) = prices["quotes"], prices["quota"]
    assert keys("prices") == prices.keys() | quote.keys() | quote["history"][0].keys() | quota.keys()
    assert keys("sizes") == sizes.keys() | sizes["sizes"][0].keys()


def test_the_keys_of_a_vm_are_documented(inside: Command, directory: Path, twin: str) -> None:
    """Those of `vm show`, and the one that an order adds."""
    with serve_cloud() as cloud:
        cloud.more = [Compute(url=cloud.url)]
        vm = asking(inside, cloud, twin, directory, "vm")
        shown, left = (
            json.loads(vm(what, NAME, "--resource-group", GROUP, "--json").out) for what in ("show", "deallocate")
        )
    assert keys("vm") == shown.keys() | left.keys()


def test_every_metric_is_in_the_table_as_the_code_has_it() -> None:
    """The table is generated from the catalogue that is served."""
    assert marked("metrics", metrics_table()) in README


def test_the_custom_role_is_json_that_may_renew() -> None:
    """The permission that the built-in role lacks is in it."""
    role = json.loads(block("json"))
    assert any(action.endswith("/messages/write") for action in role["DataActions"])


def test_the_custom_role_is_what_a_worker_and_doctor_need() -> None:
    """With it on both queues a worker works and doctor can look at everything, and there is nothing else in it."""
    role = json.loads(block("json"))
    needed = {*NEEDS["doctor"].queue, *NEEDS["doctor"].poison_queue, *NEEDS["worker"].queue}
    assert {*role["Actions"], *role["DataActions"]} == {permission.full_name for permission in needed}
    assert role["Actions"] == [Permission.COUNT_MESSAGES.full_name]


def test_the_table_of_rights_is_what_commands_are_held_to() -> None:
    """Command by command, as the tests that run them behind a guard have it."""
    rows = re.findall(r"^\| `([a-z -]+)` \|(.*)\|(.*)\|(.*)\|$", section("On Azure"), re.MULTILINE)
    told = {
        command: [{Permission(name) for name in re.findall(r"`(.*?)`", cell)} for cell in cells]
        for command, *cells in rows
    }
    assert told == {
        command: [{*needs.queue}, {*needs.poison_queue}, {*needs.container}] for command, needs in NEEDS.items()
    }
