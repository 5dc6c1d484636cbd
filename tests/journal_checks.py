"""What tests ask of the journals that workers left: the replay's verdict, and how many notices were read.

Every journal that a test leaves is replayed when the test is over, by fixtures that nobody has to ask for: the files
below its `tmp_path`, what simulated worlds noted, and what the runner's own tests noted. Only a test that breaks a
journal on purpose, or the worker, is marked `illegal_journal` and left alone. Campaigns, which keep their evidence
elsewhere, ask here themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from adapters.host.journal_lines import read_journals
from fsm.journal import Line, parse_line
from fsm.journal_kinds import Kind
from fsm.notices import Severity
from fsm.replay import replay
from fsm.replay.checks import BEGINS

__all__ = ["BEGINS", "MARK", "faults_below", "faults_in", "journals_below", "lines_in", "notices_seen"]

MARK = "illegal_journal"
_BEGINNING = b'{"n": '


def faults_in(lines: Sequence[Line]) -> list[str]:
    """One sentence for every line that breaks a promise; `lines` are of all processes that worked one queue."""
    return [str(fault) for fault in replay(lines).faults]


def lines_in(texts: Iterable[str]) -> list[Line]:
    """What stands in the lines of a journal; each of them must be one."""
    lines = [parse_line(text, where=f"line {number}") for number, text in enumerate(texts, start=1)]
    assert None not in lines
    return [line for line in lines if line is not None]


def journals_below(directory: Path) -> Iterator[Path]:
    """Every file that begins as a journal does, and is not only the torn beginning of one."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                first = file.readline()
            if first.startswith(_BEGINNING) and first.endswith(b"\n"):
                yield path


def faults_below(directory: Path) -> list[str]:
    """The verdict on all journals of a directory together."""
    journals = list(journals_below(directory))
    return faults_in(read_journals(*journals)) if journals else []


def notices_seen(lines: Iterable[Line]) -> int:
    """How many notices that reclaim the VM were read."""
    return sum(line.kind == Kind.NOTICE and line.text("severity") == Severity.RECLAIM for line in lines)
