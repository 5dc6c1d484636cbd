"""The client against the twin, over real HTTP."""

from __future__ import annotations

import asyncio
import gzip
import socket
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.imds.client import ImdsClient
from adapters.twin.server import Twin, serve_twin
from fsm.errors import BadReplyError, ConfigurationError, PlatformError, ReplyLostError, ThrottledError
from tests.adapters.imds.conftest import BOOT_ID
from tests.adapters.imds.raw import answering
from tests.adapters.twin.clock import START, HandClock

TIMEOUT_S = 10.0
"""For calls that are to succeed."""
SHORT_S = 0.2
"""For calls that are to run out of time."""


def asked_versions(twin: Twin) -> list[str]:
    """The api-versions of the requests so far, in order."""
    return [request["api_version"] for request in twin.state.requests]


# -- what is read ----------------------------------------------------------------------------------------------------


async def test_an_eviction_is_read_as_announced(twin: Twin, imds: ImdsClient) -> None:
    """A notice of eight seconds arrives with this VM's name and the second it is due."""
    twin.order("evict", {"notice_s": 8})
    (event,) = (await imds.poll(timeout_s=TIMEOUT_S)).events
    assert event.event_type == "Preempt"
    assert event.names("vm-spot")
    assert not event.started
    assert event.not_before == (START + timedelta(seconds=8)).replace(microsecond=0)


async def test_a_notice_without_notice_has_started(twin: Twin, imds: ImdsClient) -> None:
    """An eviction of zero seconds is first seen as Started, with a blank NotBefore."""
    twin.order("evict", {"notice_s": 0})
    (event,) = (await imds.poll(timeout_s=TIMEOUT_S)).events
    assert event.started
    assert event.not_before is None


async def test_notices_of_other_vms_keep_their_names(twin: Twin, imds: ImdsClient) -> None:
    """A document is broadcast to the whole set: an event of others names them and not this VM."""
    twin.order("evict", {"vm": ["vmss_1", "VMSS_2"]})
    (event,) = (await imds.poll(timeout_s=TIMEOUT_S)).events
    assert event.resources == ("vmss_1", "VMSS_2")
    assert event.names("vmss_2")
    assert not event.names("vm-spot")


async def test_a_freeze_says_how_long(twin: Twin, imds: ImdsClient) -> None:
    """The pause of a freeze arrives in seconds."""
    twin.order("freeze", {"notice_s": 60, "duration_s": 9})
    (event,) = (await imds.poll(timeout_s=TIMEOUT_S)).events
    assert event.duration_s == 9.0


async def test_a_withdrawn_notice_is_gone(twin: Twin, imds: ImdsClient) -> None:
    """After a withdrawal the document is empty, and has another incarnation."""
    twin.order("evict")
    announced = await imds.poll(timeout_s=TIMEOUT_S)
    twin.order("withdraw")
    withdrawn = await imds.poll(timeout_s=TIMEOUT_S)
    assert withdrawn.events == ()
    assert withdrawn.incarnation != announced.incarnation


async def test_an_acknowledged_event_starts(twin: Twin, imds: ImdsClient) -> None:
    """Acknowledging lets the event start at once, and doing so twice changes nothing."""
    twin.order("evict", {"event_id": "E-1"})
    await imds.acknowledge("E-1", timeout_s=TIMEOUT_S)
    await imds.acknowledge("E-1", timeout_s=TIMEOUT_S)
    (event,) = (await imds.poll(timeout_s=TIMEOUT_S)).events
    assert event.started
    assert [granted["event_id"] for granted in twin.state.acknowledgements] == ["E-1", "E-1"]


async def test_acknowledging_what_is_over_is_refused(imds: ImdsClient) -> None:
    """IMDS knows no event of that id: the refusal is an error of one line."""
    with pytest.raises(BadReplyError, match="400"):
        await imds.acknowledge("E-1", timeout_s=TIMEOUT_S)


async def test_the_identity_joins_metadata_and_boot(twin: Twin, imds: ImdsClient) -> None:
    """The VM is known by its metadata, never by its host name; the boot by the kernel's file."""
    twin.order("identity", {"vm_id": "v-7", "name": "vmss_7", "eviction_policy": "Delete"})
    identity = await imds.identity(timeout_s=TIMEOUT_S)
    assert (identity.vm_id, identity.name, identity.boot_id) == ("v-7", "vmss_7", BOOT_ID)
    assert (identity.priority, identity.eviction_policy) == ("Spot", "Delete")


async def test_a_missing_boot_id_is_said_plainly(twin: Twin, tmp_path: Path) -> None:
    """Without a boot id an eviction cannot be told from a crash: the setting is named."""
    async with ImdsClient(twin.url, boot_id_file=tmp_path / "nothing") as imds:
        with pytest.raises(ConfigurationError, match="--boot-id-file"):
            await imds.identity(timeout_s=TIMEOUT_S)


