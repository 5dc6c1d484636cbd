"""Every way a call can fail, through the SDK, over a socket: which error of ours comes out."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.azure.connection import AzureConnection
from adapters.azure.queue import AzureQueue
from adapters.azure.store import AzureStore
from fsm.errors import (
    BadReplyError,
    DeniedError,
    LeaseLostError,
    MessageRejectedError,
    MissingError,
    PlatformError,
    ReplyLostError,
    SpotfsmError,
    ThrottledError,
    VersionConflictError,
)
from fsm.record import Status
from tests.adapters.azure.loopback import RESET, SILENT, Broken, Loopback, Reply
from tests.contracts.records import presence, record

TIMEOUT_S = 10.0
ID = str(uuid.uuid4())
Clients: TypeAlias = tuple[AzureQueue, AzureStore]
Call: TypeAlias = Callable[[Clients, float], Awaitable[object]]

CALLS: dict[str, Call] = {
    "receive": lambda c, t: c[0].receive(max_messages=32, visibility_timeout_s=60, timeout_s=t),
    "renew": lambda c, t: c[0].renew(ID, "receipt", visibility_timeout_s=60, timeout_s=t),
    "delete": lambda c, t: c[0].delete(ID, "receipt", timeout_s=t),
    "put": lambda c, t: c[0].put("text", timeout_s=t),
    "length": lambda c, t: c[0].length(timeout_s=t),
    "create queue": lambda c, t: c[0].create(timeout_s=t),
    "read": lambda c, t: c[1].read("jobs", ID, timeout_s=t),
    "create record": lambda c, t: c[1].write("jobs", ID, record(), expected=None, timeout_s=t),
    "write record": lambda c, t: c[1].write("jobs", ID, record(Status.DONE), expected='"0x1"', timeout_s=t),
    "read presence": lambda c, t: c[1].read_presence("vm", "0", timeout_s=t),
    "read presence named": lambda c, t: c[1].read_presence_named("vm", "0", timeout_s=t),
    "write presence": lambda c, t: c[1].write_presence(presence(), timeout_s=t),
    "confirm": lambda c, t: c[1].confirm_deleted("jobs", [ID], timeout_s=t),
    "prune": lambda c, t: c[1].prune("jobs", older_than=timedelta(0), timeout_s=t),
    "totals": lambda c, t: c[1].totals("jobs", timeout_s=t),
    "create container": lambda c, t: c[1].create(timeout_s=t),
}
"""Every call of both ports."""
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())

TABLE: list[tuple[int, str, type[SpotfsmError]]] = [
    (404, "MessageNotFound", LeaseLostError),
    (400, "PopReceiptMismatch", LeaseLostError),
    (404, "PopReceiptMismatch", LeaseLostError),
    (404, "QueueNotFound", MissingError),
    (409, "QueueBeingDeleted", MissingError),
    (409, "QueueDisabled", MissingError),
    (404, "ContainerNotFound", MissingError),
    (409, "ContainerBeingDeleted", MissingError),
    (409, "ContainerDisabled", MissingError),
    (404, "ResourceNotFound", MissingError),
    (401, "NoAuthenticationInformation", DeniedError),
    (401, "InvalidAuthenticationInfo", DeniedError),
    (403, "AuthenticationFailed", DeniedError),
    (403, "AuthorizationPermissionMismatch", DeniedError),
    (403, "AuthorizationFailure", DeniedError),
    (403, "AccountIsDisabled", DeniedError),
    (412, "LeaseIdMissing", PlatformError),
    (412, "LeaseIdMismatchWithBlobOperation", PlatformError),
    (400, "MessageTooLarge", MessageRejectedError),
    (413, "RequestBodyTooLarge", MessageRejectedError),
    (503, "ServerBusy", ThrottledError),
    (429, "TooManyRequests", ThrottledError),
    (500, "OperationTimedOut", ReplyLostError),
    (503, "OperationTimedOut", ReplyLostError),
    (500, "InternalError", ReplyLostError),
    (400, "InvalidHeaderValue", PlatformError),
    (400, "OutOfRangeQueryParameterValue", PlatformError),
    (409, "BlobImmutableDueToPolicy", PlatformError),
    (501, "NotImplemented", PlatformError),
    (400, "AWordOfTomorrow", PlatformError),
]
"""What the service may say, and what we make of it."""
BARE: list[tuple[int, type[SpotfsmError]]] = [
    (302, PlatformError),
    (307, PlatformError),
    (400, PlatformError),
    (401, DeniedError),
    (403, DeniedError),
    (404, MissingError),
    (405, PlatformError),
    (408, ReplyLostError),
    (409, PlatformError),
    (412, VersionConflictError),
    (429, ThrottledError),
    (500, ReplyLostError),
    (502, ReplyLostError),
    (503, ThrottledError),
    (504, ReplyLostError),
]
"""What stands between us and the service may say: a status, and a page for people."""


@pytest.fixture
def clients(queue: AzureQueue, store: AzureStore) -> Clients:
    return queue, store


async def failure(call: Call, clients: Clients, *, timeout_s: float = TIMEOUT_S) -> SpotfsmError:
    """The error that the call ends with."""
    with pytest.raises(SpotfsmError) as caught:
        await call(clients, timeout_s)
    return caught.value


class TestWhatTheServiceSays:
    """Codes and statuses."""

    @every_call
    async def test_a_code_has_one_meaning(self, clients: Clients, loopback: Loopback, call: Call) -> None:
        """Each error code becomes exactly one error of ours, whatever was asked, after exactly one request."""
        for status, code, expected in TABLE:
            loopback.always(Reply.error(status, code))
            error = await failure(call, clients)
            assert type(error) is expected, (status, code)
            assert len(loopback.requests) == 1
            assert code in str(error)
            assert "\n" not in str(error)

    @every_call
    async def test_a_status_without_a_code(self, clients: Clients, loopback: Loopback, call: Call) -> None:
        """What a proxy says, which knows no codes, goes by its status, after exactly one request."""
        for status, expected in BARE:
            headers = {"content-type": "text/html", "location": "/"}
            loopback.always(Reply(status=status, headers=headers, body=b"<html>Sorry!</html>"))
            assert type(await failure(call, clients)) is expected, status
            assert len(loopback.requests) == 1

    @every_call
    async def test_the_cause_is_kept(self, clients: Clients, loopback: Loopback, call: Call) -> None:
        """Our error is of our tree, and the SDK's stands behind it as its cause."""
        loopback.always(Reply.error(403, "AuthorizationFailure"))
        error = await failure(call, clients)
        assert error.__cause__ is not None
        assert type(error.__cause__).__module__.startswith("azure.")
        assert not type(error).__module__.startswith("azure.")

    @pytest.mark.parametrize(
        ("call", "expected"),
        [("read", None), ("read presence", None), ("read presence named", None)],
    )
    async def test_a_missing_blob_is_no_error(
        self, clients: Clients, loopback: Loopback, call: str, expected: object
    ) -> None:
        """Reading a blob that is not there answers None: only for that very code, not for any other 404."""
        loopback.always(Reply.error(404, "BlobNotFound"))
        assert await CALLS[call](clients, TIMEOUT_S) is expected

    @pytest.mark.parametrize("call", ["create record", "write record"])
    @pytest.mark.parametrize(
        ("status", "code"), [(409, "BlobAlreadyExists"), (412, "ConditionNotMet"), (404, "BlobNotFound")]
    )
    async def test_a_write_that_came_too_late(
        self, clients: Clients, loopback: Loopback, call: str, status: int, code: str
    ) -> None:
        """A record that exists, has changed or has gone is a conflict of versions."""
        loopback.always(Reply.error(status, code))
        assert type(await failure(CALLS[call], clients)) is VersionConflictError

    @pytest.mark.parametrize(
        ("call", "status", "code"),
        [
            ("create queue", 409, "QueueAlreadyExists"),
            ("create container", 409, "ContainerAlreadyExists"),
            ("confirm", 409, "BlobAlreadyExists"),
            ("confirm", 412, "ConditionNotMet"),
        ],
    )
    async def test_what_is_there_already_is_no_error(
        self, clients: Clients, loopback: Loopback, call: str, *, status: int, code: str
    ) -> None:
        """Creating what exists, or confirming what is confirmed, succeeds."""
        loopback.always(Reply.error(status, code))
        assert await CALLS[call](clients, TIMEOUT_S) is None

    @every_call
    async def test_an_error_of_another_shape(self, clients: Clients, loopback: Loopback, call: Call) -> None:
        """An error without a message, which the SDK stumbles over, is an error of the platform all the same."""
        body = b"<?xml version='1.0'?><Error><Code>Odd</Code></Error>"
        loopback.always(Reply(status=400, headers={"content-type": "application/xml"}, body=body))
        assert isinstance(await failure(call, clients), PlatformError)


