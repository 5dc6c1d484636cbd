"""An eviction's post-mortem: what was known when, what was done about it, and how the work came back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fsm.application import APPLICATION, AppState
from fsm.job import JOB
from fsm.journal import Line
from fsm.journal_kinds import Kind
from fsm.notices import Severity
from fsm.replay.checks import BEGINS
from fsm.replay.rows import by_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of a post-mortem; seconds after the eviction became known, or after the last sign of life."""

    after_s: float
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostMortem:
    """One eviction.

    Attributes:
        source: the process it happened to.
        title: what happened, in words.
        moments: in order.
        margin_s: what was left of the notice when the drain was over; None without a notice or without an end.
    """

    source: str
    title: str
    moments: tuple[Moment, ...]
    margin_s: float | None


def post_mortems(lines: Sequence[Line]) -> tuple[PostMortem, ...]:
    """Every drain for a notice, and every process that ended without one, in the order of time."""
    found: list[tuple[float, PostMortem]] = []
    for source, own in by_source(lines).items():
        notices = [number for number, line in enumerate(own) if _reclaims(line)]
        found += [(own[number].at.timestamp(), _of_notice(source, own[number:])) for number in notices]
        if not notices and own[-1].text("to") != AppState.OFFLINE:
            found.append((own[-1].at.timestamp(), _of_silence(source, own, lines)))
    return tuple(post_mortem for _, post_mortem in sorted(found, key=lambda pair: pair[0]))


def _reclaims(line: Line) -> bool:
    return line.kind == Kind.NOTICE and line.text("severity") == Severity.RECLAIM


def _of_notice(source: str, lines: Sequence[Line]) -> PostMortem:
    """From the notice to the end of the drain, of the process, or of the notice."""
    first = lines[0]
    left_s = first.fields.get("left_s")
    moments = [Moment(after_s=0.0, what=f"{first.text('type')} names this VM, {_left(left_s)}")]
    settled: Counter[str] = Counter()
    margin_s: float | None = None
    for line in lines[1:]:
        after_s = (line.at - first.at).total_seconds()
        if line.machine == JOB.name and line.text("to") != line.text("from"):
            settled[line.text("to")] += 1
        elif line.machine == APPLICATION.name and line.text("to") != line.text("from"):
            if line.text("from") == AppState.EVICTED:
                moments.append(Moment(after_s=after_s, what=f"settled: {_counted(settled)}"))
                if isinstance(left_s, int | float):
                    margin_s = left_s - after_s
            moments.append(Moment(after_s=after_s, what=f"{line.text('to')}: {line.text('outcome')}"))
            if line.text("to") in (AppState.PROCESSING, AppState.OFFLINE):
                break
        elif line.kind in (Kind.ACKNOWLEDGED, Kind.NOTICE_GONE, Kind.STOP, Kind.CALL_FAILED):
            detail = line.text("reason") or line.text("text") or line.text("type")
            moments.append(Moment(after_s=after_s, what=" ".join((line.kind.replace("_", " "), detail)).strip()))
    else:
        moments.append(
            Moment(after_s=(lines[-1].at - first.at).total_seconds(), what="the last line: the VM was taken")
        )
    title = f"{first.text('type')} of {source}"
    return PostMortem(source=source, title=title, moments=tuple(moments), margin_s=margin_s)


def _of_silence(source: str, own: Sequence[Line], lines: Sequence[Line]) -> PostMortem:
    """A process that wrote no end: killed without a notice, or its journal is cut off."""
    last = own[-1]
    begun = {(line.job, line.epoch) for line in own if line.row in BEGINS}
    ended = {
        (line.job, line.epoch)
        for line in own
        if line.machine == JOB.name and line.row not in BEGINS and line.text("to") != line.text("from")
    }
    open_jobs = sorted(begun - ended)
    moments = [Moment(after_s=0.0, what=f"the last line; {len(open_jobs)} jobs were running")]
    waiting = {job for job, _ in open_jobs}
    later = sorted((line for line in lines if line.at > last.at), key=lambda line: line.at)
    for line in later:
        if line.row in BEGINS and line.job in waiting:
            waiting.discard(line.job)
            progress = line.text("progress") or "nothing"
            after_s = (line.at - last.at).total_seconds()
            moments.append(Moment(after_s=after_s, what=f"job {line.job} resumes at {progress} on {line.source}"))
    title = f"{source} ended without a notice"
    return PostMortem(source=source, title=title, moments=tuple(moments), margin_s=None)


def _left(left_s: object) -> str:
    return "without a deadline" if left_s is None else f"{left_s} s before its deadline"


def _counted(settled: Counter[str]) -> str:
    return ", ".join(f"{count} {state.lower()}" for state, count in sorted(settled.items())) or "no job was open"
