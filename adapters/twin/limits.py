"""IMDS's rate limit: so many requests in any second, from all processes of the VM together."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """A sliding window of one second.

    "Requests to IMDS are limited to 5 requests per second (on a per VM basis)", 20 for managed identities:
    https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service#rate-limiting (read 2026-11). Whether a
    refused request counts is not said; here it does not, so that even a hammering client gets its share.
    """

    per_s: int
    taken_at_s: tuple[float, ...] = ()

    def take(self, at_s: float) -> tuple[RateLimit, bool]:
        """The limit after one more request, and whether that request may pass."""
        recent = tuple(taken for taken in self.taken_at_s if at_s - taken < 1.0)
        allowed = len(recent) < self.per_s
        return replace(self, taken_at_s=(*recent, at_s) if allowed else recent), allowed
