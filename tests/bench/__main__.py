"""`python -m tests.bench`, or `make bench`: the worker measured against what a good engineer would write by hand."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import measures, simulated
from tests.bench.figures import Figure

MEASURES = {
    "throughput": measures.throughput,
    "start": measures.start,
    "release": measures.release,
    "memory": measures.memory,
    "simulator": simulated.simulator,
}
QUICK = measures.Plan(rounds=3, share=0.3, memory=False)


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds with fewer jobs, and no memory")
    parser.add_argument("--json", action="store_true", help="print JSON with every raw figure")
    parser.add_argument("--only", choices=MEASURES, action="append", help="some measures only")
    parser.add_argument("--directory", type=Path, help="where SQLite's files lie: on the disk that is meant")
    given = parser.parse_args()
    plan = QUICK if given.quick else measures.Plan()
    told, began_s = Console(stderr=True), time.monotonic()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        for name in given.only or MEASURES:
            told.print(f"{time.monotonic() - began_s:5.0f} s  measuring {name}")
            for figure in MEASURES[name](plan, Path(directory)):
                figures.append(figure)
                told.print("  ", *(cell for cell in figure.to_row() if cell), sep="  ", highlight=False)
    machine = {
        "processors": os.cpu_count() or 0,
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "rounds": plan.rounds,
        "took_s": round(time.monotonic() - began_s),
    }
    if given.json:
        sys.stdout.write(
            json.dumps({"machine": machine, "figures": [figure.to_json() for figure in figures]}, indent=1)
        )
        return 0
    table = Table(title=", ".join(f"{name} {value}" for name, value in machine.items()), title_justify="left")
    for heading in ("measured in turn: median (least to most)", "ratio", "goal", "worker", "against"):
        table.add_column(heading)
    for figure in figures:
        table.add_row(*figure.to_row())
    console = Console()
    console.width = max(console.width, 160)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
