"""The queries to paste, and the command around them; that they fit what is sent is shown by whole workers."""

from __future__ import annotations

import shlex

import pytest

from adapters.telemetry.queries import az_command, job_query, overview_query

JOB = "6F0C1C0E-8f4c-4f5e-9c2a-0a6f2f1f7b3d"
WORDS = {"from", "to", "end", "row", "and", "or", "by", "in", "count", "has"}
"""Not to be used as names of columns: some are words of the language, some would be misread by people."""


def test_a_job_is_found_by_its_trace() -> None:
    """The trace's id is made of the message's, as Application Insights writes it."""
    assert 'operation_Id == "9c2a0a6f2f1f7b3d6f0c1c0e8f4c4f5e"' in job_query(JOB, since_s=60)


@pytest.mark.parametrize("query", [overview_query(since_s=90_000), job_query(JOB, since_s=90_000)])
def test_the_command_survives_a_shell(query: str) -> None:
    """Pasted into a shell, it is one command with the query as one argument, and looks back far enough."""
    arguments = shlex.split(az_command(query, app="my app", resource_group="g", since_s=90_000))
    assert arguments[:4] == ["az", "monitor", "app-insights", "query"]
    options = dict(zip(arguments[4::2], arguments[5::2], strict=True))
    assert options == {
        "--app": "my app",
        "--resource-group": "g",
        "--offset": "1d1h",
        "--output": "table",
        "--analytics-query": query,
    }


@pytest.mark.parametrize("query", [overview_query(since_s=60), job_query(JOB, since_s=60)])
def test_every_column_that_is_shown_is_made(query: str) -> None:
    """What `project` names is a column of the tables, or was made before; no column is a word of the language."""
    made = {line.split()[2] for line in query.splitlines() if line.startswith("| extend ")}
    (shown,) = (line for line in query.splitlines() if line.startswith("| project "))
    names = {
        part.split("=")[0].strip()
        for part in shown.removeprefix("| project ").replace("(message, name)", "").split(",")
    }
    assert made <= names
    assert names - made <= {"timestamp", "name", "duration", "success", "itemType", "what"}
    assert not made & WORDS
