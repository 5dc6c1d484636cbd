"""What goes wrong: each fault with a unit and a probability, all of it drawn from one seed.

Swarm testing: a run does not have a little of everything, but much of some faults and nothing of the others. `drawn`
makes such a mix. Every fault is a number; its unit says of what it is the share, or how often in an hour. What really
happened is counted, fault by fault: one that is drawn and never happens proves nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from random import Random
from types import MappingProxyType
from typing import Final, Protocol

from fsm.errors import BadReplyError, ConfigurationError, ThrottledError
from fsm.notices import EventsDocument
from simulator.network import REPLY_LOST, REPLY_RESET, REQUEST_LOST, REQUEST_RESET, Fault
from simulator.vm import SimulatedVm
from simulator.wrong_documents import WRONG_DOCUMENTS


def _share(unit: str) -> float:
    """A probability, 0 unless it is set."""
    value: float = field(default=0.0, metadata={"unit": unit, "least": 0.0, "most": 1.0})
    return value


def _rate() -> float:
    value: float = field(default=0.0, metadata={"unit": "per hour and VM", "least": 0.0, "most": 3600.0})
    return value


def _seconds(default: float) -> float:
    value: float = field(default=default, metadata={"unit": "s", "least": 0.0})
    return value


class _Printer(Protocol):
    """What IPython and Hypothesis show a value with."""

    def text(self, text: str, /) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FaultPlan:
    """The mix of faults of a run.

    Attributes:
        kill_before: the worker is killed as it sends the call, which never arrives; half of the time with its VM.
        kill_after: it is killed when the call has taken effect and its reply is on the way.
        request_reset, reply_reset: the connection breaks, before or after the effect; the caller knows at once.
        request_stuck, reply_stuck: no answer until the caller's timeout, without or with the effect.
        throttled: 429 or 503, without effect.
        slow: the request or the reply travels for up to `slow_s_max`.
        write_late: a write takes effect up to `write_late_s_max` later; its caller has stopped waiting by then.
        write_torn: what was written cannot be read for up to `write_torn_s_max`.
        lease_short: the queue shows a leased message again before its time, at a random share of its lease.
        imds_silent: Scheduled Events do not answer.
        imds_wrong: they answer with what is not a document.
        imds_late: they answer late, by up to 10 s.
        imds_refused: they answer 429 or 410, which is no document either.
        imds_stale: they show an older document again, of an earlier boot perhaps.
        imds_emptied: they show no event, though some stand.
        imds_untimed: they do not say when the VM's events may start.
        imds_past: they say that the VM's events were to start an hour ago.
        imds_renumbered: they number documents from 1 again.
        imds_outage: they are silent for up to `imds_outage_s_max`.
        notice_withdrawn: a reclaiming event appears, stays a while, and vanishes without effect.
        notice_foreign: an event names other VMs of the set; the name of one begins with this VM's, and one begins it.
        terminate: the VM is announced to be deleted, and is.
        reboot: it is announced to boot again where it is, and does.
        redeploy: it is announced to boot again on another host, and does, if there is room.
        advice: an event of a type that asks for nothing, or that nobody knows, names the VM and comes to nothing.
        notice_shared: an event that ends a VM names several: those that run alongside, or one that is elsewhere.
        notice_cased: an event spells the VM's name in capitals.
        freeze: the VM stands still for up to `freeze_s_max`; half of the time it was announced.
        death: the worker's process is killed while its VM goes on.
        stop: the worker's process gets SIGTERM, and SIGKILL if it does not listen.
        clock_jump: the VM's wall clock jumps by up to `clock_jump_s_max`, either way.
        latency_s_max: every call of the queue and the store travels for up to this, each way.
        maintenance_s_max: `terminate`, `reboot` and `redeploy` are announced up to so long before.
        clock_skew_s_max: VMs' wall clocks differ by up to this from the start.
        evicted_at_start: the VM is taken within 5 s of its start.
        evicted_recovering: the VM is taken, or its end announced, while its worker recovers.
        drought: capacity is gone for `drought_s`.
        price_spike: the price is above every max price for `price_spike_s`.
    """

    kill_before: float = _share("per call")
    kill_after: float = _share("per call")
    request_reset: float = _share("per call")
    reply_reset: float = _share("per call")
    request_stuck: float = _share("per call")
    reply_stuck: float = _share("per call")
    throttled: float = _share("per call")
    slow: float = _share("per call")
    write_late: float = _share("per write")
    write_torn: float = _share("per write")
    lease_short: float = _share("per delivery")
    imds_silent: float = _share("per poll")
    imds_wrong: float = _share("per poll")
    imds_late: float = _share("per poll")
    imds_refused: float = _share("per poll")
    imds_outage: float = _rate()
    notice_withdrawn: float = _rate()
    notice_foreign: float = _rate()
    freeze: float = _rate()
    death: float = _rate()
    stop: float = _rate()
    clock_jump: float = _rate()
    evicted_at_start: float = _share("per start")
    evicted_recovering: float = _share("per start")
    drought: float = _share("per run")
    price_spike: float = _share("per run")
    latency_s_max: float = _seconds(0.0)
    slow_s_max: float = _seconds(30.0)
    write_late_s_max: float = _seconds(90.0)
    write_torn_s_max: float = _seconds(5.0)
    imds_outage_s_max: float = _seconds(120.0)
    freeze_s_max: float = _seconds(90.0)
    clock_jump_s_max: float = _seconds(60.0)
    clock_skew_s_max: float = _seconds(0.0)
    drought_s: float = _seconds(3 * 86_400.0)
    price_spike_s: float = _seconds(3 * 86_400.0)
    imds_stale: float = _share("per document")
    imds_emptied: float = _share("per document")
    imds_untimed: float = _share("per document")
    imds_past: float = _share("per document")
    imds_renumbered: float = _share("per document")
    notice_shared: float = _share("per notice")
    notice_cased: float = _share("per notice")
    terminate: float = _rate()
    reboot: float = _rate()
    redeploy: float = _rate()
    advice: float = _rate()
    maintenance_s_max: float = _seconds(900.0)

    @property
    def drawn_options(self) -> Mapping[str, float]:
        """What is not as it is by default: what a failing run prints."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def __repr__(self) -> str:
        """As it is made: of thirty faults a test that fails needs one, and shows no other."""
        return f"FaultPlan({', '.join(f'{name}={value!r}' for name, value in self.drawn_options.items())})"

    def _repr_pretty_(self, printer: _Printer, _cycle: bool) -> None:  # noqa: FBT001 -- as they call it
        """The same for IPython and Hypothesis: of a dataclass that one shows every field, whatever its `__repr__`."""
        printer.text(repr(self))


