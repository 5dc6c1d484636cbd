"""Where an explored handler leaves its traces: a directory that outlives VMs, and one that does not.

The working directory stands for everything outside the VM: what is in it is compared. The directory for temporary files
is the VM's own disk: it is empty on every VM.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path

Files = Mapping[str, bytes | None]
"""What a directory holds, by path; None for a directory."""


class Places:
    """The two directories of one run.

    Args:
        root: a directory for both, and for nothing else; it is emptied.
        given: files and directories that stand in the working directory from the beginning.
    """

    def __init__(self, root: Path, given: Iterable[Path] = ()) -> None:
        self.outside = root / "outside"
        self._vm = root / "vm"
        _empty(root)
        self.outside.mkdir()
        self._vm.mkdir()
        for path in given:
            if path.is_dir():
                shutil.copytree(path, self.outside / path.name)
            else:
                shutil.copy2(path, self.outside / path.name)

    def files(self) -> Files:
        """What lies outside of the VM now."""
        return {
            str(path.relative_to(self.outside)): path.read_bytes() if path.is_file() else None
            for path in sorted(self.outside.rglob("*"))
        }

    def restore(self, files: Files) -> None:
        """Undo whatever was done since `files` was read."""
        _empty(self.outside)
        for name, content in files.items():
            path = self.outside / name
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def new_vm(self) -> None:
        """The VM's own disk is gone, and another is there."""
        _empty(self._vm)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Work in them."""
        before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
        tempfile.tempdir = os.environ["TMPDIR"] = str(self._vm)
        try:
            with chdir(self.outside):
                yield
        finally:
            tempfile.tempdir = before
            if variable is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = variable


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
