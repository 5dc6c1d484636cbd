"""Records and presences as Hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from fsm.record import Counts, Owner, Presence, Record, Status, canonical

names = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=20)
"""Names as they stand in records: printable."""
json_texts = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
).map(canonical)
"""Any JSON value, as canonical text."""
counts = st.integers(min_value=0, max_value=1000)
owners = st.builds(Owner, vm_id=names, boot_id=names, instance=names, process=names, token=names)
records = st.builds(
    Record,
    epoch=st.integers(min_value=1, max_value=2**31),
    owner=owners,
    status=st.sampled_from(Status),
    progress=st.none() | json_texts,
    result=st.none() | json_texts,
    error=st.none() | st.text(st.characters(codec="utf-8"), max_size=100),
    counts=st.builds(
        Counts,
        failures=counts,
        deaths=counts,
        fruitless_deaths=counts,
        evictions=counts,
        lapses=counts,
        stops=counts,
    ),
    counted_epoch=st.integers(min_value=0, max_value=2**31),
)


def owner(token: str = "t1") -> Owner:
    return Owner(vm_id="vm-1", boot_id="boot-1", instance="0", process="p1", token=token)


def record(status: Status = Status.OPEN, *, epoch: int = 1, token: str = "t1", progress: str | None = None) -> Record:
    return Record(epoch=epoch, owner=owner(token), status=status, progress=progress)


def presence(
    *, vm_id: str = "vm-1", vm_name: str = "spot", instance: str = "0", boot_id: str = "boot-1", process: str = "p1"
) -> Presence:
    return Presence(vm_id=vm_id, vm_name=vm_name, boot_id=boot_id, instance=instance, process=process)
