"""What lies between a worker and a service: a call travels, takes effect, and its reply travels back.

Every simulated service performs its calls here, so that one seam can delay, lose or refuse any of them:

* a call that is slow to arrive takes effect late, also when its caller has stopped waiting or was killed;
* a reply that is lost leaves an effect its caller does not know of.

Time is the event loop's own, virtual in a simulation.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import TypeVar

from fsm.errors import PlatformError, ReplyLostError, SpotfsmError

ReplyT = TypeVar("ReplyT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one call; one without faults arrives and is answered at once.

    Attributes:
        request_s: how long the call travels; `math.inf` loses it.
        refused: raised instead of the effect.
        reply_s: how long the reply travels; `math.inf` loses it.
        replied: raised instead of the reply, after the effect.
        arrived: called when the effect has been made, or refused; a kill just there leaves an effect nobody knows of.
    """

    request_s: float = 0.0
    refused: PlatformError | None = None
    reply_s: float = 0.0
    replied: PlatformError | None = None
    arrived: Callable[[], None] | None = None


NO_FAULT = Fault()
REQUEST_LOST = Fault(request_s=math.inf)
"""No effect, and no answer until the caller's timeout."""
REPLY_LOST = Fault(reply_s=math.inf)
"""The effect, and no answer until the caller's timeout."""
REQUEST_RESET = Fault(refused=ReplyLostError("the connection was reset"))
"""No effect, and the caller knows at once that there will be no answer."""
REPLY_RESET = Fault(replied=ReplyLostError("the connection was reset"))
"""The effect, and the caller knows at once that there will be no answer."""

_ON_THE_WIRE = Context()
"""What is on its way belongs to no process: it arrives also when its sender is frozen."""

Faults = Callable[[str], Fault | None]
"""Asked once a call, by the call's name (`queue.renew`, `store.write`): what goes wrong with this one?"""


def no_faults(_call: str) -> Fault | None:
    """A network that never misbehaves."""
    return None


async def perform(call: str, effect: Callable[[], ReplyT], *, faults: Faults, timeout_s: float) -> ReplyT:
    """Carry a call to its service and the reply back.

    Args:
        call: its name.
        effect: what it does to the service, when it arrives.
        faults: the seam.
        timeout_s: how long the caller waits.

    Raises:
        ReplyLostError: no reply within `timeout_s`.
        SpotfsmError: whatever `effect` or the fault raises.
    """
    fault = faults(call)
    if fault is None:  # nearly every call of nearly every run: on its way for one round of the loop
        await asyncio.sleep(0)
        return effect()
    loop = asyncio.get_running_loop()
    reply: asyncio.Future[ReplyT] = loop.create_future()

    def arrive() -> None:
        try:
            if fault.refused is not None:
                raise fault.refused
            outcome = effect()
            if fault.replied is not None:
                raise fault.replied
        except SpotfsmError as exc:
            _after(fault.reply_s, _refuse, reply, exc)
        else:
            _after(fault.reply_s, _answer, reply, outcome)
        finally:
            if fault.arrived is not None:
                fault.arrived()

    _after(fault.request_s, arrive)
    try:
        async with asyncio.timeout(timeout_s):
            return await reply
    except TimeoutError:
        raise ReplyLostError(f"{call}: no reply within {timeout_s:g} s") from None


def _after(delay_s: float, callback: Callable[..., None], *arguments: object) -> None:
    """Call back after the delay; in the loop's next round for 0, never for `math.inf`."""
    loop = asyncio.get_running_loop()
    if delay_s <= 0:
        loop.call_soon(callback, *arguments, context=_ON_THE_WIRE)
    elif not math.isinf(delay_s):
        loop.call_later(delay_s, callback, *arguments, context=_ON_THE_WIRE)


def _answer(reply: asyncio.Future[ReplyT], outcome: ReplyT) -> None:
    if not reply.done():
        reply.set_result(outcome)


def _refuse(reply: asyncio.Future[ReplyT], error: SpotfsmError) -> None:
    if not reply.done():
        reply.set_exception(error)
