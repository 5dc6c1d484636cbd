"""`python -m tests.proxy`, or `make hardening`: work through a proxy that spoils every seventh request."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from pathlib import Path

from tests.azurite import shared
from tests.proxy.campaign import Campaign, HardeningFailedError, by_kind, described


def main() -> int:
    """Run the campaign and say what came of it; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.proxy", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="how many requests it lasts")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="what all is drawn from")
    given = parser.parse_args()
    replay = f"{Path(sys.executable).name} -m tests.proxy --requests {given.requests} --seed {given.seed}"
    began_s = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began_s:6.1f} s  {text}", flush=True)  # noqa: T201 -- what a command is for

    tell(f"{given.requests} requests, seed {given.seed}; replay: {replay}")
    try:
        verdict = Campaign(requests=given.requests, seed=given.seed, replay=replay, tell=tell).run(shared())
    except HardeningFailedError as exc:
        tell(f"FAILED\n{exc}")
        return 1
    tell(f"{described(verdict.weather)}: {by_kind(verdict.weather.faults)}")
    tell(f"0 lost, 0 recorded twice: {verdict.tested}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