class TestWaitingTimes:
    """How long a service that is busy wants to be left alone."""

    @pytest.mark.parametrize(
        ("value", "low_s", "high_s"),
        [
            ("0", 0, 0),
            ("7", 7, 7),
            ("1.5", 1.5, 1.5),
            ("-3", 0, 0),
            (format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True), 3000, 3600),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0),
        ],
    )
    async def test_it_is_passed_on(
        self, clients: Clients, loopback: Loopback, value: str, low_s: float, high_s: float
    ) -> None:
        """Seconds or a date in Retry-After become seconds, never below zero."""
        loopback.always(Reply.error(503, "ServerBusy", **{"retry-after": value}))
        error = await failure(CALLS["receive"], clients)
        assert isinstance(error, ThrottledError)
        assert error.retry_after_s is not None
        assert low_s <= error.retry_after_s <= high_s

    @pytest.mark.parametrize("value", [None, "", "soon", "nan", "inf", "Sun, 99 Nov"])
    async def test_what_cannot_be_read_is_none(self, clients: Clients, loopback: Loopback, value: str | None) -> None:
        """No Retry-After, or one of another shape, is no time at all."""
        headers = {} if value is None else {"retry-after": value}
        loopback.always(Reply.error(503, "ServerBusy", **headers))
        error = await failure(CALLS["receive"], clients)
        assert isinstance(error, ThrottledError)
        assert error.retry_after_s is None


