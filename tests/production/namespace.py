"""A network namespace that looks like an Azure VM from inside: addresses, host names and certificates as in production.

`ip netns exec` shows its programs the files in `/etc/netns/NAME` in the place of those in `/etc`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.second_tier import unavailable

_ETC = Path("/etc/netns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A network of its own, with nothing in it but this machine."""

    name: str

    @property
    def within(self) -> tuple[str, ...]:
        """What stands before a command that is to run inside."""
        return ("ip", "netns", "exec", self.name)


@contextmanager
def namespace(name: str, *, addresses: Sequence[str], hosts: Mapping[str, str], authority: Path) -> Iterator[Namespace]:
    """A namespace, for as long as the context lasts.

    Args:
        name: of the namespace.
        addresses: of its own, beside loopback.
        hosts: host names and their addresses.
        authority: the one certificate that the system believes there.
    """
    files = _ETC / name
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError as exc:
        unavailable(f"no network namespace can be made here ({exc.stderr.strip()})")
    try:
        _ip("-netns", name, "link", "set", "lo", "up")
        for address in addresses:
            _ip("-netns", name, "address", "add", f"{address}/32", "dev", "lo")
        (files / "ssl/certs").mkdir(parents=True)
        known = {"localhost": "127.0.0.1", **hosts}
        (files / "hosts").write_text("".join(f"{address} {host}\n" for host, address in known.items()))
        _believe(authority, files / "ssl")
        yield Namespace(name=name)
    finally:
        _ip("netns", "delete", name)
        shutil.rmtree(files, ignore_errors=True)


def _believe(authority: Path, directory: Path) -> None:
    """Be the directory in which OpenSSL looks, in whichever of its forms this build of it prefers."""
    for file in ("cert.pem", "certs/ca-certificates.crt", "certs/authority.pem"):
        shutil.copy(authority, directory / file)
    subprocess.run(["openssl", "rehash", directory / "certs"], check=True, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
