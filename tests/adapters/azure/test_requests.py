"""What goes over the wire, and how often."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.azure.connection import AzureConnection
from adapters.azure.queue import AzureQueue
from adapters.azure.store import AzureStore
from adapters.azure.transport import CONNECTIONS_MAX
from fsm.errors import BadReplyError, MessageRejectedError, ReplyLostError
from fsm.messages import MESSAGE_BYTES_MAX
from fsm.record import Status
from tests.adapters.azure.loopback import SILENT, Broken, Loopback, Reply, Request
from tests.contracts.records import presence, record

TIMEOUT_S = 10.0
ID = str(uuid.uuid4())
DATE = "Mon, 23 Nov 2026 12:00:00 GMT"
XML = {"content-type": "application/xml", "date": DATE}


def message(
    text: str = "work", *, count: int = 1, expires: str = "Fri, 31 Dec 9999 23:59:59 GMT", message_id: str = ""
) -> str:
    """One message of a receive's reply."""
    return (
        f"<QueueMessage><MessageId>{message_id or uuid.uuid4()}</MessageId><InsertionTime>{DATE}</InsertionTime>"
        f"<ExpirationTime>{expires}</ExpirationTime><PopReceipt>r</PopReceipt><TimeNextVisible>{DATE}</TimeNextVisible>"
        f"<DequeueCount>{count}</DequeueCount><MessageText>{text}</MessageText></QueueMessage>"
    )


def messages(*each: str) -> Reply:
    body = f'<?xml version="1.0" encoding="utf-8"?><QueueMessagesList>{"".join(each)}</QueueMessagesList>'
    return Reply(headers=XML, body=body.encode())


def renewed(receipt: str = "newer") -> Reply:
    return Reply(status=204, headers={"x-ms-popreceipt": receipt, "x-ms-time-next-visible": DATE})


def written() -> Reply:
    return Reply(status=201, headers={"etag": '"0x1"', "last-modified": DATE})


class TestReceiving:
    """`receive_messages` is a pager; a receive is one request."""

    @pytest.mark.parametrize("found", [0, 1, 5, 32])
    async def test_a_receive_is_one_request(self, queue: AzureQueue, loopback: Loopback, found: int) -> None:
        """Whether the queue has nothing, less than asked for or more, it is asked once."""
        loopback.always(messages(*[message()] * found))
        received = await queue.receive(max_messages=32, visibility_timeout_s=60, timeout_s=TIMEOUT_S)
        assert len(received) == found
        assert [request.query["numofmessages"] for request in loopback.requests] == ["32"]

    async def test_bodies_stay_as_they_are(self, queue: AzureQueue, loopback: Loopback) -> None:
        """Base64, JSON and nonsense come through side by side: no message spoils the others'."""
        texts = ["d29yaw==", '{"page": 7}', "%%%", "", " "]
        loopback.always(messages(*(message(text) for text in texts)))
        received = await queue.receive(max_messages=32, visibility_timeout_s=60, timeout_s=TIMEOUT_S)
        assert [delivery.text for delivery in received] == texts

    @pytest.mark.parametrize("message_id", ["../../records/x", "x", f"{uuid.uuid4()}/..", "1" * 5000, " "])
    async def test_an_id_that_is_no_uuid_is_no_reply(
        self, queue: AzureQueue, loopback: Loopback, message_id: str
    ) -> None:
        """Ids become parts of paths: a service that sends tricks is not believed, in one line."""
        loopback.always(messages(message(message_id=message_id)))
        with pytest.raises(BadReplyError, match="no UUID") as caught:
            await queue.receive(max_messages=1, visibility_timeout_s=60, timeout_s=TIMEOUT_S)
        assert len(str(caught.value)) < 200

    async def test_an_expiry_is_told(self, queue: AzureQueue, loopback: Loopback) -> None:
        """A foreign message with a time to live says when it ends; the year 9999 means never."""
        loopback.always(messages(message(expires=DATE), message()))
        received = await queue.receive(max_messages=2, visibility_timeout_s=60, timeout_s=TIMEOUT_S)
        assert [delivery.expires_at for delivery in received] == [datetime(2026, 11, 23, 12, tzinfo=UTC), None]

    @given(asked_s=st.floats(min_value=0, max_value=604_800))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
    async def test_a_lease_is_never_shorter_than_asked(
        self, queue: AzureQueue, loopback: Loopback, asked_s: float
    ) -> None:
        """The service counts whole seconds: the next one up is sent, and at least one for a receive."""
        loopback.always(messages())
        await queue.receive(max_messages=1, visibility_timeout_s=asked_s, timeout_s=TIMEOUT_S)
        loopback.answer = lambda _request: renewed()
        await queue.renew(ID, "r", visibility_timeout_s=asked_s, timeout_s=TIMEOUT_S)
        leased_s, renewed_s = (int(request.query["visibilitytimeout"]) for request in loopback.requests)
        assert leased_s == max(1, renewed_s)
        assert renewed_s - 1 < asked_s <= renewed_s


