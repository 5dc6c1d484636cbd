"""The page around the drawing: the verdict, the numbers, the promises, and how to run it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from html import escape
from importlib import resources

from adapters.report.figure import Shape, figure
from simulator.result import SimulationResult
from simulator.swarm import drawn_options

_TEMPLATE = "page.html"


def page(result: SimulationResult, replay: str) -> str:
    """One HTML document that asks for nothing from anywhere; `replay` is the command that runs it again."""
    template = (resources.files("adapters.report") / _TEMPLATE).read_text(encoding="utf-8")
    parts = {
        "title": escape(f"{result.scenario.name}, seed {result.seed}"),
        "name": escape(result.scenario.name),
        "seed": str(result.seed),
        "about": escape(result.scenario.about),
        "verdict": _verdict(result),
        "numbers": "".join(_number(name, value, beside) for name, value, beside in _numbers(result)),
        "promises": "".join(_promise(promise.value, kept=kept) for promise, kept in result.promises.items()),
        "options": escape(drawn_options(result.scenario) or "the defaults"),
        "replay": escape(replay),
        "figure": _checked(figure(result)),
        "plotly": _plotly(),
    }
    for name, text in parts.items():  # Plotly's own code comes last: what it holds is not looked at again
        template = template.replace(f"<!--{name}-->", text, 1)
    return template


def _checked(drawing: Shape) -> str:
    """The drawing as JSON for a script, every key of it known to Plotly."""
    from plotly.graph_objects import Figure  # type: ignore[import-untyped] # it has no annotations

    Figure(data=drawing["data"], layout=drawing["layout"])
    return json.dumps(drawing, separators=(",", ":")).replace("<", "\\u003c")


def _plotly() -> str:
    """Plotly's code for browsers, as it comes with the package."""
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped] # it has no annotations

    return str(get_plotlyjs())


def _verdict(result: SimulationResult) -> str:
    if result.ok:
        return '<p class="verdict kept">Every promise kept, every expectation met.</p>'
    faults = (*map(str, result.violations), *result.missed)
    items = "".join(f"<li>{escape(fault)}</li>" for fault in faults)
    return f'<div class="verdict broken">It failed:<ul>{items}</ul></div>'


def _numbers(result: SimulationResult) -> Iterator[tuple[str, str, str]]:
    """Name, value, and what stands small beside it."""
    summary, costs = result.summary, result.costs
    yield "completed", f"{summary.completed} of {summary.jobs}", f"{summary.poisoned} poisoned, {summary.lost} lost"
    yield "makespan", _time(summary.makespan_s), f"{_time(costs.pay_as_you_go_s)} on one pay-as-you-go VM"
    yield "cost", f"{costs.total_usd:,.4f} USD", f"{costs.pay_as_you_go_usd:,.4f} USD on pay-as-you-go"
    yield "saved", f"{costs.saving:.1%}", f"compute {costs.compute_usd:,.4f}, disks {costs.disks_usd:,.4f} USD"
    yield "evictions", str(summary.evictions), f"{summary.announced} with a notice, {summary.withdrawn} withdrawn"
    yield "redone work", _time(summary.redone_s), f"{_time(summary.useful_s)} of useful work"
    yield "idle time", _time(summary.idle_s), f"of {_time(summary.running_s)} VM time paid"
    yield "runs", str(summary.runs), f"{summary.resumes} resumed, {summary.refusals} allocations refused"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = timedelta(seconds=round(seconds))
    days, (hours, rest) = whole.days, divmod(whole.seconds, 3600)
    return (
        f"{days} d {hours} h" if days else f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
    )


def _number(name: str, value: str, beside: str) -> str:
    return (
        f'<div class="number"><span>{escape(name)}</span><strong>{escape(value)}</strong>'
        f"<small>{escape(beside)}</small></div>"
    )


def _promise(name: str, *, kept: bool) -> str:
    css, mark = ("kept", "✓") if kept else ("broken", "✗")
    return f'<li class="{css}">{mark} {escape(name)}</li>'
