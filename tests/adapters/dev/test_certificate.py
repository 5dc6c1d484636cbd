"""A certificate that is believed by whoever is told to believe it, and by nobody else."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from adapters.dev.certificate import Certificate, make_certificate


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, names=["127.0.0.1", "things.queue.core.windows.net"])


async def shaken(certificate: Certificate, trust: ssl.SSLContext, name: str) -> None:
    """Open a connection to a server with the certificate, under a name, and close it."""
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(certificate.chain, certificate.key)

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=shown) as server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=name)
        writer.close()
        await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])


@pytest.mark.parametrize("name", ["127.0.0.1", "things.queue.core.windows.net"])
async def test_each_name_is_vouched_for(certificate: Certificate, name: str) -> None:
    """Under each of its names, and by OpenSSL's strictest rules, the certificate is believed."""
    trust = ssl.create_default_context(cafile=certificate.authority)
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    await shaken(certificate, trust, name)


async def test_another_name_is_not(certificate: Certificate) -> None:
    """A name that was not asked for is refused."""
    trust = ssl.create_default_context(cafile=certificate.authority)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await shaken(certificate, trust, "things.blob.core.windows.net")


async def test_the_system_does_not_believe_it(certificate: Certificate) -> None:
    """Nobody believes it who was not told to."""
    with pytest.raises(ssl.SSLCertVerificationError, match=r"self-signed|unable to get local issuer"):
        await shaken(certificate, ssl.create_default_context(), "127.0.0.1")


def test_only_the_owner_can_read_the_key(certificate: Certificate) -> None:
    """The key is nobody else's to read, and the authority's key is not kept at all."""
    assert certificate.key.stat().st_mode & 0o777 == 0o600
    keys = [file for file in certificate.key.parent.iterdir() if b"PRIVATE KEY" in file.read_bytes()]
    assert keys == [certificate.key]
