"""The trace of a job: its id is the message's with its halves exchanged.

Samplers by ratio go by the last 64 or 56 bits of a trace's id and take them for random. In a UUID the last half begins
with two fixed bits, so that a ratio of 10 % would take no job and one of 80 % every one; the first half is random.
[https://opentelemetry.io/docs/specs/otel/trace/sdk/#traceidratiobased; https://www.rfc-editor.org/rfc/rfc9562; read
2026-11]
"""

from __future__ import annotations

import uuid

_HALF = 2**64


def trace_id_of(job: str) -> int:
    """The id of the trace that all deliveries of this job are in, or 0 if the job's id is no UUID."""
    try:
        first, last = divmod(uuid.UUID(job).int, _HALF)
    except ValueError:
        return 0
    return last * _HALF + first
