"""The boot id: tells a VM that came back from a process that came back."""

from __future__ import annotations

from pathlib import Path

from fsm.errors import ConfigurationError

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
"""A UUID the kernel draws at each boot: https://www.kernel.org/doc/html/latest/admin-guide/sysctl/kernel.html#random"""
_BYTES_MAX = 256


def read_boot_id(file: Path) -> str:
    """The boot id in this file.

    Raises:
        ConfigurationError: the file cannot be read or is empty. There is no fallback: an invented boot id would count
            evictions as deaths, or deaths as evictions.
    """
    try:
        with file.open("rb") as stream:
            boot_id = stream.read(_BYTES_MAX).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            "--boot-id-file",
            f"no boot id in {file} ({exc})",
            "Name a file whose text changes with each boot of the VM.",
        ) from exc
    if not boot_id:
        raise ConfigurationError(
            "--boot-id-file", f"{file} is empty", "Name a file whose text changes with each boot of the VM."
        )
    return boot_id
