"""What a check found: counts when it held, the shortest way into trouble when it did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        promise: the name of the promise or the property that does not hold.
        what: one sentence.
        trace: how to get there from the start, one step a line, in words.
    """

    promise: str
    what: str
    trace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        name: as people and programs call it.
        counts: how much was looked at, by name ("states", "rows"); what makes the verdict worth something.
        findings: what is wrong; empty when the check holds.
        notes: what a reader should know although it holds, such as surviving mutants with their reasons.
    """

    name: str
    counts: dict[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.findings


def merged(parts: Sequence[Check]) -> Check:
    """One check of its parts: their counts added up, their findings and notes one after the other."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    findings = tuple(finding for part in parts for finding in part.findings)
    notes = tuple(note for part in parts for note in part.notes)
    return Check(name=parts[0].name, counts=dict(counts), findings=findings, notes=notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks of one run."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)