NO_FAULTS: Final = FaultPlan()
UNITS: Final[Mapping[str, str]] = MappingProxyType({f.name: f.metadata["unit"] for f in fields(FaultPlan)})
"""The unit of each fault."""
PROBABILITIES: Final = tuple(name for name, unit in UNITS.items() if unit.startswith("per") and "hour" not in unit)
RATES: Final = tuple(name for name, unit in UNITS.items() if "hour" in unit)
AMOUNTS: Final = ("latency_s_max", "clock_skew_s_max")
"""Faults that are there in every call, or on every VM: they are drawn by how much."""
FAULTS: Final = (*PROBABILITIES, *RATES, *AMOUNTS)
"""Everything that can go wrong, by name."""
DAYS_S: Final = 3 * 86_400.0
"""How long a drought or a price spike lasts that lasts for days."""

_STRENGTHS: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "per call": (0.002, 0.02, 0.1),
        "per write": (0.01, 0.1),
        "per delivery": (0.02, 0.2, 0.6),
        "per poll": (0.01, 0.2, 0.8),
        "per document": (0.02, 0.2, 0.5),
        "per notice": (0.5, 1.0),
        "per hour and VM": (2.0, 10.0, 40.0),
        "per start": (0.2, 0.5),
        "per run": (1.0,),
        "slow": (0.05, 0.2, 0.5),
    }
)


