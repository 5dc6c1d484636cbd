"""Where telemetry goes: Application Insights, or a collector that speaks OTLP over HTTP. Both are an extra.

The exporters alone are used, and not Azure's distribution of OpenTelemetry around them: that one would instrument every
web and database library which a handler happens to import, and install itself as the handler's own OpenTelemetry.
A connection string comes from the environment and from nowhere else: not from a flag, which everybody on the VM can
read, and not from a file. What is not telemetry of the worker (usage reports to Microsoft, remote configuration) stays
off unless the environment turns it on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from fsm.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

SETTING = "--telemetry"
CONNECTION_STRING = "APPLICATIONINSIGHTS_CONNECTION_STRING"
AUTHENTICATION_STRING = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
"""`Authorization=AAD`, and which user-assigned identity by `;ClientId=ID`. [https://learn.microsoft.com/azure/azure-monitor/app/azure-ad-authentication,
read 2026-11]"""
OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
NETWORK_TIMEOUT_S = 10
"""How long one request may be silent. It holds up the thread that sends, and nothing else."""
_OFF = {
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED": "true",
}
"""Set unless the environment says something else."""
_KEY = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Backend(StrEnum):
    """Where telemetry goes."""

    NONE = "none"
    AZURE_MONITOR = "azure-monitor"
    OTLP = "otlp"


_NEEDS = {
    Backend.NONE: (),
    Backend.AZURE_MONITOR: ("opentelemetry.sdk", "azure.monitor.opentelemetry.exporter"),
    Backend.OTLP: ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
}


def check_backend(backend: Backend, environment: Mapping[str, str] = os.environ) -> str:
    """Where telemetry will go, in words that tell no secret.

    Raises:
        ConfigurationError: the packages are missing, or the environment does not say where to.
    """
    missing = [name for name in _NEEDS[backend] if not _installed(name)]
    if missing:
        remedy = "Install them: pip install 'spotfsm[telemetry]'."
        raise ConfigurationError(SETTING, f"{backend.value} needs packages that are not installed", remedy)
    match backend:
        case Backend.NONE:
            return "none"
        case Backend.AZURE_MONITOR:
            whose = ", with a token of the VM's identity" if _identity(environment) else ""
            return f"Application Insights at {_ingestion_endpoint(environment)}{whose}"
        case Backend.OTLP:
            return f"a collector at {_collector(environment)}"


def open_exporters(backend: Backend) -> tuple[SpanExporter, MetricExporter]:
    """Make what sends spans and metrics; nothing is sent yet.

    Raises:
        ConfigurationError: as `check_backend` does.
    """
    check_backend(backend)
    return _azure_monitor() if backend is Backend.AZURE_MONITOR else _otlp()


def without_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The text without the key of the connection string, should it be in it."""
    key = _pairs(environment.get(CONNECTION_STRING, "")).get("instrumentationkey")
    return text.replace(key, "...") if key else text


def _azure_monitor() -> tuple[SpanExporter, MetricExporter]:
    for name, value in _OFF.items():
        os.environ.setdefault(name, value)
    from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter, AzureMonitorTraceExporter

    identity = _identity(os.environ)
    credential = None
    if identity is not None:
        from azure.identity import ManagedIdentityCredential

        # A proxy in the environment must not see, and cannot answer, a request to the metadata service.
        credential = ManagedIdentityCredential(client_id=identity.client_id, use_env_settings=False)
    options: dict[str, object] = {
        "credential": credential,
        "disable_offline_storage": True,  # files in a directory for everybody, which an eviction takes away
        "timeout": NETWORK_TIMEOUT_S,
        "read_timeout": NETWORK_TIMEOUT_S,
        "retry_total": 2,
    }
    return AzureMonitorTraceExporter(**options), AzureMonitorMetricExporter(**options)


def _otlp() -> tuple[SpanExporter, MetricExporter]:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(), OTLPMetricExporter()


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _pairs(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}


class _Identity(NamedTuple):
    """The VM's own identity, or one that it was assigned."""

    client_id: str | None


def _identity(environment: Mapping[str, str]) -> _Identity | None:
    """Whose token is sent along, if one is.

    Raises:
        ConfigurationError: what is set means nothing.
    """
    text = environment.get(AUTHENTICATION_STRING, "")
    if not text:
        return None
    pairs = _pairs(text)
    if pairs.get("authorization", "").lower() != "aad":
        remedy = "Set it to Authorization=AAD;ClientId=ID, or to nothing."
        raise ConfigurationError(SETTING, f"{AUTHENTICATION_STRING} has no Authorization=AAD", remedy)
    return _Identity(pairs.get("clientid") or None)


def _ingestion_endpoint(environment: Mapping[str, str]) -> str:
    """Where Application Insights is told to be.

    Raises:
        ConfigurationError: there is no connection string, or what is there is none. Its text is not shown.
    """
    text = environment.get(CONNECTION_STRING, "")
    remedy = "Set it in the environment to what `az monitor app-insights component show --query connectionString` says."
    if not text:
        raise ConfigurationError(SETTING, f"{CONNECTION_STRING} is not set", remedy)
    pairs = _pairs(text)
    if not re.fullmatch(_KEY, pairs.get("instrumentationkey", "")):
        raise ConfigurationError(SETTING, f"{CONNECTION_STRING} has no InstrumentationKey that is a UUID", remedy)
    if pairs.get("authorization", "ikey").lower() != "ikey":
        raise ConfigurationError(SETTING, f"{CONNECTION_STRING} has an Authorization other than ikey", remedy)
    endpoint = pairs.get("ingestionendpoint", "https://dc.services.visualstudio.com")
    return _checked_url(endpoint, CONNECTION_STRING, remedy)


def _collector(environment: Mapping[str, str]) -> str:
    endpoint = environment.get(OTLP_ENDPOINT, "http://localhost:4318")
    return _checked_url(endpoint, OTLP_ENDPOINT, "Set it to the collector's address, such as http://localhost:4318.")


def _checked_url(url: str, name: str, remedy: str) -> str:
    """Scheme and host of a URL; http is for this machine alone.

    Raises:
        ConfigurationError: it is no such URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigurationError(SETTING, f"{name} has no http or https address", remedy)
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(SETTING, f"{name} would send in clear text to {host}", "Use https.")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


Complain = Callable[[str], None]
"""Told in a few words what went wrong with telemetry."""
