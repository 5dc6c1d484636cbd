"""Graphviz itself reads every DOT text, and finds in it what was drawn."""

from __future__ import annotations

import json
from typing import Protocol, cast

import pytest
from pygraphviz import AGraph  # type: ignore[import-untyped]  # it has no types

from fsm.drawing import Machine, drawing_of, drawing_with_path
from fsm.drawing.dot import render_dot
from fsm.drawing.label import LINE_CHARACTERS, text_of, wrapped
from fsm.drawing.picture import Picture
from tests.fsm.test_drawing_journey import PATHS, path_lines
from tests.fsm.test_drawing_machine import ON_PATH

PICTURES = {
    **{machine.value: drawing_of(machine).picture for machine in Machine},
    "path": ON_PATH,
    **{f"path of {machine}": drawing_with_path(machine, path_lines()).picture for machine in PATHS},
}


class Graph(Protocol):
    """What is used of Graphviz here."""

    def draw(self, *, format: str, prog: str) -> bytes: ...  # noqa: A002 -- the library's name

    def close(self) -> None: ...


@pytest.mark.parametrize("name", PICTURES)
def test_graphviz_finds_what_was_drawn(name: str) -> None:
    """Every node, and every edge with its whole label, comes back from the layout; nothing is there besides."""
    picture: Picture = PICTURES[name]
    graph = cast("Graph", AGraph(string=render_dot(picture)))
    try:
        laid_out = json.loads(graph.draw(format="json0", prog="dot"))
    finally:
        graph.close()
    names = [node["name"] for node in laid_out["objects"]]
    starts = ["(start)"] if any(node.initial for node in picture.nodes) else []
    assert sorted(names) == sorted([*starts, *(node.name for node in picture.nodes)])
    edges = [
        (names[edge["tail"]], names[edge["head"]], edge.get("label", "").replace("\\l", "\n"))
        for edge in laid_out["edges"]
    ]
    firsts = [("(start)", node.name, "") for node in picture.nodes if node.initial]
    labels = ["".join(f"{text_of(line)}\n" for line in wrapped(edge.label, LINE_CHARACTERS)) for edge in picture.edges]
    drawn = [(edge.source, edge.dest, label) for edge, label in zip(picture.edges, labels, strict=True)]
    assert sorted(edges) == sorted([*firsts, *drawn])
    assert {node["name"] for node in laid_out["objects"] if node.get("peripheries") == "2"} == {
        node.name for node in picture.nodes if node.final
    }
