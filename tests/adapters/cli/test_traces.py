"""`spotfsm traces`: something to paste, for people and for programs."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.adapters.cli.conftest import Command

JOB = "6f0c1c0e-8f4c-4f5e-9c2a-0a6f2f1f7b3d"


def test_people_get_the_query_and_the_command(inside: Command) -> None:
    """Both are there, the second with the first inside."""
    out = inside("traces", "--app", "insights", "--resource-group", "group", "--since", "2h").out
    query, _, command = out.partition("\n\n# or for a shell\n")
    assert query.startswith("// KQL")
    kql = query.split("\n", 1)[1]
    arguments = shlex.split(command)
    assert arguments[-1] == kql
    assert arguments[arguments.index("--offset") + 1] == "0d2h"
    assert "ago(7200s)" in kql


def test_programs_get_the_same(inside: Command) -> None:
    """One job's query is about its trace."""
    found = json.loads(inside("traces", "--job", JOB, "--json").out)
    assert found.keys() == {"query", "command"}
    assert "9c2a0a6f2f1f7b3d6f0c1c0e8f4c4f5e" in found["query"]
    assert shlex.split(found["command"])[-1] == found["query"]


@pytest.mark.parametrize("job", ["x", f'{JOB}" or 1 == 1 or "', f"{JOB}\n"])
def test_what_is_no_id_gets_into_no_query(inside: Command, job: str) -> None:
    """An id is a UUID and nothing besides."""
    ended = inside("traces", "--job", job)
    assert ended.code == 2
    assert ended.error_line.startswith("--job: ")
