"""The same events for people and for programs, and who gets which."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from adapters.cli.log import Log, LogFormat
from adapters.cli.watch import Watch
from fsm.ports import JsonScalar
from tests.adapters.cli.conftest import PATIENCE_S, Command

DRAIN: dict[str, JsonScalar] = {
    "cause": "Preempt", "evicted": True, "announced_s": 28.5, "drain_s": 1.25, "received_s": 1.25, "margin_s": 27.25,
    "redone_s": 0.5, "completed": 1, "released": 3, "poisoned": 0, "abandoned": 0,
}  # fmt: skip
ENTRIES: tuple[tuple[str, dict[str, JsonScalar]], ...] = (
    ("row", {"machine": "application", "row": "A13", "trigger": "start", "from": "WarmingUp", "to": "Processing",
             "outcome": "work begins"}),
    ("row", {"machine": "job", "job": "a", "trigger": "fail", "from": "Running", "to": "Released",
             "reason": "no\nway"}),
    ("notice", {"event_id": "e", "type": "Preempt", "left_s": 28.5}),
    ("drain", DRAIN),
    ("loop_blocked", {"for_s": 3.2}),
    ("stop", {"reason": "SIGTERM", "grace_s": 25.0}),
    ("call_failed", {"call": "receive", "error": "ReplyLostError", "text": "no reply"}),
)  # fmt: skip


def told(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> list[str]:
    watch = Watch(interactive=False, log=Log(form=form, worker="1-2", shared=True))
    for kind, fields in ENTRIES:
        watch.observe(kind, fields)
    return capsys.readouterr().err.splitlines()


def test_programs_are_told_what_people_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Each event is one line in both, in the same words, and for programs with its fields, a time and a level."""
    texts, objects = told(LogFormat.TEXT, capsys), [json.loads(line) for line in told(LogFormat.JSON, capsys)]
    assert [f"1-2: {one['text']}" for one in objects] == texts
    assert len(texts) == len(ENTRIES)
    for one, (_, fields) in zip(objects, ENTRIES, strict=True):
        assert datetime.fromisoformat(one["at"]).tzinfo is not None
        assert (one["worker"], one["pid"]) == ("1-2", os.getpid())
        assert {name: value for name, value in fields.items() if name != "text"}.items() <= one.items()
    assert [one["event"] for one in objects] == [
        "state", "job_failed", "notice", "drain", "loop_blocked", "stop", "call_failed",
    ]  # fmt: skip
    assert {one["event"] for one in objects if one["level"] == "warning"} == {
        "job_failed", "notice", "loop_blocked", "call_failed",
    }  # fmt: skip


def test_an_eviction_has_its_receipt_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """How long it took, what was left, what became of the jobs, and what is done again."""
    watch = Watch(interactive=False)
    watch.observe("drain", DRAIN)
    watch.observe("drain", {**DRAIN, "margin_s": -2.0, "released": 0, "completed": 0, "redone_s": 0.0})
    watch.observe("drain", {**DRAIN, "evicted": False})
    assert capsys.readouterr().err.splitlines() == [
        "drained 1.25s after the notice, 27.25s of it left, 1 completed, 3 released, 0.5s of work to do again",
        "drained 1.25s after the notice, 2s late, no job was open",
    ]
    assert (watch.margin_s, watch.redone_s) == (-2.0, 1.0)


def test_systemds_journal_gets_json_by_itself(directory: Path, jobs: str) -> None:
    """JSON where stderr is the very stream that systemd names; text where it names another one, or none."""
    log = directory / "err"
    for named, is_json in ((True, True), (False, False), (None, False)):
        with log.open("wb") as err:
            found = os.fstat(err.fileno())
            inode = found.st_ino if named else found.st_ino + 1
            stream = {} if named is None else {"JOURNAL_STREAM": f"{found.st_dev}:{inode}"}
            subprocess.run(
                [sys.executable, "-m", "adapters.cli", "enqueue", "a"], cwd=directory, check=True, stderr=err
            )
            err.truncate(0)
            ended = subprocess.run(
                [sys.executable, "-m", "adapters.cli", "worker", "--handler", f"{jobs}:handle", "--until-empty"],
                cwd=directory, stdout=subprocess.PIPE, stderr=err, timeout=PATIENCE_S, check=True,
                env={**os.environ, **stream},
            )  # fmt: skip
        lines = log.read_text().strip("\0").splitlines()
        assert lines
        if is_json:
            events = [json.loads(line) for line in lines]
            assert (events[-1]["event"], events[-1]["completed"], ended.stdout) == ("receipt", 1, b"")
        else:
            assert "Processing: work begins" in lines
            assert b"completed" in ended.stdout


