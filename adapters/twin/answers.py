"""How IMDS answers a request: strict where it is strict, in its own words where they are known.

Pure: a state, a request and a moment in, the next state and an answer out. What a fault does to the manner of a reply
(silence, delay) is left to the server, which is told of it in the answer.

Facts: https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service (read 2026-11).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from adapters.twin.events import EVENTS_VERSIONS, document
from adapters.twin.faults import Endpoint, Fault, FaultKind
from adapters.twin.profile import IDENTITY_VERSIONS, INSTANCE_VERSIONS, instance_metadata, token_reply
from adapters.twin.state import IDENTITY_CONCURRENT_MAX, TwinState
from adapters.twin.wire import Json, Moment

_OVERSIZED_BYTES = 2 * 1024 * 1024
_NEWEST_SHOWN = 3
"""How many versions the refusal of an unknown one names."""
_JSON_DEPTH_FAULTS = (ValueError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request under /metadata.

    Attributes:
        path: decoded, with its first slash.
        query: the parameters in their order, doubles included.
        headers: by lower-case name.
        identity_in_flight: how many token requests are under way, this one included.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str]
    body: bytes = b""
    identity_in_flight: int = 0

    def parameter(self, name: str) -> str:
        """The parameter's value, or "" where it is missing."""
        return next((value for key, value in self.query if key.lower() == name), "")

    @property
    def steps(self) -> tuple[str, ...]:
        """The path below /metadata."""
        return tuple(step for step in self.path.split("/") if step)[1:]

    @property
    def endpoint(self) -> Endpoint:
        """The part of IMDS that is asked; everything unknown counts as instance metadata."""
        match self.steps[:1]:
            case ("scheduledevents",):
                return Endpoint.SCHEDULED_EVENTS
            case ("identity",):
                return Endpoint.IDENTITY
            case _:
                return Endpoint.INSTANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back, and the fault that decides in which manner."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] | None = None
    fault: Fault | None = None


def answer(state: TwinState, request: Request, moment: Moment) -> tuple[TwinState, Answer]:
    """Answer one request: faults first, then the rate limit, then IMDS's own rules."""
    state, fault = state.at(moment).strike(request.endpoint, moment)
    state, reply = _answered(state, request, moment, fault)
    silent = fault is not None and fault.kind in (FaultKind.SILENT, FaultKind.RESET)
    state = state.logged(
        {
            "at": moment.wall.isoformat(),
            "method": request.method,
            "path": request.path,
            "api_version": request.parameter("api-version"),
            "status": 0 if silent else reply.status,
            "fault": None if fault is None else fault.kind.value,
        }
    )
    return state, replace(reply, fault=fault)


