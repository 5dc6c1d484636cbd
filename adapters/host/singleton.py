"""A lock that keeps a worker the only one of its name on this host, and that no crash can leave locked.

The lock is the kernel's, on a file whose name is made of the key. It is gone with the last process that holds the file,
however that ended: https://man7.org/linux/man-pages/man2/flock.2.html (read 2026-11). Two workers of one name would
take each other's presence for their own, and each other's death for a lapsed lease.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from fsm.errors import ConfigurationError

TRIES_MAX = 100
_OWNER_CHARS_MAX = 40


@contextmanager
def only_one(key: str, *, name: str, directory: Path) -> Iterator[None]:
    """Hold the lock for this key.

    Args:
        key: what there must be one of.
        name: how the user calls it.
        directory: where locks are, the same for all who might hold this one.

    Raises:
        ConfigurationError: somebody holds it, or there can be no lock.
    """
    path = directory / f"spotfsm-{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()[:32]}.lock"
    try:
        file = _locked(path)
    except BlockingIOError as exc:
        problem = f"a worker {name!r} for this queue runs on this host already{_owner(path)}"
        raise ConfigurationError("--instance", problem, "Stop it, or give this one another name.") from exc
    except OSError as exc:
        remedy = "Give it a directory by RUNTIME_DIRECTORY, as systemd's RuntimeDirectory= does."
        raise ConfigurationError("--instance", f"{path} cannot be locked: {exc.strerror}", remedy) from exc
    try:
        _sign(file)
        yield
    finally:
        with suppress(OSError):  # another user made it
            path.unlink()
        os.close(file)


def runtime_directory(environment: Mapping[str, str]) -> Path:
    """Where locks lie: the service's own directory, or one that all users of this host share.

    /run/lock is for this very use, and is no other for a service with a private /tmp:
    https://refspecs.linuxfoundation.org/FHS_3.0/fhs/ch03s15.html, and
    https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#RuntimeDirectory= (read 2026-11)
    """
    given = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    shared = Path("/run/lock")
    return shared if os.access(shared, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def _locked(path: Path) -> int:
    """The lock's file, locked.

    Raises:
        BlockingIOError: somebody holds it.
        OSError: it can neither be made nor opened.
    """
    for _ in range(TRIES_MAX):
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # who held it has just removed it
    raise BlockingIOError


def _is(file: int, path: Path) -> bool:
    """Whether the open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _opened(path: Path) -> int:
    """The lock's file; one that another user made is enough to lock, and is not written.

    Raises:
        OSError: it can neither be made nor opened.
    """
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o644)
    except PermissionError:
        return os.open(path, flags | os.O_RDONLY)


def _owner(path: Path) -> str:
    """Who holds the lock, as far as the file says."""
    try:
        said = path.read_text(encoding="ascii", errors="replace")[:_OWNER_CHARS_MAX].strip()
    except OSError:
        return ""
    return f" (process {said})" if said.isdigit() else ""


def _sign(file: int) -> None:
    """Say who holds it, where that can be written."""
    with suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
