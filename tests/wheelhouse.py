"""A directory of wheels without a network: what is installed here, packed again."""

from __future__ import annotations

import importlib.metadata
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement

from adapters.packaging.own_wheel import DISTRIBUTION, write_wheel
from adapters.packaging.requirements import closure, installed
from adapters.packaging.target import here
from adapters.packaging.wheels import PIP


def wheelhouse(directory: Path) -> Path:
    """Fill the directory with all that spotfsm needs, itself not included, and with pip."""
    needed = closure([Requirement(DISTRIBUTION), Requirement(PIP)], installed, here())
    assert not needed.missing
    directory.mkdir(parents=True, exist_ok=True)
    for name in needed.found - {DISTRIBUTION}:
        pack(importlib.metadata.distribution(name), directory)
    return directory


def pack(distribution: importlib.metadata.Distribution, directory: Path) -> None:
    """Undo an installation."""
    name = distribution.metadata["Name"].replace("-", "_").replace(".", "_")
    contents, info = {}, ""
    for file in distribution.files or ():
        parts = file.parts
        if parts[0] == ".." or "__pycache__" in parts:
            continue
        if parts[0].endswith(".dist-info"):
            info = parts[0]
            if parts[1] in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}:
                continue
        contents[str(file)] = Path(str(file.locate())).read_bytes()
    said = Parser().parsestr(distribution.read_text("WHEEL") or "").get_all("Tag", [])
    tags = zip(*(str(tag).split("-") for tag in said), strict=True)
    stem = "-".join([name, distribution.version, *(".".join(sorted(set(tag))) for tag in tags)])
    write_wheel(directory / f"{stem}.whl", contents, info=info)