# -- versions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal_status", [400, 404])
async def test_an_older_host_is_asked_in_its_own_version(twin: Twin, imds: ImdsClient, refusal_status: int) -> None:
    """A host that refuses the newest version is asked once with it, and ever after with the older one."""
    twin.order("versions", {"newest": "2020-07-01", "refusal_status": refusal_status})
    twin.order("evict")
    for _ in range(2):
        assert len((await imds.poll(timeout_s=TIMEOUT_S)).events) == 1
    assert asked_versions(twin) == ["2024-07-09", "2020-07-01", "2020-07-01"]


async def test_an_outage_is_not_an_older_host(twin: Twin, imds: ImdsClient) -> None:
    """While nothing is granted under any version, none is given up."""
    twin.order("fault", {"kind": "404", "count": 2})
    with pytest.raises(ReplyLostError):
        await imds.poll(timeout_s=TIMEOUT_S)
    await imds.poll(timeout_s=TIMEOUT_S)
    assert asked_versions(twin) == ["2024-07-09", "2020-07-01", "2024-07-09"]


async def test_a_lasting_outage_is_asked_once_a_call(twin: Twin, imds: ImdsClient) -> None:
    """Several workers in turns stay under the limit then, too; and what the outage refused is not given up for it."""
    twin.order("fault", {"kind": "404", "count": 5})
    for _ in range(4):
        with pytest.raises(ReplyLostError):
            await imds.poll(timeout_s=TIMEOUT_S)
    await imds.poll(timeout_s=TIMEOUT_S)
    await imds.poll(timeout_s=TIMEOUT_S)
    newest, older = "2024-07-09", "2020-07-01"
    assert asked_versions(twin) == [newest, older, newest, older, newest, older, newest]


async def test_the_rebalance_recommendation_needs_the_newest_version(twin: Twin, imds: ImdsClient) -> None:
    """The advice is shown under 2024-07-09, and not to a client of a host without it."""
    twin.order("rebalance")
    (event,) = (await imds.poll(timeout_s=TIMEOUT_S)).events
    assert event.event_type == "SpotRebalanceRecommendation"
    twin.order("versions", {"newest": "2020-07-01"})
    assert (await imds.poll(timeout_s=TIMEOUT_S)).events == ()


# -- what goes wrong -------------------------------------------------------------------------------------------------

FAULTS: dict[str, type[PlatformError]] = {
    "silent": ReplyLostError,
    "slow": ReplyLostError,
    "drip": ReplyLostError,
    "reset": ReplyLostError,
    "torn": BadReplyError,
    "oversized": BadReplyError,
    "404": ReplyLostError,
    "410": ThrottledError,
    "429": ThrottledError,
    "500": ReplyLostError,
    "503": ThrottledError,
}
LASTING = frozenset({"silent", "slow", "drip"})
"""Faults that only a timeout ends."""
OF_THE_BODY = frozenset({"drip", "torn"})
"""Faults that a reply without a body does not have."""


def in_force(twin: Twin, kind: str) -> float:
    """Put the fault in force and return the timeout of a call that meets it."""
    twin.order("fault", {"kind": kind, "delay_s": 3600})
    return SHORT_S if kind in LASTING else TIMEOUT_S


@pytest.mark.parametrize("kind", FAULTS)
async def test_no_fault_is_read_as_no_event(twin: Twin, imds: ImdsClient, clock: HandClock, kind: str) -> None:
    """A poll under a fault raises, in one line; the first poll after it finds the notice that stood all along."""
    timeout_s = in_force(twin, kind)
    with pytest.raises(FAULTS[kind]) as caught:
        await imds.poll(timeout_s=timeout_s)
    assert len(str(caught.value).splitlines()) == 1
    twin.order("clear")
    twin.order("evict")
    clock.advance(1.0)
    assert len((await imds.poll(timeout_s=TIMEOUT_S)).events) == 1


@pytest.mark.parametrize("kind", FAULTS)
async def test_no_fault_invents_an_identity(twin: Twin, imds: ImdsClient, kind: str) -> None:
    """Asking who this VM is raises under every fault."""
    timeout_s = in_force(twin, kind)
    with pytest.raises(FAULTS[kind]):
        await imds.identity(timeout_s=timeout_s)


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind not in OF_THE_BODY])
async def test_no_fault_grants_a_start(twin: Twin, imds: ImdsClient, kind: str) -> None:
    """A StartRequest that was not answered with 200 raises."""
    twin.order("evict", {"event_id": "E-1"})
    timeout_s = in_force(twin, kind)
    with pytest.raises(FAULTS[kind]):
        await imds.acknowledge("E-1", timeout_s=timeout_s)


async def test_the_time_to_wait_is_passed_on(twin: Twin, imds: ImdsClient) -> None:
    """A Retry-After in seconds reaches the caller; without one nothing is invented."""
    twin.order("fault", {"kind": "429", "retry_after_s": 7, "count": 1})
    twin.order("fault", {"kind": "429", "count": 1})
    for expected_s in (7.0, None):
        with pytest.raises(ThrottledError) as caught:
            await imds.poll(timeout_s=TIMEOUT_S)
        assert caught.value.retry_after_s == expected_s


