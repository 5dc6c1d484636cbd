"""`python -m tests.torture`, or `make torture KILLS=500`: kill workers at random on SQLite and on Azurite."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.azurite import shared
from tests.processes.places import Place, azurite_place, sqlite_place
from tests.torture.campaign import Campaign, TortureFailedError

PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "sqlite": sqlite_place,
    "azurite": lambda _directory: azurite_place(shared()),
}


def main() -> int:
    """Run the campaigns and say what came of them; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="how many SIGKILLs on each kind of queue")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="what all is drawn from")
    parser.add_argument("--only", choices=PLACES, help="one kind of queue alone")
    given = parser.parse_args()
    broken = 0
    for name in [given.only] if given.only else PLACES:
        replay = f"{Path(sys.executable).name} -m tests.torture --kills {given.kills} --seed {given.seed} --only {name}"
        _say(f"{name}: {given.kills} kills, seed {given.seed}; replay: {replay}")
        began_s = time.monotonic()

        def tell(text: str, *, name: str = name, began_s: float = began_s) -> None:
            _say(f"{name}: {time.monotonic() - began_s:6.1f} s  {text}")

        try:
            campaign = Campaign(name=name, kills=given.kills, seed=given.seed, replay=replay, tell=tell)
            summary = campaign.run(PLACES[name])
        except TortureFailedError as exc:
            broken += 1
            tell(f"FAILED\n{exc}")
        else:
            tell(f"0 lost, 0 recorded twice, progress never back: {summary}")
    return 1 if broken else 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 -- what a command is for


if __name__ == "__main__":
    sys.exit(main())
