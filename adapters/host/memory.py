"""How much memory the processes of a job hold: which jobs hold too much, and which hold none any more.

Resident memory is what is watched, not address space (RLIMIT_AS): runtimes such as Go's, Java's or CUDA's reserve many
times what they use, and a limit that is inherited holds for each process and not for the job. Pages that several
processes of a job share count once (proportional set size), which costs more to find out and is asked only of a job
whose plain sum is over the limit.

All from https://www.kernel.org/doc/html/latest/filesystems/proc.html (read 2026-11).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_AFTER_NAME_GROUP = 2
"""Fields of /proc/PID/stat behind the name in brackets, which may hold anything: state, parent, group, ..."""
_AFTER_NAME_RSS_PAGES = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """One process and the bytes of memory it occupies, shared ones included."""

    pid: int
    resident_bytes: int


def groups_over(groups: Collection[int], bytes_max: int) -> Mapping[int, int]:
    """Those of these process groups that occupy more than `bytes_max`, and how much each does."""
    found = resident_by_group()
    over = {}
    for group in groups:
        members = found.get(group, ())
        if sum(member.resident_bytes for member in members) > bytes_max:
            occupied_bytes = sum(_proportional_bytes(member) for member in members)
            if occupied_bytes > bytes_max:
                over[group] = occupied_bytes
    return over


def is_gone(group: int) -> bool:
    """Whether no process of this group is left but such as have ended and wait for somebody to notice (zombies)."""
    try:
        os.killpg(group, 0)
    except OSError:
        return True
    return not any(member.resident_bytes for member in resident_by_group().get(group, ()))


def resident_by_group() -> Mapping[int, Sequence[Resident]]:
    """Every process group of this machine."""
    found: defaultdict[int, list[Resident]] = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                found[int(fields[_AFTER_NAME_GROUP])].append(
                    Resident(pid=int(entry.name), resident_bytes=int(fields[_AFTER_NAME_RSS_PAGES]) * _PAGE_BYTES)
                )
    return found


def _proportional_bytes(process: Resident) -> int:
    """What the process occupies, each shared page divided by the number of its users."""
    try:
        for line in (_PROC / str(process.pid) / "smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except ProcessLookupError:
        return 0
    except OSError:  # an old kernel, or not ours to read
        return process.resident_bytes
    return 0
