"""The twin on a socket: orders, faults in their manner, and its end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.error import HTTPError

import httpx
import pytest

from adapters.imds.client import ImdsClient
from adapters.twin.client import TwinClient
from adapters.twin.faults import FaultKind
from adapters.twin.orders import ORDERS
from adapters.twin.running import twin_in_thread
from adapters.twin.server import Twin, serve_twin
from fsm.errors import BadReplyError, ConfigurationError, ReplyLostError

TIMEOUT_S = 10.0
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def orders() -> Iterator[TwinClient]:
    """A client of a twin in a thread of its own."""
    with twin_in_thread() as url:
        yield TwinClient(url)


@pytest.fixture
async def twin() -> AsyncIterator[Twin]:
    async with serve_twin() as twin:
        yield twin


# -- orders ----------------------------------------------------------------------------------------------------------


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
def test_each_event_can_be_ordered(orders: TwinClient, order: str, event_type: str) -> None:
    """An order announces one event to this VM, returns its id, and takes it back by that id."""
    announce = {
        "evict": orders.evict,
        "freeze": orders.freeze,
        "reboot": orders.reboot,
        "redeploy": orders.redeploy,
        "terminate": orders.terminate,
        "rebalance": orders.rebalance,
    }[order]
    event_id = announce(notice_s=60)
    (event,) = orders.state()["events"]
    assert (event["event_id"], event["event_type"], event["status"]) == (event_id, event_type, "Scheduled")
    assert event["resources"] == ["vm-spot"]
    orders.withdraw(event_id)
    assert orders.state()["events"] == []


def test_an_eviction_can_name_other_vms(orders: TwinClient) -> None:
    """Any names may stand in an event's resources."""
    orders.evict(notice_s=0, vm=["vmss_1", "vmss_2"])
    (event,) = orders.state()["events"]
    assert (event["resources"], event["status"]) == (["vmss_1", "vmss_2"], "Started")


def test_a_boot_is_a_redeploy_and_a_new_vm_id_a_recreation(orders: TwinClient) -> None:
    """A boot changes the boot id alone; with a vm_id the VM is another one."""
    vm_id = orders.state()["identity"]["vm_id"]
    boot_ids = {orders.set_boot(), orders.set_boot()}
    assert len(boot_ids) == 2
    assert orders.state()["identity"]["vm_id"] == vm_id
    assert orders.set_boot("boot-3", vm_id="v-2") == "boot-3"
    assert orders.state()["identity"]["vm_id"] == "v-2"


def test_the_identity_can_be_set(orders: TwinClient) -> None:
    """Whatever is given changes, the rest stays."""
    orders.set_identity(name="vmss_7", eviction_policy="Delete")
    assert orders.state()["identity"] == {
        "vm_id": "7f6bd0c7-3f6e-4d0e-9a39-3d1f5c1b2a10",
        "name": "vmss_7",
        "priority": "Spot",
        "eviction_policy": "Delete",
    }


def test_faults_are_reported_and_cleared(orders: TwinClient) -> None:
    """A fault in force stands in the state until it is cleared, together with the events."""
    orders.fault("410", count=3)
    orders.fault(FaultKind.SLOW, endpoint="instance", for_s=60.0)
    orders.evict()
    one, two = orders.state()["faults"]
    assert (one["kind"], one["endpoint"], one["remaining"], one["left_s"]) == ("410", None, 3, None)
    assert (two["kind"], two["endpoint"], two["remaining"]) == ("slow", "instance", None)
    orders.clear()
    state = orders.state()
    assert (state["faults"], state["events"]) == ([], [])


def test_a_refused_order_is_refused_in_the_same_words(orders: TwinClient) -> None:
    """The client raises what the twin raised: setting, problem and remedy."""
    with pytest.raises(ConfigurationError) as caught:
        orders.evict(notice_s=-1)
    assert str(caught.value) == "notice_s: is -1. Give a number from 0 to 604800."


def test_an_unknown_order_says_what_is_known(orders: TwinClient) -> None:
    """404, and the list."""
    with pytest.raises(BadReplyError, match=", ".join(ORDERS)):
        orders.order("evikt")


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b"\xff", b"[" * 10_000])
async def test_a_body_that_is_no_object_is_refused(twin: Twin, body: bytes) -> None:
    """An order's fields come as a JSON object or not at all."""
    async with httpx.AsyncClient(trust_env=False) as client:
        refused = await client.post(f"{twin.url}/twin/evict", content=body)
        assert (refused.status_code, refused.json()["setting"]) == (400, "body")
        assert (await client.post(f"{twin.url}/twin/evict")).status_code == 200


async def test_web_pages_give_no_orders(twin: Twin) -> None:
    """A browser says where a script comes from, and the twin does not listen to any."""
    async with httpx.AsyncClient(trust_env=False, headers={"Origin": "https://example.org"}) as client:
        assert (await client.post(f"{twin.url}/twin/evict")).status_code == 403
    assert twin.state.events == ()


async def test_orders_are_posted(twin: Twin) -> None:
    """A GET changes nothing, and what lies elsewhere is explained."""
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{twin.url}/twin/evict")).status_code == 405
        assert (await client.post(f"{twin.url}/twin/state")).status_code == 404
        assert "/twin" in (await client.get(twin.url)).json()["error"]
        assert (await client.post(f"{twin.url}/twin/evict", content=b" " * 100_000)).status_code == 413
    assert twin.state.events == ()


