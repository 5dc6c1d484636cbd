"""The Azurite of the tests, the benchmark and the kill campaign: one for a process, and its published key."""

from __future__ import annotations

import atexit
import functools

from adapters.dev.azurite import ACCOUNT, Azurite
from adapters.dev.child import dies_with_parent

__all__ = ["ACCOUNT", "KEY", "Azurite", "dies_with_parent", "shared"]

KEY = {
    "account_name": ACCOUNT,
    "account_key": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
}
"""As a bare SDK client takes it."""


@functools.cache
def shared() -> Azurite:
    """The one Azurite of this process, started when first asked for: take queues and containers of your own."""
    azurite = Azurite().__enter__()
    atexit.register(azurite.__exit__, None, None, None)
    return azurite
