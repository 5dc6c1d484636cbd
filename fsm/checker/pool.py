"""Small numbers for large values, so that a state of an exploration is a few integers."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

ValueT = TypeVar("ValueT", bound=Hashable)


class Pool(Generic[ValueT]):
    """Gives equal values the same number, counted from 0."""

    def __init__(self) -> None:
        self._values: list[ValueT] = []
        self._numbers: dict[ValueT, int] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, number: int) -> ValueT:
        return self._values[number]

    def number(self, value: ValueT) -> int:
        """The number of this value; a new one if it is new."""
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self._values)
            self._values.append(value)
        return number
