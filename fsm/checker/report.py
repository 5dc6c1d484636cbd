"""What a check found: counts when it held, the shortest way into trouble when it did not."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks of one run."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)