ELSEWHERE: Final = "another-vm"
"""A VM of the set that is not of this world."""
NEWS: Final = (*WRONG_DOCUMENTS, "notice_shared", "notice_cased", "terminate", "reboot", "redeploy", "advice")
"""Faults that are drawn together, and apart from all others."""
NEWS_SHARE: Final = 0.25
NEWS_ON: Final = 0.6

_THEMES: Final[tuple[frozenset[str], ...]] = (
    frozenset(),
    frozenset({"lease_short", "slow", "freeze", "write_late"}),
    frozenset({"request_reset", "reply_reset", "request_stuck", "reply_stuck", "throttled", "write_torn"}),
    frozenset(
        {"imds_silent", "imds_wrong", "imds_late", "imds_refused", "imds_outage", "notice_withdrawn", "notice_foreign"}
    ),
    frozenset({"kill_before", "kill_after", "death", "stop", "evicted_at_start", "evicted_recovering"}),
)
"""Faults that make one another worse: zombies, a bad network, bad news, and sudden ends."""


def drawn(random: Random, *, run_s: float) -> FaultPlan:
    """A mix for a run of this length: each fault is off, or strong enough to matter; a theme is nearly all on."""
    share_on = random.choice((0.0, 0.1, 0.25))
    theme = random.choice(_THEMES) if share_on else _THEMES[0]
    plan = FaultPlan(
        latency_s_max=random.choice((0.0, 0.02, 2.0)) if share_on else 0.0,
        slow_s_max=random.choice((2.0, 9.0, 30.0)),
        freeze_s_max=random.choice((5.0, 90.0)),
        clock_skew_s_max=random.choice((0.0, 0.0, 0.5, 20.0)) if share_on else 0.0,
        drought_s=random.choice((run_s / 3, run_s / 3, DAYS_S)),
        price_spike_s=random.choice((run_s / 3, run_s / 3, DAYS_S)),
    )
    chosen = {
        name: random.choice(_STRENGTHS.get(name) or _STRENGTHS[UNITS[name]])
        for name in (*PROBABILITIES, *RATES)
        if name not in NEWS and random.random() < (0.8 if name in theme else share_on)
    }
    return _fitting(plan, chosen)


def with_news(plan: FaultPlan, random: Random) -> FaultPlan:
    """The mix, and in one world of four also what Scheduled Events may say beside evictions, and say wrongly."""
    if random.random() >= NEWS_SHARE:
        return plan
    chosen = {name: random.choice(_STRENGTHS[UNITS[name]]) for name in NEWS if random.random() < NEWS_ON}
    return _fitting(replace(plan, maintenance_s_max=random.choice((30.0, 300.0))), chosen)


def _fitting(plan: FaultPlan, chosen: Mapping[str, float]) -> FaultPlan:
    """The plan with what was chosen; shares of one thing that are more than all of it shrink to all of it."""
    plan = replace(plan, **chosen)
    for group in TOGETHER:
        if (total := _sum(plan, group)) > 1.0:
            plan = replace(plan, **{name: getattr(plan, name) / total for name in group})
    return plan


def _sum(plan: FaultPlan, group: Sequence[str]) -> float:
    return math.fsum(getattr(plan, name) for name in group)


def check_shares(plan: FaultPlan, *, where: str = "faults") -> None:
    """See that there is room for each fault: one call, or one poll, has one of them at most.

    Args:
        plan: the mix.
        where: the table it is in, for the message.

    Raises:
        ConfigurationError: the shares of a call's faults are more than all calls, and later ones would have less.
    """
    for group in TOGETHER:
        if (total := _sum(plan, group)) > 1.0 + ROUNDING:
            *others, last = (name for name in group if getattr(plan, name) > 0)
            problem = f"with {', '.join(others)} it is {total:g} of all there is, and one has one fault at most"
            raise ConfigurationError(f"{where}.{last}", problem, "Let them add up to 1 or less.")


