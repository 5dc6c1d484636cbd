"""A Bicep file as a syntax tree, and the names that its expressions refer to.

pycep reads more than Bicep and binds operators to the right: `a.b == c ? d : e` comes back as something under the dot
after `a`. What is looked for here, names and the properties behind their dots, is found either way.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, cast

from pycep import BicepParser
from pycep.models import BicepElement
from pycep.rules.functions import FUNCTIONS

Node: TypeAlias = "str | int | bool | Sequence[Node] | Mapping[str, Node] | None"
"""A value as pycep gives it: names are `BicepElement`, which is a `str` of its own; any other `str` is a literal."""

_PARSER = BicepParser()
_KEY = re.compile(r"^( *)(\w+):")
_DOTTED = ("property_accessor", "nested_resource_accessor", "function_accessor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A name in an expression, and the properties that are read of it."""

    name: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A function in an expression."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter; `allowed` is empty where anything goes, and `decorators` are names as pycep writes them."""

    kind: str
    required: bool
    allowed: tuple[str, ...]
    default: Node
    decorators: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource; `body` is its object, without a condition around it."""

    type: str
    api_version: str
    existing: bool
    body: Mapping[str, Node]
    condition: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module; `body` has its name and its params."""

    path: str
    body: Mapping[str, Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class BicepFile:
    """What a file declares, by name.

    Attributes:
        uses: the names and functions in all its expressions.
        doubled: keys and names that are given twice in one place, of which the parser keeps the last.
    """

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    variables: Mapping[str, Node] = field(default_factory=dict)
    resources: Mapping[str, Resource] = field(default_factory=dict)
    modules: Mapping[str, Module] = field(default_factory=dict)
    outputs: Mapping[str, tuple[str, Node]] = field(default_factory=dict)
    uses: Sequence[Reference | Called] = ()
    doubled: Sequence[str] = ()

    @property
    def names(self) -> set[str]:
        """Whatever an expression may refer to."""
        return {*self.parameters, *self.variables, *self.resources, *self.modules}

    def expressions(self) -> Iterator[Node]:
        """Every value in the file."""
        yield from (parameter.default for parameter in self.parameters.values())
        yield from self.variables.values()
        for resource in self.resources.values():
            yield resource.body
            yield resource.condition
        yield from (module.body for module in self.modules.values())
        yield from (value for _, value in self.outputs.values())


@functools.cache
def parse(text: str) -> BicepFile:
    """Read a file.

    Raises:
        Exception: the parser's own, where it is not Bicep.
    """
    tree = cast("Mapping[str, Mapping[str, Mapping[str, Node]]]", _PARSER.parse(text=text))
    file = BicepFile(
        parameters={name: _parameter(attributes) for name, attributes in tree.get("parameters", {}).items()},
        variables={name: attributes["value"] for name, attributes in tree.get("variables", {}).items()},
        resources={name: _resource(attributes) for name, attributes in tree.get("resources", {}).items()},
        modules={name: _module(attributes) for name, attributes in tree.get("modules", {}).items()},
        outputs={
            name: (str(attributes["type"]), attributes["value"]) for name, attributes in tree.get("outputs", {}).items()
        },
        doubled=tuple(_doubled(text)),
    )
    return replace(file, uses=[use for expression in file.expressions() for use in uses(expression)])


def _doubled(text: str) -> Iterator[str]:
    """Keys that an object has twice, by their indentation, and names that a file declares twice."""
    names = re.findall(r"^(?:param|var|resource|module) (\w+)", text, re.MULTILINE)
    outputs = re.findall(r"^output (\w+)", text, re.MULTILINE)
    yield from (name for found in (names, outputs) for name in sorted(set(found)) if found.count(name) > 1)
    seen: dict[int, set[str]] = {}
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if not line.strip() or line.lstrip().startswith("//"):
            continue
        seen = {level: keys for level, keys in seen.items() if level <= depth}
        key = _KEY.match(line)
        if key is None:
            seen.pop(depth, None)  # a brace: another object begins
        elif key[2] in seen.setdefault(depth, set()):
            yield key[2]
        else:
            seen[depth].add(key[2])


def _parameter(attributes: Mapping[str, Node]) -> Parameter:
    allowed: tuple[str, ...] = ()
    decorators = cast("Sequence[Mapping[str, Node]]", attributes["decorators"])
    for decorator in decorators:
        if decorator["type"] == "allowed":
            allowed = tuple(str(value) for value in cast("Sequence[Node]", decorator["argument"]))
    default = attributes["default"]
    return Parameter(
        kind=str(attributes["type"]),
        required=default is None,
        allowed=allowed,
        default=default,
        decorators=tuple(str(decorator["type"]) for decorator in decorators),
    )


def _resource(attributes: Mapping[str, Node]) -> Resource:
    body = cast("Mapping[str, Node]", attributes["config"])
    condition: Node = None
    if "condition" in body and "config" in body:
        condition, body = body["condition"], cast("Mapping[str, Node]", body["config"])
    return Resource(
        type=str(attributes["type"]),
        api_version=str(attributes["api_version"]),
        existing=attributes["existing"] is True,
        body=body,
        condition=condition,
    )


def _module(attributes: Mapping[str, Node]) -> Module:
    detail = cast("Mapping[str, Node]", attributes["detail"])
    return Module(path=str(detail["path"]), body=cast("Mapping[str, Node]", attributes["config"]))


def is_name(node: Node) -> bool:
    """Whether the value is a name alone."""
    return isinstance(node, BicepElement)


def is_literal(node: Node) -> bool:
    """Whether the value is text that is known as it stands."""
    return isinstance(node, str) and not is_name(node) and "${" not in node


def is_expression(node: Node) -> bool:
    """Whether an object of the tree is an expression, and none of Bicep's objects."""
    return isinstance(node, Mapping) and bool({"function", "operator", "loop_type"} & node.keys())


def uses(node: Node, bound: frozenset[str] = frozenset()) -> Iterator[Reference | Called]:
    """Every name and function in a value, in no particular order; `bound` are names that loops brought along."""
    if isinstance(node, BicepElement):
        if str(node) not in bound:
            yield Reference(name=str(node))
    elif isinstance(node, str):
        for expression in _interpolated(node):
            yield from uses(expression, bound)
    elif isinstance(node, Mapping):
        yield from _uses_of_object(node, bound)
    elif isinstance(node, Sequence):
        for item in node:
            yield from uses(item, bound)


def _uses_of_object(node: Mapping[str, Node], bound: frozenset[str]) -> Iterator[Reference | Called]:
    if "function" in node:
        function = cast("Mapping[str, Node]", node["function"])
        yield Called(name=str(function["type"]))
        yield from uses(_values(function.get("parameters")), bound)
    elif "operator" in node:
        yield from _uses_of_operator(cast("Mapping[str, Node]", node["operator"]), bound)
    elif "loop_type" in node:
        detail = cast("Mapping[str, Mapping[str, Node]]", node["loop_type"])["detail"]
        yield from uses(detail.get("array_name"), bound)
        item = {str(detail[key]) for key in ("item_name", "index_name") if key in detail}
        yield from uses([node.get("condition"), node["config"]], bound | item)
    else:
        for key, value in node.items():
            yield from uses([key, value], bound)


def _uses_of_operator(operator: Mapping[str, Node], bound: frozenset[str]) -> Iterator[Reference | Called]:
    operands = _values(operator["operands"])
    if operator["type"] not in _DOTTED:
        yield from uses(operands, bound)
        return
    head, *behind = operands
    path, rest = _behind_dots(behind)
    if isinstance(head, BicepElement):
        if str(head) not in bound:
            yield Reference(name=str(head), path=path)
    else:
        yield from uses(head, bound)
    yield from uses(rest, bound)


def _behind_dots(behind: Sequence[Node]) -> tuple[tuple[str, ...], list[Node]]:
    """The properties that follow a dot, and what the parser put there and is an expression of its own."""
    path: tuple[str, ...] = ()
    rest: list[Node] = []
    for position, node in enumerate(behind):
        if isinstance(node, BicepElement):
            path += (str(node),)
        elif isinstance(node, Mapping) and "operator" in node:
            operator = cast("Mapping[str, Node]", node["operator"])
            operands = _values(operator["operands"])
            if operator["type"] in _DOTTED:
                deeper, others = _behind_dots(operands)
                path, rest = path + deeper, rest + others
            else:
                deeper, others = _behind_dots(operands[:1])
                path, rest = path + deeper, rest + others + operands[1:]
                break
        else:
            rest += behind[position:]
            break
    return path, rest


def _values(node: Node) -> list[Node]:
    if isinstance(node, Mapping):
        return list(node.values())
    return list(node) if isinstance(node, Sequence) and not isinstance(node, str) else [node]


def _interpolated(text: str) -> Iterator[Node]:
    """The expressions between `${` and its `}` in a text."""
    for found in re.finditer(r"(?<!\\)\$\{", text):
        depth, end = 1, found.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        yield parse(f"var it = {text[found.end() : end - 1]}\n").variables["it"]


def known_function(name: str) -> bool:
    """Whether Bicep has this function; pycep calls it `to_lower`, and one that it does not know by its own name."""
    return name in {re.sub("(?<!^)(?=[A-Z])", "_", known).lower() for known in FUNCTIONS}
