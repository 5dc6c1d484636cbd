"""The page of a run: it holds what happened, asks nothing of anybody, and works in a browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.report import require_plotly, write_page
from adapters.report.figure import figure
from fsm.errors import ConfigurationError
from simulator.loading import load_scenario
from simulator.observing import RunEnd
from simulator.result import SimulationResult
from simulator.scenario import Expectations, VmPlan
from simulator.simulation import simulate
from tests.second_tier import unavailable

REPLAY = "spotfsm simulate eviction-storm --seed 0"
PAGE_BYTES_MAX = 8_000_000
PROBE = """
<script>
"use strict";
(async () => {
  const seen = {}, box = document.getElementById("drawing"), root = document.documentElement;
  while (!root.dataset.drawn) await new Promise(go => setTimeout(go, 50));
  seen.bars = box.querySelectorAll(".bars .point path").length;
  seen.marks = box.querySelectorAll(".scatterlayer .point").length;
  seen.legend = [...box.querySelectorAll(".legendtext")].map(text => text.textContent);
  const before = box._fullLayout.xaxis.range.join();
  await Plotly.relayout(box, { "xaxis.range": ["2026-01-01 00:05:00", "2026-01-01 00:10:00"] });
  seen.zoomed = before !== box._fullLayout.xaxis.range.join();
  seen.together = box._fullLayout.xaxis2.range.join() === box._fullLayout.xaxis.range.join();
  await Plotly.relayout(box, { "xaxis.autorange": true });
  const run = box.data.findIndex(trace => trace.name === "run: finished");
  Plotly.Fx.hover(box, [{ curveNumber: run, pointNumber: 0 }], ["x2y5"]);
  seen.hover = [...box.querySelectorAll(".hovertext")].map(text => text.textContent).join();
  const paint = () => [getComputedStyle(document.body).backgroundColor, box._fullLayout.font.color].join();
  const first = paint();
  document.getElementById("theme").click();
  await new Promise(go => setTimeout(go, 300));
  seen.repainted = first !== paint();
  document.body.innerHTML = '<pre id="seen"></pre>';
  document.getElementById("seen").textContent = btoa(unescape(encodeURIComponent(JSON.stringify(seen))));
})();
</script>
"""


@pytest.fixture(scope="module")
def storm() -> SimulationResult:
    """A run with kills, resumes, notices and checkpoints."""
    return simulate(load_scenario("eviction-storm").scenario, 0)


def test_every_run_checkpoint_kill_and_resume_is_drawn(storm: SimulationResult) -> None:
    """Nothing that happened to a job is left out."""
    data = figure(storm)["data"]
    assert isinstance(data, list)
    drawn = {trace["name"]: len(trace["x"]) for trace in data if trace["yaxis"] == "y5"}
    runs = [run for job in storm.jobs for run in job.runs]
    killed = sum(run.end is RunEnd.KILLED for run in runs)
    assert killed > 0
    assert drawn["kill"] == drawn["run: killed"] == killed
    assert drawn["resume"] == storm.summary.resumes > 0
    assert drawn["checkpoint"] == 3 * sum(len(run.checkpoints) for run in runs) > 0
    assert sum(count for name, count in drawn.items() if name.startswith("run: ")) == len(runs)
    assert drawn["on the queue"] == len(storm.jobs)


def test_vms_workers_price_and_room_are_drawn(storm: SimulationResult) -> None:
    """Each state of each VM and each worker is a bar, and the market stands above them."""
    data = figure(storm)["data"]
    assert isinstance(data, list)
    bars = {axis: sum(len(trace["x"]) for trace in data if trace["yaxis"] == axis and trace["type"] == "bar")
            for axis in ("y3", "y4")}  # fmt: skip
    assert bars == {"y3": len(storm.vms), "y4": len(storm.applications)}
    lines = {trace["yaxis"]: trace for trace in data if trace.get("mode") == "lines"}
    assert {"y", "y2"} <= set(lines)
    assert lines["y"]["y"][0] == float(storm.market[0].price_usd_per_h)


def test_each_max_price_is_a_line(storm: SimulationResult) -> None:
    """Where a VM has a limit, the price is seen to pass it; -1 is none."""
    limited = VmPlan(name="limited", max_price_usd_per_h=Decimal("0.05"))
    plans = (*storm.scenario.vms, limited, replace(limited, name="more"))
    data = figure(replace(storm, scenario=replace(storm.scenario, vms=plans)))["data"]
    assert isinstance(data, list)
    assert [trace["y"] for trace in data if trace["name"] == "max price"] == [[0.05, 0.05]]


def test_the_page_is_one_file_that_loads_nothing(storm: SimulationResult, tmp_path: Path) -> None:
    """It opens offline: no script, style or image of another file, and a policy that forbids them."""
    file = tmp_path / "storm.html"
    write_page(storm, file, replay=REPLAY)
    text = file.read_text(encoding="utf-8")
    assert len(text.encode()) < PAGE_BYTES_MAX
    own = text.replace(_plotly_code(text), "")
    assert not re.search(r"""(src|href)\s*=|@import|url\(|https?://""", own)
    assert "default-src 'none'" in own
    assert "<!--" not in own, "every part of the template is filled in"


def _plotly_code(text: str) -> str:
    return str(max(re.findall(r"<script>(.*?)</script>", text, re.DOTALL), key=len))


def test_the_page_tells_the_verdict_and_the_command(storm: SimulationResult, tmp_path: Path) -> None:
    """Who is sent only the page knows what failed and how to run it again, and no name can break the page."""
    scenario = replace(storm.scenario, name="<script>alert(1)</script>", expect=Expectations(completed=61))
    failed = replace(storm, scenario=scenario, missed=("completed: 61 expected, 60 found",))
    file = tmp_path / "failed.html"
    write_page(failed, file, replay=REPLAY)
    text = file.read_text(encoding="utf-8")
    assert "completed: 61 expected, 60 found" in text
    assert REPLAY in text
    assert "<script>alert(1)" not in text
    assert "Every promise kept" not in text


def test_without_plotly_one_line_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who did not install the extra is told which one it is."""
    monkeypatch.setattr("adapters.report.find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"^--html: Plotly is not installed\. Install it: pip .*report"):
        require_plotly()


@pytest.mark.root
def test_a_browser_draws_zooms_hovers_and_changes_its_colours(storm: SimulationResult, tmp_path: Path) -> None:
    """In a real Chromium without a network the bars are there, both axes zoom as one, and a hover says what it is."""
    chromium = shutil.which("chromium")
    if chromium is None:
        unavailable("it needs chromium")
    file = tmp_path / "storm.html"
    write_page(storm, file, replay=REPLAY)
    file.write_text(file.read_text(encoding="utf-8").replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    ended = subprocess.run(
        [
            chromium,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--window-size=1500,1500",
            "--virtual-time-budget=20000",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    found = re.search(r'<pre id="seen">([A-Za-z0-9+/=]+)</pre>', ended.stdout)
    assert found is not None, ended.stderr[-3000:]
    complaints = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    assert not complaints
    seen = json.loads(base64.b64decode(found[1]))
    runs = sum(len(job.runs) for job in storm.jobs)
    assert seen["bars"] == len(storm.vms) + len(storm.applications) + len(storm.jobs) + runs
    killed = sum(run.end is RunEnd.KILLED for job in storm.jobs for run in job.runs)
    assert seen["marks"] == killed + storm.summary.resumes + len(storm.marks)
    assert {"Running", "Stopped", "Processing", "run: killed", "checkpoint", "resume", "kill"} <= set(seen["legend"])
    assert seen["zoomed"]
    assert seen["together"]
    assert re.search(r"job \d+, delivery \d+ on vm-\d+: finished", seen["hover"])
    assert seen["repainted"]
