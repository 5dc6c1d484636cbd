"""Several workers under one parent, asked at one port: the answer of the one that is worst off.

A prober such as the application health extension asks one port of a VM. So the first of several workers asks the others
for their health, each time and all at once. One that is just not there has died, and its parent starts it anew after a
pause: that is no reason to replace the VM, until it lasts for longer than any such pause.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from adapters.telemetry.health import Answer
from fsm.application import AppState

ASK_S_MAX = 1.0
"""How long another worker may take to answer: it does so from a thread that its loop cannot hold up."""
ABSENT_S_MAX = 120.0
"""How long one may be absent: longer than its parent's longest pause and the start after it."""
_ANSWER_BYTES_MAX = 4096


class Together:
    """The health of one worker and of those beside it. May be asked from several threads at once.

    Args:
        own: the worker's own answer.
        address: where the others are asked.
        ports: theirs.
        clock_s: the monotonic clock.
    """

    def __init__(
        self,
        own: Callable[[], Answer],
        *,
        address: str,
        ports: Sequence[int] = (),
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = own
        self._address = address
        self._ports = tuple(ports)
        self._clock_s = clock_s
        self._absent_since_s: dict[int, float] = {}

    def alive(self) -> Answer:
        """The worker's own answer, unless it is good and another one's is not."""
        own = self._own()
        if not (own.good and self._ports):
            return own
        with ThreadPoolExecutor(max_workers=len(self._ports), thread_name_prefix="together") as pool:
            return next((answer for answer in pool.map(self._other, self._ports) if not answer.good), own)

    def _other(self, port: int) -> Answer:
        answer = self._asked(port)
        if answer is not None:
            self._absent_since_s.pop(port, None)
            return answer
        absent_s = self._clock_s() - self._absent_since_s.setdefault(port, self._clock_s())
        reason = f"no worker has answered at port {port} for {absent_s:.0f} s"
        return Answer(good=absent_s <= ABSENT_S_MAX, state=AppState.OFFLINE, reason=reason)

    def _asked(self, port: int) -> Answer | None:
        """What the worker at this port says of itself; None if nothing does."""
        connection = http.client.HTTPConnection(self._address, port, timeout=ASK_S_MAX)
        try:
            connection.request("GET", "/healthz")
            reply = connection.getresponse()
            told = json.loads(reply.read(_ANSWER_BYTES_MAX))
            reason = f"the worker at port {port}: {told['reason']}"
            return Answer(good=reply.status == http.client.OK, state=str(told["state"]), reason=reason)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            return None
        finally:
            connection.close()