_QUEUE_AND_STORE = ("queue.", "store.")
MakeFault = Callable[[Random, FaultPlan], Fault]

_OF_CALLS: Final[tuple[tuple[str, MakeFault], ...]] = (
    ("request_reset", lambda _r, _p: REQUEST_RESET),
    ("reply_reset", lambda _r, _p: REPLY_RESET),
    ("request_stuck", lambda _r, _p: REQUEST_LOST),
    ("reply_stuck", lambda _r, _p: REPLY_LOST),
    ("throttled", lambda r, _p: _refused(r, "503 Server Busy", "429 Too Many Requests")),
    ("slow", lambda r, p: _slow(r, p.slow_s_max)),
)
_OF_POLLS: Final[tuple[tuple[str, MakeFault], ...]] = (
    ("imds_silent", lambda _r, _p: REQUEST_LOST),
    ("imds_wrong", lambda _r, _p: Fault(replied=BadReplyError("not a Scheduled Events document"))),
    ("imds_late", lambda r, _p: Fault(reply_s=r.uniform(0.0, 10.0))),
    ("imds_refused", lambda r, _p: _refused(r, "429 Too Many Requests", "410 Gone")),
)
_OF_WRITES: Final[tuple[tuple[str, MakeFault], ...]] = (
    ("write_late", lambda r, p: Fault(request_s=r.uniform(0.0, p.write_late_s_max))),
)


_KILLS: Final = ("kill_before", "kill_after")
TOGETHER: Final[tuple[tuple[str, ...], ...]] = (
    (*_KILLS, *(name for name, _ in (*_OF_CALLS, *_OF_WRITES))),
    (*_KILLS, *(name for name, _ in _OF_POLLS)),
    tuple(WRONG_DOCUMENTS),
)
"""Faults of which a call, a poll or a document has one at most: their shares add up to 1 or less."""
ROUNDING: Final = 1e-9


def _slow(random: Random, most_s: float) -> Fault:
    seconds = random.uniform(0.0, most_s)
    return Fault(request_s=seconds) if random.random() < 0.5 else Fault(reply_s=seconds)


def _refused(random: Random, *statuses: str) -> Fault:
    return Fault(refused=ThrottledError(random.choice(statuses), retry_after_s=random.choice((None, 1.0))))


