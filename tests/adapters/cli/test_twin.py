"""`spotfsm twin`: served as a process, and ordered about from another."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.twin.client import TwinClient
from tests.adapters.cli.conftest import PATIENCE_S, Command


@pytest.mark.processes
def test_a_served_twin_says_where_it_is_and_ends_on_ctrl_c(
    start: Callable[..., subprocess.Popen[str]], directory: Path
) -> None:
    """The first line is the URL; what it serves is the VM that was asked for."""
    twin = start("twin", "serve", "--port", "0", "--eviction-policy", "Delete", "--boot-id-file", "boot_id")
    assert twin.stdout is not None
    url = twin.stdout.readline().strip()
    identity = TwinClient(url).state()["identity"]
    assert (identity["name"], identity["eviction_policy"]) == ("vm-spot", "Delete")
    assert (directory / "boot_id").read_text().strip() == TwinClient(url).state()["boot_id"]
    twin.send_signal(signal.SIGINT)
    _, err = twin.communicate(timeout=PATIENCE_S)
    assert twin.returncode == 0, err


@pytest.mark.processes
def test_a_twin_listens_where_it_is_told_to(start: Callable[..., subprocess.Popen[str]]) -> None:
    """A twin can be put at IMDS's own address, or any other that the machine has."""
    twin = start("twin", "serve", "--port", "0", "--host", "127.0.0.2")
    assert twin.stdout is not None
    assert twin.stdout.readline().startswith("http://127.0.0.2:")


@pytest.mark.parametrize(
    ("order", "event_type"),
    [
        ("evict", "Preempt"),
        ("freeze", "Freeze"),
        ("reboot", "Reboot"),
        ("redeploy", "Redeploy"),
        ("terminate", "Terminate"),
        ("rebalance", "SpotRebalanceRecommendation"),
    ],
)
def test_every_event_can_be_announced(inside: Command, twin: str, order: str, event_type: str) -> None:
    """The reply is JSON, and IMDS shows the event."""
    ended = inside("twin", order, "--notice", "8s", "--url", twin, "--event-id", "E-1")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["event_id"] == "E-1"
    (event,) = TwinClient(twin).state()["events"]
    assert (event["event_type"], event["resources"]) == (event_type, ["vm-spot"])


def test_orders_change_the_twin(inside: Command, twin: str) -> None:
    """Withdraw, boot, identity, fault and clear do what they say; the URL may come from the environment."""
    env = {"SPOTFSM_TWIN": twin}
    inside("twin", "evict", "--vm", "a", "--vm", "b", env=env)
    assert TwinClient(twin).state()["events"][0]["resources"] == ["a", "b"]
    inside("twin", "withdraw", env=env)
    assert TwinClient(twin).state()["events"] == []
    inside("twin", "boot", "--boot-id", "boot-2", "--vm-id", "vm-2", env=env)
    assert (TwinClient(twin).state()["boot_id"], TwinClient(twin).state()["identity"]["vm_id"]) == ("boot-2", "vm-2")
    inside("twin", "identity", "--eviction-policy", "Delete", env=env)
    assert TwinClient(twin).state()["identity"]["eviction_policy"] == "Delete"
    inside("twin", "fault", "429", "--for", "10s", "--endpoint", "instance", "--retry-after", "3", env=env)
    (fault,) = json.loads(inside("twin", "state", env=env).out)["faults"]
    assert (fault["kind"], fault["endpoint"]) == ("429", "instance")
    inside("twin", "clear", env=env)
    assert TwinClient(twin).state()["faults"] == []


def test_what_the_twin_refuses_is_told_by_the_flag(inside: Command, twin: str) -> None:
    """An event id that stands already is refused, and nothing changes."""
    inside("twin", "evict", "--event-id", "E-1", "--url", twin)
    ended = inside("twin", "evict", "--event-id", "E-1", "--url", twin)
    assert ended.code == 2
    assert ended.error_line.startswith("--event-id: ")
    assert len(TwinClient(twin).state()["events"]) == 1


def test_an_order_to_nobody_is_one_line(inside: Command) -> None:
    """No twin answers there."""
    ended = inside("twin", "clear", "--url", "http://127.0.0.1:9")
    assert ended.code == 1
    assert "no twin answers" in ended.error_line


def test_the_group_explains_itself(inside: Command) -> None:
    """`spotfsm twin` alone lists the orders."""
    ended = inside("twin")
    assert ended.code == 0
    assert "evict" in ended.out
