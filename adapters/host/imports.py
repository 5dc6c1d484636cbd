"""Quick imports: no search for garbage among what will stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import within this; what has been made by its end is never searched for garbage again.

    Imports make many thousand objects that live as long as the process. Searching them again and again, as they grow
    in number, would be a tenth of a worker's start, and a part of each later search.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
