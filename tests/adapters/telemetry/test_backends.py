"""Where telemetry goes is checked before a worker starts, and no secret is ever told."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.telemetry.backends import (
    AUTHENTICATION_STRING,
    CONNECTION_STRING,
    OTLP_ENDPOINT,
    Backend,
    check_backend,
    without_secrets,
)
from fsm.errors import ConfigurationError
from tests.adapters.telemetry.receiver import KEY

GOOD = (
    f"InstrumentationKey={KEY};IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/;LiveEndpoint=x"
)


def test_what_works_is_said_without_the_key() -> None:
    """The endpoint is told, which is no secret; the key is not."""
    said = check_backend(Backend.AZURE_MONITOR, {CONNECTION_STRING: GOOD})
    assert said == "Application Insights at https://westeurope-5.in.applicationinsights.azure.com"
    assert check_backend(Backend.OTLP, {}) == "a collector at http://localhost:4318"
    assert check_backend(Backend.OTLP, {OTLP_ENDPOINT: "http://[::1]:9"}) == "a collector at http://[::1]:9"
    assert check_backend(Backend.NONE, {}) == "none"


@pytest.mark.parametrize(
    ("backend", "environment", "problem"),
    [
        (Backend.AZURE_MONITOR, {}, "is not set"),
        (Backend.AZURE_MONITOR, {CONNECTION_STRING: "secret"}, "has no InstrumentationKey"),
        (Backend.AZURE_MONITOR, {CONNECTION_STRING: "InstrumentationKey=secret"}, "has no InstrumentationKey"),
        (Backend.AZURE_MONITOR, {CONNECTION_STRING: f"{GOOD};Authorization=aad"}, "an Authorization other than ikey"),
        (
            Backend.AZURE_MONITOR,
            {CONNECTION_STRING: f"InstrumentationKey={KEY};IngestionEndpoint=westeurope"},
            "has no http or https address",
        ),
        (
            Backend.AZURE_MONITOR,
            {CONNECTION_STRING: f"InstrumentationKey={KEY};IngestionEndpoint=http://example.org"},
            "would send in clear text to example.org",
        ),
        (Backend.OTLP, {OTLP_ENDPOINT: "localhost:4318"}, "has no http or https address"),
        (Backend.OTLP, {OTLP_ENDPOINT: "http://localhost:port"}, "has no http or https address"),
        (Backend.OTLP, {OTLP_ENDPOINT: "http://10.0.0.4:4318"}, "would send in clear text to 10.0.0.4"),
    ],
)
def test_what_cannot_work_is_one_line_without_what_was_given(
    backend: Backend, environment: dict[str, str], problem: str
) -> None:
    """Each mistake names the setting and the variable, has a remedy, and shows nothing of the string."""
    with pytest.raises(ConfigurationError) as caught:
        check_backend(backend, environment)
    assert caught.value.setting == "--telemetry"
    assert problem in caught.value.problem
    assert caught.value.remedy
    assert "secret" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_token_of_the_vm_is_asked_for_only_if_that_is_said() -> None:
    """What deployment sets is understood, with and without a client id; what means nothing is a mistake."""
    for text in ("Authorization=AAD", "Authorization=AAD;ClientId=c1d2e3f4-0a1b-4c2d-8e3f-405162738495"):
        said = check_backend(Backend.AZURE_MONITOR, {CONNECTION_STRING: GOOD, AUTHENTICATION_STRING: text})
        assert said.endswith("applicationinsights.azure.com, with a token of the VM's identity")
    for text in ("AAD", "ClientId=c", "Authorization=ikey"):
        with pytest.raises(ConfigurationError, match="has no Authorization=AAD"):
            check_backend(Backend.AZURE_MONITOR, {CONNECTION_STRING: GOOD, AUTHENTICATION_STRING: text})


@given(st.text())
def test_any_text_in_the_environment_is_an_answer_or_one_mistake(text: str) -> None:
    """Nothing that stands there makes the check fail in another way, or is told."""
    for name, backend in (
        (CONNECTION_STRING, Backend.AZURE_MONITOR),
        (AUTHENTICATION_STRING, Backend.AZURE_MONITOR),
        (OTLP_ENDPOINT, Backend.OTLP),
    ):
        with suppress(ConfigurationError):
            check_backend(backend, {CONNECTION_STRING: GOOD, name: text})


@pytest.mark.parametrize("backend", [Backend.AZURE_MONITOR, Backend.OTLP])
@pytest.mark.parametrize("missing", ["opentelemetry", "azure.monitor", ""])
def test_a_missing_extra_is_named(backend: Backend, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages the remedy is the extra, whichever part of them is missing."""
    find = importlib.util.find_spec

    def find_spec(name: str) -> ModuleSpec | None:
        if missing and name.startswith(missing):
            raise ModuleNotFoundError(name)
        return find(name)

    monkeypatch.setattr("adapters.telemetry.backends.find_spec", find_spec)
    environment = {CONNECTION_STRING: GOOD}
    if not missing or (backend is Backend.OTLP and missing == "azure.monitor"):
        check_backend(backend, environment)
        return
    with pytest.raises(ConfigurationError, match=r"pip install 'spotfsm\[telemetry\]'"):
        check_backend(backend, environment)


def test_the_key_is_taken_out_of_whatever_is_told() -> None:
    """An exporter's own words may hold it; what is passed on does not."""
    text = without_secrets(f"could not send {KEY} to x", {CONNECTION_STRING: GOOD})
    assert text == "could not send ... to x"
    assert without_secrets("as it is", {}) == "as it is"


REPORTS = """
import json, threading
from adapters.telemetry.backends import Backend, open_exporters
open_exporters(Backend.AZURE_MONITOR)
from azure.monitor.opentelemetry.exporter._configuration._state import get_configuration_manager
from azure.monitor.opentelemetry.exporter.statsbeat._state import is_statsbeat_enabled
print(json.dumps([is_statsbeat_enabled(), get_configuration_manager() is not None, threading.active_count()]))
"""


def test_nothing_is_reported_to_anybody_else_by_itself() -> None:
    """The exporters neither report their use nor fetch a configuration, and start no thread for it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APPLICATIONINSIGHTS_")}
    ended = subprocess.run(
        [sys.executable, "-c", REPORTS],
        env={**environment, CONNECTION_STRING: GOOD},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ended.stdout) == [False, False, 1]
