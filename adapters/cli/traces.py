"""`spotfsm traces`: what to ask Application Insights, ready to paste."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from adapters.cli import options
from adapters.cli.output import show_json
from adapters.telemetry.queries import OFFSET_S_MAX, az_command, job_query, overview_query

_EXAMPLE = (
    "Example: spotfsm traces --app my-insights --resource-group my-group --since 6h\n\n"
    "Example: spotfsm traces --job 6f0c1c0e-8f4c-4f5e-9c2a-0a6f2f1f7b3d"
)
_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("traces", epilog=_EXAMPLE)(_traces)


def _job(value: str) -> str:
    if not _ID.fullmatch(value):
        raise ValueError(f"{value!r:.60} is no job id. Give the id of a message, a UUID, as journal and log have it.")
    return value


def _traces(
    *,
    app: Annotated[str, options.setting("--app", "The Application Insights resource.", metavar="NAME")] = "APP",
    resource_group: Annotated[
        str, options.setting("--resource-group", "The resource group that it is in.", metavar="NAME")
    ] = "GROUP",
    since: Annotated[
        float,
        options.setting(
            "--since",
            "How far back.",
            metavar="TIME",
            parser=options.duration(60.0, OFFSET_S_MAX),
            show_default="1d",
        ),
    ] = 86400.0,
    job: Annotated[
        str | None,
        typer.Option("--job", help="One job alone, with each row of its deliveries.", metavar="ID", parser=_job),
    ] = None,
    as_json: options.AsJson = False,
    _config: options.Config = None,
) -> None:
    """Print a query about deliveries, evictions and workers, and the az command that asks it.

    For workers with --telemetry azure-monitor; nothing is asked here. It takes some minutes until what was sent can be
    queried. Keys of --json: query (KQL, for the portal's Logs), command (for a shell that is logged in to az).
    """
    since_s = round(since)
    query = overview_query(since_s=since_s) if job is None else job_query(job, since_s=since_s)
    command = az_command(query, app=app, resource_group=resource_group, since_s=since_s)
    if as_json:
        show_json({"query": query, "command": command})
        return
    print(f"// KQL, for Logs in the portal\n{query}\n\n# or for a shell\n{command}")
