"""`spotfsm verify`: prove the tables, the joint machine and the delivery protocol, or show the way into trouble."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from multiprocessing import TimeoutError as NothingYetError
from multiprocessing import get_context
from typing import Annotated

import typer

from adapters.cli import options
from adapters.cli.exits import EXIT_FAILED
from adapters.cli.output import say, show_json
from adapters.dev.child import die_with
from fsm.checker.report import Check, Report, merged
from fsm.checker.verify import Part, parts

_EXAMPLE = "Example: spotfsm verify --deep"
_QUIET_S = 2.0
"""How long nothing is said."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", epilog=_EXAMPLE)(_verify)


def _verify(
    *,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Explore more faults, workers and messages, and check the checker: mutants of every table, of the "
            "joint rules and of the delivery protocol, and every rule broken. Takes minutes and some gigabytes.",
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Prove that the machines are total and deterministic and keep their promises; exit 1 if one does not.

    The proof runs the tables and the protocol's decisions that workers run, not a model of them, on all processors.
    Keys of --json: ok, seconds, checks (name, ok, counts, findings with promise, what and trace, notes).
    """
    began_s = time.monotonic()
    done = []
    for check in _checks(parts(deep=deep)):
        done.append(check)
        if as_json:
            say(check.name)
        else:
            _show(check)
    report = Report(checks=tuple(done))
    took_s = time.monotonic() - began_s
    if as_json:
        show_json(_as_json(report, took_s))
    else:
        failed = sum(not check.ok for check in done)
        verdict = f"{failed} failed" if failed else "all hold"
        print(f"{len(done)} checks, {verdict}, {took_s:.1f} s")
    return 0 if report.ok else EXIT_FAILED


def _checks(todo: Sequence[Part]) -> Iterator[Check]:
    """The checks in their order, each as soon as all of its parts are done."""
    groups = [
        (name, [number for number, _ in group]) for name, group in groupby(enumerate(todo), lambda one: one[1].check)
    ]
    done: dict[int, Check] = {}
    results = _results(todo)
    for _, numbers in groups:
        while not all(number in done for number in numbers):
            number, check = next(results)
            done[number] = check
        yield merged([done.pop(number) for number in numbers])


def _results(todo: Sequence[Part]) -> Iterator[tuple[int, Check]]:
    """What comes of the parts, as it comes: by as many processes as there are processors."""
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    processes = min(processors, len(todo))
    numbered = list(enumerate(todo))
    if processes <= 1:
        yield from map(_done, numbered)
        return
    with get_context("spawn").Pool(processes, initializer=_join, initargs=(os.getpid(),)) as pool:
        results = pool.imap_unordered(_done, numbered)
        began_s, came = time.monotonic(), 0
        while came < len(todo):
            try:
                result = results.next(timeout=_QUIET_S)
            except NothingYetError:
                say(f"{came} of {len(todo)} parts are done after {time.monotonic() - began_s:.0f} s")
                continue
            came += 1
            yield result


def _join(parent: int) -> None:
    """What a process of the pool does first: leave an interrupt from the terminal to its parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(parent)


def _done(numbered: tuple[int, Part]) -> tuple[int, Check]:
    number, part = numbered
    return number, part.run()


def _show(check: Check) -> None:
    counts = ", ".join(f"{count:,} {name}" for name, count in check.counts.items() if count)
    print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {counts}", flush=True)
    for finding in check.findings:
        print(f"      {finding.promise}: {finding.what}")
        for number, step in enumerate(finding.trace, start=1):
            print(f"      {number:>3}. {step}")
    for note in check.notes:
        print(f"      note: {note}")


def _as_json(report: Report, took_s: float) -> dict[str, object]:
    return {
        "ok": report.ok,
        "seconds": round(took_s, 1),
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
