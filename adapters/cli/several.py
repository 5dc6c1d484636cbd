"""Running several workers on one VM: who they are, and what they must not do all at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from adapters import wiring
from adapters.cli.instances import Instances, tried
from adapters.cli.log import Log
from adapters.cli.running import Place, Receipt, only_this, run_worker, show_receipts
from adapters.host.service_manager import ServiceManager
from adapters.imds.turns import Turn
from adapters.telemetry.backends import check_backend
from fsm.runner import WorkerSettings
from fsm.runner.settings import SETTLING_S


def run_several(place: Place, settings: WorkerSettings, handling: wiring.Handling, *, count: int, as_json: bool) -> int:
    """Run `count` workers, each a process of its own, print their receipts, and return the exit code.

    Raises:
        ConfigurationError: a worker of such a name runs already.
    """
    each = [_one(place, settings, Turn(place=number, count=count)) for number in range(count)]

    def work(number: int, tell: Callable[[Receipt], None]) -> int:
        return run_worker(*each[number], handling, as_json=as_json, tell=tell)

    def try_settings() -> int:
        check_backend(place.watching.telemetry)
        wiring.open_job_runner(handling)
        asyncio.run(wiring.check_embedded(place.addresses))
        return 0

    with ExitStack() as locks:
        for one in each:
            locks.enter_context(only_this(*one))
        # A handler's module may start threads, and a process with threads must not fork: it is tried out elsewhere.
        log = Log(form=place.log.resolved(), worker=settings.instance)
        code = tried(try_settings, log)
        if code:
            return code
        parent = Instances(
            [own.instance for _, own in each],
            work,
            log,
            service_manager=ServiceManager.taken_from(os.environ),
            stop_s=settings.stop_grace_s + SETTLING_S,
        )
        code = parent.run()
    show_receipts(parent.receipts, place, as_json=as_json, several=True)
    return code


def _one(place: Place, settings: WorkerSettings, turn: Turn) -> tuple[Place, WorkerSettings]:
    """Where and how one of them works."""
    own = replace(
        settings,
        instance=f"{settings.instance}-{turn.place + 1}",
        imds_poll_s=max(settings.imds_poll_s, turn.period_s),
    )
    watching = place.watching
    if watching.health_port:
        first, others = watching.health_port, range(watching.health_port + 1, watching.health_port + turn.count)
        beside = tuple(others) if turn.place == 0 else ()
        watching = replace(watching, health_port=first + turn.place, health_beside=beside)
    return replace(place, watching=watching, turn=turn), own
