"""Documents of Scheduled Events that are well-formed and wrong, as a poll may be answered with one.

A worker takes each reply at its word: it cannot know better, and the next reply corrects it. An event that is not there
is withdrawn, and work resumes; one that is there again drains again. One without a time leaves what a Preempt leaves;
one whose time is long past may take effect at once. The number of a document says nothing but that it is another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from fsm.notices import EventsDocument, ScheduledEvent, Severity
from simulator.vm import SimulatedVm

LONG_PAST: Final = timedelta(hours=1)

MakeWrong = Callable[[SimulatedVm], EventsDocument | None]
"""What a VM is told in place of its document; None where that would be no different."""


def _stale(vm: SimulatedVm) -> EventsDocument | None:
    """The document before this one, of an earlier boot perhaps."""
    return vm.earlier


def _emptied(vm: SimulatedVm) -> EventsDocument | None:
    """No event, though some stand: as if they were withdrawn."""
    return replace(vm.document, events=()) if vm.document.events else None


def _untimed(vm: SimulatedVm) -> EventsDocument | None:
    """The VM's events to come do not say when."""
    return _retimed(vm, lambda event: replace(event, not_before=None))


def _past(vm: SimulatedVm) -> EventsDocument | None:
    """The VM's events to come were to come long ago."""
    return _retimed(vm, lambda e: e if e.not_before is None else replace(e, not_before=e.not_before - LONG_PAST))


def _renumbered(vm: SimulatedVm) -> EventsDocument | None:
    """Documents are numbered from 1 again, this one and those to come."""
    return vm.document if vm.renumber() else None


def _retimed(vm: SimulatedVm, change: Callable[[ScheduledEvent], ScheduledEvent]) -> EventsDocument | None:
    events = tuple(change(event) if _is_to_come(vm, event) else event for event in vm.document.events)
    return None if events == vm.document.events else replace(vm.document, events=events)


def _is_to_come(vm: SimulatedVm, event: ScheduledEvent) -> bool:
    return event.severity is Severity.RECLAIM and not event.started and event.names(vm.identity.name)


WRONG_DOCUMENTS: Final[Mapping[str, MakeWrong]] = MappingProxyType(
    {
        "imds_stale": _stale,
        "imds_emptied": _emptied,
        "imds_untimed": _untimed,
        "imds_past": _past,
        "imds_renumbered": _renumbered,
    }
)
"""By the name of their fault."""
