"""The report of `verify`."""

from __future__ import annotations

from fsm.checker.report import Check, Finding, Report
from fsm.checker.verify import verify


def test_everything_is_proved() -> None:
    """Tables, joint machine and protocol: what the quick verification looks at, holds."""
    report = verify(deep=False)
    assert report.ok
    names = [check.name for check in report.checks]
    assert names[:4] == ["table: spot_vm", "table: application", "table: job", "joint machine"]
    assert any(name.startswith("protocol:") for name in names[4:])
    assert all(count > 0 for check in report.checks[3:] for count in check.counts.values())


def test_one_finding_fails_the_report() -> None:
    """A report holds when all of its checks do."""
    good, bad = Check(name="good"), Check(name="bad", findings=(Finding(promise="p", what="w"),))
    assert Report(checks=(good,)).ok
    assert not Report(checks=(good, bad)).ok
