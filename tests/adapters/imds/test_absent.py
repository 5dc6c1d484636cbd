"""What a worker gets without IMDS."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from adapters.imds.absent import HostMetadata, NoScheduledEvents
from adapters.imds.boot import BOOT_ID_FILE, read_boot_id
from fsm.errors import ConfigurationError
from tests.adapters.imds.conftest import BOOT_ID

MACHINE_ID = "0123456789abcdef0123456789abcdef"


async def test_the_host_is_the_vm(tmp_path: Path, boot_id_file: Path) -> None:
    """Machine id, host name and boot id make an identity, which is not that of a Spot VM."""
    machine_id_file = tmp_path / "machine-id"
    machine_id_file.write_text(f"{MACHINE_ID}\n")
    identity = await HostMetadata(machine_id_file=machine_id_file, boot_id_file=boot_id_file).identity(timeout_s=1.0)
    assert (identity.vm_id, identity.name) == (MACHINE_ID, socket.gethostname())
    assert identity.boot_id == BOOT_ID
    assert (identity.priority, identity.eviction_policy) == ("", "")


@pytest.mark.parametrize("content", [None, "", "uninitialized", "\N{SNOWMAN}", "not an id"])
async def test_a_host_without_a_machine_id_is_still_the_same_host(
    tmp_path: Path, boot_id_file: Path, content: str | None
) -> None:
    """Without a usable machine id the identity is derived, and the same in every process."""
    machine_id_file = tmp_path / "machine-id"
    if content is not None:
        machine_id_file.write_text(content, encoding="utf-8")
    one, two = [
        await HostMetadata(machine_id_file=machine_id_file, boot_id_file=boot_id_file).identity(timeout_s=1.0)
        for _ in range(2)
    ]
    assert one == two
    assert one.vm_id not in ("", content)


async def test_nobody_announces_anything() -> None:
    """Without IMDS the document is empty for ever, and equal to itself."""
    events = NoScheduledEvents()
    before = await events.poll(timeout_s=1.0)
    await events.acknowledge("E-1", timeout_s=1.0)
    assert before == await events.poll(timeout_s=1.0)
    assert before.events == ()


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_boot_id_is_never_invented(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or garbled boot id is an error that names the setting."""
    file = tmp_path / "boot_id"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="--boot-id-file"):
        read_boot_id(file)


@pytest.mark.skipif(not BOOT_ID_FILE.exists(), reason="this kernel has no boot id")
def test_the_kernel_gives_one_boot_id() -> None:
    """Within one boot the kernel's file always says the same."""
    assert read_boot_id(BOOT_ID_FILE) == read_boot_id(BOOT_ID_FILE)
