"""The twin is strict where IMDS is strict."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.twin.answers import Answer, Request, answer
from adapters.twin.events import EVENTS_VERSIONS
from adapters.twin.faults import Fault, FaultKind
from adapters.twin.orders import obey
from adapters.twin.profile import INSTANCE_VERSIONS, VmProfile
from adapters.twin.state import IDENTITY_CONCURRENT_MAX, IDENTITY_PER_S, IMDS_PER_S, TwinState
from tests.adapters.twin.clock import HandClock

HEADERS = {"metadata": "true"}
EVENTS, INSTANCE, TOKEN = "/metadata/scheduledevents", "/metadata/instance", "/metadata/identity/oauth2/token"
RESOURCE = ("resource", "https://storage.azure.com")


def ask(
    path: str,
    *query: tuple[str, str],
    version: str | None = None,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    state: TwinState | None = None,
) -> Answer:
    """Ask a twin once."""
    versions = {EVENTS: "2020-07-01", TOKEN: "2018-02-01"}
    parameters = (("api-version", version or versions.get(path, "2021-02-01")), *query)
    request = Request(method=method, path=path, query=parameters, headers=headers or HEADERS, body=body)
    return answer(state or TwinState(), request, HandClock()())[1]


def without_version(path: str) -> Answer:
    return answer(TwinState(), Request(method="GET", path=path, headers=HEADERS), HandClock()())[1]


def error_of(reply: Answer) -> str:
    body = json.loads(reply.body)
    return str(body.get("error_description", body["error"]))


# -- every endpoint --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [EVENTS, INSTANCE, TOKEN])
@pytest.mark.parametrize("headers", [{"accept": "*/*"}, {"metadata": ""}, {"metadata": "false"}, {"metadata": "1"}])
def test_the_metadata_header_is_required(path: str, headers: dict[str, str]) -> None:
    """A request that may have been redirected from elsewhere is refused in IMDS's own words."""
    reply = ask(path, RESOURCE, headers=headers)
    assert reply.status == 400
    assert error_of(reply) == "Required metadata header not specified"


@pytest.mark.parametrize("path", [EVENTS, INSTANCE, TOKEN])
def test_forwarded_requests_are_refused(path: str) -> None:
    """X-Forwarded-For betrays a proxy, and a proxy may be asking for somebody else."""
    assert ask(path, RESOURCE, headers={**HEADERS, "x-forwarded-for": "10.0.0.9"}).status == 400


@pytest.mark.parametrize("path", [EVENTS, INSTANCE, TOKEN])
def test_doubled_parameters_are_refused(path: str) -> None:
    """A parameter that stands twice is refused, in any case and whatever its value."""
    assert ask(path, RESOURCE, ("API-Version", "2021-02-01")).status == 400


@pytest.mark.parametrize("path", [EVENTS, INSTANCE, TOKEN])
@pytest.mark.parametrize("version", ["latest", "2020-13-01", "1999-01-01"])
def test_a_version_is_required_and_the_newest_are_named(path: str, version: str) -> None:
    """Without a version, and with an unknown one, the refusal says which ones there are."""
    for reply in (ask(path, RESOURCE, version=version), without_version(path)):
        assert reply.status == 400
        assert "api-version is invalid or was not specified" in reply.body.decode()
        assert json.loads(reply.body)["newest-versions"]


def test_the_two_lists_of_versions_are_two() -> None:
    """A version of instance metadata is none of scheduled events, nor the other way round."""
    assert ask(EVENTS, version="2021-02-01").status == 400
    assert ask(INSTANCE, version="2020-07-01").status == 400


@pytest.mark.parametrize("version", EVENTS_VERSIONS)
def test_every_version_of_scheduled_events_is_served(version: str) -> None:
    """Older clients are answered in their own version."""
    assert ask(EVENTS, version=version).status == 200


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [(EVENTS, "PUT", "GET, POST"), (EVENTS, "DELETE", "GET, POST"), (INSTANCE, "POST", "GET"), (TOKEN, "POST", "GET")],
)
def test_other_verbs_are_refused(path: str, method: str, allowed: str) -> None:
    """405, with the verbs there are."""
    reply = ask(path, RESOURCE, method=method)
    assert reply.status == 405
    assert reply.headers == {"Allow": allowed}


@pytest.mark.parametrize(
    "path",
    [
        "/metadata",
        "/metadata/nothing",
        "/metadata/scheduledevents/E-1",
        "/metadata/identity",
        "/metadata/identity/oauth2",
        "/metadata/instance/compute/nothing",
        "/metadata/instance/network/interface/7",
        f"/metadata/instance/network/interface/{'9' * 5000}",
        "/metadata/instance/compute/name/first",
    ],
)
def test_unknown_paths_are_not_found(path: str) -> None:
    """404 for an element that does not exist, however deep."""
    assert ask(path, ("format", "text")).status == 404


