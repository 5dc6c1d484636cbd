"""The places and VMs of the process tests."""

from tests.processes.conftest import make_vm, place, sqlite

__all__ = ["make_vm", "place", "sqlite"]