WRONG: tuple[tuple[str, dict[str, str], str, tuple[str, ...], str | None], ...] = (
    ("by flag, and what runs finds it", {}, "", ("--log", "json", "--boot-id-file", "/no"), "--boot-id-file"),
    ("by flag, behind the mistake", {}, "", ("--concurrency", "many", "--log=json"), "--concurrency"),
    ("by variable, and a flag that is none", {"SPOTFSM_LOG": "json"}, "", ("--concurency", "3"), None),
    ("by variable, and one is wrong", {"SPOTFSM_LOG": "json", "SPOTFSM_STOP_GRACE": "x"}, "", (), "--stop-grace"),
    ("by file, and a key that is none", {}, '[worker]\nlog = "json"\nconcurency = 3', (), "--config"),
    ("by file, and a value is wrong", {}, '[worker]\nlog = "json"\nretry_pause = "x"', (), "--retry-pause"),
    ("by flag, and settings fight", {}, "", ("--log", "json", "--queue-metrics", "1m"), "--queue-metrics"),
    ("by flag, of several", {}, "", ("--log", "json", "--instances", "2", "--handler", "jobs:nobody"), "--handler"),
)


@pytest.mark.parametrize(("env", "file", "arguments", "setting"), [row[1:] for row in WRONG], ids=[r[0] for r in WRONG])
def test_an_error_is_an_event_too(
    spotfsm: Command, jobs: str, *, env: dict[str, str], file: str, arguments: tuple[str, ...], setting: str | None
) -> None:
    """Whatever is wrong with its settings, who collects the log reads one JSON line that names it, and nothing else."""
    spotfsm("enqueue", "a")
    Path("spotfsm.toml").write_text(file)
    always = {"SPOTFSM_HANDLER": f"{jobs}:handle", "SPOTFSM_UNTIL_EMPTY": "true"}
    ended = spotfsm("worker", *arguments, env={**always, **env})
    plain = spotfsm("worker", *arguments, *([] if setting is None else ["--log", "text"]), env={**env, **always})
    *events, failed = [json.loads(line) for line in ended.err.splitlines()]
    assert "failed" not in {one["event"] for one in events}
    assert (failed["event"], failed["level"], failed["worker"]) == ("failed", "error", "1")
    assert datetime.fromisoformat(failed["at"]).tzinfo is not None
    assert (failed["setting"], failed["exit_code"], ended.code, plain.code) == (setting, 2, 2, 2)
    if setting is not None:
        assert plain.err.splitlines()[-1] == f"error: {failed['text'].removeprefix('the worker ends: ')}"
        assert failed["text"].startswith(f"the worker ends: {setting}: ")


def test_systemds_journal_gets_errors_as_json_by_itself(directory: Path, jobs: str) -> None:
    """A worker whose settings cannot be read tells the journal so as it tells everything."""
    with (directory / "err").open("wb") as err:
        found = os.fstat(err.fileno())
        ended = subprocess.run(
            [sys.executable, "-m", "adapters.cli", "worker", "--config", "nowhere.toml"],
            cwd=directory, stdout=subprocess.PIPE, stderr=err, timeout=PATIENCE_S, check=False,
            env={**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"},
        )  # fmt: skip
    failed = json.loads((directory / "err").read_text())
    assert (failed["setting"], failed["exit_code"], ended.returncode, ended.stdout) == ("--config", 2, 2, b"")
