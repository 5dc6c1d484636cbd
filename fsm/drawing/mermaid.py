"""Pictures as Mermaid: a state diagram for a machine, a flowchart for joint rules.

Mermaid ends a label at a colon or a semicolon; no label has one. https://mermaid.js.org/syntax/stateDiagram.html
"""

from __future__ import annotations

from fsm.drawing.label import LINE_CHARACTERS, Label, text_of, wrapped
from fsm.drawing.picture import Node, Picture, Shape

_PATH_STYLES = ("classDef visited stroke-width:3px", "classDef present stroke-width:5px,font-weight:bold")


def render_mermaid(picture: Picture) -> str:
    """A picture as Mermaid text."""
    lines = _state_diagram(picture) if picture.is_machine else _flowchart(picture)
    return "\n    ".join(lines) + "\n"


def _state_diagram(picture: Picture) -> list[str]:
    lines = ["stateDiagram-v2"]
    lines += [f'state "{"<br/>".join(texts)}" as {node.name}' for node in picture.nodes if (texts := _texts(node))]
    lines += [f"[*] --> {node.name}" for node in picture.nodes if node.initial]
    lines += [f"{edge.source} --> {edge.dest} : {_broken(edge.label)}" for edge in picture.edges]
    lines += [f"{node.name} --> [*]" for node in picture.nodes if node.final]
    return lines + (_path_classes(picture) if picture.is_path else [])


def _texts(node: Node) -> tuple[str, ...]:
    """What stands in a state, if that is not just its name."""
    lines = (*node.lines, node.remark) if node.remark else node.lines
    return () if lines == (node.name,) else lines


def _path_classes(picture: Picture) -> list[str]:
    marked = [f"class {node.name} {'present' if node.present else 'visited'}" for node in picture.nodes if node.visits]
    return [*_PATH_STYLES, *marked]


def _flowchart(picture: Picture) -> list[str]:
    lines = ["flowchart LR"]
    for node in picture.nodes:
        opening, closing = ("([", "])") if node.shape is Shape.EFFECT else ("[", "]")
        lines.append(f'{node.name}{opening}"{"<br/>".join(node.lines)}"{closing}')
    for edge in picture.edges:
        start, end = ("-.", ".->") if edge.dotted else ("--", "-->")
        lines.append(f'{edge.source} {start} "{_broken(edge.label)}" {end} {edge.dest}')
    return lines


def _broken(label: Label) -> str:
    return "<br/>".join(text_of(line) for line in wrapped(label, LINE_CHARACTERS))
