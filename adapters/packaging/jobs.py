"""The user's jobs: which files of the working directory go into a package."""

from __future__ import annotations

import ast
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from adapters.packaging.archive import Member
from fsm.errors import ConfigurationError

_LEFT_OUT = frozenset({"__pycache__", ".git"})
_BINDERS = frozenset({"*", "__getattr__", "globals", "exec"})
"""A module with one of these may have any name."""


def job_files(
    root: Path, *, handler: str | None, command: Sequence[str], include: Sequence[Path]
) -> Mapping[str, Member]:
    """The module of the handler or the program of the command, and whatever else is named, by their names below `root`.

    Args:
        root: the directory that is the worker's working directory on the VM.
        handler: `module:function`.
        command: in its place.
        include: files and directories below `root`.

    Raises:
        ConfigurationError: something is not there, lies elsewhere, or is no file.
    """
    found: dict[str, Member] = {}
    for setting, path in _named(root, handler, command, include):
        for file in _files(setting, root / path):
            name = _name(setting, root, file)
            executable = bool(file.stat().st_mode & stat.S_IXUSR)
            found[name] = Member(content=file, executable=executable)
    return found


def check_handler(root: Path, handler: str, *, python: str) -> None:
    """Refuse a handler that its module below `root` surely has not: on a VM its worker would be started over and over.

    The module is read and not run, for what it imports need not be here.

    Args:
        root: the worker's working directory.
        handler: `module:function`.
        python: the VM's; a syntax of another Python than this one is not judged.

    Raises:
        ConfigurationError: there is no such name in it, or it is no Python.
    """
    module, _, name = handler.partition(":")
    place = root.joinpath(*module.split("."))
    file = next((one for one in (place / "__init__.py", place.parent / f"{place.name}.py") if one.is_file()), None)
    if file is None or not name:
        return
    try:
        names = set(_bound(ast.parse(file.read_bytes(), file.name)))
    except (SyntaxError, ValueError) as exc:
        if python == f"{sys.version_info.major}.{sys.version_info.minor}":
            raise ConfigurationError("--handler", f"{file.name} is no Python: {exc}", "Put it right.") from exc
        return
    if not names & {name.partition(".")[0], *_BINDERS}:
        raise ConfigurationError("--handler", f"{file.name} has no {name!r:.100}", "Give module:function.")


def _bound(tree: ast.AST) -> Iterator[str]:
    """Every name that is bound anywhere in the module, and those by which more may be."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.Name) and (isinstance(node.ctx, ast.Store) or node.id in _BINDERS):
            yield node.id


def _named(
    root: Path, handler: str | None, command: Sequence[str], include: Sequence[Path]
) -> Iterator[tuple[str, Path]]:
    if handler is not None:
        module = handler.partition(":")[0].partition(".")[0]
        candidates = [path for path in (Path(module), Path(f"{module}.py")) if module and (root / path).exists()]
        if candidates:
            yield "--handler", candidates[0]
        elif not include:
            remedy = f"Package where {module}.py lies, or name what holds it with --include."
            raise ConfigurationError("--handler", f"there is no {module!r:.100} in {root}", remedy)
    if command and "/" in command[0] and not command[0].startswith("/"):
        yield "COMMAND", Path(command[0])
    for path in include:
        yield "--include", path


def _files(setting: str, path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise ConfigurationError(setting, f"{path} is neither a file nor a directory", "Name one that is.")
    for directory, directories, files in os.walk(path):
        directories[:] = sorted(set(directories) - _LEFT_OUT)
        for link in (Path(directory, name) for name in directories):
            if link.is_symlink():
                raise ConfigurationError(setting, f"{link} is a link to a directory", "Name what it leads to.")
        for file in (Path(directory, name) for name in sorted(files)):
            if not file.is_file():
                raise ConfigurationError(setting, f"{file} is no file", "Take it out.")
            if file.suffix != ".pyc":
                yield file


def _name(setting: str, root: Path, file: Path) -> str:
    path = Path(os.path.normpath(file))
    if not path.is_relative_to(root):
        problem = f"{file} lies outside of {root}, the worker's working directory"
        raise ConfigurationError(setting, problem, "Package from a directory that holds it.")
    name = path.relative_to(root).as_posix()
    if not name.isprintable() or "\\" in name:
        raise ConfigurationError(setting, f"{name!r:.200} cannot be a name in a package", "Call it something plainer.")
    return name
