"""The same seed gives the same journal, byte for byte: in every run, every process, under every hash seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from simulator.simulation import simulate
from simulator.swarm import drawn_scenario

SEEDS = (1, 5, 11, 49)
ROOT = Path(__file__).parents[2]


def _digest() -> str:
    """One hash over the journals and the numbers of some worlds in which much goes wrong."""
    digest = hashlib.sha256()
    for seed in SEEDS:
        result = simulate(drawn_scenario(seed), seed)
        digest.update("\n".join(result.journal).encode())
        digest.update(repr((result.summary, result.costs, result.market, result.vms, result.jobs)).encode())
    return digest.hexdigest()


def test_a_seed_is_a_journal() -> None:
    """Twice in this process and once in processes with other hash seeds: not a byte differs."""
    here = [_digest(), _digest()]
    command = [sys.executable, "-c", "from tests.simulator.test_determinism import _digest; print(_digest())"]
    there = [
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout.strip()
        for hash_seed in ("0", "1", "4242")
    ]
    assert {*here, *there} == {here[0]}


def test_another_seed_is_another_journal() -> None:
    """Seeds differ, so that more of them find more."""
    journals = [simulate(drawn_scenario(seed), seed).journal for seed in (5, 11)]
    assert journals[0] != journals[1]
