"""Where `spotfsm simulate --journal` puts what happened: one file for a run, or one for each in a directory."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from fsm.errors import ConfigurationError

if TYPE_CHECKING:
    from simulator.many import Planned
    from simulator.result import SimulationResult

SETTING = "--journal"


class Journals:
    """Writes the journals of runs, each as soon as its run is over, and whole or not at all.

    Args:
        place: a file, for one run; or a directory that is there, for any number.
    """

    def __init__(self, place: Path) -> None:
        self.place = place

    def check(self, runs: int | None) -> None:
        """Whether they can be written, before minutes are spent on runs.

        Args:
            runs: how many there will be; None if nobody knows.

        Raises:
            ConfigurationError: they cannot.
        """
        try:
            tempfile.TemporaryFile(dir=self._directory(runs)).close()
            if self.place.is_file():
                self.place.open("ab").close()
        except OSError as exc:
            raise _unwritable(self.place, exc) from exc

    def _directory(self, runs: int | None) -> Path:
        place = self.place
        if place.is_dir():
            return place
        if runs != 1:
            problem = f"{place} is no directory, and several runs need a file each"
            raise ConfigurationError(SETTING, problem, "Name a directory that is there.")
        if place.exists() and not place.is_file():
            raise ConfigurationError(SETTING, f"{place} is no regular file", "Name a file or a directory.")
        directory = place.resolve().parent
        if not directory.is_dir():
            raise ConfigurationError(SETTING, f"{directory} is not there", "Create the directory.")
        return directory

    def write(self, plan: Planned, result: SimulationResult) -> Path:
        """Write a run's journal.

        Returns:
            its file.

        Raises:
            ConfigurationError: it cannot be written; what was there before is there still.
        """
        path = self.place / file_name(plan) if self.place.is_dir() else self.place
        target = path.resolve()  # of a link, what it names is replaced
        beside = target.with_name(f"{target.name}.new")
        try:
            with beside.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in result.journal)
            beside.replace(target)
        except OSError as exc:
            with suppress(OSError):
                beside.unlink()
            raise _unwritable(path, exc) from exc
        return path


def file_name(plan: Planned) -> str:
    """The name of a run's file in a directory: its scenario, its seed, and the values of a sweep that made it."""
    parts = (plan.scenario.name, f"seed-{plan.seed}", *(f"{key}={value}" for key, value in plan.variant.items()))
    return quote("-".join(parts), safe="= ,") + ".jsonl"


def _unwritable(path: Path, exc: OSError) -> ConfigurationError:
    return ConfigurationError(SETTING, f"{path} cannot be written ({exc.strerror})", "Name another place.")
