"""The program that runs, as a wheel: what packs is what is packed, whether it was installed or runs from its source."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import zipfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

DISTRIBUTION = "spotfsm"
PACKAGES = ("fsm", "adapters", "simulator")
_METADATA = ("METADATA", "WHEEL", "entry_points.txt")
_TIME = (1980, 1, 1, 0, 0, 0)


def pack_own_wheel(directory: Path) -> Path:
    """Write spotfsm's own wheel, and return it.

    Raises:
        OSError: a file cannot be read or written.
    """
    distribution = importlib.metadata.distribution(DISTRIBUTION)
    info = f"{DISTRIBUTION}-{distribution.version}.dist-info"
    texts = {f"{info}/{name}": distribution.read_text(name) for name in _METADATA}
    contents = {name: text.encode() for name, text in texts.items() if text is not None}
    for package in PACKAGES:
        root = Path(str(files(package)))
        for file in root.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                contents[f"{package}/{file.relative_to(root)}"] = file.read_bytes()
    wheel = directory / f"{DISTRIBUTION}-{distribution.version}-py3-none-any.whl"
    write_wheel(wheel, contents, info=info)
    return wheel


def write_wheel(wheel: Path, contents: Mapping[str, bytes], *, info: str) -> None:
    """Write a wheel, with the record that it must have, the same byte for byte each time.

    [https://packaging.python.org/en/latest/specifications/binary-distribution-format/, read 2026-11]

    Args:
        wheel: the file.
        contents: by their names in it.
        info: the name of its `.dist-info`.
    """
    lines = [f"{name},sha256={_digest(contents[name])},{len(contents[name])}" for name in sorted(contents)]
    record = f"{info}/RECORD"
    lines.append(f"{record},,")
    everything = {**contents, record: ("\n".join(lines) + "\n").encode()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in sorted(everything, key=lambda name: (name.startswith(info), name)):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            archive.writestr(entry, everything[name], compress_type=zipfile.ZIP_DEFLATED)


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
