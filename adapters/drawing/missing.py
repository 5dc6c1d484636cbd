"""The one error of a missing extra."""

from __future__ import annotations

from fsm.errors import ConfigurationError


def missing(distribution: str) -> ConfigurationError:
    """What to tell whoever lacks a library that only SVG and PNG need."""
    return ConfigurationError("--format", f"SVG and PNG need {distribution}", "Run pip install 'spotfsm[draw]'.")
