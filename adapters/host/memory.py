"""How much memory the processes of a job hold: which jobs hold too much, and which hold none any more.

A job's processes are those of its group, and those that left it for a session of their own and still carry the job's
mark in their environment, as whoever ends them finds them.

Resident memory is what is watched, not address space (RLIMIT_AS): runtimes such as Go's, Java's or CUDA's reserve many
times what they use, and a limit that is inherited holds for each process and not for the job. Pages that several
processes of a job share count once (proportional set size), which costs more to find out and is asked only of a job
whose plain sum is over the limit.

All from https://www.kernel.org/doc/html/latest/filesystems/proc.html (read 2026-11).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_AFTER_NAME_GROUP = 2
"""Fields of /proc/PID/stat behind the name in brackets, which may hold anything: state, parent, group, ..."""
_AFTER_NAME_STARTED = 19
_AFTER_NAME_RSS_PAGES = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """One process and the bytes of memory it occupies, shared ones included.

    Attributes:
        started: when, in the kernel's ticks: a process id is used again, and not at the same time.
    """

    pid: int
    group: int
    started: int
    resident_bytes: int


class MemoryLook:
    """Looks, again and again, at what groups of processes occupy.

    Args:
        variable: in the environment, whose value is a group's mark; a process is asked for its own once.
    """

    def __init__(self, variable: str) -> None:
        self._prefix = f"{variable}=".encode()
        self._marks: dict[tuple[int, int], str] = {}

    def groups_over(self, groups: Mapping[int, str], bytes_max: int) -> Mapping[int, int]:
        """Those of these process groups that occupy more than `bytes_max`, and how much each does.

        Args:
            groups: by number, the mark of each.
            bytes_max: what a group may occupy, whoever has left it included.
        """
        by_mark = {mark: group for group, mark in groups.items()}
        members: defaultdict[int, list[Resident]] = defaultdict(list)
        marks: dict[tuple[int, int], str] = {}
        for process in _residents():
            group = next((number for number in (process.group, process.pid) if number in groups), None)
            if group is None:
                key = process.pid, process.started
                known = self._marks.get(key)
                marks[key] = self._mark(process.pid) if known is None else known
                group = by_mark.get(marks[key])
            if group is not None:
                members[group].append(process)
        self._marks = marks
        over = {}
        for group, found in members.items():
            if sum(member.resident_bytes for member in found) > bytes_max:
                occupied_bytes = sum(_proportional_bytes(member) for member in found)
                if occupied_bytes > bytes_max:
                    over[group] = occupied_bytes
        return over

    def _mark(self, pid: int) -> str:
        """What a process carries; empty for none, and for one that is not ours to read."""
        with suppress(OSError):
            for entry in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                if entry.startswith(self._prefix):
                    return entry.removeprefix(self._prefix).decode(errors="replace")
        return ""


def is_gone(group: int) -> bool:
    """Whether no process of this group is left but such as have ended and wait for somebody to notice (zombies)."""
    try:
        os.killpg(group, 0)
    except OSError:
        return True
    return not any(process.resident_bytes for process in _residents() if process.group == group)


def _residents() -> Iterator[Resident]:
    """Every process of this machine."""
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                yield Resident(
                    pid=int(entry.name),
                    group=int(fields[_AFTER_NAME_GROUP]),
                    started=int(fields[_AFTER_NAME_STARTED]),
                    resident_bytes=int(fields[_AFTER_NAME_RSS_PAGES]) * _PAGE_BYTES,
                )


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
