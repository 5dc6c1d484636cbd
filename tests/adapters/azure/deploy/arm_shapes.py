"""What Azure Resource Manager takes, as the models of its Python SDKs say.

Two generations of generated code are read: models whose fields are `rest_field`s (compute, storage, network, log
analytics), and models with an `_attribute_map` (authorization, managed identities, Application Insights), whose keys
hide a `properties` object behind a dot.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, EnumMeta
from pathlib import Path
from typing import TypeAlias, cast


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A value without parts; `kind` is Bicep's word for it, or number, or any."""

    kind: str
    values: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """A list."""

    item: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """An object with any keys."""

    value: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One property of an object; `annotation` is resolved when it is looked into, for models refer to each other."""

    annotation: object
    namespace: Mapping[str, object] = field(repr=False)
    required: bool
    writable: bool

    @property
    def shape(self) -> Shape:
        return _shape_of(self.annotation, self.namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """An object with these properties and no others."""

    model: str
    properties: Mapping[str, Property]


Shape: TypeAlias = "Scalar | Many | Keyed | Fields"
ANY = Scalar(kind="any")
_SCALARS: Mapping[object, str] = {str: "string", int: "int", bool: "bool", float: "number", bytes: "string"}
_TEXTS = ("datetime", "date", "time", "timedelta")

MODELS: Mapping[str, tuple[str, str]] = {
    "Microsoft.Compute/virtualMachines": ("compute", "VirtualMachine"),
    "Microsoft.Compute/virtualMachineScaleSets": ("compute", "VirtualMachineScaleSet"),
    "Microsoft.Compute/galleries": ("compute", "Gallery"),
    "Microsoft.Compute/galleries/applications": ("compute", "GalleryApplication"),
    "Microsoft.Compute/galleries/applications/versions": ("compute", "GalleryApplicationVersion"),
    "Microsoft.Storage/storageAccounts": ("storage", "StorageAccount"),
    "Microsoft.Storage/storageAccounts/queueServices": ("storage", "QueueServiceProperties"),
    "Microsoft.Storage/storageAccounts/queueServices/queues": ("storage", "StorageQueue"),
    "Microsoft.Storage/storageAccounts/blobServices": ("storage", "BlobServiceProperties"),
    "Microsoft.Storage/storageAccounts/blobServices/containers": ("storage", "BlobContainer"),
    "Microsoft.Network/virtualNetworks": ("network", "VirtualNetwork"),
    "Microsoft.Network/networkSecurityGroups": ("network", "NetworkSecurityGroup"),
    "Microsoft.Network/networkInterfaces": ("network", "NetworkInterface"),
    "Microsoft.Network/publicIPAddresses": ("network", "PublicIPAddress"),
    "Microsoft.Network/natGateways": ("network", "NatGateway"),
    "Microsoft.Network/bastionHosts": ("network", "BastionHost"),
    "Microsoft.OperationalInsights/workspaces": ("loganalytics", "Workspace"),
    "Microsoft.Insights/components": ("applicationinsights.v2020_02_02", "ApplicationInsightsComponent"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("msi.v2024_11_30", "Identity"),
    "Microsoft.Authorization/roleDefinitions": ("authorization.v2022_04_01", "RoleDefinition"),
    "Microsoft.Authorization/roleAssignments": ("authorization.v2022_04_01", "RoleAssignmentCreateParameters"),
}
"""The model of what is put for each type."""
_CREATED_AS = {"Microsoft.Storage/storageAccounts": "StorageAccountCreateParameters"}
"""Where what is put has another model than what is read."""


def read_shape(resource_type: str) -> Fields:
    """What a resource of this type has, read-only properties included."""
    package, model = MODELS[resource_type]
    return _fields(_model(package, model))


def written_shape(resource_type: str) -> Fields:
    """What a resource of this type may be given."""
    package, model = MODELS[resource_type]
    return _fields(_model(package, _CREATED_AS.get(resource_type, model)))


@functools.cache
def api_version(resource_type: str) -> str:
    """The version of the API that the models speak of: where they are of several, the version of this type."""
    package, _ = MODELS[resource_type]
    if "." in package:
        return package.partition(".v")[2].replace("_", "-")
    return _versions(package)[resource_type.lower()]


@functools.cache
def _versions(package: str) -> Mapping[str, str]:
    """The default version of each operation that puts a resource, by the type in its path."""
    operations = importlib.import_module(f"azure.mgmt.{package}.operations._operations")
    source = Path(cast("str", operations.__file__)).read_text(encoding="utf-8")
    versions = {}
    for builder in re.split(r"^def ", source, flags=re.MULTILINE):
        if not re.match(r"build_\w+_(create_or_update|create|set_service_properties)_request\(", builder):
            continue
        version = re.search(r'"api-version", "([^"]+)"', builder)
        url = "".join(re.findall(r'"([^"\n]*)"', builder.partition("_url =")[2].partition("path_format")[0]))
        if version is not None and "/providers/" in url:
            namespace, *rest = url.partition("/providers/")[2].split("/")
            versions["/".join([namespace, *rest[::2]]).lower()] = version[1]
    return versions


def _model(package: str, name: str) -> type:
    return cast("type", getattr(importlib.import_module(f"azure.mgmt.{package}.models"), name))


@functools.cache
def _fields(model: type) -> Fields:
    mapped: Mapping[str, Mapping[str, str]] | None = getattr(model, "_attribute_map", None)
    properties = _of_rest_fields(model) if mapped is None else _of_attribute_map(model, mapped)
    return Fields(model=model.__name__, properties=properties)


def _of_rest_fields(model: type) -> Mapping[str, Property]:
    found: dict[str, Property] = {}
    for base in reversed(model.__mro__):
        for attribute, rest_field in vars(base).items():
            if not hasattr(rest_field, "_rest_name_input"):
                continue
            annotation = base.__annotations__[attribute]
            visibility: list[str] | None = rest_field._visibility
            writable = visibility is None or "create" in visibility
            found[rest_field._rest_name_input or attribute] = Property(
                annotation=annotation,
                namespace=_namespace(base),
                required=writable and type(None) not in typing.get_args(annotation),
                writable=writable,
            )
    return found


def _of_attribute_map(model: type, mapped: Mapping[str, Mapping[str, str]]) -> Mapping[str, Property]:
    rules: Mapping[str, Mapping[str, object]] = getattr(model, "_validation", {})
    hints = cast("Mapping[str, object]", inspect.get_annotations(vars(model)["__init__"]))
    flat: dict[tuple[str, ...], Property] = {}
    for attribute, described in mapped.items():
        path = tuple(part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", described["key"]))
        rule = rules.get(attribute, {})
        flat[path] = Property(
            annotation=hints.get(attribute, described["type"]),
            namespace=_namespace(model),
            required=rule.get("required") is True,
            writable=rule.get("readonly") is not True,
        )
    return _unflattened(flat, model)


def _unflattened(flat: Mapping[tuple[str, ...], Property], model: type) -> Mapping[str, Property]:
    nested: dict[str, dict[tuple[str, ...], Property]] = {}
    found = {}
    for path, described in flat.items():
        if len(path) == 1:
            found[path[0]] = described
        else:
            nested.setdefault(path[0], {})[path[1:]] = described
    for name, inner in nested.items():
        fields = Fields(model=f"{model.__name__}.{name}", properties=_unflattened(inner, model))
        required = any(described.required for described in inner.values())
        found[name] = Property(annotation=fields, namespace={}, required=required, writable=True)
    return found


@functools.cache
def _namespace(model: type) -> Mapping[str, object]:
    """What the annotations of a model refer to."""
    models = importlib.import_module(model.__module__.rpartition(".")[0])
    module = importlib.import_module(model.__module__)
    return {**vars(typing), **vars(module), "_models": models, "datetime": importlib.import_module("datetime")}


def _shape_of(annotation: object, namespace: Mapping[str, object]) -> Shape:
    """The shape that an annotation describes, as code, as text or as msrest's short notation."""
    if isinstance(annotation, Fields):
        return annotation
    if isinstance(annotation, typing.ForwardRef):
        return _shape_of(annotation.__forward_arg__, namespace)
    if isinstance(annotation, str):
        return _shape_of(_evaluated(annotation, namespace), namespace)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        shapes = [_shape_of(part, namespace) for part in arguments if part is not type(None)]
        return next((shape for shape in shapes if isinstance(shape, Scalar) and shape.values), shapes[-1])
    if origin in {list, typing.List}:  # noqa: UP006 -- generated code writes it
        return Many(item=_shape_of(arguments[0], namespace))
    if origin in {dict, typing.Dict}:  # noqa: UP006
        return Keyed(value=_shape_of(arguments[1], namespace))
    if origin is typing.Literal:
        return Scalar(kind="string", values=frozenset(_text(value) for value in arguments))
    return _shape_of_class(annotation)


