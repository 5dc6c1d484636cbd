"""Which distributions a requirement brings along, by their own metadata.

pip chooses wheels for another machine than its own, but reads markers (`; python_version < "3.13"`) as of its own:
https://github.com/pypa/pip/issues/11664 (read 2026-11). So what it leaves out is found here.
"""

from __future__ import annotations

import importlib.metadata
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import BytesParser
from pathlib import Path
from typing import TypeAlias

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename

_INCLUDED = re.compile(r"(?:-r|--requirement)[\s=]*(\S+)")
_BEHIND = re.compile(r"\s+(?:#|--)")
"""Where a comment or an option of one requirement begins."""

Find: TypeAlias = Callable[[NormalizedName], Sequence[str] | None]
"""The requirements of a distribution as its metadata has them; None if there is no such distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """All that is needed.

    Attributes:
        found: distributions that are there.
        missing: requirements of which none is there.
    """

    found: set[NormalizedName] = field(default_factory=set)
    missing: dict[NormalizedName, Requirement] = field(default_factory=dict)


def closure(roots: Iterable[Requirement], find: Find, environment: Mapping[str, str]) -> Closure:
    """What these requirements need, and what that needs."""
    needed = Closure()
    seen: set[tuple[NormalizedName, frozenset[str]]] = set()
    waiting = list(roots)
    while waiting:
        root = waiting.pop()
        name, extras = canonicalize_name(root.name), frozenset(root.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        wants = find(name)
        if wants is None:
            needed.missing[name] = root
            continue
        needed.found.add(name)
        waiting += [want for want in map(Requirement, wants) if _applies(want, extras, environment)]
    return needed


def _applies(want: Requirement, extras: frozenset[str], environment: Mapping[str, str]) -> bool:
    if want.marker is None:
        return True
    return any(want.marker.evaluate({**environment, "extra": extra}) for extra in extras or {""})


def asked_for(file: Path, environment: Mapping[str, str]) -> Iterator[Requirement]:
    """The requirements of a file as pip reads it that hold in this environment, with their extras.

    What is no requirement by name, an option or an address alone, is pip's to read.
    """
    for line in file.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        text = _BEHIND.split(line.strip(), maxsplit=1)[0]
        included = _INCLUDED.fullmatch(text)
        if included is not None and (file.parent / included[1]).is_file():
            yield from asked_for(file.parent / included[1], environment)
            continue
        try:
            found = Requirement(text)
        except InvalidRequirement:
            continue
        if found.marker is None or found.marker.evaluate({**environment, "extra": ""}):
            yield found


def installed(name: NormalizedName) -> Sequence[str] | None:
    """A `Find` of what is installed here."""
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return None


def in_wheels(wheels: Iterable[Path]) -> Find:
    """A `Find` of these wheels."""
    found: Mapping[NormalizedName, Path] = {parse_wheel_filename(wheel.name)[0]: wheel for wheel in wheels}

    def find(name: NormalizedName) -> Sequence[str] | None:
        return _requires(found[name]) if name in found else None

    return find


def _requires(wheel: Path) -> Sequence[str]:
    with zipfile.ZipFile(wheel) as opened:
        for name in opened.namelist():
            if name.count("/") == 1 and name.endswith(".dist-info/METADATA"):
                metadata = BytesParser().parsebytes(opened.read(name), headersonly=True)
                return [str(value) for value in metadata.get_all("Requires-Dist", [])]
    return []
