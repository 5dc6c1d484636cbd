"""The planning commands against a local Azure, with tokens of the twin's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.adapters.azure.planning.cloud import Cloud
from tests.adapters.cli.conftest import Command, Ended

Ask = Callable[..., Ended]


def asking(inside: Command, cloud: Cloud, twin: str, directory: Path, command: str) -> Ask:
    """Runs the command with the local services; `signed_in=False` without a credential."""
    environment = {
        "XDG_CACHE_HOME": str(directory / "cache"),
        "SPOTFSM_PRICES_URL": cloud.url,
        "SPOTFSM_ARM_URL": cloud.url,
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": twin,
    }

    def ask(*arguments: object, signed_in: bool = True) -> Ended:
        credential = "managed-identity" if signed_in else "none"
        return inside(command, *arguments, env={**environment, "SPOTFSM_CREDENTIAL": credential})

    return ask


def quotes(ended: Ended) -> list[dict[str, object]]:
    """The quotes of a report."""
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)["quotes"]
    assert isinstance(found, list)
    return found


def age_cache(directory: Path, hours: int) -> None:
    """Let everything in the cache be older than it is."""
    from datetime import datetime, timedelta

    for file in (directory / "cache" / "spotfsm").glob("*.json"):
        entry = json.loads(file.read_text())
        entry["at"] = (datetime.fromisoformat(entry["at"]) - timedelta(hours=hours)).isoformat()
        file.write_text(json.dumps(entry))
