"""`spotfsm replay`: is this journal a legal path, promise by promise?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from adapters.cli import options
from adapters.cli.exits import EXIT_FAILED
from adapters.cli.output import counted, duration_text, one_line, show_json
from adapters.host.journal_lines import read_journals
from fsm.receipts import KILLED, DrainReceipt, receipts_in
from fsm.replay import PostMortem, Replay, post_mortems, replay

FAULTS_SHOWN = 20
_EXAMPLE = "Example: spotfsm replay worker-1.jsonl worker-2.jsonl"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay", epilog=_EXAMPLE)(_replay)


def _replay(
    journals: Annotated[list[Path], typer.Argument(metavar="JOURNAL...", help="Journals of one queue's workers.")],
    *,
    evictions: Annotated[
        bool, typer.Option("--evictions/--no-evictions", help="Print each eviction's post-mortem as a timeline.")
    ] = True,
    as_json: options.AsJson = False,
) -> int:
    """Judge journals by the tables and the promises; exit 1 if a line breaks one.

    Journals may be cut off and of several workers: what is missing proves nothing. Keys of --json: legal, lines,
    processes, completed, poisoned, unfinished, promises (the faults of each), faults (promise, where, why), evictions
    (source, title, margin_s, moments), drains (one for each drain and each kill: source, cause, evicted, announced_s,
    drain_s, received_s: the least that the notice was worth, margin_s, redone_s: work of interrupted jobs since their
    last checkpoint, and how jobs ended).
    """
    lines = read_journals(*journals)
    result, found = replay(lines), post_mortems(lines) if evictions else ()
    drains = receipts_in(lines) if evictions else ()
    if as_json:
        show_json(_as_json(result, found, drains))
    else:
        _show(result, found)
        _show_cost(drains)
    return 0 if result.legal else EXIT_FAILED


def _show(result: Replay, found: tuple[PostMortem, ...]) -> None:
    for post_mortem in found:
        print(one_line(post_mortem.title))
        for moment in post_mortem.moments:
            print(f"  {moment.after_s:+9.3f} s  {one_line(moment.what)}")
        if post_mortem.margin_s is not None:
            print(f"  {'':>9}    {duration_text(max(0.0, post_mortem.margin_s))} of the notice were left")
        print()
    for promise, faults in result.verdicts().items():
        print(f"{'ok  ' if not faults else 'FAIL'}  {promise}{f': {faults} lines' if faults else ''}")
    for fault in result.faults[:FAULTS_SHOWN]:
        print(one_line(str(fault)))
    if len(result.faults) > FAULTS_SHOWN:
        print(f"... and {len(result.faults) - FAULTS_SHOWN} more")
    jobs = f"{result.completed} completed, {result.poisoned} poisoned, {result.unfinished} without an end"
    print(f"{result.lines} lines of {result.processes} processes; jobs: {jobs}")


def _show_cost(drains: Sequence[tuple[str, DrainReceipt]]) -> None:
    """What evictions and kills cost altogether."""
    noticed = sorted(receipt.received_s for _, receipt in drains if receipt.evicted)
    killed = sum(receipt.cause == KILLED for _, receipt in drains)
    if noticed:
        worth = dict.fromkeys(duration_text(round(received_s, 1)) for received_s in (noticed[0], noticed[-1]))
        print(f"{counted(len(noticed), 'eviction')} with a notice, worth {' to '.join(worth)} at least")
    if killed:
        print(f"{counted(killed, 'worker')} killed at work without one")
    if noticed or killed:
        redone_s = sum(receipt.redone_s for _, receipt in drains)
        print(f"{duration_text(round(redone_s, 1))} of work since the last checkpoints, done again")


def _as_json(
    result: Replay, found: tuple[PostMortem, ...], drains: Sequence[tuple[str, DrainReceipt]]
) -> dict[str, object]:
    return {
        "legal": result.legal,
        "lines": result.lines,
        "processes": result.processes,
        "completed": result.completed,
        "poisoned": result.poisoned,
        "unfinished": result.unfinished,
        "promises": {promise.value: faults for promise, faults in result.verdicts().items()},
        "faults": [
            {"promise": fault.promise.value, "where": fault.line.where, "why": fault.why} for fault in result.faults
        ],
        "evictions": [
            {
                "source": one.source,
                "title": one.title,
                "margin_s": one.margin_s,
                "moments": [{"after_s": moment.after_s, "what": moment.what} for moment in one.moments],
            }
            for one in found
        ],
        "drains": [{"source": source, **receipt.fields()} for source, receipt in drains],
    }
