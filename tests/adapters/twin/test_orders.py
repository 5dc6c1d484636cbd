"""What may be ordered, and what is refused."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.twin.faults import FaultKind
from adapters.twin.orders import NOTICE_S_MAX, ORDERS, obey
from adapters.twin.state import TwinState
from adapters.twin.wire import Json
from fsm.errors import ConfigurationError
from tests.adapters.twin.clock import HandClock

FIELDS = (
    "event_id", "vm", "notice_s", "started_s", "duration_s", "kind", "endpoint", "for_s", "count", "retry_after_s",
    "delay_s", "vm_id", "name", "system_assigned", "client_ids", "token_lifetime_s", "boot_id", "newest",
    "refusal_status",
)  # fmt: skip
TEXTS = st.text(string.printable, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1000) | st.floats() | TEXTS | st.sampled_from(FaultKind),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("order", "fields", "setting"),
    [
        ("evikt", {}, "order"),
        ("evict", {"notice": 8}, "notice"),
        ("evict", {"notice_s": -0.1}, "notice_s"),
        ("evict", {"notice_s": NOTICE_S_MAX + 1}, "notice_s"),
        ("evict", {"notice_s": float("nan")}, "notice_s"),
        ("evict", {"notice_s": "8"}, "notice_s"),
        ("evict", {"notice_s": True}, "notice_s"),
        ("evict", {"vm": 7}, "vm"),
        ("evict", {"vm": [""]}, "vm"),
        ("freeze", {"duration_s": 1.5}, "duration_s"),
        ("withdraw", {"event_id": "E-9"}, "event_id"),
        ("fault", {}, "kind"),
        ("fault", {"kind": "slwo"}, "kind"),
        ("fault", {"kind": "slow", "endpoint": "disk"}, "endpoint"),
        ("identity", {"system_assigned": "yes"}, "system_assigned"),
        ("identity", {"name": "x" * 201}, "name"),
        ("versions", {"newest": "latest"}, "newest"),
        ("versions", {"refusal_status": 500}, "refusal_status"),
    ],
)
def test_a_wrong_order_names_its_field(order: str, fields: dict[str, Json], setting: str) -> None:
    """A misspelt, missing or impossible field is refused in one line that names it and the remedy."""
    with pytest.raises(ConfigurationError) as caught:
        obey(TwinState(), order, fields, HandClock()(), "fresh")
    assert caught.value.setting == setting
    assert caught.value.remedy
    assert len(str(caught.value).splitlines()) == 1


def test_an_event_id_stands_once() -> None:
    """Two events of one id would hide each other."""
    state, _ = obey(TwinState(), "evict", {"event_id": "E-1"}, HandClock()(), "fresh")
    with pytest.raises(ConfigurationError, match="event_id"):
        obey(state, "freeze", {"event_id": "E-1"}, HandClock()(), "fresh")


def test_a_recreated_vm_is_another_vm_of_the_same_name() -> None:
    """`boot` with a vm_id plays eviction policy Delete: same name, new vmId, new boot id."""
    before = TwinState()
    after, reply = obey(before, "boot", {"vm_id": "v-2"}, HandClock()(), "boot-2")
    assert (after.profile.name, after.profile.vm_id, after.boot_id) == (before.profile.name, "v-2", "boot-2")
    assert reply == {"boot_id": "boot-2", "vm_id": "v-2"}


def test_identity_leaves_the_rest_as_it_was() -> None:
    """Fields that an order leaves out do not change, and one that is given blank is blank."""
    before = TwinState()
    after, _ = obey(before, "identity", {"priority": ""}, HandClock()(), "fresh")
    assert after.profile.priority == ""
    assert after.profile.eviction_policy == before.profile.eviction_policy


@settings(max_examples=600, deadline=None)
@given(order=st.sampled_from([*ORDERS, "nothing"]), fields=st.dictionaries(st.sampled_from(FIELDS) | TEXTS, JSON))
def test_any_order_is_carried_out_or_refused(order: str, fields: dict[str, Json]) -> None:
    """Whatever JSON object comes with an order, it is obeyed or refused, and never anything else."""
    refusal = ""
    try:
        state, _ = obey(TwinState(), order, fields, HandClock()(), "fresh")
    except ConfigurationError as exc:
        refusal = str(exc)
    else:
        assert state.report(HandClock()())
    assert len(refusal.splitlines()) <= 1
    assert order in ORDERS or refusal
