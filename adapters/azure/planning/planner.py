"""What a Spot VM would cost and where: prices of both tariffs, evictions, history and quota, side by side.

Prices are the answer; evictions, history and quota are told as well where a credential lets us. What could not be
asked, or is older than it should be, becomes a note: the rest is still true.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from adapters.azure.planning.cache import Cache, Kept, TakeOver
from adapters.azure.planning.documents import JsonObject, as_list, as_object, as_text
from adapters.azure.planning.graph import History, Place, ResourceGraph, read_histories, read_rates
from adapters.azure.planning.quotes import UNKNOWN, PricePlan, Quote, SizePlan, SizeQuote
from adapters.azure.planning.retail import Os, PriceList, Tariff, prices_of, with_lost_prices
from adapters.azure.planning.sizes import Size, SpotQuota, Subscription, Unfit, fit_size, read_sizes, unfit_by_name
from fsm.errors import BadReplyError, ConfigurationError, MissingError, PlatformError, SpotfsmError

if TYPE_CHECKING:
    from adapters.azure.management import ArmToken

_NAMED_MAX = 3
"""Of many sizes, so many are named in a note."""
_DISAGREEMENT = Decimal("0.1")
"""Two sources of one price that differ by more than this share are worth a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Management:
    """What wants a credential.

    Attributes:
        token: for Azure Resource Manager.
        root: its address.
    """

    token: ArmToken
    root: str
    graph: ResourceGraph
    subscription: Subscription


