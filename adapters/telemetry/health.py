"""Whether a worker is alive and whether it takes work, as somebody outside of its loop sees it.

*Alive* is whether this process can do its job at all. A VM is repaired, which means replaced, when its worker is not;
so a worker that drains, that was drained, or that waits for a store is alive. It is not when its event loop has stood
still for longer than a lease lasts: by then other workers have its jobs, and nothing comes of what it does.

*Ready* is whether it would take a message now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fsm.application import AppState

STANDS_STILL_S_MIN = 5.0
"""However short a lease is, a loop may be held up for so long on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Yes or no, and why; `state` is where the application machine stands."""

    good: bool
    state: str
    reason: str


class Health:
    """The answers of one worker.

    Args:
        state: the state of its application machine.
        silent_s: how long ago its loop last beat.
        lease_s: how long its leases last.
    """

    def __init__(self, *, state: Callable[[], str], silent_s: Callable[[], float], lease_s: float) -> None:
        self._state = state
        self._silent_s = silent_s
        self._bound_s = max(STANDS_STILL_S_MIN, lease_s)

    def alive(self) -> Answer:
        """Whether the worker can do its job."""
        silent_s = self._silent_s()
        if silent_s > self._bound_s:
            text = f"the event loop has stood still for {silent_s:.0f} s: a handler must not block it"
            return Answer(good=False, state=self._state(), reason=text)
        return Answer(good=True, state=self._state(), reason="the worker is alive")

    def ready(self) -> Answer:
        """Whether the worker takes messages."""
        alive = self.alive()
        if not alive.good:
            return alive
        return Answer(good=alive.state == AppState.PROCESSING, state=alive.state, reason=_WHY[alive.state])


_WHY: Mapping[str, str] = {
    AppState.OFFLINE: "the worker is starting or has ended",
    AppState.RECOVERING: "the worker waits for its store",
    AppState.WARMING_UP: "the worker waits for its queue",
    AppState.PROCESSING: "the worker takes messages",
    AppState.EVICTED: "the worker is drained",
    AppState.DRAINED: "the worker is drained and waits for the VM to go",
}