class TestNoUsableReply:
    """What was asked for may have happened."""

    @every_call
    @pytest.mark.parametrize(
        "reply",
        [
            RESET,
            Reply(status=200, body=b"<?xml", missing_bytes=100),
            Reply(status=200, headers={"content-type": "application/xml"}, missing_bytes=1),
            Reply(status=206, headers={"content-range": "bytes 0-9/10"}, body=b"1234", missing_bytes=6),
            Reply(status=503, headers={"content-type": "application/xml"}, body=b"<Er", missing_bytes=10),
        ],
        ids=["reset", "torn", "no body", "torn blob", "torn error"],
    )
    async def test_a_broken_connection(
        self, clients: Clients, loopback: Loopback, call: Call, reply: Reply | Broken
    ) -> None:
        """A connection that breaks before the whole reply is there is a lost reply, and nothing is sent again."""
        loopback.always(reply)
        assert type(await failure(call, clients)) is ReplyLostError
        assert len(loopback.requests) == 1

    @every_call
    async def test_a_connection_that_was_good_until_now(self, clients: Clients, loopback: Loopback, call: Call) -> None:
        """A pooled connection that breaks under a request is a lost reply too: nothing repeats the request."""
        loopback.always(Reply.error(404, "QueueNotFound"))
        await failure(call, clients)
        loopback.always(RESET)
        assert type(await failure(call, clients)) is ReplyLostError
        assert len(loopback.requests) == 1
        assert loopback.connections == 1

    @every_call
    @pytest.mark.parametrize("timeout_s", [0.0, 0.05])
    async def test_silence(self, clients: Clients, loopback: Loopback, call: Call, timeout_s: float) -> None:
        """A service that does not answer in time is a lost reply, and the error says how long was waited."""
        loopback.always(SILENT)
        error = await failure(call, clients, timeout_s=timeout_s)
        assert type(error) is ReplyLostError
        assert f"{timeout_s:g} s" in str(error)

    @every_call
    async def test_nobody_listens(self, connection: AzureConnection, call: Call) -> None:
        """A refused connection is a lost reply, and known at once: nothing waits to try again."""
        async with Loopback.serving() as gone:
            urls = gone.queue_url(), gone.blob_url()
        clients = connection.queue(urls[0]), connection.store(urls[1])
        error = await failure(call, clients)
        assert type(error) is ReplyLostError
        assert "no reply within" not in str(error)

    @pytest.mark.parametrize("call", ["receive", "put", "totals", "prune"])
    @pytest.mark.parametrize(
        "body", [b"", b"<a><b></a>", b"\xff\xfe\x00", b"{}"], ids=["empty", "torn", "bytes", "json"]
    )
    async def test_a_reply_that_cannot_be_read(
        self, clients: Clients, loopback: Loopback, call: str, body: bytes
    ) -> None:
        """A success whose body is not XML is never read as "nothing"."""
        loopback.always(Reply(status=201 if call == "put" else 200, headers={"content-type": "text/xml"}, body=body))
        assert isinstance(await failure(CALLS[call], clients), PlatformError)

    @pytest.mark.parametrize("call", ["renew", "create record", "write record", "length"])
    async def test_a_success_without_what_was_asked_for(self, clients: Clients, loopback: Loopback, call: str) -> None:
        """A success that lacks the new receipt, version or count is a lost reply, and no value is made up."""
        loopback.always(Reply(status={"renew": 204, "length": 200}.get(call, 201)))
        assert type(await failure(CALLS[call], clients)) is ReplyLostError

    @pytest.mark.parametrize("call", ["read", "read presence"])
    async def test_a_blob_of_something_else(self, clients: Clients, loopback: Loopback, call: str) -> None:
        """A blob that holds something else is a bad reply."""
        headers = {"content-range": "bytes 0-1/2", "etag": '"0x1"', "x-ms-blob-type": "BlockBlob"}
        loopback.always(Reply(status=206, headers=headers, body=b"{}"))
        assert type(await failure(CALLS[call], clients)) is BadReplyError


@given(
    call=st.sampled_from(sorted(CALLS)),
    status=st.sampled_from([200, 201, 202, 204, 206, 304, 400, 404, 409, 412, 500]),
    kind=st.sampled_from(["application/xml", "application/json", "text/plain", ""]),
    code=st.sampled_from(["", "BlobNotFound", "MessageNotFound", "QueueAlreadyExists", "ü"]),
    body=st.binary(max_size=40) | st.sampled_from([b"<Error/>", b"<QueueMessagesList/>", b"null", b"[]"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
async def test_nothing_of_the_sdk_gets_through(
    clients: Clients, loopback: Loopback, call: str, *, status: int, kind: str, code: str, body: bytes
) -> None:
    """Whatever the service answers, a call returns or raises an error of ours, and nothing else."""
    loopback.always(Reply(status=status, headers={"content-type": kind, "x-ms-error-code": code}, body=body))
    with contextlib.suppress(SpotfsmError):
        await CALLS[call](clients, TIMEOUT_S)
