"""Addresses as users type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.azure.address import Service, parse_address
from fsm.errors import ConfigurationError

good_names = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True).filter(lambda name: 3 <= len(name) <= 63)


@given(name=good_names, account=st.from_regex(r"[a-z0-9]{3,24}", fullmatch=True), slash=st.sampled_from(["", "/"]))
def test_an_address_on_azure(name: str, account: str, slash: str) -> None:
    """Account and name of an Azure address are taken apart, whatever they are, with or without a slash at the end."""
    url = f"https://{account}.queue.core.windows.net"
    address = parse_address(f"{url}/{name}{slash}", "queue", setting="--queue")
    assert (address.account_url, address.name, address.emulated) == (url, name, False)


@pytest.mark.parametrize(
    "account_url",
    [
        "https://things.blob.core.windows.net",
        "https://things.blob.core.chinacloudapi.cn",
        "https://things.z12.blob.storage.azure.net",
        "https://things.privatelink.blob.core.windows.net",
    ],
)
def test_other_clouds_have_other_hosts(account_url: str) -> None:
    """Hosts of sovereign clouds, DNS zones and private endpoints are taken as well."""
    assert parse_address(f"{account_url}/records", "blob", setting="--store").account_url == account_url


@pytest.mark.parametrize(
    "account_url", ["http://127.0.0.1:10001/devstoreaccount1", "https://azurite:1/devstoreaccount1"]
)
@pytest.mark.parametrize("service", ["queue", "blob"])
def test_an_address_on_azurite(account_url: str, service: Service) -> None:
    """Azurite is known by its account, over http or https, on any host."""
    address = parse_address(f"{account_url}/jobs", service, setting="--queue")
    assert (address.account_url, address.name, address.emulated) == (account_url, "jobs", True)


@pytest.mark.parametrize(
    ("url", "needs_token"),
    [
        ("https://things.queue.core.windows.net/jobs", True),
        ("https://127.0.0.1:10001/devstoreaccount1/jobs", True),
        ("http://127.0.0.1:10001/devstoreaccount1/jobs", False),
        ("HTTP://127.0.0.1:10001/devstoreaccount1/jobs", False),
    ],
)
def test_a_token_travels_over_tls_alone(url: str, needs_token: bool) -> None:
    """Azure, and an Azurite over https, are asked with a token; over http the published key is used."""
    assert parse_address(url, "queue", setting="--queue").needs_token is needs_token


@pytest.mark.parametrize(
    "url",
    [
        "",
        "jobs",
        "https://",
        "https://things.queue.core.windows.net",
        "https://things.queue.core.windows.net/",
        "https://things.queue.core.windows.net/jobs/more",
        "https://things.blob.core.windows.net/jobs",
        "https://things.table.core.windows.net/jobs",
        "https://example.org/jobs",
        "https://things.queue.core.windows.net:port/jobs",
        "https://[::1/jobs",
        "http://things.queue.core.windows.net/jobs",
        "ftp://things.queue.core.windows.net/jobs",
        "http://127.0.0.1:10001/devstoreaccount1",
        "http://127.0.0.1:10001/otheraccount/jobs",
        "https://things.queue.core.windows.net/..",
        "https://things.queue.core.windows.net/Jobs",
        "https://things.queue.core.windows.net/jo",
        "https://things.queue.core.windows.net/jobs--x",
        "https://things.queue.core.windows.net/-jobs",
        "https://things.queue.core.windows.net/jobs%20x",
        "https://things.queue.core.windows.net/" + "j" * 64,
    ],
)
def test_what_is_no_address(url: str) -> None:
    """Anything else is refused in one line that names the setting and what to write."""
    with pytest.raises(ConfigurationError) as caught:
        parse_address(url, "queue", setting="--queue")
    assert caught.value.setting == "--queue"
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://things.queue.core.windows.net/jobs?sv=2025&sig=s3cr3t",
        "https://things.queue.core.windows.net/jobs#s3cr3t",
        "https://things:s3cr3t@things.queue.core.windows.net/jobs",
        "https://things.queue.core.windows.net/?s3cr3t",
    ],
)
def test_a_secret_is_refused_and_not_repeated(url: str) -> None:
    """An address with a key, signature or password is refused by a message that does not hold it."""
    with pytest.raises(ConfigurationError) as caught:
        parse_address(url, "queue", setting="--queue")
    assert "s3cr3t" not in str(caught.value)


@given(url=st.text() | st.text().map(lambda text: f"https://things.queue.core.windows.net/{text}"))
def test_any_text_is_an_address_or_refused(url: str) -> None:
    """No text whatsoever makes anything but an address or a configuration error."""
    try:
        address = parse_address(url, "queue", setting="--queue")
    except ConfigurationError:
        return
    assert address.account_url.startswith(("https://", "http://"))