@dataclass(kw_only=True)
class Planner:
    """Asks, keeps and compares.

    Attributes:
        prices: the price list.
        management: None to do without.
        cache: what is asked through.
        places: the services' addresses, part of every key.
        unsigned: why nobody is signed in, for the notes.
        now: the wall clock.
    """

    prices: PriceList
    management: Management | None
    cache: Cache
    places: str
    unsigned: str = ""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _notes: dict[str, None] = field(default_factory=dict)
    _incomplete: bool = False

    async def price_plan(self, sizes: Sequence[str], regions: Sequence[str], os: Os) -> PricePlan:
        """Every size in every region.

        Raises:
            ConfigurationError: a region does not exist, or nothing is listed.
            PlatformError: the price list does not answer, and nothing is kept.
        """
        self._notes = dict.fromkeys((self.unsigned,)) if self.unsigned else {}
        async with _together() as group:
            histories = group.create_task(self._histories(sizes, regions, os))
            rates = group.create_task(self._rates(sizes, regions))
            quotas = {region: group.create_task(self._quota(region)) for region in regions}
            lists = {
                (size, region): group.create_task(self._listed(size, region)) for region in regions for size in sizes
            }
        quotes = tuple(
            self._quote(size, region, os, items=listed.result(), histories=histories.result(), rates=rates.result())
            for (size, region), listed in lists.items()
        )
        await self._check_named(quotes)
        self._note_lost(quotes)
        told = {region: quota for region, asked in quotas.items() if (quota := asked.result()) is not None}
        for region, quota in told.items():
            self._note_shortage(region, quota, cores=1)
        return PricePlan(quotes=quotes, quotas=told, notes=tuple(self._notes))

    async def size_plan(self, region: str, os: Os, *, only: str | None = None) -> SizePlan:
        """The sizes of a region, without evictions and history.

        Args:
            region: where.
            os: whose licence is in the prices.
            only: one size, whose price is then good to know and may be missing; takes a credential.

        Raises:
            ConfigurationError: the region or the size does not exist, or the credential does not do.
            PlatformError: a service does not answer, and nothing is kept.
        """
        self._notes = {}
        async with _together() as group:
            listed = group.create_task(self._listed(None, region) if only is None else self._perhaps(only, region))
            known = group.create_task(self._sizes(region))
            quota = group.create_task(self._quota(region))
        items, sizes = listed.result(), known.result()
        if not items and not sizes:
            raise _no_region(region)
        prices = prices_of(items, region, now=self.now())
        if only is not None:
            sizes = [fit_size(sizes, only, region)]
        named = [(size.name, size) for size in sizes] if self.management is not None else _named(items)
        left_out: dict[Unfit, int] = {}
        found: list[SizeQuote] = []
        for name, size in named:
            unfit = unfit_by_name(name) if size is None else size.unfit
            quote = Quote(
                size=name,
                region=region,
                listed_spot=prices.get((name.lower(), os, Tariff.SPOT), UNKNOWN),
                pay_as_you_go=prices.get((name.lower(), os, Tariff.PAY_AS_YOU_GO), UNKNOWN),
            )
            if unfit is None and size is None and not quote.listed_spot.candidates:
                unfit = Unfit.NOT_SPOT  # the list has no Spot price of it, and nobody else was asked
            if unfit is not None:
                left_out[unfit] = left_out.get(unfit, 0) + 1
            else:
                found.append(SizeQuote(name=name, size=size, quote=quote))
        self._note_lost(one.quote for one in found)
        if (told := quota.result()) is not None:
            self._note_shortage(region, told, cores=max((one.size.cores for one in found if one.size), default=0))
        return SizePlan(sizes=tuple(found), left_out=left_out, notes=tuple(self._notes))

    # -- asking one thing ----------------------------------------------------------------------------------------------

    async def _listed(self, size: str | None, region: str) -> Sequence[object]:
        """Rows of the price list; none where it has none."""
        try:
            kept = await self._kept(
                f"prices {region} {size or '*'}",
                lambda: self.prices.fetch(region, size),
                what=f"prices of {size or 'all sizes'} in {region}",
                take_over=lambda new, old: with_lost_prices(new, old.document, region, seen=old.at, now=self.now()),
            )
        except MissingError:
            return ()
        if kept.document.get("complete") is not True:
            self._incomplete = True
            self._note(f"the price list of {region} leads back to itself: prices may be missing")
        return as_list(kept.document.get("items"))

    async def _perhaps(self, size: str, region: str) -> Sequence[object]:
        """Its rows of the price list, if they can be had."""
        try:
            return await self._listed(size, region)
        except PlatformError as exc:
            self._note(f"prices of {size} in {region}: not known: {exc}")
            return ()

    async def _histories(self, sizes: Sequence[str], regions: Sequence[str], os: Os) -> Mapping[Place, History]:
        management = self.management
        if management is None:
            return {}
        document = await self._extra(
            f"history {os} {sorted(sizes)} {sorted(regions)}",
            lambda: management.graph.histories(sizes, regions, os),
            what="price history",
        )
        found = read_histories(document)
        if document.get("rows") == []:
            self._note("Resource Graph has no price history of these: current prices are the price list's")
        return found

    async def _rates(self, sizes: Sequence[str], regions: Sequence[str]) -> Mapping[Place, str]:
        management = self.management
        if management is None:
            return {}
        document = await self._extra(
            f"rates {sorted(sizes)} {sorted(regions)}",
            lambda: management.graph.rates(sizes, regions),
            what="eviction rates",
        )
        if document.get("rows") == []:
            self._note("Resource Graph has no eviction rates of these: they are not known")
        return read_rates(document)

    async def _quota(self, region: str) -> SpotQuota | None:
        if self.management is None:
            return None
        try:
            quota = await self.management.subscription.quota(region)  # as it is now: a kept one would be wrong
        except SpotfsmError as exc:
            self._note(f"the Spot quota in {region} is not known: {exc}")
            return None
        if quota is None:
            self._note(f"the Spot quota in {region} is not told")
        return quota

    async def _sizes(self, region: str) -> Sequence[Size]:
        if self.management is None:
            return ()
        subscription = self.management.subscription
        key = f"sizes {region} {await subscription.id()}"
        return read_sizes(
            (await self._kept(key, lambda: subscription.sizes(region), what=f"sizes in {region}")).document, region
        )

    async def _extra(self, key: str, fetch: Callable[[], Awaitable[JsonObject]], *, what: str) -> JsonObject:
        """What is good to know and may be missing."""
        try:
            return (await self._kept(key, fetch, what=what)).document
        except SpotfsmError as exc:
            self._note(f"{what}: not known: {exc}")
            return {}

    async def _kept(
        self, key: str, fetch: Callable[[], Awaitable[JsonObject]], *, what: str, take_over: TakeOver | None = None
    ) -> Kept:
        kept = await self.cache.through(f"{self.places} {key}", fetch, take_over=take_over)
        if kept.failure:
            self._note(f"{what}: {kept.failure}; what is shown is {self._age(kept.at)} old")
        return kept

    def _age(self, at: datetime) -> str:
        return f"{(self.now() - at).total_seconds() / 3600:.1f} hours"

    def _note_lost(self, quotes: Iterable[Quote]) -> None:
        """Say which of the prices that are shown the list has no more, and how old they are."""
        lost: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
        for quote in quotes:
            for what, price in (("Spot", quote.spot), ("pay-as-you-go", quote.pay_as_you_go)):
                if price.seen is not None:
                    lost.setdefault((what, quote.region), []).append((price.seen, quote.size))
        for (what, region), found in lost.items():
            names = [name for _, name in found]
            more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
            self._note(
                f"{', '.join(names[:_NAMED_MAX])}{more} in {region}: the price list has no {what} price any more; "
                f"what is shown is {self._age(min(found)[0])} old"
            )

    def _note_shortage(self, region: str, quota: SpotQuota, *, cores: int) -> None:
        """Say it where the quota has no room for so many cores, before a deployment fails for it."""
        if cores > quota.free:
            self._note(
                f"{quota.free} of {quota.limit} Spot cores are free in {region}, and no VM with more can be had: ask "
                "for more (lowPriorityCores), or delete one, for a deallocated VM keeps its own"
            )

    def _note(self, text: str) -> None:
        self._notes[text] = None

    # -- putting together ----------------------------------------------------------------------------------------------

    def _quote(
        self,
        size: str,
        region: str,
        os: Os,
        *,
        items: Sequence[object],
        histories: Mapping[Place, History],
        rates: Mapping[Place, str],
    ) -> Quote:
        prices = prices_of(items, region, now=self.now())
        quote = Quote(
            size=size,
            region=region,
            listed_spot=prices.get((size.lower(), os, Tariff.SPOT), UNKNOWN),
            pay_as_you_go=prices.get((size.lower(), os, Tariff.PAY_AS_YOU_GO), UNKNOWN),
            history=histories.get((size.lower(), region)),
            eviction_rate=rates.get((size.lower(), region)),
        )
        listed, charged = quote.listed_spot.usd_per_h, quote.spot.usd_per_h
        if listed is not None and charged is not None and abs(listed - charged) > _DISAGREEMENT * charged:
            self._note(
                f"{size} in {region}: the price list says {listed} as Spot, Resource Graph {charged} USD an hour"
            )
        if (unfit := unfit_by_name(size)) is not None:
            self._note(f"{size}: {unfit}, and so never a Spot VM")
        return quote

    async def _check_named(self, quotes: Iterable[Quote]) -> None:
        """Find the misspelt name behind a list that says nothing."""
        quotes = tuple(quotes)
        if self._incomplete and all(quote.empty for quote in quotes):
            raise BadReplyError("the price list leads back to itself before it comes to a price")
        for region in dict.fromkeys(quote.region for quote in quotes):
            if all(quote.empty for quote in quotes if quote.region == region) and not await self.prices.knows(region):
                raise _no_region(region)
        if all(quote.empty for quote in quotes):
            sizes = ", ".join(dict.fromkeys(quote.size for quote in quotes))
            remedy = (
                "Write it as Azure does, capitals included: Standard_D2s_v5. The list may also miss it for a while."
            )
            raise ConfigurationError("sizes", f"the price list has no row of {sizes}", remedy)
        for quote in quotes:
            if quote.empty:
                self._note(f"{quote.size} in {quote.region}: not in the price list, under this name")


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Several questions at once; the first that fails ends the others, and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def _named(items: Sequence[object]) -> list[tuple[str, Size | None]]:
    names = dict.fromkeys(as_text(as_object(item).get("armSkuName")) for item in items)
    return [(name, None) for name in names if name]


def _no_region(region: str) -> ConfigurationError:
    return ConfigurationError(
        "--region", f"Azure has no prices in a region {region!r}", "Write it as Azure does: eastus2, westeurope."
    )
