"""What a VM is given: one archive with the jobs, every wheel they need, the units and the script that installs them."""

from __future__ import annotations

from adapters.packaging.jobs import check_handler, job_files
from adapters.packaging.package import Order, Package, make_package, manage_actions, package_version
from adapters.packaging.target import PYTHON, Architecture, Target, python_version

__all__ = [
    "PYTHON",
    "Architecture",
    "Order",
    "Package",
    "Target",
    "check_handler",
    "job_files",
    "make_package",
    "manage_actions",
    "package_version",
    "python_version",
]