def test_the_versions_need_no_version() -> None:
    """/metadata/versions is the one endpoint without an api-version."""
    assert set(json.loads(without_version("/metadata/versions").body)["apiVersions"]) == set(INSTANCE_VERSIONS)


# -- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("paths", "per_s"), [((EVENTS, INSTANCE), IMDS_PER_S), ((TOKEN,), IDENTITY_PER_S)])
def test_one_request_too_many_is_refused(paths: tuple[str, ...], per_s: int) -> None:
    """All requests of a category count together, granted or not; a second later there is room again."""
    clock, state, statuses = HandClock(), TwinState(), []
    for number in range(per_s + 2):
        request = Request(method="GET", path=paths[number % len(paths)], headers=HEADERS)
        state, reply = answer(state, request, clock())
        statuses.append(reply.status)
    assert statuses == [400] * per_s + [429] * 2
    clock.advance(1.0)
    assert answer(state, request, clock())[1].status == 400


def test_tokens_and_events_have_limits_of_their_own() -> None:
    """A rush for tokens does not starve the polls."""
    clock, state = HandClock(), TwinState()
    for _ in range(IDENTITY_PER_S + 1):
        state, _ = answer(state, Request(method="GET", path=TOKEN, headers=HEADERS), clock())
    assert answer(state, Request(method="GET", path=EVENTS, headers=HEADERS), clock())[1].status == 400


def test_five_token_requests_at_once_are_enough() -> None:
    """The sixth concurrent one is refused, without waiting for a second to be full."""
    request = Request(method="GET", path=TOKEN, headers=HEADERS, identity_in_flight=IDENTITY_CONCURRENT_MAX)
    assert answer(TwinState(), request, HandClock()())[1].status == 400
    crowded = replace(request, identity_in_flight=IDENTITY_CONCURRENT_MAX + 1)
    assert answer(TwinState(), crowded, HandClock()())[1].status == 429


# -- scheduled events ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"StartRequests": null}',
        b'{"StartRequests": {}}',
        b'{"StartRequests": []}',
        b'{"StartRequests": ["E-1"]}',
        b'{"StartRequests": [{}]}',
        b'{"StartRequests": [{"EventId": 7}]}',
        b'{"StartRequests": [{"EventId": ""}]}',
        b'{"StartRequests": [{"EventId": "E-9"}]}',
        b'{"StartRequests": [{"EventId": "E-1"}, {"EventId": "E-9"}]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_malformed_start_requests_start_nothing(body: bytes) -> None:
    """400 for a payload that is malformed or names an event that does not stand, and no event starts."""
    state, _ = obey(TwinState(), "evict", {"event_id": "E-1"}, HandClock()(), "fresh")
    request = Request(method="POST", path=EVENTS, query=(("api-version", "2020-07-01"),), headers=HEADERS, body=body)
    after, reply = answer(state, request, HandClock()())
    assert reply.status == 400
    assert after.events == state.events
    assert after.acknowledgements == ()


def test_an_older_host_refuses_the_newest_version_only() -> None:
    """A host without the preview says 400 or 404 to it, and goes on serving the documented one."""
    state, _ = obey(TwinState(), "versions", {"newest": "2020-07-01", "refusal_status": 404}, HandClock()(), "fresh")
    assert ask(EVENTS, version="2024-07-09", state=state).status == 404
    assert ask(EVENTS, version="nonsense", state=state).status == 400
    assert ask(EVENTS, version="2020-07-01", state=state).status == 200


# -- instance metadata -----------------------------------------------------------------------------------------------


def test_instance_metadata_is_all_strings() -> None:
    """In JSON every primitive is a string, and what does not apply is blank rather than missing."""

    def leaves(node: object) -> list[object]:
        if isinstance(node, dict):
            return [leaf for below in node.values() for leaf in leaves(below)]
        return [leaf for below in node for leaf in leaves(below)] if isinstance(node, list) else [node]

    document = json.loads(ask(INSTANCE).body)
    assert all(isinstance(leaf, str) for leaf in leaves(document))
    assert document["compute"]["vmScaleSetName"] == ""
    assert document["compute"]["osProfile"]["computerName"] != document["compute"]["name"]


def test_a_route_filters_the_document() -> None:
    """Each step of the path walks one level down."""
    document = json.loads(ask(INSTANCE).body)
    assert json.loads(ask(f"{INSTANCE}/compute").body) == document["compute"]
    assert json.loads(ask(f"{INSTANCE}/network/interface/0/ipv4").body) == document["network"]["interface"][0]["ipv4"]


