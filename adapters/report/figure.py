"""The drawing: price, room, VMs, workers and jobs under one axis of time.

What is drawn is said in Plotly's own terms, as JSON; Plotly checks every key when the page is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from fsm.application import AppState
from fsm.spot_vm import PAY_AS_YOU_GO, VmState
from simulator.clock import ORIGIN
from simulator.observing import RunEnd
from simulator.result import JobHistory, RunSpan, SimulationResult

Shape = dict[str, object]
"""One trace, one axis or one layout of Plotly's."""

VM_COLOURS = {
    VmState.RUNNING: "#2e9e6b",
    VmState.STOPPED: "#d9822b",
    VmState.DELETED: "#8a6fc9",
    VmState.NOT_DEPLOYED: "#9aa4b2",
}
APP_COLOURS = {
    AppState.RECOVERING: "#3aa0d8",
    AppState.WARMING_UP: "#e0b93a",
    AppState.PROCESSING: "#2e9e6b",
    AppState.EVICTED: "#d9822b",
    AppState.DRAINED: "#8a6fc9",
    AppState.OFFLINE: "#9aa4b2",
}
RUN_COLOURS: dict[RunEnd | None, str] = {
    RunEnd.FINISHED: "#2e9e6b",
    RunEnd.INTERRUPTED: "#e0b93a",
    RunEnd.KILLED: "#d64550",
    RunEnd.FAILED: "#8a6fc9",
    None: "#9aa4b2",
}
_RUN_NAMES: dict[RunEnd | None, str] = {
    RunEnd.FINISHED: "finished",
    RunEnd.INTERRUPTED: "let go, saved if it could be",
    RunEnd.KILLED: "killed",
    RunEnd.FAILED: "failed",
    None: "still on",
}
_JOBS_AXIS = "y5"
_PRICE, _ROOM = "#3aa0d8", "#d9822b"
_WAITING = "rgba(128,138,150,0.45)"
_MARKS = {
    "notice": ("notice", "triangle-down", "#d64550"),
    "notice_gone": ("notice gone", "triangle-up", "#ffffff"),
    "freeze": ("freeze", "square", "#2455c3"),
    "loop_blocked": ("worker stood still", "square-cross", "#2455c3"),
    "kill": ("kill", "x", "#d64550"),
    "stop_sent": ("stop sent", "octagon", "#1c2430"),
    "clock_jump": ("clock jump", "diamond-wide", "#8a6fc9"),
    "acknowledged": ("acknowledged", "circle", "#1c2430"),
}
"""What is marked on workers: its name, its symbol, its colour."""
_MARK_COLOUR = "#d64550"
_TICK = 0.36
"""Half a checkpoint's height, in rows."""
_GAP_PX, _TOP_PX, _BOTTOM_PX = 46, 76, 48


def figure(result: SimulationResult) -> Shape:
    """Data and layout of the drawing."""
    vms = list(dict.fromkeys(span.vm for span in result.vms))
    bounded = any(moment.capacity is not None for moment in result.market)
    panels = (
        _Panel("Spot price, USD an hour", 150),
        _Panel("room for VMs" if bounded else "room for any number of VMs", 90),
        _Panel("VMs", _rows_px(len(vms))),
        _Panel("workers", _rows_px(len(vms))),
        _Panel("jobs", max(160, min(3000, 15 * len(result.jobs)))),
    )
    data = [*_market(result, len(vms)), *_vms(result, vms), *_workers(result, vms), *_jobs(result)]
    return {"data": data, "layout": _layout(panels, vms, len(result.jobs), _end_s(result))}


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    height_px: int


def _rows_px(rows: int) -> int:
    return max(70, min(420, 24 * rows))


def _end_s(result: SimulationResult) -> float:
    return max((span.to_s for span in result.vms), default=result.summary.makespan_s)


# -- what is drawn ----------------------------------------------------------------------------------------------------


