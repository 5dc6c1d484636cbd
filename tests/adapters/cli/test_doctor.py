"""`spotfsm doctor`: one line a check, a remedy where something is missing, and nothing changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from adapters.cli.checks import PACKAGES, check_names, check_python
from adapters.cli.findings import Verdict
from adapters.twin.client import TwinClient
from tests.adapters.cli.conftest import Command, Ended
from tests.azurite import Azurite


def verdicts(ended: Ended) -> Mapping[str, str]:
    return {check["name"]: check["verdict"] for check in json.loads(ended.out)["checks"]}


def line_of(ended: Ended, name: str) -> str:
    (line,) = (line for line in ended.out.splitlines() if line[6:].startswith(f"{name} "))
    return line


def test_a_queue_that_nobody_created_fails(inside: Command, directory: Path) -> None:
    """A worker would not start without it: the line says what creates it, and doctor does not."""
    ended = inside("doctor")
    assert ended.code == 1
    assert line_of(ended, "queue").startswith("FAIL ")
    assert "`spotfsm enqueue --create`" in line_of(ended, "queue")
    assert list(directory.iterdir()) == []


def test_an_embedded_queue_passes_every_check(inside: Command) -> None:
    """Queue, leases, deletes, poison queue and store answer, and no message was touched."""
    inside("enqueue", "a")
    ended = inside("doctor", "--json")
    assert {verdicts(ended)[name] for name in ("queue", "leases", "deletes", "poison queue", "store", "records")} == {
        "ok"
    }
    assert json.loads(inside("status", "--json").out)["queued"] == 1


def test_the_twin_passes_for_imds(inside: Command, twin: str) -> None:
    """The VM's name, priority and policy are told, and Scheduled Events answer."""
    ended = inside("doctor", "--imds", twin)
    assert line_of(ended, "imds").startswith("ok ")
    assert "vm-spot, priority Spot, eviction policy Deallocate" in line_of(ended, "imds")
    assert line_of(ended, "events").startswith("ok ")


def test_the_policy_delete_warns_of_local_files(inside: Command, twin: str) -> None:
    """A queue on the VM's own disk works, and goes with the VM: a warning with a remedy, no failure."""
    inside("enqueue", "--create")
    TwinClient(twin).set_identity(eviction_policy="Delete")
    ended = inside("doctor", "--imds", twin, "--journal", "journal", "--json")
    disks = [check for check in json.loads(ended.out)["checks"] if check["name"] == "disks"]
    assert [check["verdict"] for check in disks] == ["warn", "warn"]
    assert all(check["remedy"] for check in disks)
    assert ended.code == 0


def test_a_journal_that_no_worker_could_open_fails(inside: Command, directory: Path) -> None:
    """The line is the worker's own error; a file that can be had is neither made nor changed."""
    inside("enqueue", "--create")
    (directory / "there").write_text("a line\n")
    for path in ("missing/journal", "."):
        ended = inside("doctor", "--journal", path)
        assert ended.code == 1
        assert line_of(ended, "journal").startswith("FAIL  journal")
        assert "--journal: " in line_of(ended, "journal")
        worker = inside("worker", "--handler", "json:loads", "--journal", path)
        assert (worker.code, worker.err.partition(" cannot be opened: ")[2]) == (
            2,
            line_of(ended, "journal").partition(" cannot be opened: ")[2] + "\n",
        )
    for path in ("there", "new"):
        assert line_of(inside("doctor", "--journal", path), "journal").startswith("ok ")
    assert (directory / "there").read_text() == "a line\n"
    assert not (directory / "new").exists()


@pytest.mark.parametrize("kind", ["500", "torn", "429"])
def test_an_imds_that_fails_is_a_failure_with_a_remedy(inside: Command, twin: str, kind: str) -> None:
    """Exit code 1, and the other checks are made all the same."""
    TwinClient(twin).fault(kind)
    ended = inside("doctor", "--imds", twin)
    assert ended.code == 1
    assert line_of(ended, "imds").startswith("FAIL ")
    assert "--imds none" in line_of(ended, "imds")
    assert line_of(ended, "queue")


def test_scheduled_events_that_are_slow_are_a_warning(inside: Command, twin: str) -> None:
    """The first call of a VM may take two minutes; the identity is there meanwhile."""
    inside("enqueue", "--create")
    TwinClient(twin).fault("500", endpoint="scheduledevents")
    ended = inside("doctor", "--imds", twin)
    assert ended.code == 0
    assert line_of(ended, "events").startswith("warn ")


def test_an_imds_that_is_not_there_is_a_failure(inside: Command) -> None:
    """Off Azure nobody answers, and the line says how to do without."""
    ended = inside("doctor", "--imds", "http://127.0.0.1:9")
    assert ended.code == 1
    assert "--imds none" in line_of(ended, "imds")


