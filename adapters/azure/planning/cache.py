"""What was learnt is kept for a while: a price list of sixteen pages is not asked for at every look.

A document is fresh for an hour. Where the service then does not answer, the last good one is given, with its age; what
a service does not say is never read as zero, and what it does not say any more can be taken over from what is kept.
Files are replaced whole, so that two commands at once do no harm.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from adapters.azure.planning.documents import JsonObject, as_object, as_text
from fsm.errors import PlatformError

FRESH = timedelta(hours=1)
"""How long an answer is good without asking again; prices change a few times a day at most."""
_VERSION = 1
"""Of the files: one of another version is no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A document, and when the service said it.

    Attributes:
        failure: why the service could not be asked again, where the document is older than it should be.
    """

    document: JsonObject
    at: datetime
    failure: str = ""


TakeOver: TypeAlias = Callable[[JsonObject, Kept], JsonObject]
"""The new document, with what it lacks of the old one."""


class Cache:
    """Documents in files of one directory.

    Args:
        directory: made when it is first needed; nothing is kept if it cannot be.
        refresh: ask again, whatever is kept.
        fall_back: give what is kept where the service does not answer, or not all of it any more.
        now: the wall clock.
    """

    def __init__(
        self,
        directory: Path,
        *,
        refresh: bool = False,
        fall_back: bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._directory = directory
        self._refresh = refresh
        self._fall_back = fall_back
        self._now = now

    async def through(
        self, key: str, fetch: Callable[[], Awaitable[JsonObject]], *, take_over: TakeOver | None = None
    ) -> Kept:
        """What is kept under `key` while it is fresh, or what `fetch` brings, or what is kept although it is old.

        Args:
            key: of the question.
            fetch: asks it.
            take_over: makes one of what `fetch` brings and what is kept.

        Raises:
            SpotfsmError: as `fetch` does, where nothing is kept; what the user did wrong, in any case.
        """
        kept = self._read(key)
        if kept is not None and not self._refresh and timedelta(0) <= self._now() - kept.at < FRESH:
            return kept
        try:
            document = await fetch()
        except PlatformError as exc:
            if kept is None or not self._fall_back:
                raise
            return Kept(document=kept.document, at=kept.at, failure=str(exc))
        if kept is not None and self._fall_back and take_over is not None:
            document = take_over(document, kept)
        at = self._now()
        self._write(key, {"version": _VERSION, "key": key, "at": at.isoformat(), "document": document})
        return Kept(document=document, at=at)

    def _file(self, key: str) -> Path:
        return self._directory / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def _read(self, key: str) -> Kept | None:
        """What is kept, if it is whole."""
        try:
            found = json.loads(self._file(key).read_bytes(), parse_float=Decimal)
            at = datetime.fromisoformat(as_text(as_object(found).get("at")))
        except (OSError, ValueError):
            return None
        if found.get("version") != _VERSION or found.get("key") != key or at.tzinfo is None:
            return None
        return Kept(document=as_object(found.get("document")), at=at)

    def _write(self, key: str, entry: JsonObject) -> None:
        """Replace the file; a cache that cannot be written is done without."""
        text = json.dumps(entry, default=_exactly)
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=self._directory, suffix=".new")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                    stream.write(text)
                Path(name).replace(self._file(key))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return


def _exactly(value: object) -> str:
    """A decimal as its digits: a float would not be the same number."""
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Where the user's caches are.

    [https://specifications.freedesktop.org/basedir-spec/latest, read 2026-11]
    """
    root = environment.get("XDG_CACHE_HOME", "")
    return (Path(root) if root.startswith("/") else Path.home() / ".cache") / "spotfsm"