def _market(result: SimulationResult, vms: int) -> Iterator[Shape]:
    end_s = _end_s(result)
    moments = [moment for moment in result.market if moment.at_s <= end_s]
    times = [_at(moment.at_s) for moment in moments] + [_at(end_s)]
    prices = [float(moment.price_usd_per_h) for moment in moments]
    rooms = [moment.capacity for moment in moments]
    step = {"shape": "hv", "width": 1.6}
    limits = {plan.max_price_usd_per_h for plan in result.scenario.vms} - {PAY_AS_YOU_GO}
    for limit in sorted(limits):
        yield {
            "type": "scatter",
            "mode": "lines",
            "name": "max price",
            "x": [_at(0.0), _at(end_s)],
            "y": [float(limit)] * 2,
            "line": {"color": _MARK_COLOUR, "dash": "dash", "width": 1},
            "yaxis": "y",
            "hovertemplate": "max price %{y:.5f} USD an hour<extra></extra>",
            "showlegend": False,
        }
    yield {
        "type": "scatter",
        "mode": "lines",
        "name": "Spot price",
        "x": times,
        "y": prices + prices[-1:],
        "line": {**step, "color": _PRICE},
        "yaxis": "y",
        "hovertemplate": "%{x}<br>%{y:.5f} USD an hour<extra></extra>",
        "showlegend": False,
    }
    any_number = max([vms, *(room for room in rooms if room is not None)])
    yield {
        "type": "scatter",
        "mode": "lines",
        "name": "room",
        "x": times,
        "y": [any_number if room is None else room for room in (*rooms, *rooms[-1:])],
        "text": ["any number" if room is None else str(room) for room in (*rooms, *rooms[-1:])],
        "line": {**step, "color": _ROOM},
        "fill": "tozeroy",
        "fillcolor": "rgba(217,130,43,0.18)",
        "yaxis": "y2",
        "hovertemplate": "%{x}<br>room for %{text} of VMs<extra></extra>",
        "showlegend": False,
    }


def _vms(result: SimulationResult, vms: Sequence[str]) -> Iterator[Shape]:
    for state, colour in VM_COLOURS.items():
        spans = [span for span in result.vms if span.state is state]
        yield _bars(
            [(span.from_s, span.to_s, vms.index(span.vm) + 1) for span in spans],
            [f"{span.vm} {state.value}{_by(span.row)}{_span_text(span.from_s, span.to_s)}" for span in spans],
            name=state.value,
            colour=colour,
            axis="y3",
            group="VMs",
        )


def _workers(result: SimulationResult, vms: Sequence[str]) -> Iterator[Shape]:
    for state, state_colour in APP_COLOURS.items():
        spans = [span for span in result.applications if span.state is state]
        yield _bars(
            [(span.from_s, span.to_s, vms.index(span.vm) + 1) for span in spans],
            [f"{span.process} {state.value}{_by(span.row)}{_span_text(span.from_s, span.to_s)}" for span in spans],
            name=state.value,
            colour=state_colour,
            axis="y4",
            group="workers",
        )
    for kind, (name, symbol, colour) in _MARKS.items():
        marks = []
        for mark in result.marks:
            vm = str(mark.fields.get("vm") or mark.source.partition("/")[0])
            if mark.kind == kind and vm in vms:
                fields = ", ".join(f"{name} {value}" for name, value in mark.fields.items())
                text = f"{name} at {_clock(mark.at_s)}<br>{fields}"
                marks.append((mark.at_s, float(vms.index(vm) + 1), text))
        yield _marks(marks, name=name, symbol=symbol, colour=colour, axis="y4", group="workers")


def _jobs(result: SimulationResult) -> Iterator[Shape]:
    end_s = _end_s(result)
    rows = [(number, job) for number, job in enumerate(result.jobs, start=1)]
    settled = [(job.arrived_s, end_s if job.settled_s is None else job.settled_s, number) for number, job in rows]
    about = [_job_text(number, job) for number, job in rows]
    yield _bars(settled, about, name="on the queue", colour=_WAITING, axis=_JOBS_AXIS, group="jobs", width=0.22)
    for end, colour in RUN_COLOURS.items():
        runs = [(number, job, run) for number, job in rows for run in job.runs if run.end is end]
        yield _bars(
            [(run.from_s, run.to_s, number) for number, _, run in runs],
            [_run_text(number, job, run) for number, job, run in runs],
            name=f"run: {_RUN_NAMES[end]}",
            colour=colour,
            axis=_JOBS_AXIS,
            group="jobs",
        )
    yield from _job_marks(rows)


