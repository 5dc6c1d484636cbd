"""What came out of a struck run, held against the undisturbed one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from simulator.explore.places import Files

_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run left behind.

    Attributes:
        end: "completed", "poisoned" or "never done".
        result: what was recorded, as canonical JSON.
        files: the working directory.
        errors: what the handler raised, run by run.
        took_s: virtual time.
    """

    end: str
    result: str | None
    files: Files
    errors: tuple[str, ...]
    took_s: float


def differences(base: Outcome, found: Outcome) -> Iterator[str]:
    """A sentence for everything that is not as it was undisturbed."""
    if found.errors:
        yield f"resumed, it raised {_short(found.errors[0])}"
    if found.end != base.end:
        yield f"the job is {found.end}"
    elif found.result != base.result:
        yield f"the result is {_short(found.result or 'none')} instead of {_short(base.result or 'none')}"
    for name in sorted({*base.files, *found.files}):
        if name not in found.files:
            yield f"{name} is missing"
        elif name not in base.files:
            yield f"{name} is there, and should not be"
        elif found.files[name] != base.files[name]:
            yield f"{name} {_unlike(base.files[name], found.files[name])}"


def _unlike(base: bytes | None, found: bytes | None) -> str:
    """How the content of a file differs."""
    if base is None or found is None:
        return "is a directory in one of the runs"
    wanted, lines = _lines(base), _lines(found)
    twice = [line for line, count in (Counter(lines) - Counter(wanted)).items() if count]
    missing = [line for line, count in (Counter(wanted) - Counter(lines)).items() if count]
    size = f"has {len(lines)} lines instead of {len(wanted)}"
    if twice and not missing:
        again = "once too often" if twice[0] in wanted else "which should not be there"
        return f"{size}: {_short(twice[0])} {again}"
    if missing and not twice:
        return f"{size}: {_short(missing[0])} is missing"
    if len(lines) == len(wanted):
        for number, (line, right) in enumerate(zip(lines, wanted, strict=True), start=1):
            if line != right:
                return f"differs in line {number}: {_short(line)} instead of {_short(right)}"
    return size


def _lines(content: bytes) -> list[str]:
    return content.decode(errors="backslashreplace").splitlines()


def _short(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else repr(text[: _SHOWN_CHARACTERS - 3]) + "..."
