"""Which disk a file lies on, and whether an eviction of this VM destroys it.

Pure over the text of /proc/self/mountinfo (https://www.kernel.org/doc/html/latest/filesystems/proc.html, read 2026-11).
With eviction policy Delete "the underlying disks are deleted" along with the VM; with Deallocate the disks are kept and
the temporary disk is lost (https://learn.microsoft.com/azure/virtual-machines/spot-vms, read 2026-11). What lies on
another machine survives either. Where nothing is known (no /proc, no Spot VM) nothing is claimed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fsm.journal_kinds import Kind
from fsm.ports import InstanceMetadata, Journal, VmIdentity

MOUNTINFO_FILE = Path("/proc/self/mountinfo")
TEMPORARY_DISKS = (Path("/mnt"), Path("/mnt/resource"))
"""Where cloud-init and the Azure agent mount the VM's temporary disk.

https://learn.microsoft.com/azure/virtual-machines/managed-disks-overview#temporary-disk (read 2026-11)
"""
_IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "lustre", "glusterfs", "beegfs", "gpfs", "afs", "9p", "fuse"}
)
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.mergerfs", "fuse.bindfs", "fuse.gocryptfs"})
"""File systems in user space are remote (blobfuse2, sshfs, s3fs, ...) but for these."""
_REGULAR = "regular"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mounted file system.

    Attributes:
        point: where it is mounted.
        kind: its type, such as `ext4`.
        device: what is mounted, such as `/dev/sda1`.
    """

    point: Path
    kind: str
    device: str

    @property
    def remote(self) -> bool:
        """Whether its files lie on another machine."""
        return self.kind in _REMOTE or (self.kind.startswith("fuse.") and self.kind not in _LOCAL_FUSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A file whose loss would hurt.

    Attributes:
        setting: the setting that names it.
        path: where it is.
        holds: what is in it, for people.
        shared: whether several processes work on it through SQLite's write-ahead log.
    """

    setting: str
    path: Path
    holds: str
    shared: bool = False


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """The mounts in the text of a mountinfo file, in its order; lines of another shape are skipped."""
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields, described = before.split(), after.split()
        if separator and len(fields) >= 5 and len(described) >= 2:
            mounts.append(Mount(point=Path(_plain(fields[4])), kind=described[0], device=_plain(described[1])))
    return tuple(mounts)


def read_mounts(file: Path = MOUNTINFO_FILE) -> tuple[Mount, ...]:
    """The mounts of this process; none where the system does not tell."""
    try:
        return parse_mounts(file.read_text(errors="surrogateescape"))
    except OSError:
        return ()


def mount_of(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """The mount an absolute path lies on: the deepest one, and of several at one point the newest."""
    above = [mount for mount in mounts if path.is_relative_to(mount.point)]
    return max(reversed(above), key=lambda mount: len(mount.point.parts), default=None)


def why_lost(mount: Mount, mounts: Sequence[Mount], identity: VmIdentity) -> str | None:
    """Why an eviction of this VM takes this mount's files, or None if it does not, or nothing is known."""
    evictable = identity.eviction_policy or identity.priority.lower() not in ("", _REGULAR)
    if not evictable or mount.remote:
        return None
    policy = identity.eviction_policy or "unknown"
    if policy.lower() != "deallocate":
        return f"eviction policy {policy} destroys this VM's disks"
    if mount.kind in _IN_MEMORY:
        return "an eviction empties its memory"
    if mount.device in _temporary_devices(mounts):
        return "an eviction empties the temporary disk"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWarning:
    """A file that lies where it should not; `text` is a sentence without its full stop."""

    text: str
    remedy: str

    @property
    def line(self) -> str:
        return f"{self.text}. {self.remedy}"


def warnings(files: Sequence[KeptFile], mounts: Sequence[Mount], identity: VmIdentity) -> tuple[DiskWarning, ...]:
    """A warning for each file that an eviction destroys, or that lies where SQLite cannot share it between machines."""
    found = []
    for file in files:
        mount = mount_of(file.path, mounts)
        if mount is None:
            continue
        where = f"{file.setting}: {file.path} lies on {mount.point}"
        why = why_lost(mount, mounts, identity)
        if why is not None:
            remedy = "Use an Azure queue and store." if file.shared else "Copy it elsewhere while the VM is there."
            found.append(DiskWarning(text=f"{where}, and {why}: {file.holds} go with it", remedy=remedy))
        elif mount.remote and file.shared:
            text = f"{where}, a network file system ({mount.kind}), where SQLite cannot be shared by several machines"
            remedy = "Let workers of one VM alone use it, or use an Azure queue and store."
            found.append(DiskWarning(text=text, remedy=remedy))
    return tuple(found)


class WarningMetadata(InstanceMetadata):
    """Instance metadata that, once it knows the VM, notes in the journal which files its eviction would destroy."""

    def __init__(self, metadata: InstanceMetadata, files: Sequence[KeptFile], journal: Journal) -> None:
        self._metadata = metadata
        self._files = files
        self._journal = journal

    async def identity(self, *, timeout_s: float) -> VmIdentity:
        identity = await self._metadata.identity(timeout_s=timeout_s)
        for warning in warnings(self._files, read_mounts(), identity):
            self._journal.write(Kind.WARNING, {"text": warning.line})
        return identity


def _temporary_devices(mounts: Sequence[Mount]) -> set[str]:
    """The devices of the temporary disk: also where it is mounted a second time, never the one of the root."""
    roots = {mount.device for mount in mounts if mount.point == Path("/")}
    return {mount.device for mount in mounts if mount.point in TEMPORARY_DISKS} - roots


def _plain(field: str) -> str:
    """A field of mountinfo without its octal escapes for blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), field)