def _job_marks(rows: Sequence[tuple[int, JobHistory]]) -> Iterator[Shape]:
    runs = [(number, job, run) for number, job in rows for run in job.runs]
    saved = [
        (at_s, float(number), f"job {number}: checkpoint at {units} of {job.units} units<br>{_clock(at_s)}")
        for number, job, run in runs
        for at_s, units in run.checkpoints
    ]
    yield _ticks(saved, name="checkpoint", group="jobs")
    resumed = [
        (run.from_s, float(number), f"job {number}: resumes from {run.resumed_from} of {job.units} units on {run.vm}")
        for number, job, run in runs
        if run.resumed_from > 0
    ]
    yield _marks(resumed, name="resume", symbol="triangle-right", colour="#3aa0d8", axis=_JOBS_AXIS, group="jobs")
    killed = [
        (run.to_s, float(number), f"job {number}: killed with {run.vm} at {run.done} of {job.units} units")
        for number, job, run in runs
        if run.end is RunEnd.KILLED
    ]
    yield _marks(killed, name="kill", symbol="x", colour=_MARK_COLOUR, axis=_JOBS_AXIS, group="jobs")
    poisoned = [
        (job.settled_s, float(number), f"job {number}: poisoned")
        for number, job in rows
        if job.poisoned and job.settled_s is not None
    ]
    yield _marks(poisoned, name="poisoned", symbol="star-diamond", colour="#8a6fc9", axis=_JOBS_AXIS, group="jobs")


def _bars(
    spans: Sequence[tuple[float, float, int]],
    texts: Sequence[str],
    *,
    name: str,
    colour: str,
    axis: str,
    group: str,
    width: float = 0.72,
) -> Shape:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "base": [_at(from_s) for from_s, _, _ in spans],
        "x": [round((to_s - from_s) * 1000) for from_s, to_s, _ in spans],
        "y": [row for _, _, row in spans],
        "width": width,
        "marker": {"color": colour, "line": {"width": 0}},
        "hovertext": list(texts),
        "hoverinfo": "text",
        "xaxis": _time_of(axis),
        "yaxis": axis,
        "legendgroup": group,
        "legendgrouptitle": {"text": group},
        "showlegend": bool(spans),
    }


def _marks(
    points: Sequence[tuple[float, float, str]],
    *,
    name: str,
    symbol: str,
    colour: str,
    axis: str,
    group: str,
) -> Shape:
    border = _MARK_COLOUR if colour == "#ffffff" else "#ffffff"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [_at(at_s) for at_s, _, _ in points],
        "y": [row for _, row, _ in points],
        "marker": {"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1, "color": border}},
        "hovertext": [text for _, _, text in points],
        "hoverinfo": "text",
        "xaxis": _time_of(axis),
        "yaxis": axis,
        "legendgroup": group,
        "legendgrouptitle": {"text": group},
        "showlegend": bool(points),
    }


