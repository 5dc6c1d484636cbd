"""What is known of prices, as values: unknown is None and never zero, and what contradicts itself says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from adapters.azure.planning.graph import History
from adapters.azure.planning.retail import Price
from adapters.azure.planning.sizes import Size, SpotQuota, Unfit

UNKNOWN = Price()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What is known of the prices of one size in one region.

    Attributes:
        listed_spot: by the price list.
        pay_as_you_go: by the price list.
        history: by Resource Graph, or None where it says nothing.
        eviction_rate: percent an hour over four weeks, as a band such as `0-5`, or None where it is not known.
    """

    size: str
    region: str
    listed_spot: Price = UNKNOWN
    pay_as_you_go: Price = UNKNOWN
    history: History | None = None
    eviction_rate: str | None = None

    @property
    def spot(self) -> Price:
        """The current Spot price: Resource Graph's, which is what is charged, or else the price list's."""
        return self.listed_spot if self.history is None else Price(candidates=(self.history.latest,))

    @property
    def saving(self) -> Decimal | None:
        """The share of the pay-as-you-go price that Spot saves, where both are known."""
        spot, regular = self.spot.usd_per_h, self.pay_as_you_go.usd_per_h
        return None if spot is None or regular is None else 1 - spot / regular

    @property
    def empty(self) -> bool:
        """Whether no price is known at all."""
        return not self.spot.candidates and not self.pay_as_you_go.candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePlan:
    """Quotes side by side.

    Attributes:
        quotas: of each region that told one.
        notes: what is missing or old, a sentence each.
    """

    quotes: tuple[Quote, ...]
    quotas: Mapping[str, SpotQuota]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeQuote:
    """A size and its price.

    Attributes:
        size: None where only the price list was asked, which knows names and nothing else.
    """

    name: str
    size: Size | None
    quote: Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePlan:
    """The sizes of a region that can be had as Spot, and how many were left out for what."""

    sizes: tuple[SizeQuote, ...]
    left_out: Mapping[Unfit, int]
    notes: tuple[str, ...]
