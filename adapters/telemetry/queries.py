"""What to ask Application Insights about the telemetry that is sent: KQL, and the command that asks.

Tables and names are those of Application Insights: a span of kind consumer is a row of `requests`, an internal one of
`dependencies`, a span's event of `traces`, and attributes are `customDimensions`.
[https://learn.microsoft.com/azure/azure-monitor/app/data-model-complete, read 2026-11]
"""

from __future__ import annotations

import shlex

from adapters.telemetry.trace_ids import trace_id_of

_COLUMNS = ("vm", "worker", "job", "epoch", "end", "row", "checkpoints", "cause", "margin_s", "drain_s", "redone_s")
OFFSET_S_MAX = 730 * 86400
_HOUR_S = 3600


def overview_query(*, since_s: int) -> str:
    """Deliveries, drains and workers' lives, as a timeline."""
    return "\n".join(
        (
            "union requests, dependencies",
            f"| where timestamp > ago({since_s}s)",
            '| where name in ("delivery", "drain", "worker")',
            *_dimensions(_COLUMNS),
            f"| project timestamp, name, {', '.join(_column(name) for name in _COLUMNS)}, duration, success",
            "| order by timestamp asc",
        )
    )


def job_query(job: str, *, since_s: int) -> str:
    """Everything that happened to one job, on whichever VM: its deliveries, and the rows that each took.

    Args:
        job: the message's id, a UUID.
        since_s: how far back.
    """
    trace_id = f"{trace_id_of(job):032x}"
    columns = ("vm", "worker", "epoch", "end", "row", "from", "to")
    return "\n".join(
        (
            "union requests, traces",
            f"| where timestamp > ago({since_s}s)",
            f'| where operation_Id == "{trace_id}"',
            *_dimensions(columns),
            "| project timestamp, itemType, what = coalesce(message, name), "
            + ", ".join(_column(name) for name in columns),
            "| order by timestamp asc",
        )
    )


def az_command(query: str, *, app: str, resource_group: str, since_s: int) -> str:
    """The command that asks, for a shell; it takes the right to read, as in the role Monitoring Reader."""
    hours = -(-since_s // _HOUR_S)
    arguments = (
        *("--app", app),
        *("--resource-group", resource_group),
        *("--offset", f"{hours // 24}d{hours % 24}h"),
        *("--output", "table"),
        *("--analytics-query", query),
    )
    return "az monitor app-insights query " + " ".join(shlex.quote(argument) for argument in arguments)


def _dimensions(names: tuple[str, ...]) -> list[str]:
    return [f'| extend {_column(name)} = tostring(customDimensions["spotfsm.{name}"])' for name in names]


def _column(name: str) -> str:
    """A column's name, which is no word of the language."""
    return {"from": "state_before", "to": "state_after", "end": "ended", "row": "row_id"}.get(name, name)