class Injector:
    """Draws what goes wrong with each call.

    Args:
        plan: the mix.
        random: its stream.

    Raises:
        ConfigurationError: the plan's shares are more than all calls, now or when another plan takes its place.

    Attributes:
        silent: VMs whose Scheduled Events do not answer at present.
        happened: how often each fault of the plan really happened, by name.
    """

    def __init__(self, plan: FaultPlan, random: Random) -> None:
        check_shares(plan)
        self._plan = plan
        self._random = random
        self._choices: dict[str, tuple[tuple[float, MakeFault | None, str], ...]] = {}
        self._wrong: Mapping[str, float] | None = None
        self._stretches: list[tuple[str, float, float]] = []
        self.silent: set[str] = set()
        self.happened: Counter[str] = Counter()

    @property
    def plan(self) -> FaultPlan:
        """The mix; another one may take its place at any time."""
        return self._plan

    @plan.setter
    def plan(self, plan: FaultPlan) -> None:
        check_shares(plan)
        self._plan = plan
        self._choices.clear()
        self._wrong = None

    def of_call(self, call: str, vm_name: str, kill: Callable[[], bool]) -> Fault | None:
        """What goes wrong with this call, if anything; `kill` ends the process that makes it, if it still lives."""
        if self.silent and vm_name in self.silent and call.startswith("events."):
            self.happened["imds_outage"] += 1
            return REQUEST_LOST
        choices = self._choices.get(call)
        if choices is None:
            choices = self._choices[call] = self._choices_of(call)
        latency_s = self._plan.latency_s_max if call.startswith(_QUEUE_AND_STORE) else 0.0
        if not choices:
            return self._late(latency_s)
        draw = self._random.random()
        for until, make, name in choices:
            if draw < until:
                return self._made(name, make, kill)
        return self._late(latency_s)

    def _made(self, name: str, make: MakeFault | None, kill: Callable[[], bool]) -> Fault:
        def happens() -> None:
            self.happened[name] += 1

        def kill_now() -> None:
            if kill():
                self.happened[name] += 1

        if name == "kill_after":
            return Fault(reply_s=math.inf, arrived=kill_now)
        if make is None:
            kill_now()
            return REQUEST_LOST
        fault = make(self._random, self._plan)
        if name == "write_late":
            return replace(fault, arrived=happens)
        happens()
        return fault

    def _late(self, most_s: float) -> Fault | None:
        """What latency does to a call."""
        if most_s <= 0:
            return None
        self.happened["latency_s_max"] += 1
        return Fault(request_s=self._random.uniform(0.0, most_s), reply_s=self._random.uniform(0.0, most_s))

    def _choices_of(self, call: str) -> tuple[tuple[float, MakeFault | None, str], ...]:
        """The faults that this call can have, with cumulated probabilities."""
        named: list[tuple[str, MakeFault | None]] = [("kill_before", None), ("kill_after", None)]
        named += _OF_POLLS if call == "events.poll" else _OF_CALLS
        if call == "store.write":
            named += _OF_WRITES
        choices, until = [], 0.0
        for name, make in named:
            share = getattr(self._plan, name)
            if share > 0:
                until += share
                choices.append((until, make, name))
        return tuple(choices)

    def shown(self, vm: SimulatedVm) -> EventsDocument:
        """What Scheduled Events show a VM that asks for its document."""
        wrong = self._wrong
        if wrong is None:
            wrong = self._wrong = {name: share for name in WRONG_DOCUMENTS if (share := getattr(self._plan, name)) > 0}
        if not wrong:
            return vm.document
        draw = self._random.random()
        for name, share in wrong.items():
            if draw < share:
                document = WRONG_DOCUMENTS[name](vm)
                if document is None:
                    break
                self.happened[name] += 1
                return document
            draw -= share
        return vm.document

    def expect(self, name: str, from_s: float, until_s: float) -> None:
        """A drought or a price spike is to last from one time to another."""
        self._stretches.append((name, from_s, until_s))

    def evicted(self, cause: str, now_s: float) -> None:
        """A VM was evicted for the market's price or capacity."""
        if any(from_s <= now_s < until_s for name, from_s, until_s in self._stretches if name == cause):
            self.happened[cause] += 1

    def short_lease(self) -> float:
        """The share of a lease that the queue keeps to; often next to nothing, as if it delivered twice."""
        plan = self._plan
        if not plan.lease_short or self._random.random() >= plan.lease_short:
            return 1.0
        self.happened["lease_short"] += 1
        return self._random.random() ** 3

    def names_many(self) -> bool:
        """Whether an event names more VMs than the one it is about."""
        return self._is_so("notice_shared")

    def spelt(self, names: Sequence[str]) -> tuple[str, ...]:
        """How an event spells the names of its VMs, and whom it names beside a single one."""
        if len(names) == 1 and self.names_many():
            names = (ELSEWHERE, *names)
        return tuple(name.upper() for name in names) if self._is_so("notice_cased") else tuple(names)

    def _is_so(self, name: str) -> bool:
        share = getattr(self._plan, name)
        if not share or self._random.random() >= share:
            return False
        self.happened[name] += 1
        return True

    def tear_s(self) -> float:
        """For how long a write is torn."""
        plan = self._plan
        if not plan.write_torn or self._random.random() >= plan.write_torn:
            return 0.0
        self.happened["write_torn"] += 1
        return self._random.uniform(0.0, plan.write_torn_s_max)
