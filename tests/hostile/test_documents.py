"""IMDS documents that mean harm, read by a real worker: it goes on working, and a true notice still counts."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from pathlib import Path

import pytest

from fsm.application import AppState
from fsm.handler import Job, Json
from fsm.notices import ScheduledEvent
from fsm.runner import WorkerSettings
from tests.azurite import Azurite
from tests.fsm.runner.world import QUEUE, World, virtually
from tests.hostile.imds import document, hostile_imds, http
from tests.hostile.test_messages import ECHO, expect_plain
from tests.processes.conftest import MakeVm
from tests.processes.places import azurite_place

PATIENCE_S = 60.0
EVENT = {
    "EventId": "E-1",
    "EventType": "Preempt",
    "Resources": ["vm-spot"],
    "EventStatus": "Scheduled",
    "NotBefore": "",
}
EMPTY = b'{"DocumentIncarnation": 1, "Events": []}'
NOT_OURS = {**EVENT, "Resources": ["vm-other"]}

REPLIES = (
    b"",
    b"\x00\xff" * 1000,
    b"HTTP/1.1 200 OK\r\n" + b"X-Filler: y\r\n" * 20_000,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n" + b" " * 65_535 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + EMPTY,
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + EMPTY,
    b"HTTP/1.1 999 \x1b[31m\r\n\r\n",
    http(b" " * 10_000_000 + EMPTY),
    http(gzip.compress(b" " * 50_000_000 + EMPTY), headers=["Content-Encoding: gzip"]),
    http(b"", status="302 Found", headers=["Location: http://127.0.0.1:1/latest/meta-data/"]),
    http(b"<html><script>alert(1)</script>\x1b]0;owned\x07</html>"),
    http(b"\x1b[2J\x1b]0;owned\x07", status="400 Bad Request"),
    http(b"[" * 500_000),
    http(b'{"DocumentIncarnation": 1, "Events": ' + b'[{"a":' * 200_000),
    http(b'{"DocumentIncarnation": ' + b"9" * 900_000 + b', "Events": []}'),
    http(b'{"DocumentIncarnation": 1, "Events": [], "Events": [' + json.dumps(EVENT).encode() + b"]}"),
    document({**EVENT, "EventId": None}),
    document({**EVENT, "Resources": []}),
    document({**EVENT, "Resources": "vm-spot"}),
    document("Preempt", 1, None),
    document({**NOT_OURS, "EventId": "\x1b[31m" + "x" * 100_000}),
    document({**NOT_OURS, "Resources": [f"vm-spot-{number}" for number in range(30_000)]}),
    document(*({**NOT_OURS, "EventId": f"E-{number}"} for number in range(3000))),
    document({**NOT_OURS, "Resources": ["vm-spot\x00", "../vm-spot", "vm\u2010spot", "VM-SPOT-1", "*"]}),
    document({**EVENT, "EventId": "E-2", "EventType": "\x1b]0;owned\x07\ud800 Preempt"}),
    document({**EVENT, "EventId": "../../E-3", "EventType": "Freeze", "DurationInSeconds": 1e300}),
    document(
        {**EVENT, "EventId": "E-4", "EventType": "Freeze", "DurationInSeconds": 10**18, "NotBefore": "x" * 10_000}
    ),
    document(Events=[], events=[EVENT]),
)
"""None of them is a notice that reclaims this VM: broken, contradictory, about others, or advice."""


@pytest.mark.processes
@pytest.mark.timeout(240)
def test_work_goes_on_under_hostile_documents(azurite: Azurite, make_vm: MakeVm, tmp_path: Path) -> None:
    """Whatever IMDS sends, no job is held up and no drain begins; then a true notice drains the worker."""
    with hostile_imds() as imds, azurite_place(azurite) as place:
        vm = make_vm(place, handler=ECHO)
        vm.start("--imds", imds.url, "--imds-poll", "0.2")
        vm.await_state(AppState.PROCESSING)
        imds.replies.extend(REPLIES)
        give_up_s = time.monotonic() + PATIENCE_S
        while imds.replies:
            job = place.put("{}")
            vm.await_row("J21", job=job)
            assert time.monotonic() < give_up_s, f"{len(imds.replies)} replies were not asked for"
        seen = len(vm.lines)
        assert not [line for line in vm.lines if line.text("to") == AppState.EVICTED]
        imds.replies.extend([document(EVENT)] * 3)
        vm.await_state(AppState.DRAINED, after=seen)
        vm.kill()
    expect_plain(vm.output)
    expect_plain(tmp_path / "vm-a.jsonl")


@pytest.mark.parametrize("duration_s", [601.0, 1e9, 1e300])
def test_a_freeze_of_ages_hides_no_job_for_ages(duration_s: float) -> None:
    """However long IMDS says that a freeze lasts, a job whose worker is killed is back ten minutes after its lease."""

    async def main() -> None:
        world = World(settings=WorkerSettings(visibility_timeout_s=60.0))
        world.vm.announce(
            ScheduledEvent(
                event_id="e", event_type="Freeze", resources=("vm-spot",), started=False, not_before=None,
                duration_s=duration_s,
            )
        )  # fmt: skip
        await asyncio.sleep(1.0)
        (job,) = world.enqueue(1)
        worker = world.start(_for_ever)
        await asyncio.sleep(45.0)
        assert world.of_kind("renewed")
        await worker.kill()
        assert not world.queues.receive(QUEUE, max_messages=1, visibility_timeout_s=1)
        await asyncio.sleep(60.0 + 600.0)
        (message,) = world.queues.receive(QUEUE, max_messages=1, visibility_timeout_s=1)
        assert message.message_id == job

    virtually(main)


async def _for_ever(_job: Job) -> Json:
    await asyncio.sleep(1e6)
    return None
