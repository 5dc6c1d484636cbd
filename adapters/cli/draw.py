"""`spotfsm draw`: the machines as drawings, generated from the tables that run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapters.cli.exits import EXIT_FAILED
from adapters.cli.output import say
from fsm.errors import ConfigurationError

_EXAMPLE = "Example: spotfsm draw --check"
_README = "README.md"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("draw", epilog=_EXAMPLE)(_draw)


def _draw(
    *,
    directory: Annotated[
        Path, typer.Option("--root", metavar="DIRECTORY", help="The directory that holds README.md and diagrams/.")
    ] = Path(),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if a drawing is not what the tables say.")
    ] = False,
) -> int:
    """Draw every machine as a Mermaid picture and a Markdown table, and bring the README's blocks up to date.

    Writes diagrams/*.mmd and diagrams/*.md, and whatever stands between the README's "generated" markers.
    """
    wanted = _wanted(directory)
    stale = [path for path, text in wanted.items() if _read(directory / path) != text]
    gone = _unknown(directory, wanted)
    if check:
        for path in (*stale, *gone):
            say(f"{path} is not what the tables say: run `spotfsm draw`")
        return EXIT_FAILED if stale or gone else 0
    for path in stale:
        _write(directory / path, wanted[path])
        say(f"drew {path}")
    for path in gone:
        (directory / path).unlink()
        say(f"removed {path}")
    if not stale and not gone:
        say("every drawing is up to date")
    return 0


def _wanted(directory: Path) -> dict[str, str]:
    """What each file should hold, by its path from `directory`."""
    from fsm.drawing import generated_files, refreshed

    readme = _read(directory / _README)
    if readme is None:
        problem = f"there is no {_README} in {directory.resolve()}"
        raise ConfigurationError("--root", problem, "Run it in a checkout of the project, or name one.")
    return {**generated_files(), _README: refreshed(readme)}


def _unknown(directory: Path, wanted: dict[str, str]) -> list[str]:
    """Drawings that no table stands behind any more."""
    found = (path.relative_to(directory).as_posix() for path in sorted((directory / "diagrams").glob("*.*")))
    return [path for path in found if path.endswith((".mmd", ".md")) and path not in wanted]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError("--root", f"{path} cannot be read ({exc})", "Correct or remove it.") from exc


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError("--root", f"{path} cannot be written ({exc})", "Allow it, or name another.") from exc
