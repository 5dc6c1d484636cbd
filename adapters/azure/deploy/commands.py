"""A command of the walk-through: words for a process, and the same as text that a shell takes.

What one command needs of an earlier one's result stands in it as a variable. A program looks the variable up when it
first meets it; a script does so in the line before. Both come from the same words, so that what is shown is what runs.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from adapters.azure.deploy.troubles import Trouble


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that is looked up; `name` is a shell variable's."""

    name: str


ENVIRONMENT = {
    "AZURE_CORE_ONLY_SHOW_ERRORS": "true",
    "AZURE_EXTENSION_USE_DYNAMIC_INSTALL": "yes_without_prompt",
    "AZURE_EXTENSION_DYNAMIC_INSTALL_ALLOW_PREVIEW": "true",
}
"""For the Azure CLI, whose variables are AZURE_, a section and a name: errors alone, and extensions as they are needed.
[https://learn.microsoft.com/cli/azure/azure-cli-configuration, read 2026-11]"""

Word: TypeAlias = str | Variable | tuple[str | Variable, ...]
"""One argument: text, a variable, or both joined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One process.

    Attributes:
        words: the program and its arguments.
        unless: nothing is done where this file is.
        output: the file that takes what it prints.
        interactive: somebody talks to it at the terminal.
        if_made: what has to succeed, one after the other, where it fails for what it makes is there already.
        means: what its failure means, where its own words would not say.
    """

    words: Sequence[Word]
    unless: Path | None = None
    output: Path | None = None
    interactive: bool = False
    if_made: Sequence[Command] = ()
    means: Trouble | None = None

    @property
    def shell(self) -> str:
        """The command as a line of a script, or as several."""
        text = " ".join(shell_word(word) for word in self.words)
        if self.output is not None:
            text += f" > {shlex.quote(str(self.output))}"
        if self.if_made:
            lines = (line for command in self.if_made for line in command.shell.splitlines())
            text += " || {\n" + "".join(f"  {line}\n" for line in lines) + "}"
        if self.means is not None:
            text += f" || {{\n  echo {shlex.quote(f'error: {self.means.line}')} >&2\n  exit 2\n}}"
        return text if self.unless is None else f"[ -e {shlex.quote(str(self.unless))} ] || {text}"

    def variables(self) -> Iterator[str]:
        """The names of the variables in it, as often as they are."""
        for word in self.words:
            for part in _parts(word):
                if isinstance(part, Variable):
                    yield part.name
        for command in self.if_made:
            yield from command.variables()

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """The words with each variable's value in its place."""
        return [
            "".join(values[part.name] if isinstance(part, Variable) else part for part in _parts(word))
            for word in self.words
        ]


def shell_word(word: Word) -> str:
    """One argument as a shell takes it."""
    if word == "":
        return "''"
    return "".join(f'"${part.name}"' if isinstance(part, Variable) else shlex.quote(part) for part in _parts(word))


def _parts(word: Word) -> tuple[str | Variable, ...]:
    return word if isinstance(word, tuple) else (word,)


def lookups_for(command: Command, lookups: Mapping[str, Command], known: set[str]) -> Iterator[tuple[str, Command]]:
    """What is to be looked up before this command, in order: each variable and the command that prints its value.

    Args:
        command: what needs them.
        lookups: by variable, the command.
        known: the variables that were looked up before; grows.
    """
    for name in command.variables():
        if name not in known:
            known.add(name)
            yield from lookups_for(lookups[name], lookups, known)
            yield name, lookups[name]
