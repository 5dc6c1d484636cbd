"""A page about one simulated run: opens offline, zooms, and says on hover what each bar and mark is.

Drawn by Plotly, which comes with `spotfsm[report]` and is imported only here, when a page is asked for.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fsm.errors import ConfigurationError
from simulator.result import SimulationResult

__all__ = ["require_plotly", "write_page"]


def require_plotly() -> None:
    """Go on if Plotly is installed.

    Raises:
        ConfigurationError: it is not.
    """
    if find_spec("plotly") is None:
        raise ConfigurationError("--html", "Plotly is not installed", "Install it: pip install 'spotfsm[report]'.")


def write_page(result: SimulationResult, file: Path, *, replay: str) -> None:
    """Write the page about a run.

    Args:
        result: the run.
        file: where to.
        replay: the command that runs it again.

    Raises:
        ConfigurationError: Plotly is not installed, or the file cannot be written.
    """
    require_plotly()
    from adapters.report.page import page

    try:
        file.write_text(page(result, replay), encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError("--html", f"{file} cannot be written ({exc})", "Name another file.") from exc
