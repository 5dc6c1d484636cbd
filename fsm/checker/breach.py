"""A promise that a step of the explored protocol broke."""

from __future__ import annotations

from typing import NamedTuple


class Breach(NamedTuple):
    """A promise that a step broke, and how."""

    promise: str
    what: str
