"""The whole production path: managed identity, tokens over TLS, Scheduled Events, queue and store, as on a VM."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.dev.azurite import Azurite
from adapters.dev.certificate import Certificate, make_certificate
from adapters.host.journal_lines import Line
from adapters.twin.client import TwinClient
from adapters.twin.faults import Endpoint, FaultKind
from adapters.twin.profile import VmProfile, token_reply
from adapters.twin.running import twin_in_thread
from adapters.twin.state import TwinState
from adapters.twin.wire import RequestReport
from fsm.application import AppState
from fsm.job import JobState
from tests.production.cloud import Cloud

pytestmark = [pytest.mark.azurite, pytest.mark.processes]

JOBS = 30
ONE, OTHER = "c1d2e3f4-0a1b-4c2d-8e3f-405162738495", "0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f"
SYSTEM_ASSIGNED = VmProfile(system_assigned=True, client_ids=())
USER_ASSIGNED = VmProfile(system_assigned=False, client_ids=(ONE, OTHER))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"), names=["127.0.0.1"])


@pytest.fixture(scope="module")
def secure_azurite(certificate: Certificate) -> Iterator[Azurite]:
    with Azurite(certificate=certificate) as running:
        yield running


@pytest.fixture
def proxy() -> Iterator[socket.socket]:
    """A port that a proxy could listen on, and that must not be asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("profile", "client_id"),
    [
        pytest.param(SYSTEM_ASSIGNED, (), id="system-assigned"),
        pytest.param(USER_ASSIGNED, ("--client-id", OTHER), id="user-assigned"),
    ],
)
def test_a_worker_runs_on_its_managed_identity(
    *,
    profile: VmProfile,
    client_id: Sequence[str],
    secure_azurite: Azurite,
    certificate: Certificate,
    proxy: socket.socket,
    tmp_path: Path,
) -> None:
    """Evicted on the way, workers that are given addresses alone complete every job, on one token each.

    The only help is in the environment: where the metadata service is, and whom to believe. Proxies in it are not
    asked. A metadata service that is being updated when a worker starts only delays it.
    """
    name = f"jobs-{'user' if client_id else 'system'}"
    with twin_in_thread(TwinState(profile=profile)) as imds:
        cloud = Cloud(
            directory=tmp_path,
            storage=("--queue", secure_azurite.queue_url(name), "--store", secure_azurite.blob_url(name), *client_id),
            imds=("--imds", imds),
            environment={
                "AZURE_POD_IDENTITY_AUTHORITY_HOST": imds,
                "SSL_CERT_FILE": str(certificate.authority),
                **dict.fromkeys(
                    ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
                    f"http://127.0.0.1:{proxy.getsockname()[1]}",
                ),
            },
        )
        twin = TwinClient(imds)
        cloud.enqueue(JOBS)
        with cloud.worker() as evicted:
            evicted.await_line(_completes, count=3)
            twin.evict(notice_s=5)
            evicted.await_line(lambda line: line.text("to") == AppState.DRAINED)
            evicted.kill()
            received_at = _first_receive(evicted.lines)
        twin.set_boot()
        twin.fault(FaultKind.GONE, endpoint=Endpoint.IDENTITY, count=1)
        with cloud.worker("--until-empty") as successor:
            successor.wait()
        tokens = [request for request in twin.state()["requests"] if "/identity/" in request["path"]]
        status = json.loads(cloud.run("status", "--json"))
    assert (status["completed"], status["queued"], status["poisoned"]) == (JOBS, 0, 0)
    assert cloud.replayed() == []
    assert [request["status"] for request in tokens] == [200, 200, 410, 200]
    assert _at(tokens[1]) < received_at
    with pytest.raises(BlockingIOError):
        proxy.accept()


def test_a_developers_machine_asks_its_own_tools(
    secure_azurite: Azurite, certificate: Certificate, tmp_path: Path
) -> None:
    """With `--credential default` the SDK's chain is asked, here the Azure CLI, and no metadata service."""
    token = token_reply(
        SYSTEM_ASSIGNED, client_id="somebody", resource="https://storage.azure.com", now=datetime.now(UTC)
    )
    assert isinstance(token, dict)
    answer = {"accessToken": token["access_token"], "expires_on": int(str(token["expires_on"]))}
    tools = tmp_path / "bin"
    tools.mkdir()
    az = tools / "az"
    az.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/asked\necho '{json.dumps(answer)}'\n")
    az.chmod(0o755)
    cloud = Cloud(
        directory=tmp_path,
        storage=(
            *("--queue", secure_azurite.queue_url("jobs-dev"), "--store", secure_azurite.blob_url("jobs-dev")),
            *("--credential", "default"),
        ),
        environment={
            "AZURE_TOKEN_CREDENTIALS": "AzureCliCredential",
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "SSL_CERT_FILE": str(certificate.authority),
        },
    )
    cloud.enqueue(1)
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert "account get-access-token" in asked
    assert "https://storage.azure.com" in asked


def _completes(line: Line) -> bool:
    return line.job != "" and line.text("to") == JobState.COMPLETED


def _first_receive(lines: Sequence[Line]) -> datetime:
    return next(line.at for line in lines if line.kind == "receive")


def _at(request: RequestReport) -> datetime:
    return datetime.fromisoformat(request["at"])
