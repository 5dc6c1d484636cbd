"""Commands: each job is a child process with the message on standard input, and files for everything else.

The environment of a command names three files in a directory of the job's own, which goes when the job does and is its
TMPDIR as well:

* SPOTFSM_PROGRESS_FILE: the last checkpoint as JSON; not there on a first run. Replace it atomically (write another,
  then rename it) to checkpoint: what it holds is noticed within `LOOK_S` and made durable.
* SPOTFSM_RESULT_FILE: put the result there, as JSON; without it the result is null.
* SPOTFSM_DEADLINE_FILE: appears when the worker is told to let go: until when, in seconds since 1970. The environment
  of a running process cannot change, a file can.

SPOTFSM_JOB_ID, SPOTFSM_ATTEMPT and SPOTFSM_EVICTIONS say what their names say. SIGTERM goes to the command and to all
that it started as soon as a drain begins. It ends with 0: done; with 75 (EX_TEMPFAIL): interrupted, go on later from
the last progress; with anything else: failed, unless it was told to end.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext, suppress
from pathlib import Path

from adapters.host.child import TERMINATED, Child, described
from adapters.host.children import Children
from adapters.host.command_files import ProgressFile, read_file, replace_file
from adapters.host.last_words import LastWords
from adapters.host.outcome import file_text
from adapters.host.telling import drain_begins, grace_s
from fsm.errors import Evicted, HandlerFailedError
from fsm.ports import JobControl, JobInput, JobRunner

EXIT_DONE = 0
EXIT_INTERRUPTED = 75
LOOK_S = 0.1
"""How often the progress file is looked at, and how soon a drain is told."""
_LAST_WORDS_S = 0.5
_PROGRESS, _RESULT, _DEADLINE, _MESSAGE = "progress", "result", "deadline", "message"


class CommandRunner(JobRunner):
    """Runs a command.

    Args:
        command: the program and its arguments.
        children: where it is started; closed along with the runner.
    """

    def __init__(self, command: Sequence[str], children: Children) -> None:
        self._command = command
        self._children = children

    async def run(self, job: JobInput, control: JobControl) -> str:
        try:
            directory = Path(tempfile.mkdtemp(dir=self._children.directory))
        except OSError as exc:
            raise HandlerFailedError(f"there is no directory for the job: {exc}") from exc
        try:
            return await _Run(self._command, self._children, directory, job, control).result()
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True))

    async def close(self) -> None:
        await self._children.close()


class _Run:
    """One run of the command."""

    def __init__(
        self, command: Sequence[str], children: Children, directory: Path, job: JobInput, control: JobControl
    ) -> None:
        self._command = command
        self._children = children
        self._directory = directory
        self._job = job
        self._control = control
        self._progress = ProgressFile(directory / _PROGRESS, control)
        self._told_deadline_s: float | None = None

    async def result(self) -> str:
        """From start to end.

        Raises:
            HandlerFailedError, Evicted: as `JobRunner.run` says.
        """
        try:
            with closing(LastWords()) as last_words:
                child = self._start(last_words)
                status = await self._seen_to_its_end(child)
                await asyncio.wait([last_words.over], timeout=_LAST_WORDS_S)
        except (OSError, ValueError) as exc:
            raise HandlerFailedError(f"the command cannot be started: {exc}") from exc
        return await self._judged(child, status, last_words.text)

    async def _seen_to_its_end(self, child: Child) -> int:
        """Its exit status; it is gone when this returns or raises.

        Raises:
            HandlerFailedError: its progress cannot be used.
        """
        try:
            await self._accompany(child)
            return await child.wait()
        except asyncio.CancelledError:
            await child.end(grace_s=0.0 if self._told else grace_s(self._control))
            with suppress(HandlerFailedError, Evicted):
                await self._progress.save()
            raise
        except BaseException:
            await child.end(grace_s=grace_s(self._control))
            raise

    @property
    def _told(self) -> bool:
        return self._told_deadline_s is not None

    def _start(self, last_words: LastWords) -> Child:
        if self._job.progress is not None:
            self._progress.begin(self._job.progress)
        message = self._directory / _MESSAGE
        message.write_bytes(self._job.text.encode(errors="surrogatepass"))
        with message.open("rb") as stdin:
            child = self._children.start(
                self._command,
                environment={
                    "SPOTFSM_JOB_ID": self._job.job_id,
                    "SPOTFSM_ATTEMPT": str(self._job.attempt),
                    "SPOTFSM_EVICTIONS": str(self._job.evictions),
                    "SPOTFSM_PROGRESS_FILE": str(self._directory / _PROGRESS),
                    "SPOTFSM_RESULT_FILE": str(self._directory / _RESULT),
                    "SPOTFSM_DEADLINE_FILE": str(self._directory / _DEADLINE),
                    "TMPDIR": str(self._directory),
                },
                stdin=stdin,
                stderr=last_words.theirs,
            )
        last_words.close_theirs()
        return child

    async def _accompany(self, child: Child) -> None:
        """Until it ends: make its progress durable, and tell it of a drain.

        Raises:
            HandlerFailedError: its progress cannot be used.
        """
        while child.running:
            deadline_s = self._control.deadline_s()
            if deadline_s is not None and deadline_s != self._told_deadline_s:
                self._tell(child, deadline_s)
            with suppress(Evicted):  # saved; it is told above, or at the next look
                await self._progress.look()
            await asyncio.wait([child.ended], timeout=LOOK_S)

    def _tell(self, child: Child, deadline_s: float) -> None:
        """When it must be over, and, the first time, that it must."""
        at = time.time() + deadline_s - time.monotonic()
        with suppress(OSError):
            replace_file(self._directory / _DEADLINE, f"{at:.3f}\n")
        if not self._told:
            child.send(signal.SIGTERM)
        self._told_deadline_s = deadline_s

    async def _judged(self, child: Child, status: int, last_words: str) -> str:
        """What the end of the command means.

        Raises:
            HandlerFailedError, Evicted: as `JobRunner.run` says.
        """
        if status == EXIT_DONE:
            return self._result()
        with nullcontext() if status == EXIT_INTERRUPTED else suppress(HandlerFailedError):
            await self._progress.save()
        if child.blamed is not None:
            raise HandlerFailedError(f"the command was ended: {child.blamed}")
        if self._told:
            raise Evicted(f"the command {described(status)} after it was told to end")
        if status == EXIT_INTERRUPTED and self._progress.saved_any:
            raise Evicted("the command asks to be resumed from its progress")
        if status in (EXIT_INTERRUPTED, TERMINATED, -signal.SIGTERM) and await drain_begins(self._control):
            raise Evicted("the whole service was told to end")
        if status == EXIT_INTERRUPTED:
            raise HandlerFailedError("the command exited with 75, but nothing interrupted it and it saved no progress")
        raise HandlerFailedError(f"the command {described(status)}" + (f": {last_words}" if last_words else ""))

    def _result(self) -> str:
        try:
            return file_text(read_file(self._directory / _RESULT), what="result file")
        except FileNotFoundError:
            return "null"
        except OSError as exc:
            raise HandlerFailedError(f"the result file cannot be read: {exc.strerror}") from exc
