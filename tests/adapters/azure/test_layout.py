"""Names of blobs."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.azure import layout
from fsm.errors import MisuseError

names = st.text(max_size=30) | st.sampled_from(["", ".", "..", "../..", "a/b", "a\\b", "%2e%2e", "~2f", "é", "x." * 9])


@given(first=st.tuples(names, names), second=st.tuples(names, names))
def test_two_presences_share_no_blob(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Whatever VMs and instances are called, two pairs of names have two blobs, and a name is not an id."""
    assert (layout.presence_path(*first) == layout.presence_path(*second)) == (first == second)
    assert (layout.presence_named_path(*first) == layout.presence_named_path(*second)) == (first == second)
    assert layout.presence_path(*first) != layout.presence_named_path(*second)


@given(queue=names, other=names, message_id=st.uuids())
def test_a_record_lies_with_its_queue(queue: str, other: str, message_id: uuid.UUID) -> None:
    """A record's path begins with the prefix of its own queue, and with that of no other."""
    path = layout.record_path(queue, str(message_id))
    assert path.startswith(layout.records_prefix(queue))
    assert path.startswith(layout.records_prefix(other)) == (queue == other)


@given(name=names, message_id=st.uuids())
def test_no_name_leaves_its_folder(name: str, message_id: uuid.UUID) -> None:
    """No path has a part that a URL would resolve or a letter that a URL would spell differently."""
    paths = [
        layout.record_path(name, str(message_id)),
        layout.confirmation_path(name, b"[]"),
        layout.presence_path(name, name),
        layout.presence_named_path(name, name),
    ]
    for path in paths:
        assert not {".", ".."} & set(path.split("/"))
        assert set(path) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~/")


@given(message_id=st.uuids())
def test_an_id_has_one_spelling(message_id: uuid.UUID) -> None:
    """Upper and lower case are the same message."""
    text = str(message_id)
    assert layout.record_path("jobs", text.upper()) == layout.record_path("jobs", text)


@given(text=st.text() | st.sampled_from(["../x", "{12345678-1234-1234-1234-123456789012}", "1" * 32, ""]))
def test_only_uuids_are_ids(text: str) -> None:
    """Anything that is not a UUID as the queue writes it is refused."""
    with pytest.raises(MisuseError):
        layout.record_path("jobs", text)


@given(ids=st.lists(st.uuids(), max_size=5).map(lambda ids: [str(i) for i in ids]))
def test_ids_are_one_set(ids: list[str]) -> None:
    """A list of ids is the same whatever its order, its spelling and its repetitions."""
    assert layout.checked_ids([text.upper() for text in reversed(ids)] + ids) == sorted(set(ids))