def test_the_log_shows_who_asked_what(orders: TwinClient) -> None:
    """Requests and granted StartRequests are logged in order, those of operators are not."""
    event_id = orders.evict()
    url = f"{orders.url}/metadata/scheduledevents?api-version=2020-07-01"
    content = json.dumps({"StartRequests": [{"EventId": event_id}]}).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for body in (None, content):
        with opener.open(urllib.request.Request(url, body, {"Metadata": "true"}), timeout=TIMEOUT_S) as reply:
            assert reply.status == 200
    with pytest.raises(HTTPError) as caught, opener.open(url, timeout=TIMEOUT_S):
        pass
    caught.value.close()
    state = orders.state()
    assert [(entry["method"], entry["status"]) for entry in state["requests"]] == [
        ("GET", 200),
        ("POST", 200),
        ("GET", 400),
    ]
    assert [entry["event_id"] for entry in state["acknowledgements"]] == [event_id]
    assert state["requests_total"] == 3


# -- the boot id file ------------------------------------------------------------------------------------------------


def test_the_boot_id_file_follows_the_boots(tmp_path: Path) -> None:
    """It holds a fresh boot id from the start, and the newest one after each boot."""
    file = tmp_path / "boot_id"
    with twin_in_thread(boot_id_file=file) as url:
        orders = TwinClient(url)
        first = file.read_text().strip()
        assert first == orders.state()["boot_id"]
        second = orders.set_boot()
        assert file.read_text().strip() == second != first
        orders.evict()
        assert file.read_text().strip() == second
    assert [*tmp_path.iterdir()] == [file]


def test_a_boot_id_file_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    """The twin does not start without the file it was told to keep."""
    with (
        pytest.raises(ConfigurationError, match="--boot-id-file"),
        twin_in_thread(boot_id_file=tmp_path / "missing" / "boot_id"),
    ):
        pass


# -- its beginning and its end ---------------------------------------------------------------------------------------


def test_a_taken_port_is_said_plainly(orders: TwinClient) -> None:
    """Two twins cannot share a port: the setting is named."""
    port = int(orders.url.rsplit(":", 1)[1])
    with pytest.raises(ConfigurationError, match="--port"), twin_in_thread(port=port):
        pass


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("127.0.0.1", -1), ("no such host", 0)])
def test_an_address_that_is_none_is_said_plainly(host: str, port: int) -> None:
    """What cannot be bound is refused in one line."""
    with pytest.raises(ConfigurationError, match="--port"), twin_in_thread(host=host, port=port):
        pass


def test_only_loopback_is_bound(orders: TwinClient) -> None:
    """Unless told otherwise, nobody outside this machine can give orders."""
    assert orders.url.startswith("http://127.0.0.1:")


def test_a_thread_ends_with_its_context() -> None:
    """The twin is gone when the context is, even when what ran in it failed."""
    with pytest.raises(ZeroDivisionError), twin_in_thread() as url:
        raise ZeroDivisionError
    with pytest.raises(ReplyLostError):
        TwinClient(url).state()


@pytest.mark.parametrize("kind", ["silent", "slow", "drip"])
async def test_a_twin_closes_under_a_request_that_waits(kind: str) -> None:
    """Whoever a fault keeps waiting is let go at the end: closing takes no longer than it must."""
    async with asyncio.timeout(TIMEOUT_S), serve_twin() as twin, ImdsClient(twin.url) as imds:
        twin.order("fault", {"kind": kind, "delay_s": 3600})
        waiting = asyncio.create_task(imds.poll(timeout_s=3600))
        while not twin.state.requests_total:  # noqa: ASYNC110 -- the twin has no event for "somebody asked"
            await asyncio.sleep(0.001)
        twin.release()
        await asyncio.wait([waiting])
        assert waiting.exception() is None or isinstance(waiting.exception(), ReplyLostError)


async def test_a_client_that_leaves_is_forgotten(twin: Twin) -> None:
    """Requests that gave up no longer count as under way: the sixth token request after five silent ones is served."""
    twin.order("fault", {"kind": "silent", "endpoint": "identity", "count": 5})
    url = f"{twin.url}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=r"
    async with httpx.AsyncClient(trust_env=False, headers={"Metadata": "true"}) as client:
        for _ in range(5):
            with pytest.raises(httpx.ReadTimeout):
                await client.get(url, timeout=0.05)
        for _ in range(100):
            reply = await client.get(url, timeout=TIMEOUT_S)
            if reply.status_code == 200:
                break
            await asyncio.sleep(0.05)
        assert reply.status_code == 200


PROGRAM = """
from adapters.twin.running import run_twin
run_twin(on_ready=lambda url: print(url, flush=True))
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_twin_cleanly(number: signal.Signals) -> None:
    """SIGINT and SIGTERM close it: no traceback, no waiting for silent requests, exit 0."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        assert TwinClient(url).state()["requests_total"] == 0
        process.send_signal(number)
        output, errors = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, output, errors) == (0, "ended\n", "")


# -- who is no twin --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "http://[", "file:///etc/passwd"])
def test_a_url_that_is_none_is_said_plainly(url: str) -> None:
    """The client names the setting."""
    with pytest.raises(ConfigurationError, match="--url"):
        TwinClient(url).state()


def test_nobody_there_is_a_lost_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order to a port where no twin listens fails at once; no proxy is asked instead."""
    with twin_in_thread() as url:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert TwinClient(url).state()["events"] == []
    with pytest.raises(ReplyLostError, match="no twin answers"):
        TwinClient(url).state()
