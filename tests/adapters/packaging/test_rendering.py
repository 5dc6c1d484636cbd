"""A command's words reach the worker through systemd as they are."""

from __future__ import annotations

import re

import pytest

from adapters.packaging.package import UNITS, asset
from adapters.packaging.rendering import render_script, render_unit


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("./job.sh", '"./job.sh"'),
        ("50%", '"50%%"'),
        ("$HOME", '"$$HOME"'),
        ('a "b" c', '"a \\"b\\" c"'),
        ("back\\slash", '"back\\\\slash"'),
        ("new\nline", '"new\\x0aline"'),
        (";", '";"'),
        ("", '""'),
    ],
)
@pytest.mark.parametrize("name", UNITS)
def test_words_are_quoted_as_systemd_reads_them(name: str, word: str, quoted: str) -> None:
    """No word is a specifier, a variable, a separator or two words."""
    rendered = render_unit(asset(name), command=[word], stop_grace_s=60.0, imds_poll_s=1.0, health_port=None, units=1)
    started = re.findall(
        r"(?m)^ExecStart=/opt/spotfsm/current/(?:venv/bin/spotfsm worker|instance %i) -- (.*)$", rendered
    )
    assert started == [quoted]
    assert "TimeoutStopSec=65\n" in rendered


def test_the_script_says_what_it_installs() -> None:
    """Each value stands where the script reads it, and nothing else has changed."""
    script = asset("orchestrate.sh")
    rendered = render_script(script, version="1.2.3", python="3.12", architecture="aarch64", units=4)
    changed = set(rendered.splitlines()) - set(script.splitlines())
    assert changed == {
        "readonly version=1.2.3",
        "readonly python=3.12",
        "readonly architecture=aarch64",
        "readonly units=4",
    }
