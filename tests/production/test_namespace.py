"""The production path with no help at all: IMDS at its own address, Azure's host names, the system's certificates."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from adapters.dev.azurite import Azurite, Endpoint, find_azurite
from adapters.dev.certificate import make_certificate
from adapters.dev.child import dies_with_parent
from adapters.imds.client import IMDS_URL
from fsm.application import AppState
from fsm.job import JobState
from tests.production.cloud import PATIENCE_S, SPOTFSM, Cloud
from tests.production.namespace import Namespace, namespace
from tests.second_tier import require_root

pytestmark = [pytest.mark.azurite, pytest.mark.processes, pytest.mark.root]

ACCOUNT = "spotfsmtest"
QUEUE_HOST, BLOB_HOST = f"{ACCOUNT}.queue.core.windows.net", f"{ACCOUNT}.blob.core.windows.net"
QUEUE_ADDRESS, BLOB_ADDRESS = "127.0.0.2", "127.0.0.3"
IMDS_ADDRESS = IMDS_URL.removeprefix("http://")
JOBS = 20


@contextmanager
def azure(directory: Path) -> Iterator[Namespace]:
    """A VM's view of Azure: the twin plays IMDS, and Azurite both storage services, each under its real name."""
    certificate = make_certificate(directory, names=[QUEUE_HOST, BLOB_HOST])
    with ExitStack() as stack:
        vm = stack.enter_context(
            namespace(
                f"spotfsm-{os.getpid()}",
                addresses=[IMDS_ADDRESS],
                hosts={QUEUE_HOST: QUEUE_ADDRESS, BLOB_HOST: BLOB_ADDRESS},
                authority=certificate.authority,
            )
        )
        stack.enter_context(
            Azurite(
                [*vm.within, *find_azurite()],
                certificate=certificate,
                queue=Endpoint(host=QUEUE_ADDRESS, port=443),
                blob=Endpoint(host=BLOB_ADDRESS, port=443),
                environment={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{base64.b64encode(b'nobody signs with this').decode()}"},
            )
        )
        stack.enter_context(twin(vm))
        yield vm


@contextmanager
def twin(vm: Namespace) -> Iterator[None]:
    """`spotfsm twin serve`, where IMDS is."""
    process = subprocess.Popen(
        [*vm.within, SPOTFSM, "twin", "serve", "--host", IMDS_ADDRESS, "--port", "80"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=dies_with_parent(),  # noqa: PLW1509 -- one system call, looked up before the fork
    )
    assert process.stdout is not None
    with process.stdout as said:
        try:
            assert said.readline().strip().removesuffix(":80") == IMDS_URL
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=PATIENCE_S)


@pytest.mark.timeout(240)
def test_a_worker_on_an_azure_vm_needs_two_addresses_and_nothing_else(tmp_path: Path) -> None:
    """Given a queue and a container on Azure alone, workers find IMDS, get a token, obey a notice and do every job."""
    require_root(commands=("ip", "openssl"))
    with azure(tmp_path) as vm:
        cloud = Cloud(
            directory=tmp_path,
            storage=("--queue", f"https://{QUEUE_HOST}/jobs", "--store", f"https://{BLOB_HOST}/records"),
            within=vm.within,
        )
        cloud.enqueue(JOBS)
        with cloud.worker() as evicted:
            evicted.await_line(lambda line: line.text("to") == JobState.COMPLETED, count=3)
            _twin_order(vm, "evict", "--notice", "5")
            evicted.await_line(lambda line: line.text("to") == AppState.DRAINED)
        _twin_order(vm, "boot")
        with cloud.worker("--until-empty") as successor:
            successor.wait()
        status = json.loads(cloud.run("status", "--json"))
    assert (status["completed"], status["queued"], status["poisoned"]) == (JOBS, 0, 0)
    assert cloud.replayed() == []
    (identity,) = {line.text("vm_name") for line in evicted.lines if line.kind == "worker"}
    assert identity == "vm-spot"


def _twin_order(vm: Namespace, *order: str) -> None:
    subprocess.run([*vm.within, SPOTFSM, "twin", *order, "--url", IMDS_URL], check=True, capture_output=True)
