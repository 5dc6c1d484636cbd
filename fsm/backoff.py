"""How long to wait before trying again: pure, with the randomness handed in."""

from __future__ import annotations

from dataclasses import dataclass

from fsm.errors import SpotfsmError, ThrottledError


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Doubling pauses with a ceiling, spread at random so that workers do not march in step.

    Attributes:
        first_s: the pause after the first failure.
        most_s: no pause is longer.
    """

    first_s: float
    most_s: float

    def pause_s(self, attempt: int, *, draw: float = 1.0) -> float:
        """The pause before the given attempt (1 is the first repetition).

        Args:
            attempt: how many tries went before.
            draw: from 0 to 1; the pause lies between its half and its whole.
        """
        doubled = self.first_s * 2.0 ** min(attempt - 1, 30)
        return min(self.most_s, doubled) * (0.5 + 0.5 * draw)


def asked_pause_s(error: SpotfsmError) -> float:
    """How long a service that refused for now asks to be left alone, within reason; 0 where it does not say."""
    asked_s = error.retry_after_s if isinstance(error, ThrottledError) else None
    return min(asked_s or 0.0, RETRY_AFTER_S_MAX)


RETRY_AFTER_S_MAX = 30.0
"""Whatever a service asks for, it is asked again within half a minute: less than most leases."""
CALL_RETRY = Backoff(first_s=0.1, most_s=5.0)
"""Between tries of one call of a delivery."""
EMPTY_QUEUE_FIRST_S = 0.1
"""The first pause after a receive that brought nothing; the longest is a setting."""
START_RETRY = Backoff(first_s=0.25, most_s=30.0)
"""Between tries of what a worker needs before it can begin."""
FAILURE_PAUSE_S_MAX = 600.0
"""However often a job failed, it is tried again within ten minutes."""
