"""Which files an eviction takes: from the mounts as Linux lists them, and what IMDS says of the VM."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.host.disks import (
    TEMPORARY_DISKS,
    KeptFile,
    Mount,
    WarningMetadata,
    mount_of,
    parse_mounts,
    read_mounts,
    warnings,
    why_lost,
)
from adapters.host.journal import NoJournal, WatchedJournal
from fsm.ports import InstanceMetadata, JsonScalar, VmIdentity

AZURE_VM = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,discard
28 27 0:25 / /dev/shm rw,nosuid shared:2 - tmpfs tmpfs rw
29 27 0:26 / /run rw,nosuid shared:3 master:4 - tmpfs tmpfs rw,mode=755
30 27 8:17 / /mnt rw,relatime shared:5 - ext4 /dev/sdb1 rw
31 27 8:33 / /data rw,relatime - xfs /dev/sdc1 rw
32 27 0:50 / /mnt/share rw,relatime - nfs4 10.0.0.9:/export rw
33 27 0:51 / /blobs rw,relatime - fuse.blobfuse2 blobfuse2 rw
34 27 0:52 / /smb\040share rw,relatime - cifs //account.file.core.windows.net/s\040h rw
35 27 8:17 /docker /var/lib/docker rw,relatime - ext4 /dev/sdb1 rw
36 27 0:53 / /home/me/bound rw - fuse.bindfs /home/you rw
not a line of mountinfo
37 27 0:54 / /short"""
MOUNTS = parse_mounts(AZURE_VM)


def spot(policy: str, priority: str = "Spot") -> VmIdentity:
    return VmIdentity(vm_id="id", name="vm", boot_id="boot", priority=priority, eviction_policy=policy)


def lost(path: str, identity: VmIdentity) -> bool:
    mount = mount_of(Path(path), MOUNTS)
    assert mount is not None
    return why_lost(mount, MOUNTS, identity) is not None


def test_every_whole_line_is_read_and_no_other() -> None:
    """A line that is no mount is skipped, and optional fields before the dash do not shift those after it."""
    assert len(MOUNTS) == 11
    assert Mount(point=Path("/run"), kind="tmpfs", device="tmpfs") in MOUNTS


def test_blanks_in_names_are_read() -> None:
    """Mountinfo writes a blank as an octal escape, which a path never holds."""
    assert Mount(point=Path("/smb share"), kind="cifs", device="//account.file.core.windows.net/s h") in MOUNTS


@pytest.mark.parametrize(
    ("path", "point"),
    [
        ("/srv/jobs.db", "/"),
        ("/mnt/jobs.db", "/mnt"),
        ("/mnt/share/jobs.db", "/mnt/share"),
        ("/mntx/jobs.db", "/"),
        ("/data", "/data"),
    ],
)
def test_the_deepest_mount_above_a_file_is_its_own(path: str, point: str) -> None:
    """A name that only begins like a mount point is not below it."""
    mount = mount_of(Path(path), MOUNTS)
    assert mount is not None
    assert mount.point == Path(point)


def test_of_two_mounts_at_one_point_the_newer_holds() -> None:
    """What was mounted over is out of sight."""
    older, newer = (Mount(point=Path("/mnt"), kind=kind, device="d") for kind in ("ext4", "nfs4"))
    assert mount_of(Path("/mnt/jobs.db"), (older, newer)) is newer


@pytest.mark.parametrize(
    "path", ["/srv/jobs.db", "/data/jobs.db", "/mnt/jobs.db", "/dev/shm/jobs.db", "/home/me/bound/j"]
)
@pytest.mark.parametrize("policy", ["Delete", "delete", "", "Something"])
def test_the_policy_delete_takes_every_local_disk(path: str, policy: str) -> None:
    """A Spot VM whose policy is Delete, or is not known, keeps nothing of its own."""
    assert lost(path, spot(policy))


