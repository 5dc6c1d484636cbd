"""Asking a service from a command that runs once: what goes wrong names the setting behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fsm.errors import BadReplyError, ConfigurationError, DeniedError, MissingError, PlatformError, ReplyLostError

CALL_TIMEOUT_S = 15.0
"""For one call, its first connection and token included."""


@contextmanager
def asking(setting: str, *, if_missing: str) -> Iterator[None]:
    """Turn what a service answers into one line about `setting`.

    Args:
        setting: what the user would change.
        if_missing: the remedy where the queue, container or file is not there.

    Raises:
        ConfigurationError: waiting will not help.
        PlatformError: it may.
    """
    try:
        yield
    except MissingError as exc:
        raise ConfigurationError(setting, str(exc), if_missing) from exc
    except DeniedError as exc:
        raise ConfigurationError(setting, str(exc), "Run `spotfsm doctor` to see which role is missing.") from exc
    except BadReplyError as exc:
        raise BadReplyError(f"{setting}: {exc}. Check that the address is the service's own.") from exc
    except PlatformError as exc:
        raise ReplyLostError(f"{setting}: {exc}. Check the address, and try again later.") from exc