def _shape_of_class(annotation: object) -> Shape:
    if isinstance(annotation, EnumMeta):
        return Scalar(kind="string", values=frozenset(str(member.value) for member in cast("type[Enum]", annotation)))
    if annotation in _SCALARS:
        return Scalar(kind=_SCALARS[annotation])
    if isinstance(annotation, type):
        if annotation.__name__ in _TEXTS:
            return Scalar(kind="string")
        if annotation.__module__.startswith("azure.mgmt."):
            return _fields(annotation)
    return ANY


def _text(value: object) -> str:
    return str(getattr(value, "value", value))


def _evaluated(annotation: str, namespace: Mapping[str, object]) -> object:
    """An annotation that is text: Python's, or msrest's `[Item]`, `{Value}` and `iso-8601`."""
    if annotation.startswith("[") and annotation.endswith("]"):
        return types.GenericAlias(list, (_evaluated(annotation[1:-1], namespace),))
    if annotation.startswith("{") and annotation.endswith("}"):
        return types.GenericAlias(dict, (str, _evaluated(annotation[1:-1], namespace)))
    if annotation in {"iso-8601", "duration", "date"}:
        return str
    if annotation == "object":
        return object
    models = namespace["_models"]
    if hasattr(models, annotation):
        return getattr(models, annotation)
    return eval(annotation, dict(namespace))  # the SDK's own text
