"""Imports without a search for garbage, and the search afterwards."""

from __future__ import annotations

import gc

import pytest

from adapters.host.imports import uncollected


def test_garbage_is_searched_for_again_afterwards() -> None:
    """Whatever happens within, garbage is collected again afterwards, and what was made within is left alone."""
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()