def _ticks(points: Sequence[tuple[float, float, str]], *, name: str, group: str) -> Shape:
    """Upright strokes: one line with gaps, which a browser draws at once where ten thousand marks would stall it."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [time for at_s, _, _ in points for time in (_at(at_s), _at(at_s), None)],
        "y": [end for _, row, _ in points for end in (row - _TICK, row + _TICK, None)],
        "line": {"width": 1.2},
        "hovertext": [text for _, _, text in points for text in (text, text, "")],
        "hoverinfo": "text",
        "xaxis": _time_of(_JOBS_AXIS),
        "yaxis": _JOBS_AXIS,
        "legendgroup": group,
        "legendgrouptitle": {"text": group},
        "showlegend": bool(points),
    }


def _time_of(axis: str) -> str:
    return "x2" if axis == _JOBS_AXIS else "x"


# -- layout -----------------------------------------------------------------------------------------------------------


def _layout(panels: Sequence[_Panel], vms: Sequence[str], jobs: int, end_s: float) -> Shape:
    inner_px = sum(panel.height_px for panel in panels) + _GAP_PX * (len(panels) - 1)
    layout: Shape = {
        "height": inner_px + _TOP_PX + _BOTTOM_PX,
        "margin": {"l": 90, "r": 20, "t": _TOP_PX, "b": _BOTTOM_PX},
        "barmode": "overlay",
        "hovermode": "closest",
        "dragmode": "zoom",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": _WAITING, "activecolor": _PRICE},
        "legend": {"groupclick": "toggleitem", "tracegroupgap": 14, "font": {"size": 12}},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "xaxis": {**_time_axis(end_s), "anchor": "y", "side": "top"},
        "xaxis2": {**_time_axis(end_s), "anchor": f"y{len(panels)}", "matches": "x"},
    }
    scales: tuple[Shape, ...] = (
        {"rangemode": "tozero", "tickformat": ".3~f"},
        {"rangemode": "tozero", "tickformat": "d", **({"dtick": 1} if len(vms) < 4 else {"nticks": 4})},
        _named_rows(vms),
        _named_rows(vms),
        {"range": [jobs + 0.7, 0.3], "tickformat": "d", **({"dtick": 1} if jobs < 12 else {"nticks": 12})},
    )
    top = 1.0
    titles: list[Shape] = []
    for number, (panel, scale) in enumerate(zip(panels, scales, strict=True), start=1):
        bottom = max(0.0, top - panel.height_px / inner_px)
        layout[f"yaxis{'' if number == 1 else number}"] = {**scale, "domain": [bottom, top], "zeroline": False}
        titles.append(
            {
                "text": f"<b>{panel.title}</b>",
                "xref": "paper",
                "yref": "paper",
                "x": 0,
                "y": top,
                "yshift": 34 if number == 1 else 0,
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
        top = bottom - _GAP_PX / inner_px
    layout["annotations"] = titles
    return layout


def _time_axis(end_s: float) -> Shape:
    """Time stands above the first panel and under the last, and both zoom as one."""
    return {
        "type": "date",
        "range": [_at(0.0), _at(end_s)],
        "showspikes": True,
        "spikemode": "across",
        "spikethickness": 1,
        "spikedash": "dot",
    }


def _named_rows(names: Sequence[str]) -> Shape:
    return {
        "range": [len(names) + 0.6, 0.4],
        "tickvals": list(range(1, len(names) + 1)),
        "ticktext": list(names),
        "showgrid": False,
    }


# -- words ------------------------------------------------------------------------------------------------------------


def _at(seconds: float) -> str:
    return (ORIGIN + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _clock(seconds: float) -> str:
    return (ORIGIN + timedelta(seconds=seconds)).strftime("%a %d %H:%M:%S")


def _by(row: str) -> str:
    return f" (row {row})" if row else ""


def _span_text(from_s: float, to_s: float) -> str:
    return f"<br>{_clock(from_s)} to {_clock(to_s)}<br>{to_s - from_s:,.1f} s"


def _job_text(number: int, job: JobHistory) -> str:
    end = "never settled" if job.settled_s is None else "poisoned" if job.poisoned else "completed"
    counts = "".join(f"<br>{name}: {count}" for name, count in _present(job))
    until_s = job.arrived_s if job.settled_s is None else job.settled_s
    return f"job {number}: {end}, {len(job.runs)} runs{_span_text(job.arrived_s, until_s)}{counts}<br>{job.job}"


def _present(job: JobHistory) -> Iterable[tuple[str, int]]:
    return ((name, count) for name, count in job.counts.items() if count)


def _run_text(number: int, job: JobHistory, run: RunSpan) -> str:
    start = f"from {run.resumed_from}" if run.resumed_from else "from the beginning"
    return (
        f"job {number}, delivery {run.epoch} on {run.vm}: {_RUN_NAMES[run.end]}"
        f"<br>{start} to {run.done} of {job.units} units{_span_text(run.from_s, run.to_s)}"
    )
