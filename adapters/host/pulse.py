"""Feels the event loop's pulse from a thread of its own.

A handler that blocks the loop makes the worker deaf: no renewal, no poll, no signal. A thread still runs (unless
native code holds the interpreter). It says so in the journal while it happens, and ends the process when the operator
has asked for that and the loop will not hear of it. A process that ends so loses nothing: to its jobs it is a kill.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

from fsm.journal_kinds import Kind
from fsm.ports import Journal

BEAT_S = 0.5
BLOCKED_S = 5.0
"""A loop that has not beaten for so long is blocked; it is felt every `BEAT_S`."""
LAST_MOMENT_S = 2.0
"""What a loop that comes to itself gets beyond the grace of a stop, to end by itself."""
IMPATIENT_S = 2.0
"""How long a second Ctrl-C waits for a blocked loop."""
EXIT_BLOCKED = 1


class Heartbeat:
    """When the loop last beat, for whoever asks from another thread. Before its first beat it is taken to be alive."""

    def __init__(self) -> None:
        self._beat_s = time.monotonic()

    def beat(self) -> None:
        """The loop is alive."""
        self._beat_s = time.monotonic()

    def silent_s(self) -> float:
        """How long ago it was."""
        return time.monotonic() - self._beat_s


class Pulse:
    """The pulse of the running loop, felt until `stop`.

    Args:
        heartbeat: shared with whoever else wants to know.
        journal: gets a `loop_blocked` entry once for each time the loop is blocked.
        grace_s: how long a stop may drain; after that a blocked process is ended.
    """

    def __init__(self, journal: Journal, *, grace_s: float, heartbeat: Heartbeat) -> None:
        self._journal = journal
        self._grace_s = grace_s
        self._heartbeat = heartbeat
        self._heartbeat.beat()
        self._asked_s: list[float] = []
        self._over = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_soon(self._beat)
        self._thread = threading.Thread(target=self._feel, name="pulse", daemon=True)
        self._thread.start()

    def stop_asked(self) -> None:
        """Note that a signal asked for a stop. Called between two instructions of whatever runs: it only notes."""
        self._asked_s.append(time.monotonic())

    def stop(self) -> None:
        """Feel no more."""
        self._over.set()
        self._next.cancel()
        self._thread.join()

    def _beat(self) -> None:
        self._heartbeat.beat()
        self._next = self._loop.call_later(BEAT_S, self._beat)

    def _feel(self) -> None:
        told = False
        while not self._over.wait(BEAT_S):
            now_s = time.monotonic()
            blocked_s = self._heartbeat.silent_s()
            if blocked_s < BLOCKED_S:
                told = False
            elif not told:
                told = True
                self._journal.write(Kind.LOOP_BLOCKED, {"for_s": round(blocked_s, 3), "still": True})
            if blocked_s > BEAT_S + IMPATIENT_S and self._must_end(now_s):
                self._end()

    def _must_end(self, now_s: float) -> bool:
        """Whether the operator has waited long enough: out a grace, or a moment after asking twice."""
        asked_s = self._asked_s
        if not asked_s:
            return False
        out_of_grace = now_s - asked_s[0] > self._grace_s + LAST_MOMENT_S
        return out_of_grace or (len(asked_s) > 1 and now_s - asked_s[1] > IMPATIENT_S)

    def _end(self) -> None:
        text = "a handler blocks the event loop; the process ends without it, and its jobs come back by themselves"
        print(text, file=sys.stderr, flush=True)  # noqa: T201 -- nobody else can say it any more
        os._exit(EXIT_BLOCKED)
