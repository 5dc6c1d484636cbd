"""Puts together what watches a worker: nothing by default, and then nothing of it is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from adapters.telemetry.backends import Backend
from fsm.ports import JsonScalar

if TYPE_CHECKING:
    from adapters.telemetry.measures import Measures

LOOPBACK = "127.0.0.1"

Observer: TypeAlias = Callable[[str, Mapping[str, JsonScalar]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """How a worker may be watched from outside; not at all by default.

    Attributes:
        health_port: where health and metrics are served; 0 for any free port, None for not at all.
        health_address: on which of the host's addresses.
        health_beside: where those of the workers beside it are, if it answers for them as well.
        backlog_s: how old the whole queue's counts among the metrics may be; None for no such counts.
        telemetry: where OpenTelemetry goes.
    """

    health_port: int | None = None
    health_address: str = LOOPBACK
    health_beside: tuple[int, ...] = ()
    backlog_s: float | None = None
    telemetry: Backend = Backend.NONE


class Watched(NamedTuple):
    """What watches a worker.

    Attributes:
        observers: to be shown every journal entry.
        measures: what is measured, if anything is.
        url: where health and metrics are served, if they are.
    """

    observers: tuple[Observer, ...] = ()
    measures: Measures | None = None
    url: str | None = None


@contextmanager
def watched_by(
    watching: Watching, *, worker: str, lease_s: float, silent_s: Callable[[], float], complain: Callable[[str], None]
) -> Iterator[Watched]:
    """Open what watches a worker; at the end, send what telemetry was not sent yet, and close.

    Args:
        watching: what is wanted.
        worker: its name on the VM.
        lease_s: how long its leases last.
        silent_s: how long ago its loop last beat.
        complain: told what goes wrong with telemetry, from any thread.

    Raises:
        ConfigurationError: it cannot be as it is set.
    """
    if watching.health_port is None and watching.telemetry is Backend.NONE:
        yield Watched()
        return
    from adapters.telemetry.measures import Measures

    measures = Measures(worker, silent_s=silent_s)
    observers: list[Observer] = [measures.observe]
    url = None
    with ExitStack() as stack:
        if watching.health_port is not None:
            from adapters.telemetry.health import Health
            from adapters.telemetry.prometheus import Exposition
            from adapters.telemetry.server import WatchServer

            health = Health(state=lambda: measures.state, silent_s=silent_s, lease_s=lease_s)
            server = WatchServer(
                watching.health_address,
                watching.health_port,
                health=health,
                render=Exposition(measures).render,
                beside=watching.health_beside,
            )
            url = stack.enter_context(server).url
        if watching.telemetry is not Backend.NONE:
            from adapters.telemetry.sending import Sending

            sending = Sending(watching.telemetry, worker=worker, measures=measures, complain=complain)
            stack.callback(sending.close)
            observers.append(sending.observe)
        yield Watched(observers=tuple(observers), measures=measures, url=url)