def test_on_azurite_what_is_missing_fails_and_what_is_there_passes(inside: Command, azurite: Azurite) -> None:
    """Before the queue and the container exist every line says how to create them."""
    places = ("--queue", azurite.queue_url("cli-doctor"), "--store", azurite.blob_url("cli-doctor"))
    before = inside("doctor", *places)
    assert before.code == 1
    for name in ("queue", "poison queue", "store", "records"):
        assert line_of(before, name).startswith("FAIL ")
        assert "--create" in line_of(before, name)
    inside("enqueue", "a", *places, "--create")
    after = inside("doctor", *places)
    assert after.code == 0, after.out
    assert json.loads(inside("status", "--json", *places).out)["queued"] == 1


def test_a_service_that_does_not_answer_is_told_with_its_setting(inside: Command) -> None:
    """Each line that fails names what to look at."""
    address = "http://127.0.0.1:9/devstoreaccount1/jobs"
    ended = inside("doctor", "--queue", address, "--store", address)
    assert ended.code == 1
    for name, setting in (
        ("queue", "--queue"),
        ("poison queue", "--queue"),
        ("store", "--store"),
        ("records", "--store"),
    ):
        assert line_of(ended, name).startswith("FAIL ")
        assert f"Check {setting}, and try again later." in line_of(ended, name)


def test_a_vm_without_an_identity_is_told_before_anything_is_asked_of_azure(inside: Command, twin: str) -> None:
    """No token: one line names the remedy, and neither queue nor store is tried."""
    TwinClient(twin).fault("refuse_identity")
    queue = ("--queue", "https://account.queue.core.windows.net/jobs", "--imds", twin)
    ended = inside("doctor", *queue, env={"AZURE_POD_IDENTITY_AUTHORITY_HOST": twin})
    assert ended.code == 1
    assert line_of(ended, "token").startswith("FAIL ")
    assert "--client-id" in line_of(ended, "token")
    assert ended.out.splitlines()[-1] == line_of(ended, "token")


def test_a_handler_is_imported_on_request(inside: Command, jobs: str) -> None:
    """A handler that is not there is found out before the worker starts."""
    for name in ("handle", "plain"):
        assert line_of(inside("doctor", "--handler", f"{jobs}:{name}"), "handler").startswith("ok ")
    ended = inside("doctor", "--handler", f"{jobs}:nothing")
    assert ended.code == 1
    assert "has no 'nothing'" in line_of(ended, "handler")


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("kind", ["directory", "file"])
def test_a_module_of_the_user_that_has_our_name_is_found(directory: Path, package: str, kind: str) -> None:
    """Handlers are imported from the working directory, where such a module would never be seen."""
    if kind == "directory":
        (directory / package).mkdir()
    else:
        (directory / f"{package}.py").touch()
    (finding,) = check_names(directory)
    assert finding.verdict is Verdict.FAIL
    assert package in finding.text


def test_somebody_elses_package_of_our_name_is_found(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPI has an unrelated distribution `adapters`; installed beside ours, one of the two is broken."""
    site = directory / "site"
    (site / "adapters-1.3.0.dist-info").mkdir(parents=True)
    (site / "adapters-1.3.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: adapters\nVersion: 1.3.0\n"
    )
    (site / "adapters-1.3.0.dist-info" / "top_level.txt").write_text("adapters\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    (finding,) = check_names(directory)
    assert finding.verdict is Verdict.FAIL
    assert "'adapters' is installed by adapters too" in finding.text


def test_our_own_packages_do_not_clash(directory: Path) -> None:
    """As it is installed for development, doctor is content."""
    assert [finding.verdict for finding in check_names(directory)] == [Verdict.OK]
    assert [finding.verdict for finding in check_names(Path(__file__).parents[3])] == [Verdict.OK]
    assert [finding.name for finding in check_python()] == ["python"]


def test_telemetry_that_cannot_work_is_one_line_that_tells_no_secret(inside: Command) -> None:
    """Without a connection string, or with a malformed one, it fails with a remedy; forgotten altogether, it warns."""
    inside("enqueue", "--create")
    name = "APPLICATIONINSIGHTS_CONNECTION_STRING"
    for given, verdict, words in (
        ((), "warn", "--telemetry is none"),
        (("--telemetry", "azure-monitor"), "FAIL", "has no InstrumentationKey that is a UUID"),
    ):
        ended = inside("doctor", *given, env={name: "InstrumentationKey=top-secret"})
        assert line_of(ended, "telemetry").startswith(verdict)
        assert words in line_of(ended, "telemetry")
        assert "top-secret" not in ended.out + ended.err
    assert "is not set" in line_of(inside("doctor", "--telemetry", "azure-monitor"), "telemetry")
    collector = inside("doctor", "--telemetry", "otlp", env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"})
    assert line_of(collector, "telemetry").startswith(
        "ok    telemetry     goes to a collector at http://localhost:4318"
    )
    assert "telemetry" not in verdicts(inside("doctor", "--json"))
