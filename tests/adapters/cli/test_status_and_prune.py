"""`spotfsm status` and `spotfsm prune`: what became of the jobs, and what is forgotten of them."""

from __future__ import annotations

import json

import pytest

from tests.adapters.cli.conftest import Command
from tests.azurite import Azurite


def test_people_see_a_table_and_no_line_twice(inside: Command) -> None:
    """Names and numbers; the store's own count of poisoned jobs only where it says something else."""
    inside("enqueue", "--count", 3)
    lines = inside("status").out.splitlines()
    assert [line.split() for line in lines] == [
        ["queue", "jobs"],
        ["queued", "3"],
        ["poisoned", "0"],
        ["running", "0"],
        ["released", "0"],
        ["completed", "0"],
    ]


@pytest.mark.processes
@pytest.mark.parametrize("where", ["sqlite", pytest.param("azurite", marks=pytest.mark.azurite)])
def test_records_are_pruned_when_they_are_old_enough(
    spotfsm: Command, jobs: str, where: str, request: pytest.FixtureRequest
) -> None:
    """What ended just now is kept by default, and removed by --older-than 0."""
    places: tuple[str, ...] = ()
    if where == "azurite":
        azurite = request.getfixturevalue("azurite")
        assert isinstance(azurite, Azurite)
        places = ("--queue", azurite.queue_url("cli-prune"), "--store", azurite.blob_url("cli-prune"))
        spotfsm("enqueue", "--count", 4, *places, "--create")
    else:
        spotfsm("enqueue", "--count", 4)
    assert spotfsm("worker", "--handler", f"{jobs}:handle", "--until-empty", *places).code == 0
    assert json.loads(spotfsm("prune", "--json", *places).out) == {
        "queue": places[1][-9:] if places else "jobs",
        "pruned": 0,
    }
    assert json.loads(spotfsm("status", "--json", *places).out)["completed"] == 4
    assert json.loads(spotfsm("prune", "--json", "--older-than", "0s", *places).out)["pruned"] == 4
    assert json.loads(spotfsm("status", "--json", *places).out)["completed"] == 0
