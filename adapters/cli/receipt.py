"""The receipt of a demo: what became of the jobs, worked out from evidence that the workers could not embellish.

The evidence is the store's own history of its records, the file that the handler appended its effects to, the journals,
and the times at which the VM was really taken and brought back.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import median

from rich.console import RenderableType
from rich.table import Table

from adapters.host.journal_lines import Line
from fsm.job import JobState
from fsm.notices import Severity
from fsm.record import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life of the VM, as whoever played Azure saw it.

    Attributes:
        pid: the worker's process.
        began: when the VM was there and the worker was started.
        announced_s: the notice that was given of its end, or None.
        ended: when it was taken, by SIGKILL; None for the life that ended by itself.
        evicted: whether the whole VM was taken, and not only the process.
    """

    pid: int
    began: datetime
    announced_s: float | None = None
    ended: datetime | None = None
    evicted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How the worker came back.

    Attributes:
        origin: what it found itself to be: redeployed, recreated or restarted.
        first_job_after_s: from the VM's being back to the first job begun; None if it began none.
    """

    origin: str
    first_job_after_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notice as announced, and what was left of it when the worker had read it; None if it never had."""

    announced_s: float
    left_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of the jobs. `spotfsm demo --json` prints these keys.

    Attributes:
        jobs: how many were enqueued.
        completed: how many have a result in the store.
        poisoned: how many were given up.
        lost: how many are neither.
        recorded_twice: how many had their result written more than once, by the history that the store itself kept.
        steps: how many steps of work all jobs have together.
        steps_redone: how often one of them was begun again, by the handler's own file.
        seconds_redone: how long the tries took that had to be repeated.
        evictions_with_notice: how often the VM was taken after a notice.
        evictions_without_notice: how often the VM was taken without one.
        process_kills: how often the worker alone was killed.
        notices: `announced_s` and `left_s` of each notice.
        recoveries: `origin` and `first_job_after_s` of each return.
        illegal_lines: how many journal lines break a promise, by the same replay as `spotfsm replay`.
        took_s: from the first worker's start to the last one's end.
    """

    jobs: int
    completed: int
    poisoned: int
    lost: int
    recorded_twice: int
    steps: int
    steps_redone: int
    seconds_redone: float
    evictions_with_notice: int
    evictions_without_notice: int
    process_kills: int
    notices: tuple[Notice, ...]
    recoveries: tuple[Recovery, ...]
    illegal_lines: int
    took_s: float

    @property
    def kept_the_promises(self) -> bool:
        """Whether nothing was lost, nothing recorded twice, and every line of the journals is legal."""
        return self.lost == 0 and self.recorded_twice == 0 and self.illegal_lines == 0

    def to_json(self) -> str:
        """The receipt as one JSON object."""
        return json.dumps(asdict(self), indent=2)

    def to_table(self) -> RenderableType:
        """The receipt for people."""
        table = Table(title="Receipt", show_header=False, title_justify="left", pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column()
        good, bad = "bold green", "bold red"
        table.add_row("completed", f"{self.completed} of {self.jobs} jobs", style=good if not self.lost else "")
        table.add_row("lost", str(self.lost), style=bad if self.lost else good)
        table.add_row("recorded twice", str(self.recorded_twice), style=bad if self.recorded_twice else good)
        table.add_row("poisoned", str(self.poisoned))
        share = self.steps_redone / max(1, self.steps)
        redone = f"{self.steps_redone} of {self.steps} steps ({share:.1%}), {self.seconds_redone:.1f} s"
        table.add_row("redone work", redone)
        table.add_row("evictions with notice", f"{self.evictions_with_notice}{self._notices_in_words()}")
        table.add_row("evictions without", str(self.evictions_without_notice))
        table.add_row("process kills", str(self.process_kills))
        table.add_row("illegal journal lines", str(self.illegal_lines), style=bad if self.illegal_lines else good)
        table.add_row("recoveries", self._recoveries_in_words())
        table.add_row("VM back to first job", self._returns_in_words())
        table.add_row("took", f"{self.took_s:.0f} s")
        return table

    def _notices_in_words(self) -> str:
        if not self.notices:
            return ""
        had = (
            f"{'none' if notice.left_s is None else f'{notice.left_s:.1f} s'} of {notice.announced_s:g} s"
            for notice in self.notices
        )
        return f" (notice had: {', '.join(had)})"

    def _recoveries_in_words(self) -> str:
        counted = Counter(recovery.origin for recovery in self.recoveries)
        return f"{len(self.recoveries)} ({', '.join(f'{count} {origin}' for origin, count in counted.items())})"

    def _returns_in_words(self) -> str:
        times = [r.first_job_after_s for r in self.recoveries if r.first_job_after_s is not None]
        return f"{median(times):.1f} s (median; at most {max(times):.1f} s)" if times else "no job left to begin"


def make_receipt(
    *,
    statuses: Mapping[str, Status | None],
    recordings: Mapping[str, int],
    steps: int,
    effects: Path,
    lines: Sequence[Line],
    illegal_lines: int,
    lives: Sequence[Life],
    took_s: float,
) -> Receipt:
    """Work the receipt out.

    Args:
        statuses: what the store says of each job that was enqueued; None where it has no record.
        recordings: how often the store saw each job's result written.
        steps: how many steps the jobs have together.
        effects: the handler's file.
        lines: the journals of all workers.
        illegal_lines: how many of them break a promise.
        lives: the VM's lives, in their order.
        took_s: how long it took.
    """
    completed = sum(status is Status.DONE for status in statuses.values())
    poisoned = sum(status is Status.POISONED for status in statuses.values())
    redone, redone_s = _redone_in(effects, lives)
    sources = {int(line.fields["pid"] or 0): line.source for line in lines if line.kind == "journal"}
    seen = [_Seen(life, [line for line in lines if line.source == sources.get(life.pid)]) for life in lives]
    evicted = [life for life in lives if life.evicted]
    return Receipt(
        jobs=len(statuses),
        completed=completed,
        poisoned=poisoned,
        lost=len(statuses) - completed - poisoned,
        recorded_twice=sum(times > 1 for times in recordings.values()),
        steps=steps,
        steps_redone=redone,
        seconds_redone=round(redone_s, 3),
        evictions_with_notice=sum(life.announced_s is not None for life in evicted),
        evictions_without_notice=sum(life.announced_s is None for life in evicted),
        process_kills=sum(life.ended is not None and not life.evicted for life in lives),
        notices=tuple(notice for one in seen if (notice := one.notice()) is not None),
        illegal_lines=illegal_lines,
        recoveries=tuple(one.recovery() for one in seen[1:]),
        took_s=round(took_s, 1),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """One life of the VM, and what its worker wrote."""

    life: Life
    lines: Sequence[Line]

    def recovery(self) -> Recovery:
        origin = next((line.text("origin") for line in self.lines if line.kind == "origin"), "killed before it knew")
        begun = next((line.at for line in self.lines if _begins(line)), None)
        after_s = None if begun is None else round((begun - self.life.began).total_seconds(), 3)
        return Recovery(origin=origin, first_job_after_s=after_s)

    def notice(self) -> Notice | None:
        announced_s, ended = self.life.announced_s, self.life.ended
        if announced_s is None or ended is None:
            return None
        read = next((line.at for line in self.lines if _reclaims(line)), None)
        left_s = None if read is None else round((ended - read).total_seconds(), 3)
        return Notice(announced_s=announced_s, left_s=left_s)


def _begins(line: Line) -> bool:
    return line.job != "" and line.row != "" and line.text("to") == JobState.RUNNING != line.text("from")


def _reclaims(line: Line) -> bool:
    return line.kind == "notice" and line.text("severity") == Severity.RECLAIM


def _redone_in(effects: Path, lives: Sequence[Life]) -> tuple[int, float]:
    """How many steps were begun again, and how long their earlier tries took.

    A try lasts until its step was done or, where a kill came first, until the kill.
    """
    ended_s = {life.pid: life.ended.timestamp() for life in lives if life.ended is not None}
    tries: defaultdict[tuple[str, int], list[_Try]] = defaultdict(list)
    for text in effects.read_text(encoding="utf-8").splitlines():
        effect = json.loads(text)
        own, at_s = tries[str(effect["job"]), int(effect["step"])], float(effect["at_s"])
        if effect["event"] == "began":
            own.append(_Try(began_s=at_s, ended_s=ended_s.get(int(effect["pid"]), at_s)))
        else:
            own[-1] = replace(own[-1], ended_s=at_s)
    again = [one for own in tries.values() for one in own[:-1]]
    return len(again), sum(one.ended_s - one.began_s for one in again)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """One try of one step, in seconds of the wall clock."""

    began_s: float
    ended_s: float