def _answered(state: TwinState, request: Request, moment: Moment, fault: Fault | None) -> tuple[TwinState, Answer]:
    """The reply's content under this fault."""
    if fault is not None and fault.kind in (FaultKind.SILENT, FaultKind.RESET):
        return state, Answer(status=HTTPStatus.OK)
    if fault is not None and fault.status is not None:
        headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
        return state, replace(_plain_error(fault.status, HTTPStatus(fault.status).phrase), headers=headers)
    state, within_limit = state.admit(request.endpoint, moment)
    if not within_limit or request.identity_in_flight > IDENTITY_CONCURRENT_MAX:
        return state, _refusal(request, HTTPStatus.TOO_MANY_REQUESTS, "Too many requests")
    if fault is not None and fault.kind is FaultKind.REFUSE_IDENTITY:
        return state, _refusal(request, HTTPStatus.BAD_REQUEST, "Identity not found")
    state, reply = _served(state, request, moment)
    if fault is not None and fault.kind is FaultKind.TORN:
        reply = replace(reply, body=reply.body[: len(reply.body) // 2])
    if fault is not None and fault.kind is FaultKind.OVERSIZED:
        reply = replace(reply, body=reply.body.ljust(_OVERSIZED_BYTES))
    return state, reply


def _served(state: TwinState, request: Request, moment: Moment) -> tuple[TwinState, Answer]:
    """IMDS as documented."""
    if "x-forwarded-for" in request.headers:
        return state, _refusal(request, HTTPStatus.BAD_REQUEST, "Bad request. X-Forwarded-For is not allowed")
    if request.headers.get("metadata", "").strip().lower() != "true":
        return state, _refusal(request, HTTPStatus.BAD_REQUEST, "Required metadata header not specified")
    names = [name.lower() for name, _ in request.query]
    if len(set(names)) != len(names):
        return state, _refusal(request, HTTPStatus.BAD_REQUEST, "Bad request. Duplicate query parameter")
    match request.steps:
        case ("scheduledevents",):
            return _scheduled_events(state, request, moment)
        case ("versions",):
            return state, _of_verbs(request, "GET") or _ok({"apiVersions": [*reversed(INSTANCE_VERSIONS)]})
        case ("instance", *route):
            return state, _instance(state, request, route)
        case ("identity", "oauth2", "token"):
            return state, _token(state, request, moment)
        case _:
            return state, _refusal(request, HTTPStatus.NOT_FOUND, "Not found")


# -- scheduled events ------------------------------------------------------------------------------------------------


def _scheduled_events(state: TwinState, request: Request, moment: Moment) -> tuple[TwinState, Answer]:
    refusal = _of_verbs(request, "GET", "POST") or _of_version(
        request,
        tuple(version for version in EVENTS_VERSIONS if version <= state.events_version),
        status=state.refusal_status if request.parameter("api-version") in EVENTS_VERSIONS else HTTPStatus.BAD_REQUEST,
    )
    if refusal is not None:
        return state, refusal
    if request.method == "GET":
        return state, _ok(document(state.events, state.incarnation, request.parameter("api-version")))
    event_ids = _start_requests(request.body)
    if event_ids is None:
        return state, _refusal(request, HTTPStatus.BAD_REQUEST, "Bad request. StartRequests are malformed")
    started = state.acknowledge(event_ids, moment)
    if started is None:
        return state, _refusal(request, HTTPStatus.BAD_REQUEST, "Bad request. Unknown EventId")
    return started, Answer(status=HTTPStatus.OK)


def _start_requests(body: bytes) -> tuple[str, ...] | None:
    """The ids in `{"StartRequests": [{"EventId": "…"}, …]}`, or None for anything else."""
    try:
        content: Json = json.loads(body)
    except _JSON_DEPTH_FAULTS:
        return None
    requests = content.get("StartRequests") if isinstance(content, dict) else None
    if not isinstance(requests, list) or not requests:
        return None
    event_ids = [entry.get("EventId") if isinstance(entry, dict) else None for entry in requests]
    named = tuple(event_id for event_id in event_ids if isinstance(event_id, str) and event_id)
    return named if len(named) == len(event_ids) else None


# -- instance metadata -----------------------------------------------------------------------------------------------


def _instance(state: TwinState, request: Request, route: Sequence[str]) -> Answer:
    """The document, or the part of it that the route leads to; a leaf needs `format=text`."""
    refusal = _of_verbs(request, "GET") or _of_version(request, INSTANCE_VERSIONS)
    if refusal is not None:
        return refusal
    node: Json = instance_metadata(state.profile, request.parameter("api-version"))
    for step in route:
        if isinstance(node, Mapping) and step in node:
            node = node[step]
        elif isinstance(node, list) and step in {str(place) for place in range(len(node))}:
            node = node[int(step)]
        else:
            return _refusal(request, HTTPStatus.NOT_FOUND, "Not found")
    as_text = request.parameter("format").lower() == "text"
    if isinstance(node, Mapping | list):
        return _text(_listing(node)) if as_text else _ok(node)
    if not as_text:
        return _refusal(request, HTTPStatus.BAD_REQUEST, "Bad request. A leaf needs format=text")
    return _text(str(node))


def _listing(node: Mapping[str, Json] | list[Json]) -> str:
    """What lies below a node, one a line; what has more below ends with a slash."""
    entries = node.items() if isinstance(node, Mapping) else enumerate(node)
    return "\n".join(f"{name}/" if isinstance(below, Mapping | list) else str(name) for name, below in entries)


# -- managed identity ------------------------------------------------------------------------------------------------


def _token(state: TwinState, request: Request, moment: Moment) -> Answer:
    refusal = _of_verbs(request, "GET") or _of_version(request, IDENTITY_VERSIONS)
    if refusal is not None:
        return refusal
    resource = request.parameter("resource")
    if not resource:
        return _refusal(request, HTTPStatus.BAD_REQUEST, "The required query variable resource is missing")
    profile = state.profile
    wanted = request.parameter("client_id").lower()
    if wanted:
        client_id = next((known for known in profile.client_ids if known.lower() == wanted), "")
    elif request.parameter("object_id") or request.parameter("msi_res_id") or request.parameter("mi_res_id"):
        client_id = ""  # the twin knows its identities by client id only
    elif profile.system_assigned:
        client_id = profile.vm_id
    elif len(profile.client_ids) > 1:
        return _refusal(
            request,
            HTTPStatus.BAD_REQUEST,
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the "
            "token request",
        )
    else:
        client_id = next(iter(profile.client_ids), "")
    if not client_id:
        return _refusal(request, HTTPStatus.BAD_REQUEST, "Identity not found")
    return _ok(token_reply(profile, client_id=client_id, resource=resource, now=moment.wall))


# -- replies ---------------------------------------------------------------------------------------------------------


def _of_verbs(request: Request, *verbs: str) -> Answer | None:
    """The refusal of a verb this endpoint does not have."""
    if request.method in verbs:
        return None
    return replace(
        _refusal(request, HTTPStatus.METHOD_NOT_ALLOWED, "Method not allowed"), headers={"Allow": ", ".join(verbs)}
    )


def _of_version(request: Request, versions: Sequence[str], *, status: int = HTTPStatus.BAD_REQUEST) -> Answer | None:
    """The refusal of a missing or unknown api-version, which names the newest ones."""
    if request.parameter("api-version") in versions:
        return None
    text = (
        "Bad request. api-version is invalid or was not specified in the request. "
        "For more information refer to aka.ms/azureimds"
    )
    return Answer(status=status, body=_json({"error": text, "newest-versions": [*versions[:_NEWEST_SHOWN]]}))


def _refusal(request: Request, status: int, text: str) -> Answer:
    """An error in the form of its endpoint: OAuth's for tokens, a plain one elsewhere."""
    if request.endpoint is Endpoint.IDENTITY:
        return Answer(status=status, body=_json({"error": "invalid_request", "error_description": text}))
    return _plain_error(status, text)


def _plain_error(status: int, text: str) -> Answer:
    return Answer(status=status, body=_json({"error": text}))


def _ok(value: Json) -> Answer:
    return Answer(status=HTTPStatus.OK, body=_json(value))


def _text(text: str) -> Answer:
    return Answer(status=HTTPStatus.OK, body=text.encode(), content_type="text/plain")


def _json(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
