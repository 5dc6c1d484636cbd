"""Addresses: what a user types, what it means, and what a mistake is answered with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.addresses import SqliteAddress, find_storage
from adapters.azure.address import Address
from fsm.errors import ConfigurationError

AZURE = "https://account.queue.core.windows.net/jobs"
AZURITE = "http://127.0.0.1:10001/devstoreaccount1/jobs"
CONTAINER = "https://account.blob.core.windows.net/records"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_settings_everything_is_in_one_file_here(directory: Path) -> None:
    """The embedded default needs nothing: one file in the working directory."""
    found = find_storage(None, None)
    assert found.queue == SqliteAddress(file=directory / "spotfsm.db", name="jobs")
    assert found.poison_queue == SqliteAddress(file=directory / "spotfsm.db", name="jobs-poison")
    assert found.store == SqliteAddress(file=directory / "spotfsm.db", name="")
    assert (found.embedded, found.on_azure, found.needs_token, found.without_store) == (True, False, False, None)


@pytest.mark.parametrize(
    ("url", "file", "name"),
    [
        ("sqlite:///a.db", "a.db", "jobs"),
        ("sqlite:///a.db#films", "a.db", "films"),
        ("sqlite:///sub/a.db#films", "sub/a.db", "films"),
        ("sqlite:///./sub/../a.db#films", "a.db", "films"),
        ("sqlite:////tmp/a.db", "/tmp/a.db", "jobs"),
    ],
)
def test_a_sqlite_queue_is_a_file_and_a_name(directory: Path, url: str, file: str, name: str) -> None:
    """Three slashes begin a relative path, four an absolute one."""
    assert find_storage(url, None).queue == SqliteAddress(file=directory / file, name=name)


def test_one_file_by_two_spellings_is_one_file(directory: Path) -> None:
    """A queue and a store that share a file share its commits, however the file is spelled."""
    found = find_storage("sqlite:///a.db#films", f"sqlite:///{directory}/./a.db")
    assert found.store == SqliteAddress(file=directory / "a.db", name="")
    assert len(found.files) == 1


def test_a_queue_on_azure_without_a_store_says_what_that_costs() -> None:
    """There is no container to guess: one line says what is given up."""
    found = find_storage(AZURE, None)
    assert found.queue == Address(account_url="https://account.queue.core.windows.net", name="jobs", emulated=False)
    assert found.poison_queue.name == "jobs-poison"
    assert found.store is None
    assert found.without_store is not None
    assert "\n" not in found.without_store
    assert (found.embedded, found.on_azure, found.needs_token) == (False, True, True)


def test_none_turns_the_embedded_store_off() -> None:
    """`--store none` is a worker without a job store."""
    assert find_storage(None, "none").store is None
    assert find_storage(None, "None").without_store is not None


def test_azurite_needs_no_token() -> None:
    """Its key is published, and its VM has no IMDS."""
    found = find_storage(AZURITE, "http://127.0.0.1:10000/devstoreaccount1/records")
    assert (found.on_azure, found.needs_token) == (False, False)


def test_queue_and_store_may_be_of_different_kinds(directory: Path) -> None:
    """A queue on this machine and records on Azure, or the other way round."""
    there = find_storage("sqlite:///a.db", CONTAINER)
    assert (there.embedded, there.needs_token, len(there.files)) == (True, True, 1)
    here = find_storage(AZURE, "sqlite:///a.db")
    assert here.store == SqliteAddress(file=directory / "a.db", name="")
    assert (here.embedded, here.needs_token, len(here.files)) == (False, True, 1)


BAD_QUEUES = (
    "jobs",
    "jobs.db",
    "sqlite:jobs.db",
    "sqlite:/jobs.db",
    "sqlite://jobs.db",
    "sqlite:///",
    "sqlite:///#jobs",
    "sqlite:///dir/",
    "sqlite:///a.db?mode=ro",
    "sqlite:///a\0b",
    "sqlite:///a.db#Upper",
    "sqlite:///a.db#a b",
    "sqlite:///a.db#x",
    "sqlite:///a.db#" + "x" * 57,
    "redis://localhost/0",
    "amqp://user:secret@host/jobs",
    "http://account.queue.core.windows.net/jobs",
    "https://account.queue.core.windows.net/",
    "https://account.queue.core.windows.net/jobs/more",
    "https://account.queue.core.windows.net/" + "x" * 57,
    "https://account.blob.core.windows.net/jobs",
    "https://example.com/jobs",
    "https://account.queue.core.windows.net/jobs?sig=secret",
    "http://127.0.0.1:99999/devstoreaccount1/jobs",
    "http://127.0.0.1:10001/devstoreaccount1",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=secret==",
    " ",
)


def test_a_loop_of_links_names_no_file(directory: Path) -> None:
    """A file that leads to itself is refused like any other that cannot be."""
    (directory / "a.db").symlink_to("a.db")
    with pytest.raises(ConfigurationError, match="names no file"):
        find_storage("sqlite:///a.db", None)


@pytest.mark.parametrize("url", BAD_QUEUES)
def test_a_bad_queue_is_answered_with_one_line_and_no_secret(url: str) -> None:
    """It names --queue and a remedy, and repeats neither a password nor a key."""
    with pytest.raises(ConfigurationError) as refused:
        find_storage(url, None)
    assert refused.value.setting == "--queue"
    assert refused.value.remedy
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["records", "sqlite:///a.db#name", AZURE, "https://example.com/records", CONTAINER + "?sig=secret", ""]
)
def test_a_bad_store_names_the_store(url: str) -> None:
    """The line is about --store, not about the queue, which is right."""
    with pytest.raises(ConfigurationError) as refused:
        find_storage(AZURE, url)
    assert refused.value.setting == "--store"
    assert "secret" not in str(refused.value)


@given(st.text(max_size=80))
@example("sqlite:///\ud800")
@example("http://[")
def test_no_text_is_too_strange_to_be_refused_in_our_own_words(text: str) -> None:
    """Whatever is typed either is an address or raises ConfigurationError."""
    for queue, store in ((text, None), (None, text), ("sqlite:///" + text, None), ("https://" + text, None)):
        with suppress(ConfigurationError):
            assert find_storage(queue, store).poison_queue.name