@pytest.mark.parametrize("path", ["/mnt/share/jobs.db", "/blobs/jobs.db", "/smb share/jobs.db"])
@pytest.mark.parametrize("policy", ["Delete", "Deallocate", ""])
def test_what_lies_on_another_machine_survives(path: str, policy: str) -> None:
    """NFS, SMB and blobfuse outlive the VM under every policy."""
    assert not lost(path, spot(policy))


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/srv/jobs.db", False),
        ("/data/jobs.db", False),
        ("/mnt/jobs.db", True),
        ("/var/lib/docker/jobs.db", True),
        ("/dev/shm/jobs.db", True),
    ],
)
def test_the_policy_deallocate_takes_the_temporary_disk_and_memory(path: str, *, taken: bool) -> None:
    """The temporary disk is lost wherever it is mounted; the other disks are kept."""
    assert lost(path, spot("Deallocate")) is taken


def test_a_directory_of_the_root_disk_at_mnt_is_not_the_temporary_disk() -> None:
    """A bind mount of the root disk at /mnt does not make the root disk temporary."""
    mounts = tuple(Mount(point=Path(point), kind="ext4", device="/dev/sda1") for point in ("/", "/mnt"))
    assert why_lost(mounts[0], mounts, spot("Deallocate")) is None


@pytest.mark.parametrize("identity", [spot("", "Regular"), spot("", "")])
@pytest.mark.parametrize("mount", MOUNTS)
def test_of_a_vm_that_is_not_known_to_be_spot_nothing_is_claimed(identity: VmIdentity, mount: Mount) -> None:
    """A regular VM is never evicted, and off Azure nobody knows."""
    assert why_lost(mount, MOUNTS, identity) is None


@given(st.text(max_size=300))
def test_no_text_is_too_strange_to_be_read(text: str) -> None:
    """Whatever a kernel writes, the worker starts."""
    for mount in parse_mounts(text):
        assert mount.kind


def test_a_missing_mountinfo_is_no_mounts(tmp_path: Path) -> None:
    """Where the system does not tell, nothing is known and nothing is warned of."""
    assert read_mounts(tmp_path / "nothing") == ()
    assert warnings([KeptFile(setting="--queue", path=Path("/a.db"), holds="it")], (), spot("Delete")) == ()


def test_each_file_that_is_lost_has_one_warning_that_names_its_setting() -> None:
    """A user reads which setting to change, where the file lies, and why that is bad."""
    files = [
        KeptFile(setting="--queue", path=Path("/srv/jobs.db"), holds="the messages", shared=True),
        KeptFile(setting="--journal", path=Path("/blobs/journal"), holds="its lines"),
    ]
    (warning,) = warnings(files, MOUNTS, spot("Delete"))
    assert warning.line.startswith("--queue: /srv/jobs.db lies on /, and eviction policy Delete destroys")
    assert "the messages go with it" in warning.line


def test_sqlite_on_a_network_file_system_is_warned_of() -> None:
    """SQLite's write-ahead log needs memory that machines cannot share; a journal needs none."""
    shared, lines = (
        KeptFile(setting="--queue", path=Path("/mnt/share/a"), holds="it", shared=shared) for shared in (True, False)
    )
    (warning,) = warnings([shared, lines], MOUNTS, spot("Delete"))
    assert "nfs4" in warning.text


class FixedMetadata(InstanceMetadata):
    """A VM whose policy is Delete."""

    async def identity(self, *, timeout_s: float) -> VmIdentity:
        del timeout_s
        return spot("Delete")


async def test_the_journal_is_told_once_the_vm_is_known(tmp_path: Path) -> None:
    """The worker's journal has a warning for each file, and the identity passes through unchanged."""
    entries: list[tuple[str, dict[str, JsonScalar]]] = []
    journal = WatchedJournal(NoJournal(), lambda kind, fields: entries.append((kind, dict(fields))))
    files = [KeptFile(setting="--queue", path=tmp_path / "jobs.db", holds="the messages")]
    assert await WarningMetadata(FixedMetadata(), files, journal).identity(timeout_s=1) == spot("Delete")
    assert [kind for kind, _ in entries] == ["warning"]
    assert str(tmp_path) in str(entries[0][1]["text"])


def test_the_temporary_disk_is_where_azure_mounts_it() -> None:
    """Both agents' mount points are known."""
    assert {str(point) for point in TEMPORARY_DISKS} == {"/mnt", "/mnt/resource"}
