"""What a worker gets with `--imds none`: the host for an identity, and no notice ever.

Evictions are then hard kills, which lose nothing; only the head start of a notice is gone.
"""

from __future__ import annotations

import re
import socket
import uuid
from pathlib import Path

from adapters.imds.boot import BOOT_ID_FILE, read_boot_id
from fsm.notices import EventsDocument
from fsm.ports import InstanceMetadata, ScheduledEvents, VmIdentity

MACHINE_ID_FILE = Path("/etc/machine-id")
"""32 hex digits, drawn at installation: https://www.freedesktop.org/software/systemd/man/latest/machine-id.html"""


class HostMetadata(InstanceMetadata):
    """The host's own identity: its machine id, or one derived from its name where there is none.

    Args:
        machine_id_file: the host's machine id.
        boot_id_file: the kernel's boot id.
    """

    def __init__(self, *, machine_id_file: Path = MACHINE_ID_FILE, boot_id_file: Path = BOOT_ID_FILE) -> None:
        self._machine_id_file = machine_id_file
        self._boot_id_file = boot_id_file

    async def identity(self, *, timeout_s: float) -> VmIdentity:
        """Who this host is. Nothing leaves the process, so that `timeout_s` never runs out.

        Raises:
            ConfigurationError: the boot id cannot be read.
        """
        del timeout_s
        name = socket.gethostname()
        return VmIdentity(
            vm_id=_machine_id(self._machine_id_file) or str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
            name=name,
            boot_id=read_boot_id(self._boot_id_file),
            priority="",
            eviction_policy="",
        )


class NoScheduledEvents(ScheduledEvents):
    """Nobody announces anything, which is known rather than guessed."""

    async def poll(self, *, timeout_s: float) -> EventsDocument:
        """The empty document."""
        del timeout_s
        return EventsDocument(incarnation=0, events=())

    async def acknowledge(self, event_id: str, *, timeout_s: float) -> None:
        """Nothing to acknowledge."""
        del event_id, timeout_s


def _machine_id(file: Path) -> str:
    """The machine id, or "" where there is none, or none yet (`uninitialized` during a first boot)."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if re.fullmatch(r"[0-9a-f]{32}", text) else ""
