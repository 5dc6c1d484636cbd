"""`spotfsm verify`: prove the tables, the joint machine and the delivery protocol, or show the way into trouble."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters.cli import options
from adapters.cli.exits import EXIT_FAILED
from adapters.cli.output import say, show_json
from fsm.checker.report import Check, Report
from fsm.checker.verify import checks

_EXAMPLE = "Example: spotfsm verify --deep"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", epilog=_EXAMPLE)(_verify)


def _verify(
    *,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Explore more faults, workers and messages, and check the checker: mutants of every table, and every "
            "rule of the delivery protocol broken. Takes some minutes and gigabytes.",
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Prove that the machines are total and deterministic and keep their promises; exit 1 if one does not.

    The proof runs the tables and the protocol's decisions that workers run, not a model of them. Keys of --json: ok,
    checks (name, ok, counts, findings with promise, what and trace, notes).
    """
    done = []
    for check in checks(deep=deep):
        done.append(check)
        if as_json:
            say(check.name)
        else:
            _show(check)
    report = Report(checks=tuple(done))
    if as_json:
        show_json(_as_json(report))
    else:
        failed = sum(not check.ok for check in done)
        print(f"{len(done)} checks, {failed} failed" if failed else f"{len(done)} checks, all hold")
    return 0 if report.ok else EXIT_FAILED


def _show(check: Check) -> None:
    counts = ", ".join(f"{count:,} {name}" for name, count in check.counts.items() if count)
    print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {counts}", flush=True)
    for finding in check.findings:
        print(f"      {finding.promise}: {finding.what}")
        for number, step in enumerate(finding.trace, start=1):
            print(f"      {number:>3}. {step}")
    for note in check.notes:
        print(f"      note: {note}")


def _as_json(report: Report) -> dict[str, object]:
    return {
        "ok": report.ok,
        "checks": [
            {
                "name": check.name,
                "ok": check.ok,
                "counts": check.counts,
                "findings": [
                    {"promise": finding.promise, "what": finding.what, "trace": list(finding.trace)}
                    for finding in check.findings
                ],
                "notes": list(check.notes),
            }
            for check in report.checks
        ],
    }