def test_a_leaf_needs_text() -> None:
    """JSON has no form for a leaf: it is refused, and given as text when asked so."""
    assert ask(f"{INSTANCE}/compute/name").status == 400
    reply = ask(f"{INSTANCE}/compute/name", ("format", "text"))
    assert (reply.status, reply.body, reply.content_type) == (200, b"vm-spot", "text/plain")


def test_as_text_a_node_lists_what_lies_below() -> None:
    """What has more below ends with a slash."""
    assert ask(INSTANCE, ("format", "text")).body == b"compute/\nnetwork/"
    assert b"name" in ask(f"{INSTANCE}/compute", ("format", "text")).body.splitlines()


def test_priority_is_newer_than_metadata() -> None:
    """Priority and eviction policy appear with 2020-12-01, and not a version earlier."""
    assert "evictionPolicy" in json.loads(ask(f"{INSTANCE}/compute", version="2020-12-01").body)
    assert "priority" not in json.loads(ask(f"{INSTANCE}/compute", version="2020-10-01").body)


# -- managed identity ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "query", "text"),
    [
        (VmProfile(), (), "resource"),
        (VmProfile(), (RESOURCE, ("client_id", "nobody")), "Identity not found"),
        (VmProfile(), (RESOURCE, ("msi_res_id", "/subscriptions/x")), "Identity not found"),
        (VmProfile(system_assigned=False, client_ids=()), (RESOURCE,), "Identity not found"),
        (VmProfile(system_assigned=False, client_ids=("a", "b")), (RESOURCE,), "Multiple user assigned identities"),
    ],
)
def test_a_token_for_nobody_is_refused(profile: VmProfile, query: tuple[tuple[str, str], ...], text: str) -> None:
    """Without a resource, and without exactly one identity meant, there is no token: 400, in OAuth's form."""
    reply = ask(TOKEN, *query, state=TwinState(profile=profile))
    assert reply.status == 400
    assert json.loads(reply.body)["error"] == "invalid_request"
    assert text in error_of(reply)


@pytest.mark.parametrize(
    ("profile", "query", "client_id"),
    [
        (VmProfile(vm_id="v-1"), (), "v-1"),
        (VmProfile(client_ids=("C-1", "c-2")), (("client_id", "c-1"),), "C-1"),
        (VmProfile(system_assigned=False, client_ids=("c-1",)), (), "c-1"),
    ],
)
def test_the_identity_meant_gets_the_token(
    profile: VmProfile, query: tuple[tuple[str, str], ...], client_id: str
) -> None:
    """The one named, else the system-assigned one, else the only one there is."""
    reply = ask(TOKEN, RESOURCE, *query, state=TwinState(profile=profile))
    assert json.loads(reply.body)["client_id"] == client_id


# -- faults, and anything at all -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FaultKind)
def test_a_fault_stands_in_the_log(kind: FaultKind) -> None:
    """Every request is logged with what became of it, and the fault that struck it."""
    path = TOKEN if kind is FaultKind.REFUSE_IDENTITY else EVENTS
    request = Request(method="GET", path=path, query=(("api-version", "2018-02-01"),), headers=HEADERS)
    state, reply = answer(TwinState(faults=(Fault(kind=kind),)), request, HandClock()())
    (logged,) = state.requests
    assert logged["fault"] == kind.value
    assert logged["status"] == (0 if kind in (FaultKind.SILENT, FaultKind.RESET) else reply.status)
    assert reply.fault is not None


@settings(max_examples=600, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "BREW"]),
    steps=st.lists(
        st.sampled_from(["scheduledevents", "instance", "compute", "identity", "oauth2", "token", "0", "versions", ""])
        | st.text(max_size=5),
        max_size=5,
    ),
    query=st.lists(
        st.tuples(
            st.sampled_from(["api-version", "resource", "format", "client_id"]) | st.text(max_size=5),
            st.sampled_from([*EVENTS_VERSIONS, "2021-02-01", "text"]) | st.text(max_size=8),
        ),
        max_size=4,
    ),
    body=st.binary(max_size=30),
    kind=st.none() | st.sampled_from(FaultKind),
)
def test_every_request_has_an_answer(
    method: str, steps: list[str], query: list[tuple[str, str]], body: bytes, kind: FaultKind | None
) -> None:
    """Nothing that can be asked breaks the twin: each request gets one of IMDS's statuses and a line in the log."""
    state = TwinState(faults=() if kind is None else (Fault(kind=kind),))
    path = "/".join(["/metadata", *steps])
    state, reply = answer(
        state, Request(method=method, path=path, query=query, headers=HEADERS, body=body), HandClock()()
    )
    assert reply.status in {200, 400, 404, 405, 410, 429, 500, 503}
    assert state.requests_total == 1
