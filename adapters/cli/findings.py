"""What a check of `spotfsm doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fsm.errors import ConfigurationError


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found; `text` and `remedy` are sentences, the first without its full stop."""

    name: str
    verdict: Verdict
    text: str
    remedy: str = ""

    def report(self) -> dict[str, str]:
        """The finding for programs."""
        return {"name": self.name, "verdict": self.verdict.value, "text": self.text, "remedy": self.remedy}


def ok(name: str, text: str) -> Finding:
    """All is well."""
    return Finding(name=name, verdict=Verdict.OK, text=text)


def warn(name: str, text: str, remedy: str) -> Finding:
    """It works, and may not always."""
    return Finding(name=name, verdict=Verdict.WARN, text=text, remedy=remedy)


def fail(name: str, text: str, remedy: str) -> Finding:
    """A worker would not work."""
    return Finding(name=name, verdict=Verdict.FAIL, text=text, remedy=remedy)


def misconfigured(name: str, error: ConfigurationError) -> Finding:
    """A setting that cannot work."""
    return fail(name, f"{error.setting}: {error.problem}", error.remedy)