class TestMessages:
    """Renewing, releasing and putting."""

    async def test_a_renewal_leaves_the_body_alone(self, queue: AzureQueue, loopback: Loopback) -> None:
        """A renewal sends no body, and its receipt is the one to go on with."""
        loopback.always(renewed("the newest"))
        receipt = await queue.renew(ID, "old", visibility_timeout_s=60, timeout_s=TIMEOUT_S)
        assert receipt == "the newest"
        (request,) = loopback.requests
        assert (request.method, request.body) == ("PUT", b"")
        assert request.path.endswith(f"/jobs/messages/{ID}")
        assert request.query == {"popreceipt": "old", "visibilitytimeout": "60"}

    async def test_a_release_says_zero(self, queue: AzureQueue, loopback: Loopback) -> None:
        """A release is a renewal for no time at all, said and not left to a default."""
        loopback.always(renewed())
        await queue.renew(ID, "old", visibility_timeout_s=0, timeout_s=TIMEOUT_S)
        assert loopback.requests[0].query["visibilitytimeout"] == "0"

    async def test_a_put_never_expires(self, queue: AzureQueue, loopback: Loopback) -> None:
        """A message is put without an expiry, and visible at once."""
        reply = messages(message())
        loopback.always(Reply(status=201, headers=reply.headers, body=reply.body))
        await queue.put("work", timeout_s=TIMEOUT_S)
        (request,) = loopback.requests
        assert (request.query["messagettl"], request.query["visibilitytimeout"]) == ("-1", "0")

    @given(text=st.text(min_size=1), misfit=st.sampled_from("\x00\x01\x08\x0b\x0c\x0e\x1f\ud800\udfff\ufffe\uffff"))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
    async def test_what_xml_cannot_carry_is_not_sent(
        self, queue: AzureQueue, loopback: Loopback, text: str, misfit: str
    ) -> None:
        """A body with a character that XML has no place for is rejected before anything is sent."""
        loopback.always(messages())
        with pytest.raises(MessageRejectedError, match="U\\+"):
            await queue.put(text + misfit, timeout_s=TIMEOUT_S)
        assert loopback.requests == []

    @pytest.mark.parametrize("letter", ["a", "é", "\U0001f680"])
    async def test_what_is_too_long_is_not_sent(self, queue: AzureQueue, loopback: Loopback, letter: str) -> None:
        """A body over the limit, counted in bytes, is rejected before anything is sent."""
        loopback.always(messages())
        with pytest.raises(MessageRejectedError, match=str(MESSAGE_BYTES_MAX)):
            await queue.put(letter * (MESSAGE_BYTES_MAX // len(letter.encode()) + 1), timeout_s=TIMEOUT_S)
        assert loopback.requests == []


class TestRecords:
    """One record is one conditional PUT."""

    @pytest.mark.parametrize(
        ("expected", "condition"), [(None, ("if-none-match", "*")), ('"0x8D"', ("if-match", '"0x8D"'))]
    )
    async def test_a_write_is_one_conditional_put(
        self, store: AzureStore, loopback: Loopback, expected: str | None, condition: tuple[str, str]
    ) -> None:
        """Body and status go in one request, on the condition that was given, however large the record is."""
        loopback.always(written())
        document = record(Status.DONE, progress='"' + "x" * 900_000 + '"')
        version = await store.write("jobs", ID, document, expected=expected, timeout_s=TIMEOUT_S)
        (request,) = loopback.requests
        assert version == '"0x1"'
        assert request.method == "PUT"
        assert request.path.endswith(f"/records/records/jobs/{ID}.json")
        assert request.headers[condition[0]] == condition[1]
        assert request.headers["x-ms-meta-status"] == "done"
        assert request.headers["x-ms-blob-type"] == "BlockBlob"

    async def test_a_read_is_one_request(self, store: AzureStore, loopback: Loopback) -> None:
        """A record is read by one request, and not in ranges."""
        loopback.always(written())
        await store.write("jobs", ID, record(), expected=None, timeout_s=TIMEOUT_S)
        body = loopback.requests[0].body
        headers = {
            "content-range": f"bytes 0-{len(body) - 1}/{len(body)}",
            "etag": '"0x2"',
            "x-ms-blob-type": "BlockBlob",
        }
        loopback.always(Reply(status=206, headers=headers, body=body))
        stored = await store.read("jobs", ID, timeout_s=TIMEOUT_S)
        assert stored is not None
        assert (stored.record, stored.version) == (record(), '"0x2"')
        assert len(loopback.requests) == 1

    async def test_confirming_again_is_the_same_blob(self, store: AzureStore, loopback: Loopback) -> None:
        """A confirmation repeated after a lost reply, in whatever order, creates the same blob or nothing."""
        loopback.always(written())
        ids = [str(uuid.uuid4()) for _ in range(3)]
        for order in (ids, list(reversed(ids)), ids + ids):
            await store.confirm_deleted("jobs", order, timeout_s=TIMEOUT_S)
        assert len({request.path for request in loopback.requests}) == 1
        assert {request.headers["if-none-match"] for request in loopback.requests} == {"*"}

    async def test_nothing_to_confirm_is_no_request(self, store: AzureStore, loopback: Loopback) -> None:
        """Confirming no message asks the service nothing."""
        await store.confirm_deleted("jobs", [], timeout_s=TIMEOUT_S)
        assert loopback.requests == []

    async def test_age_is_told_by_the_services_clock(self, store: AzureStore, loopback: Loopback) -> None:
        """A wrong clock on this side neither hastens nor delays pruning: the service's date is compared."""
        age = timedelta(days=7)
        served_at = datetime(2001, 1, 1, 12, tzinfo=UTC)
        path = "deleted/jobs/x.json"
        body = (
            f'<EnumerationResults ContainerName="records"><Blobs><Blob><Name>{path}</Name><Properties><Last-Modified>'
            f"{format_datetime(served_at - age, usegmt=True)}</Last-Modified><Etag>1</Etag>"
            "<BlobType>BlockBlob</BlobType></Properties></Blob></Blobs>"
            "<NextMarker /></EnumerationResults>"
        ).encode()
        listed = Reply(headers={**XML, "date": format_datetime(served_at, usegmt=True)}, body=body)

        def answer(request: Request) -> Reply | Broken:
            return listed if request.query.get("comp") == "list" else Reply.error(404, "BlobNotFound")

        loopback.answer = answer
        assert await store.prune("jobs", older_than=age + timedelta(seconds=1), timeout_s=TIMEOUT_S) == 0
        assert len(loopback.requests) == 1
        assert await store.prune("jobs", older_than=age, timeout_s=TIMEOUT_S) == 0
        assert [request.path.endswith(path) for request in loopback.requests] == [False, False, True]


class TestTheConnection:
    """What all calls share."""

    async def test_a_proxy_in_the_environment_is_ignored(
        self, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Calls go to the address that was given, whatever the environment says of proxies."""
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.delenv("no_proxy", raising=False)
        loopback.always(messages(message()))
        async with AzureConnection() as connection:
            received = await connection.queue(loopback.queue_url()).receive(
                max_messages=1, visibility_timeout_s=60, timeout_s=TIMEOUT_S
            )
        assert len(received) == 1

    async def test_queue_and_store_share_connections(
        self, queue: AzureQueue, store: AzureStore, loopback: Loopback
    ) -> None:
        """Calls one after the other, on queue and store, use one connection between them."""
        loopback.answer = lambda request: written() if "records" in request.path else renewed()
        for _ in range(3):
            await queue.renew(ID, "r", visibility_timeout_s=60, timeout_s=TIMEOUT_S)
            await store.write("jobs", ID, record(), expected=None, timeout_s=TIMEOUT_S)
            await store.write_presence(presence(), timeout_s=TIMEOUT_S)
        assert loopback.connections == 1
        assert len(loopback.requests) == 3 * (1 + 1 + 2)

    async def test_all_calls_speak_one_version(self, queue: AzureQueue, store: AzureStore, loopback: Loopback) -> None:
        """The version of the service is ours to choose, and known to Azurite."""
        loopback.answer = lambda request: written() if "records" in request.path else renewed()
        await queue.renew(ID, "r", visibility_timeout_s=60, timeout_s=TIMEOUT_S)
        await store.write("jobs", ID, record(), expected=None, timeout_s=TIMEOUT_S)
        assert {request.headers["x-ms-version"] for request in loopback.requests} == {"2025-11-05"}

    async def test_connections_are_bounded(self, queue: AzureQueue, loopback: Loopback) -> None:
        """More calls at once than there may be connections wait for one, within their timeout, and all succeed."""
        loopback.always(renewed())
        calls = [
            queue.renew(ID, "r", visibility_timeout_s=60, timeout_s=TIMEOUT_S) for _ in range(CONNECTIONS_MAX + 50)
        ]
        assert set(await asyncio.gather(*calls)) == {"newer"}
        assert loopback.connections <= CONNECTIONS_MAX

    async def test_a_call_given_up_leaves_the_others_alone(self, queue: AzureQueue, loopback: Loopback) -> None:
        """A call that is cancelled is cancelled, and never turned into an error of ours."""
        started = asyncio.Event()

        def answer(_request: Request) -> Reply | Broken:
            started.set()
            return SILENT

        loopback.answer = answer
        call = asyncio.create_task(queue.length(timeout_s=TIMEOUT_S))
        await started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        loopback.always(renewed())
        assert await queue.renew(ID, "r", visibility_timeout_s=60, timeout_s=TIMEOUT_S) == "newer"

    async def test_a_closed_connection_carries_nothing(self, loopback: Loopback) -> None:
        """After the end of the connection a call fails with an error of ours, and nothing is sent."""
        async with AzureConnection() as connection:
            queue = connection.queue(loopback.queue_url())
        with pytest.raises(ReplyLostError):
            await queue.length(timeout_s=TIMEOUT_S)
        assert loopback.requests == []
