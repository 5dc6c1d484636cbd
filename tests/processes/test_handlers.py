"""Handlers that go wrong in every way there is: none takes a message, another job or the worker's promises with it."""

from __future__ import annotations

import json
import signal

import pytest

from fsm.record import Status
from tests.processes.conftest import MakeVm
from tests.processes.places import SqlitePlace

pytestmark = pytest.mark.processes

MISBEHAVE = "tests.processes.handlers:misbehave"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise", "ValueError: as it was told to"),
        ("hang", "ran for longer than 0.2 s"),
        ("exit", "sys.exit(3)"),
        ("not json", "not JSON"),
    ],
)
def test_a_failing_handler_is_tried_again_and_then_set_aside(
    sqlite: SqlitePlace, make_vm: MakeVm, body: str, error: str
) -> None:
    """A handler that raises, hangs, exits or returns nonsense is poisoned after five tries, while other jobs go on."""
    bad, good = sqlite.put(body), sqlite.put("good")
    vm = make_vm(sqlite, handler=MISBEHAVE)
    vm.start("--retry-pause", "0", "--job-timeout", "0.2", "--until-empty")
    assert vm.wait() == 0
    record = sqlite.record(bad)
    assert record is not None
    assert (record.status, record.counts.failures) == (Status.POISONED, 5)
    (poisoned,) = (json.loads(text) for text in sqlite.poisoned())
    assert error in poisoned["error"]
    assert sqlite.recorded(good) == 1


def test_a_handler_that_ends_the_process_loses_nothing(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """`os._exit` in a handler takes the worker down; the next worker completes every job."""
    jobs = [sqlite.put("die once"), sqlite.put("good")]
    vm = make_vm(sqlite, handler=MISBEHAVE)
    vm.start("--until-empty")
    assert vm.wait() == 3
    vm.start("--until-empty")
    assert vm.wait() == 0
    assert [sqlite.recorded(job) for job in jobs] == [1, 1]


def test_a_handler_that_ignores_its_cancellation_does_not_hold_up_the_end(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """A handler that will not let go is abandoned at the end of the stop grace, said so, and run anew elsewhere."""
    job = sqlite.put("ignore")
    vm = make_vm(sqlite, handler=MISBEHAVE, visibility_timeout_s=3.0)
    vm.start("--stop-grace", "1")
    vm.await_begin(job)
    vm.send(signal.SIGTERM)
    assert vm.wait() == 1
    assert "did not let go" in vm.output.read_text(encoding="utf-8")
    vm.start("--until-empty")
    assert vm.wait() == 0
    assert sqlite.recorded(job) == 1


def test_a_handler_that_blocks_the_loop_past_its_lease_records_once(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """A handler that blocks the loop until every lease has lapsed is noted, and nothing is lost or doubled."""
    jobs = [sqlite.put("block"), *(sqlite.put("good") for _ in range(5))]
    vm = make_vm(sqlite, handler=MISBEHAVE, visibility_timeout_s=2.0)
    vm.start("--until-empty")
    assert vm.wait() == 0
    vm.look()
    assert any(line.kind == "loop_blocked" for line in vm.lines)
    assert {sqlite.recorded(job) for job in jobs} == {1}
    assert sqlite.poisoned() == []
