"""What a Bicep compiler would refuse, and some of what Azure would: there is no compiler to ask offline.

Judged are names (parameters, variables, resources, modules, outputs, properties behind dots), what modules are given
and give, the version of each resource's API, and each resource's body against the SDK's model of that version: where
a property stands, what it is called, what kind of value it takes, which values an enumeration has, what is required.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tests.adapters.azure.deploy import arm_shapes as arm
from tests.adapters.azure.deploy.bicep_file import (
    BicepFile,
    Called,
    Module,
    Node,
    Reference,
    Resource,
    is_expression,
    is_literal,
    is_name,
    known_function,
    parse,
    uses,
)

_OF_EVERY_RESOURCE = {"id", "name", "type", "apiVersion"}
_BESIDE_THE_MODEL = {"name", "parent", "scope", "dependsOn"}
_OF_A_MODULE = {"name", "params", "scope", "dependsOn"}
_PARAMETER_KINDS = {"string", "int", "bool", "array", "object"}
_OF_ANY_KIND = {"allowed", "description", "metadata"}
_DECORATORS = {
    "string": {*_OF_ANY_KIND, "min_length", "max_length", "secure"},
    "array": {*_OF_ANY_KIND, "min_length", "max_length"},
    "int": {*_OF_ANY_KIND, "min_value", "max_value"},
    "object": {*_OF_ANY_KIND, "secure"},
}


def lint(files: Mapping[str, str]) -> list[str]:
    """Every fault of these files, whose keys are their paths; a module's path is relative to its user's."""
    linter = _Lint(files={path: parse(text) for path, text in files.items()})
    return [f"{path}: {fault}" for path in files for fault in linter.faults(path)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lint:
    files: Mapping[str, BicepFile]

    def faults(self, path: str) -> Iterator[str]:
        file = self.files[path]
        yield from (f"{name} is there twice" for name in file.doubled)
        yield from self._names(path, file)
        for name, resource in file.resources.items():
            for fault in _resource(file, resource):
                yield f"resource {name}: {fault}"
        for name, module in file.modules.items():
            for fault in self._module(path, file, module):
                yield f"module {name}: {fault}"
        wanted = self._wanted(path)
        for name, (kind, value) in file.outputs.items():
            if kind not in _PARAMETER_KINDS:
                yield f"output {name}: {kind} is no type"
            yield from self._given(path, file, value, arm.Scalar(kind=kind), f"output {name}")
            if wanted is not None and name not in wanted:
                yield f"output {name}: nobody asks for it"

    def _wanted(self, path: str) -> set[str] | None:
        """The outputs that other files ask of this one; None if it is no module of theirs."""
        wanted, is_module = set(), False
        for other, file in self.files.items():
            names = {name for name, module in file.modules.items() if _beside(other, module.path) == path}
            is_module |= bool(names)
            for use in file.uses:
                if isinstance(use, Reference) and use.name in names and use.path[:1] == ("outputs",):
                    wanted.add(use.path[1])
        return wanted if is_module else None

    # -- names --------------------------------------------------------------------------------------------------------

    def _names(self, path: str, file: BicepFile) -> Iterator[str]:
        used = set()
        for use in file.uses:
            if isinstance(use, Called):
                if not known_function(use.name):
                    yield f"there is no function {use.name}"
                continue
            used.add(use.name)
            yield from self._reference(path, file, use)
        for name in file.names - used:
            deploys = name in file.modules or (name in file.resources and not file.resources[name].existing)
            if not deploys:
                yield f"{name} is declared and not used"
        for name, parameter in file.parameters.items():
            if parameter.kind not in _PARAMETER_KINDS:
                yield f"parameter {name}: {parameter.kind} is no type"
            yield from (
                f"parameter {name}: {one} is nothing to say of a {parameter.kind}"
                for one in parameter.decorators
                if one not in _DECORATORS.get(parameter.kind, _OF_ANY_KIND)
            )
            shape = arm.Scalar(kind=parameter.kind, values=frozenset(parameter.allowed))
            yield from self._given(path, file, parameter.default, shape, f"parameter {name}")

    def _reference(self, path: str, file: BicepFile, use: Reference) -> Iterator[str]:
        whole = ".".join((use.name, *use.path))
        if use.name not in file.names:
            yield f"{use.name} is not declared"
        elif use.name in file.modules and use.path:
            module = self.files.get(_beside(path, file.modules[use.name].path), BicepFile())
            if use.path[0] not in {"name", "outputs"} or (use.path[0] == "outputs" and not _given(module, use.path)):
                yield f"{whole}: the module has no such output"
        elif use.name in file.resources and use.path and use.path[0] not in _OF_EVERY_RESOURCE:
            resource = file.resources[use.name]
            if resource.type in arm.MODELS and not _has(arm.read_shape(resource.type), use.path):
                yield f"{whole}: {resource.type} has no such property"
        elif use.name in file.parameters and use.path and file.parameters[use.name].kind in {"string", "int", "bool"}:
            yield f"{whole}: a {file.parameters[use.name].kind} has no properties"
        elif use.name in file.variables and use.path:
            value = file.variables[use.name]
            if isinstance(value, Mapping) and not is_expression(value) and use.path[0] not in value:
                yield f"{whole}: the variable has no such property"

    # -- modules ------------------------------------------------------------------------------------------------------

    def _module(self, path: str, file: BicepFile, module: Module) -> Iterator[str]:
        target = self.files.get(_beside(path, module.path))
        if target is None:
            yield f"there is no file {module.path}"
            return
        yield from (f"a module has no {key}" for key in module.body.keys() - _OF_A_MODULE)
        given = cast("Mapping[str, Node]", module.body.get("params", {}))
        yield from (f"{module.path} has no parameter {name}" for name in given.keys() - target.parameters.keys())
        for name, parameter in target.parameters.items():
            if name in given:
                shape = arm.Scalar(kind=parameter.kind, values=frozenset(parameter.allowed))
                yield from self._given(path, file, given[name], shape, f"params.{name}")
            elif parameter.required:
                yield f"{module.path} requires the parameter {name}"

    def _given(self, path: str, file: BicepFile, node: Node, shape: arm.Scalar, at: str) -> Iterator[str]:
        """A value for a parameter or an output, which may be what a module or a resource tells of itself."""
        yield from _value(file, node, shape, at)
        told = list(uses(node)) if is_expression(node) and "operator" in cast("Mapping[str, Node]", node) else []
        if len(told) != 1 or not isinstance(told[0], Reference):
            return
        use, kind = told[0], shape.kind
        if use.name in file.resources and use.path in {("id",), ("name",), ("type",)}:
            kind = "string"
        elif use.name in file.modules and use.path[:1] == ("outputs",):
            module = self.files.get(_beside(path, file.modules[use.name].path), BicepFile())
            kind = module.outputs[use.path[1]][0] if _given(module, use.path) else kind
        if kind != shape.kind:
            yield f"{at}: it takes {shape.kind}, and {'.'.join((use.name, *use.path))} is {kind}"


def _beside(path: str, module: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), module))


def _given(module: BicepFile, path: Sequence[str]) -> bool:
    return len(path) == 2 and path[1] in module.outputs


def _has(shape: arm.Shape, path: Sequence[str]) -> bool:
    """Whether one can read this path of something."""
    if not path or isinstance(shape, arm.Scalar | arm.Keyed | arm.Many):
        return not path or not isinstance(shape, arm.Scalar) or shape.kind == "any"
    return path[0] in shape.properties and _has(shape.properties[path[0]].shape, path[1:])


# -- resources ---------------------------------------------------------------------------------------------------------


def _resource(file: BicepFile, resource: Resource) -> Iterator[str]:
    if resource.type not in arm.MODELS:
        yield f"no model of {resource.type} is known"
        return
    version = arm.api_version(resource.type)
    if resource.api_version != version:
        yield f"{resource.type}@{resource.api_version} is not the version of its model, {version}"
    if "name" not in resource.body:
        yield "it has no name"
    yield from _parent(file, resource)
    body = {key: value for key, value in resource.body.items() if key not in _BESIDE_THE_MODEL}
    if resource.existing:
        yield from (f"{key}: one that exists is given nothing" for key in body)
    else:
        yield from _object(file, body, arm.written_shape(resource.type), "")


def _parent(file: BicepFile, resource: Resource) -> Iterator[str]:
    """A type of three parts or more is the child of another resource, and says of which."""
    expected = resource.type.rpartition("/")[0] if resource.type.count("/") > 1 else None
    parent = resource.body.get("parent")
    if parent is None:
        if expected is not None:
            yield f"{resource.type} has no parent"
        return
    found = file.resources.get(str(parent))
    if found is None or found.type != expected:
        yield f"{parent} cannot be the parent of {resource.type}"


def _object(file: BicepFile, node: Mapping[str, Node], shape: arm.Fields, at: str) -> Iterator[str]:
    for key, value in node.items():
        where = f"{at}.{key}".lstrip(".")
        described = shape.properties.get(key)
        if described is None:
            yield f"{where}: {shape.model} has no such property"
        elif not described.writable:
            yield f"{where}: it is read-only"
        else:
            yield from _value(file, value, described.shape, where)
    for key, described in shape.properties.items():
        if described.required and key not in node:
            yield f"{at or 'it'} lacks {key}, which {shape.model} requires"


def _value(file: BicepFile, node: Node, shape: arm.Shape, at: str) -> Iterator[str]:
    if isinstance(shape, arm.Scalar) and shape.kind == "any":
        return
    if is_expression(node):
        yield from _expression(file, cast("Mapping[str, Node]", node), shape, at)
    elif node is None:
        return  # as if it were not there
    elif is_name(node):
        yield from _named(file, str(node), shape, at)
    elif isinstance(shape, arm.Scalar):
        yield from _scalar(node, shape, at)
    elif isinstance(shape, arm.Many):
        if isinstance(node, str | int | Mapping):
            yield f"{at}: it takes a list"
            return
        for position, item in enumerate(node):
            yield from _value(file, item, shape.item, f"{at}[{position}]")
    elif not isinstance(node, Mapping):
        yield f"{at}: it takes an object"
    elif isinstance(shape, arm.Keyed):
        for key, item in node.items():
            yield from _value(file, item, shape.value, f"{at}[{key}]")
    else:
        yield from _object(file, node, shape, at)


def _scalar(node: Node, shape: arm.Scalar, at: str) -> Iterator[str]:
    kind = {bool: "bool", int: "int"}.get(type(node), "string" if isinstance(node, str) else "more than one value")
    if kind != shape.kind and not (shape.kind == "number" and kind == "int"):
        if not (shape.kind in {"array", "object"} and kind == "more than one value"):
            yield f"{at}: it takes {shape.kind}, and is {kind}"
    elif shape.values and is_literal(node) and node not in shape.values:
        yield f"{at}: {node!r} is none of {', '.join(sorted(shape.values))}"


def _named(file: BicepFile, name: str, shape: arm.Shape, at: str) -> Iterator[str]:
    """A parameter or a variable alone: its type, and each value it may have."""
    if name in file.resources or name in file.modules:
        yield f"{at}: it takes a value, and {name} is {'a resource' if name in file.resources else 'a module'}"
    if name in file.variables:
        yield from _value(file, file.variables[name], shape, at)
    parameter = file.parameters.get(name)
    if parameter is None or not isinstance(shape, arm.Scalar):
        return
    if parameter.kind != shape.kind and not (shape.kind == "number" and parameter.kind == "int"):
        yield f"{at}: it takes {shape.kind}, and {name} is {parameter.kind}"
    for value in parameter.allowed:
        yield from _scalar(value, shape, at)


def _expression(file: BicepFile, node: Mapping[str, Node], shape: arm.Shape, at: str) -> Iterator[str]:
    """What an expression may come to, where that is written down in it."""
    if "loop_type" in node:
        if isinstance(shape, arm.Many):
            yield from _value(file, node["config"], shape.item, f"{at}[]")
        else:
            yield f"{at}: it takes no list"
    elif "operator" in node:
        operator = cast("Mapping[str, Mapping[str, Node]]", node["operator"])
        if str(operator["type"]) == "conditional":
            yield from _value(file, operator["operands"]["true_value"], shape, at)
            yield from _value(file, operator["operands"]["false_value"], shape, at)
