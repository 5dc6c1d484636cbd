"""`spotfsm draw`: everything that decides as drawings, made from the code that runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from adapters.cli.exits import EXIT_FAILED
from adapters.cli.output import say
from adapters.drawing.colours import Theme
from adapters.drawing.files import PictureFile, draw_png, draw_svg, picture_files, png_name
from adapters.host.journal_lines import read_journals
from adapters.telemetry.table import metrics_table
from fsm.drawing import (
    DIRECTORY,
    Drawing,
    Format,
    Machine,
    drawing_of,
    drawing_with_path,
    file_name,
    generated_files,
    refreshed,
)
from fsm.errors import ConfigurationError

_EXAMPLE = "Example: spotfsm draw job --journal worker.jsonl --job 0a1b2c3d --format svg --output ."
_README = "README.md"
_STDOUT = "-"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("draw", epilog=_EXAMPLE)(_draw)


def _draw(
    machines: Annotated[
        list[Machine] | None,
        typer.Argument(metavar="[MACHINE]...", help="spot_vm, application, job, joint or delivery; all by default."),
    ] = None,
    *,
    form: Annotated[Format | None, typer.Option("--format", help="What to draw as; mermaid by default.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="DIRECTORY", help="Where to; - is standard output, the default.")
    ] = None,
    dark: Annotated[
        bool, typer.Option("--dark", help="Draw a PNG on a dark ground; an SVG is light and dark.")
    ] = False,
    journals: Annotated[
        list[Path] | None,
        typer.Option("--journal", metavar="FILE", help="Draw the path that a journal took; may be repeated."),
    ] = None,
    job: Annotated[str | None, typer.Option("--job", metavar="ID", help="With --journal: of this job only.")] = None,
    directory: Annotated[
        Path, typer.Option("--root", metavar="DIRECTORY", help="The directory that holds README.md and diagrams/.")
    ] = Path(),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if a drawing is not what the code says.")
    ] = False,
) -> int:
    """Draw the machines, the joint rules and the delivery protocol.

    Without arguments it brings the files in diagrams/ up to date, and whatever stands between the README's "generated"
    markers; --check tells whether they are. SVG and PNG need `pip install 'spotfsm[draw]'`.
    """
    if not (machines or form or output or dark or journals or job):
        return _check(directory) if check else _refresh(directory)
    if check:
        raise ConfigurationError("--check", "it looks at diagrams/ as a whole", "Leave the other options out.")
    if journals and form is Format.XSTATE:
        raise ConfigurationError("--format", "an XState configuration has no path", "Draw it as anything else.")
    chosen = _with_path(machines, journals, job) if journals or job else [drawing_of(m) for m in machines or Machine]
    theme = Theme.DARK if dark else Theme.LIGHT
    _hand_out(chosen, form or Format.MERMAID, theme, output or _STDOUT)
    return 0


# -- on demand -----------------------------------------------------------------------------------------------------


def _with_path(machines: list[Machine] | None, journals: list[Path] | None, job: str | None) -> list[Drawing]:
    """The machines with the paths that journals took."""
    if not journals:
        raise ConfigurationError("--job", "a job's path is in a journal", "Name it with --journal.")
    lines = read_journals(*journals)
    drawn = machines or [Machine.JOB if job else Machine.APPLICATION]
    return [drawing_with_path(machine, lines, job=job) for machine in drawn]


def _hand_out(drawings: list[Drawing], form: Format, theme: Theme, output: str) -> None:
    """Write one drawing to standard output, or each to a file of its own."""
    if form is not Format.PNG and theme is not Theme.LIGHT:
        raise ConfigurationError("--dark", f"{form} has no ground of its own", "Leave it out, or use --format png.")
    if output == _STDOUT:
        if len(drawings) > 1:
            raise ConfigurationError("--output", "standard output takes one drawing", "Name one, or a directory.")
        sys.stdout.buffer.write(_drawn(drawings[0], form, theme))
        sys.stdout.buffer.flush()
        return
    for drawing in drawings:
        name = png_name(drawing.machine, theme) if form is Format.PNG else file_name(drawing.machine, form)
        path = Path(output) / name
        _write("--output", path, _drawn(drawing, form, theme))
        say(f"drew {path}")


def _drawn(drawing: Drawing, form: Format, theme: Theme) -> bytes:
    match form:
        case Format.SVG:
            return draw_svg(drawing.picture)
        case Format.PNG:
            return draw_png(drawing.picture, theme)
        case _:
            return drawing.text(form).encode()


# -- what is kept in the repository --------------------------------------------------------------------------------


def _check(directory: Path) -> int:
    """Say what is stale."""
    texts, pictures = _stale(directory)
    paths = (*texts, *pictures, *_left_over(directory))
    for path in paths:
        say(f"{path} is not what the code says: run `spotfsm draw`")
    if not paths:
        say("every drawing is up to date")
    return EXIT_FAILED if paths else 0


def _refresh(directory: Path) -> int:
    """Draw what is stale, and remove what nothing stands behind any more."""
    texts, pictures = _stale(directory)
    left_over = _left_over(directory)
    for path, text in texts.items():
        _write("--root", directory / path, text.encode())
        say(f"drew {path}")
    for path in left_over:
        (directory / path).unlink()
        say(f"removed {path}")
    for path, picture in pictures.items():
        _write("--root", directory / path, picture.draw())
        say(f"drew {path}")
    if not (texts or pictures or left_over):
        say("every drawing is up to date")
    return 0


def _stale(directory: Path) -> tuple[Mapping[str, str], Mapping[str, PictureFile]]:
    """The texts and the pictures that are not what they should be, by their paths from `directory`."""
    readme = _read(directory / _README)
    if readme is None:
        problem = f"there is no {_README} in {directory.resolve()}"
        raise ConfigurationError("--root", problem, "Run it in a checkout of the project, or name one.")
    texts = {**generated_files(), _README: refreshed(_text(directory / _README, readme), {"metrics": metrics_table()})}
    return (
        {path: text for path, text in texts.items() if _read(directory / path) != text.encode()},
        {path: one for path, one in picture_files().items() if not one.is_fresh(_read(directory / path) or b"")},
    )


def _left_over(directory: Path) -> list[str]:
    """Drawings that no code stands behind any more."""
    known = {*generated_files(), *picture_files()}
    endings = tuple(f".{form.ending}" for form in Format)
    found = (path.relative_to(directory).as_posix() for path in sorted((directory / DIRECTORY).glob("*.*")))
    return [path for path in found if path.endswith(endings) and path not in known]


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise ConfigurationError("--root", f"{path} is not UTF-8 text", "Correct it.") from exc


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigurationError("--root", f"{path} cannot be read: {exc.strerror}", "Correct or remove it.") from exc


def _write(setting: str, path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    except OSError as exc:
        problem = f"{path} cannot be written: {exc.strerror}"
        raise ConfigurationError(setting, problem, "Allow it, or name another directory.") from exc
