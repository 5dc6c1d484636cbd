"""What people and programs are shown: stdout for results, stderr for everything about them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import typer


def one_line(text: str) -> str:
    """The text on one line, without what a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def say(text: str) -> None:
    """A line for people, beside the result."""
    print(one_line(text), file=sys.stderr, flush=True)


def show_json(value: object) -> None:
    """The result for programs; `value` is what JSON can hold."""
    print(json.dumps(value, indent=2), flush=True)


def show_table(rows: Iterable[tuple[str, str | int | float | None]]) -> None:
    """The result for people: a name and a value a line; what is not known is left out."""
    known = [(name, value) for name, value in rows if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        print(f"{name:<{width}}  {value}")


def show_help(context: typer.Context) -> None:
    """The help of a group of commands, where none of them is called."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def counted(number: int, noun: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration_text(seconds: float) -> str:
    """A duration as a user writes it: `90s` as 1.5m, `0.25s` as it is."""
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.4g}{unit}"
    return f"{seconds:.4g}s"
