"""Pictures in DOT, the language of Graphviz, for whoever has it.

Each line of a label ends as Graphviz sets it flush left. Colours are left to the reader, but for a drawn path.
https://graphviz.org/doc/info/lang.html and https://graphviz.org/docs/attr-types/escString/
"""

from __future__ import annotations

from collections.abc import Mapping

from fsm.drawing.label import LINE_CHARACTERS, Label, text_of, wrapped
from fsm.drawing.picture import Edge, Node, Picture, Shape

_START = "(start)"
_STYLES = {
    Shape.STATE: "rounded",
    Shape.ANY: "rounded,dashed",
    Shape.MOVE: "solid",
    Shape.EFFECT: "rounded,filled",
}


def render_dot(picture: Picture) -> str:
    """A picture as DOT text."""
    title = f"{picture.title}\\n{_escaped(picture.reading)}"
    direction = "TB" if picture.is_machine else "LR"
    lines = [
        f"digraph {picture.name} {{",
        f'    graph [label="{title}", labelloc=t, fontname="Helvetica", rankdir={direction}]',
        '    node [shape=box, fontname="Helvetica"]',
        '    edge [fontname="Helvetica", fontsize=11]',
    ]
    if any(node.initial for node in picture.nodes):
        lines.append(f'    "{_START}" [shape=point, width=0.15]')
    lines += [f'    "{node.name}" [{_attributes(_of_node(node, is_path=picture.is_path))}]' for node in picture.nodes]
    lines += [f'    "{_START}" -> "{node.name}"' for node in picture.nodes if node.initial]
    lines += [
        f'    "{edge.source}" -> "{edge.dest}" [{_attributes(_of_edge(edge, is_path=picture.is_path))}]'
        for edge in picture.edges
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _of_node(node: Node, *, is_path: bool) -> Mapping[str, str]:
    lines = (*node.lines, node.remark) if node.remark else node.lines
    found = {"label": "\\n".join(_escaped(line) for line in lines), "style": _STYLES[node.shape]}
    if node.final:
        found["peripheries"] = "2"
    if is_path and node.present:
        found |= {"style": "rounded,filled", "penwidth": "3", "fillcolor": "gold"}
    elif is_path:
        found |= {"penwidth": "3"} if node.visits else {"color": "gray", "fontcolor": "gray"}
    return found


def _of_edge(edge: Edge, *, is_path: bool) -> Mapping[str, str]:
    found = {"label": _flush_left(edge.label)}
    if edge.dotted:
        found["style"] = "dashed"
    if is_path:
        found |= {"penwidth": "3"} if edge.taken else {"color": "gray", "fontcolor": "gray"}
    return found


def _flush_left(label: Label) -> str:
    return "".join(f"{_escaped(text_of(line))}\\l" for line in wrapped(label, LINE_CHARACTERS))


def _attributes(found: Mapping[str, str]) -> str:
    return ", ".join(f'{name}="{value}"' for name, value in found.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
