"""What a handler of any kind may end with: a result that is JSON and fits, or an error that fits."""

from __future__ import annotations

import json
import traceback
from pathlib import Path

from fsm.errors import HandlerFailedError
from fsm.record import RECORD_BYTES_MAX, canonical

ERROR_CHARS_MAX = 2000


def result_text(result: object) -> str:
    """The result as a record keeps it.

    Raises:
        HandlerFailedError: it is not JSON, or is too large.
    """
    try:
        text = canonical(result)
    except (TypeError, ValueError, RecursionError) as exc:
        raise HandlerFailedError(f"the handler's result is not JSON: {exc}"[:ERROR_CHARS_MAX]) from exc
    if len(text) > RECORD_BYTES_MAX:
        raise HandlerFailedError(f"the handler's result is over {RECORD_BYTES_MAX} bytes")
    return text


def file_text(content: bytes, *, what: str) -> str:
    """What a file holds, as a record keeps it.

    Args:
        content: JSON, as any program writes it.
        what: how errors call it.

    Raises:
        HandlerFailedError: it is not JSON, or is too large.
    """
    if len(content) > RECORD_BYTES_MAX:
        raise HandlerFailedError(f"the {what} is over {RECORD_BYTES_MAX} bytes")
    try:
        text = canonical(json.loads(content))
    except (ValueError, RecursionError) as exc:
        raise HandlerFailedError(f"the {what} is not JSON: {exc}"[:ERROR_CHARS_MAX]) from exc
    if len(text) > RECORD_BYTES_MAX:
        raise HandlerFailedError(f"the {what} is over {RECORD_BYTES_MAX} bytes")
    return text


def in_one_line(error: BaseException) -> str:
    """The error and where it was raised, bounded."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"[:ERROR_CHARS_MAX]
