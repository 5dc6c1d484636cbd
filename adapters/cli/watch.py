"""What is told of a running worker: a live line on a terminal, and one line an event there or anywhere else.

Fed by the journal's entries. A job that goes well makes no line; what repeats is said once in a while, with a count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from adapters.cli.log import Level, Log, LogFormat
from adapters.cli.output import duration_text, one_line
from fsm.application import APPLICATION, AppState
from fsm.job import JOB, JobTrigger
from fsm.ports import JsonScalar
from fsm.runner import Tally

if TYPE_CHECKING:
    from rich.live import Live

REFRESH_S = 0.25
"""How often the live line is drawn."""
REPEAT_S = 30.0
"""How long a line that was said is not said again."""
KEYS_MAX = 200
"""Different lines remembered for `REPEAT_S`; past it the oldest are forgotten."""

Fields = Mapping[str, JsonScalar]


class Watch:
    """Takes journal entries in, and tells a person.

    Args:
        interactive: whether somebody sits at a terminal.
        log: where the lines go.
        now_s: the monotonic clock.

    Attributes:
        origin: where the worker came from, once that is known.
        notices: how many events named this VM.
        stopped_by: what made it stop, once something did.
        margin_s: what its evictions left of their notices at least, once there was one.
        redone_s: work that its drains left to be done again.
    """

    def __init__(
        self, *, interactive: bool, log: Log | None = None, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.log = log or Log(form=LogFormat.TEXT, worker="")
        self._interactive = interactive and self.log.form is LogFormat.TEXT
        self._now_s = now_s
        self._live: Live | None = None
        self._tally: Callable[[], Tally] = Tally
        self._state = AppState.OFFLINE.value
        self._standing: dict[str, str] = {}
        self._deadline_s: float | None = None
        self._said: dict[str, tuple[float, int]] = {}
        self._on: dict[str, Callable[[Fields], None]] = {
            "row": self._on_row,
            "origin": self._on_origin,
            "notice": self._on_notice,
            "notice_gone": self._on_notice_gone,
            "stop": self._on_stop,
            "call_failed": self._on_call_failed,
            "drain": self._on_drain,
            "imds_answers": lambda _: self._tell("IMDS answers again", event="imds_answers"),
            "loop_blocked": lambda fields: self._tell(
                f"the event loop was blocked for {fields['for_s']} s: a handler must not block",
                event="loop_blocked",
                level=Level.WARNING,
                once="blocked",
                fields=fields,
            ),
            "acknowledged": lambda fields: self._tell(
                f"acknowledged event {fields['event_id']}", event="acknowledged", fields=fields
            ),
            "warning": lambda fields: self.warn(str(fields["text"])),
        }
        self.origin: str | None = None
        self.notices = 0
        self.margin_s: float | None = None
        self.redone_s = 0.0
        self.stopped_by: str | None = None

    def follow(self, tally: Callable[[], Tally]) -> None:
        """Show these counts from now on."""
        self._tally = tally

    def observe(self, kind: str, fields: Fields) -> None:
        """Take one journal entry in."""
        handle = self._on.get(kind)
        if handle is not None:
            handle(fields)

    def warn(self, text: str) -> None:
        """Tell of a setting that works, and may be regretted."""
        self._tell(f"warning: {text}", event="warning", level=Level.WARNING)

    def tell(self, text: str, *, event: str, fields: Fields | None = None) -> None:
        """Tell of something that is no entry of the journal."""
        self._tell(text, event=event, fields=fields)

    def fail(self, text: str, *, once: str) -> None:
        """Tell of something that went wrong beside the work, once in a while."""
        self._tell(text, event=once, level=Level.WARNING, once=once)

    # -- entries ----------------------------------------------------------------------------------------------------

    def _on_row(self, fields: Fields) -> None:
        if fields["machine"] == APPLICATION.name:
            if fields["from"] != fields["to"]:
                self._state = str(fields["to"])
                outcome = str(fields["outcome"]).removeprefix(f"{self._state.lower()}: ")
                self._tell(f"{self._state}: {outcome}", event="state", fields=fields)
            if self._state == AppState.RECOVERING.value:
                self._deadline_s = None
        elif fields["machine"] == JOB.name and fields["trigger"] == JobTrigger.FAIL.value:
            text = f"job {fields['job']} failed: {fields.get('reason') or 'no reason given'}"
            self._tell(text, event="job_failed", level=Level.WARNING, once="job failed", fields=fields)

    def _on_origin(self, fields: Fields) -> None:
        if self.origin is None:
            self.origin = str(fields["origin"])

    def _on_notice(self, fields: Fields) -> None:
        self.notices += 1
        kind, left_s = str(fields["type"]), fields["left_s"]
        self._standing[str(fields["event_id"])] = kind
        if isinstance(left_s, int | float):
            self._end_by(left_s)
            text = f"notice: {kind} in {duration_text(max(0.0, left_s))}"
        else:
            text = f"notice: {kind}"
        self._tell(text, event="notice", level=Level.WARNING, fields=fields)

    def _on_notice_gone(self, fields: Fields) -> None:
        self._standing.pop(str(fields["event_id"]), None)
        self._tell(f"notice gone: {fields['type']}", event="notice_gone", fields=fields)

    def _on_drain(self, fields: Fields) -> None:
        """The receipt of an eviction; that of a stop is known to who asked for it, and stands in the journal."""
        drain_s, margin_s, redone_s = fields["drain_s"], fields["margin_s"], fields["redone_s"]
        assert isinstance(drain_s, int | float)
        assert isinstance(redone_s, int | float)
        self.redone_s += redone_s
        if not fields["evicted"]:
            return
        if isinstance(margin_s, int | float):
            self.margin_s = margin_s if self.margin_s is None else min(self.margin_s, margin_s)
        parts = [f"drained {duration_text(drain_s)} after the notice"]
        if isinstance(margin_s, int | float):
            left = f"{duration_text(margin_s)} of it left" if margin_s >= 0 else f"{duration_text(-margin_s)} late"
            parts.append(left)
        ended = {name: fields[name] for name in ("completed", "released", "poisoned", "abandoned")}
        parts += [f"{count} {name}" for name, count in ended.items() if count] or ["no job was open"]
        if redone_s:
            parts.append(f"{duration_text(redone_s)} of work to do again")
        self._tell(", ".join(parts), event="drain", fields=fields)

    def _on_stop(self, fields: Fields) -> None:
        if self.stopped_by is None:
            self.stopped_by = str(fields["reason"])
        grace_s = fields["grace_s"]
        if isinstance(grace_s, int | float):
            self._end_by(grace_s)
        self._tell(f"stopping: {fields['reason']}", event="stop", fields=fields)

    def _on_call_failed(self, fields: Fields) -> None:
        text, once = f"{fields['call']} failed: {fields['text']}", f"{fields['call']} {fields.get('error')}"
        self._tell(text, event="call_failed", level=Level.WARNING, once=once, fields=fields)

    def _end_by(self, left_s: float) -> None:
        """Remember the earliest deadline."""
        deadline_s = self._now_s() + max(0.0, left_s)
        self._deadline_s = deadline_s if self._deadline_s is None else min(deadline_s, self._deadline_s)

    # -- what is shown ----------------------------------------------------------------------------------------------

    def _tell(
        self,
        text: str,
        *,
        event: str,
        level: Level = Level.INFO,
        once: str | None = None,
        fields: Fields | None = None,
    ) -> None:
        """Print a line; of lines with the same `once` only one each `REPEAT_S`, with the number left out."""
        if once is not None:
            now_s = self._now_s()
            said_s, left_out = self._said.get(once, (-REPEAT_S, 0))
            if now_s - said_s < REPEAT_S:
                self._said[once] = (said_s, left_out + 1)
                return
            self._said.pop(once, None)
            self._said[once] = (now_s, 0)
            while len(self._said) > KEYS_MAX:
                del self._said[next(iter(self._said))]
            text += f" (and {left_out} more like it before)" if left_out else ""
        if self._live is None:
            self.log.tell(text, event=event, level=level, fields=fields)
        else:
            self._live.console.print(one_line(text), markup=False, highlight=False)

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """On a terminal, keep a line up to date for as long as this lasts."""
        if not self._interactive:
            yield
            return
        drawing = asyncio.create_task(self._draw())
        try:
            yield
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing

    async def _draw(self) -> None:
        await asyncio.sleep(REFRESH_S)  # the first job does not wait for the import
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                while True:
                    live.update(Text(self._line(), no_wrap=True, overflow="ellipsis"), refresh=True)
                    await asyncio.sleep(REFRESH_S)
            finally:
                self._live = None

    def _line(self) -> str:
        """State, counts, what was announced and what is left of it."""
        tally = self._tally()
        ended = tally.completed + tally.released + tally.poisoned + tally.abandoned
        parts = [
            self._state,
            f"{tally.completed} completed",
            f"{max(0, tally.received - ended)} running",
            *(
                f"{count} {name}"
                for name, count in (("released", tally.released), ("poisoned", tally.poisoned))
                if count
            ),
            *self._standing.values(),
        ]
        if self._deadline_s is not None and self._state in (AppState.EVICTED.value, AppState.DRAINED.value):
            parts.append(f"{max(0.0, self._deadline_s - self._now_s()):.0f} s left")
        return "  ".join(parts)