async def test_the_sixth_request_within_a_second_is_refused(
    twin: Twin, imds: ImdsClient, clock: HandClock, boot_id_file: Path
) -> None:
    """Five requests a second are all the VM has, whichever process makes them; a second later it has five more."""
    async with ImdsClient(twin.url, boot_id_file=boot_id_file) as other:
        for client in (imds, other, imds, other):
            await client.poll(timeout_s=TIMEOUT_S)
        await other.identity(timeout_s=TIMEOUT_S)
        clock.advance(0.999)
        for client in (imds, other):
            with pytest.raises(ThrottledError):
                await client.poll(timeout_s=TIMEOUT_S)
        clock.advance(0.001)
        await imds.poll(timeout_s=TIMEOUT_S)


async def test_a_slow_first_call_does_not_hold_up_the_next(twin: Twin, imds: ImdsClient) -> None:
    """While the first call of a VM waits for its two minutes, later polls are answered; cancelling it ends it."""
    twin.order("fault", {"kind": "slow", "count": 1, "delay_s": 120})
    first = asyncio.create_task(imds.poll(timeout_s=120))
    while not twin.state.requests_total:  # noqa: ASYNC110 -- the twin has no event for "somebody asked"
        await asyncio.sleep(0.001)
    await imds.poll(timeout_s=TIMEOUT_S)
    assert not first.done()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await imds.poll(timeout_s=TIMEOUT_S)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_a_proxy_in_the_environment_is_ignored(
    twin: Twin, monkeypatch: pytest.MonkeyPatch, boot_id_file: Path, variable: str
) -> None:
    """IMDS is never asked through a proxy, wherever one is set."""
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    async with ImdsClient(twin.url, boot_id_file=boot_id_file) as imds:
        assert (await imds.identity(timeout_s=TIMEOUT_S)).name == "vm-spot"


async def test_nobody_there_is_a_lost_reply(boot_id_file: Path) -> None:
    """On a machine without IMDS the call fails at once and says where it looked."""
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with ImdsClient(f"http://127.0.0.1:{port}", boot_id_file=boot_id_file) as imds:
            with pytest.raises(ReplyLostError, match=str(port)):
                await imds.poll(timeout_s=TIMEOUT_S)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "401 Unauthorized", "403 Forbidden", "204 No Content"])
async def test_what_imds_never_says_is_a_bad_reply(twin: Twin, status: str) -> None:
    """A redirect is not followed, and a portal's refusal or an empty success is no document."""
    head = f"HTTP/1.1 {status}\r\nLocation: {twin.url}/metadata/scheduledevents?api-version=2020-07-01\r\n"
    async with answering(f"{head}Content-Length: 0\r\n\r\n".encode()) as url, ImdsClient(url) as imds:
        with pytest.raises(BadReplyError):
            await imds.poll(timeout_s=TIMEOUT_S)
    assert twin.state.requests_total == 0


async def test_a_compressed_body_is_not_unpacked() -> None:
    """A body in a form nobody asked for is refused as it came: it cannot grow to more than was sent."""
    body = gzip.compress(b'{"DocumentIncarnation": 1, "Events": []}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    async with answering(head.encode() + body) as url, ImdsClient(url) as imds:
        with pytest.raises(BadReplyError):
            await imds.poll(timeout_s=TIMEOUT_S)


HEADS = st.sampled_from(
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: \xff\r\n\r\n",
        b"HTTP/9.9 200 OK\r\nSet-Cookie: a\r\n",
    ]
)


@settings(max_examples=100, deadline=None)
@given(head=HEADS, body=st.binary(max_size=60))
def test_a_server_that_talks_nonsense_is_an_error_of_the_platform(head: bytes, body: bytes) -> None:
    """Whatever bytes come back over the wire, the caller sees one kind of error and no document."""

    async def ask() -> None:
        async with answering(head + body) as url, ImdsClient(url) as imds:
            with pytest.raises(PlatformError):
                await imds.poll(timeout_s=TIMEOUT_S)

    asyncio.run(ask())


# -- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "none",
        "127.0.0.1:8080",
        "https://169.254.169.254",
        "ftp://169.254.169.254",
        "http://",
        "http://host:port",
        "http://host:99999",
        "http://user:secret@169.254.169.254",
        "http://169.254.169.254/metadata/scheduledevents",
        "http://169.254.169.254/?api-version=2020-07-01",
        "http://a b",
        "http://[:::]",
        "http://..",
        "http://\x00",
    ],
)
async def test_a_wrong_url_names_the_setting(url: str) -> None:
    """What cannot be the root of a plain HTTP server is refused at once, with what to give instead."""
    with pytest.raises(ConfigurationError, match="--imds") as caught:
        ImdsClient(url)
    assert "http://" in caught.value.remedy
    assert len(str(caught.value).splitlines()) == 1


async def test_a_closing_slash_is_no_path(boot_id_file: Path) -> None:
    """The URL may end with a slash, as browsers show it."""
    async with serve_twin() as twin, ImdsClient(f"{twin.url}/", boot_id_file=boot_id_file) as imds:
        assert (await imds.identity(timeout_s=TIMEOUT_S)).name == "vm-spot"
