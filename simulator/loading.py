"""Scenario files: TOML in, a `Scenario` out, and one clear line for whatever does not fit.

The dataclasses of `simulator.scenario` are the schema: a key must be a field, its value of the field's type and within
the bounds in the field's metadata. Durations (`..._s`) may be written "90s", "5m", "2h" or "3d".
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from importlib import resources
from itertools import product
from pathlib import Path
from types import NoneType, UnionType
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

from fsm.errors import ConfigurationError
from fsm.spot_vm import Terms
from simulator.faults import check_shares
from simulator.scenario import MARKET_KINDS, Deed, MarketPlan, Scenario, ScheduledMarket
from simulator.swarm import SWARM, drawn_scenario

PlanT = TypeVar("PlanT")
SHIPPED = "simulator.scenarios"
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*([smhd])$")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedScenario:
    """A scenario and the directory that its traces are seen from."""

    scenario: Scenario
    directory: Path | None


def shipped_names() -> tuple[str, ...]:
    """The scenarios that come with the simulator, by name."""
    files = resources.files(SHIPPED).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def load_scenario(name: str, *, seed: int = 0) -> LoadedScenario:
    """A scenario by the name of one that ships, by file, or "swarm" for one that is drawn from the seed.

    Raises:
        ConfigurationError: there is no such scenario, or something in the file does not fit.
    """
    if name == SWARM:
        return LoadedScenario(scenario=drawn_scenario(seed), directory=None)
    path = Path(name)
    if path.is_file():
        text, where = _text_of(path), str(path)
    elif name in shipped_names():
        text, where = (resources.files(SHIPPED) / f"{name}.toml").read_text(encoding="utf-8"), f"{name}.toml"
    else:
        raise _no_scenario(path)
    scenario = parse_scenario(text, where=where)
    named = scenario if scenario.name else replace(scenario, name=path.stem)
    return LoadedScenario(scenario=named, directory=path.parent if path.is_file() else None)


def _no_scenario(path: Path) -> ConfigurationError:
    if path.is_dir():
        return ConfigurationError("scenario", f"{path} is a directory", "Name a TOML file in it.")
    known = (*shipped_names(), SWARM)
    if path.suffix == ".toml" and path.stem not in known:
        return ConfigurationError("scenario", f"there is no file {path}", "Check the path.")
    return ConfigurationError(
        "scenario", f"there is no file and no scenario {str(path)!r}", _there_are(path.stem.lower(), known)
    )


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(str(path), f"it cannot be read as text: {exc}", "Name a TOML file.") from exc


def parse_scenario(text: str, *, where: str) -> Scenario:
    """The scenario in a TOML text.

    Args:
        text: the file's content.
        where: its name, for messages.

    Raises:
        ConfigurationError: it is not TOML, or does not fit.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError(where, f"not a TOML file: {exc}", "Mend the line it names.") from exc
    reader = _Reader(where)
    scenario = reader.table(Scenario, document, "")
    reader.check(scenario)
    return scenario


def variants(scenario: Scenario) -> Iterator[tuple[Mapping[str, str], Scenario]]:
    """The scenarios that its sweep asks for, each with the values that make it; itself where there is no sweep.

    Raises:
        ConfigurationError: a key of the sweep is none, or a value does not fit it.
    """
    keys = [sweep.key for sweep in scenario.sweep]
    plain = replace(scenario, sweep=())
    for sweep in scenario.sweep:
        if not sweep.values:
            raise ConfigurationError(f"sweep: {sweep.key}", "it has no values", "Give at least one.")
    for values in product(*(sweep.values for sweep in scenario.sweep)):
        varied = plain
        for key, value in zip(keys, values, strict=True):
            varied = with_option(varied, key, value)
        yield dict(zip(keys, map(written, values), strict=True)), varied


def with_option(scenario: Scenario, key: str, value: object, *, where: str = "sweep") -> Scenario:
    """The scenario with one key changed, over which nothing is swept any more; `vms.X` changes every group of VMs.

    Args:
        scenario: to be changed.
        key: such as `workload.jobs`.
        value: as TOML has it.
        where: whence this is wanted, for messages.

    Raises:
        ConfigurationError: there is no such key, or the value does not fit it.
    """
    reader = _Reader(where)
    fixed = replace(scenario, sweep=tuple(sweep for sweep in scenario.sweep if sweep.key != key))
    changed = reader.changed(fixed, key.split("."), value, key)
    assert isinstance(changed, Scenario)
    reader.check(changed)
    return changed


def read_value(text: str) -> object:
    """A value as TOML has it; what is none is text, which needs no quotes where it can be nothing else."""
    text = text.strip()
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return document["value"] if document.keys() == {"value"} else text


def written(value: str | float) -> str:
    """The text of which `read_value` makes this value."""
    if isinstance(value, str):
        quoted = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        return value if read_value(value) == value else quoted
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Reader:
    """Reads tables into dataclasses; `where` stands in every message."""

    def __init__(self, where: str) -> None:
        self._where = where

    def table(self, plan: type[PlanT], given: object, key: str) -> PlanT:
        """A dataclass from a TOML table."""
        if not isinstance(given, dict):
            raise self._wrong(key, f"a table is expected, not {given!r}", f"Write [{key}].")
        assert is_dataclass(plan)
        known = {field.name: field for field in fields(plan)}
        hints = _hints(plan)
        values: dict[str, object] = {}
        for name, value in given.items():
            inner = f"{key}.{name}" if key else name
            if name not in known:
                raise self._wrong(inner, "there is no such key", _there_are(name, known))
            values[name] = self._value(hints[name], value, inner, known[name])
        for name, field in known.items():
            if name not in values and field.default is MISSING:
                raise self._wrong(f"{key}.{name}" if key else name, "this key is missing", "Add it.")
        built = plan(**values)
        assert isinstance(built, plan)
        return built

    def changed(self, plan: object, path: list[str], value: object, key: str) -> object:
        """A copy of a dataclass with one field, however deep, changed."""
        assert is_dataclass(plan)
        assert not isinstance(plan, type)
        name, *rest = path
        known = {field.name: field for field in fields(plan)}
        if name not in known:
            raise self._wrong(key, f"there is no key {name!r}", _there_are(name, known))
        old = getattr(plan, name)
        if not rest:
            return replace(plan, **{name: self._value(_hints(type(plan))[name], value, key, known[name])})
        if isinstance(old, tuple):
            return replace(plan, **{name: tuple(self.changed(one, rest, value, key) for one in old)})
        if not is_dataclass(old) or isinstance(old, type):
            raise self._wrong(key, f"{name!r} has no keys of its own", "Name the key itself.")
        return replace(plan, **{name: self.changed(old, rest, value, key)})

    def check(self, scenario: Scenario) -> None:
        """What no single key can tell."""
        if not scenario.vms:
            raise self._wrong("vms", "there is no VM", "Add a [[vms]] table.")
        names = [plan.name for plan in scenario.vms]
        if len(set(names)) != len(names):
            raise self._wrong("vms", "two groups of VMs have one name", "Give each a `name` of its own.")
        for plan in scenario.vms:
            try:
                Terms(max_price_usd_per_h=plan.max_price_usd_per_h, policy=plan.policy)
            except ValueError as exc:
                raise self._wrong("vms.max_price_usd_per_h", str(exc), "Use -1 or, for example, 0.05.") from exc
            if plan.notice_s_min > plan.notice_s_max:
                raise self._wrong("vms.notice_s_min", "it is above notice_s_max", "Swap them, or set both.")
            if plan.early + plan.late > 1.0:
                raise self._wrong("vms.late", "early and late are more than all evictions", "Let them add up to 1.")
        check_shares(scenario.faults, where=f"{self._where}: faults")
        if isinstance(scenario.market, ScheduledMarket):
            self._check_timetable(scenario.market)
        known = {f"{plan.name}-{number}" for plan in scenario.vms for number in range(1, plan.count + 1)}
        for number, event in enumerate(scenario.script):
            if event.vm != "*" and event.vm not in known:
                problem, remedy = f"there is no VM {event.vm!r}", f"There are: {', '.join(sorted(known)[:10])}, and *."
                raise self._wrong(f"script[{number}].vm", problem, remedy)
            if event.lasts_s < 0 and event.do is not Deed.CLOCK_JUMP:
                raise self._wrong(f"script[{number}].lasts_s", "only a clock can jump back", "Use 0 or more.")

    def _check_timetable(self, market: ScheduledMarket) -> None:
        times = [moment.at_s for moment in market.moments]
        if not times or times[0] != 0 or times != sorted(set(times)):
            problem = "the first moment is not at 0, or later ones do not rise"
            raise self._wrong("market.moments", problem, "Begin with at_s = 0 and sort them.")
        if market.repeat_every_s and market.repeat_every_s < times[-1] + 1.0:
            problem = f"it is over before the last moment, at {times[-1]:g} s"
            raise self._wrong("market.repeat_every_s", problem, "Use a later time, or 0 for once.")

    # -- values -------------------------------------------------------------------------------------------------------

    def _value(self, hint: object, value: object, key: str, field: Field[object]) -> object:
        """A value of the hinted type, within the field's bounds."""
        if hint == MarketPlan:
            return self._market(value, key)
        options = get_args(hint)
        if get_origin(hint) is tuple:
            return self._many(options[0], value, key, field)
        if get_origin(hint) in (Union, UnionType) and NoneType in options:
            (hint,) = (option for option in options if option is not NoneType)
        read = self._scalar(hint, value, key)
        if isinstance(read, int | float | Decimal) and not isinstance(read, bool):
            if not math.isfinite(read):
                raise self._wrong(key, f"{value!r} is not a finite number", "Use one.")
            least, most = field.metadata.get("least"), field.metadata.get("most")
            if least is not None and read < least:
                raise self._wrong(key, f"{value!r} is below {least:g}", f"Use {least:g} or more.")
            if most is not None and read > most:
                raise self._wrong(key, f"{value!r} is above {most:g}", f"Use {most:g} or less.")
        return read

    def _market(self, value: object, key: str) -> object:
        if not isinstance(value, dict):
            raise self._wrong(key, f"a table is expected, not {value!r}", f"Write [{key}].")
        kind = value.get("kind", "constant")
        if not isinstance(kind, str) or kind not in MARKET_KINDS:
            raise self._wrong(f"{key}.kind", f"{kind!r} is no kind of market", _there_are(str(kind), MARKET_KINDS))
        return self.table(MARKET_KINDS[kind], {name: given for name, given in value.items() if name != "kind"}, key)

    def _many(self, hint: object, value: object, key: str, field: Field[object]) -> tuple[object, ...]:
        if not isinstance(value, list):
            remedy = f"Write [[{key}]]." if isinstance(value, dict) else "Write [...]."
            raise self._wrong(key, f"a list is expected, not {value!r}", remedy)
        return tuple(self._value(hint, one, f"{key}[{number}]", field) for number, one in enumerate(value))

    def _scalar(self, hint: object, value: object, key: str) -> object:
        if isinstance(hint, type) and is_dataclass(hint):
            return self.table(hint, value, key)
        if isinstance(hint, type) and issubclass(hint, StrEnum):
            try:
                return hint(str(value))
            except ValueError:
                known = ", ".join(f'"{member.value}"' for member in hint)
                raise self._wrong(key, f"{value!r} is none of its values", f"Use one of {known}.") from None
        if hint is Decimal:
            return self._money(value, key)
        if hint is float:
            return self._number(value, key)
        if hint == (str | float | int | bool) or (isinstance(hint, type) and type(value) is hint):
            return value
        expected = hint.__name__ if isinstance(hint, type) else str(hint)
        raise self._wrong(key, f"{value!r} is not of type {expected}", f"Give a value of type {expected}.")

    def _money(self, value: object, key: str) -> Decimal:
        if not isinstance(value, bool) and isinstance(value, str | int | float):
            try:
                return Decimal(str(value))
            except InvalidOperation:
                pass
        raise self._wrong(key, f"{value!r} is not an amount of money", "Use a number such as 0.05, in USD.")

    def _number(self, value: object, key: str) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str) and key.rpartition(".")[2].removesuffix("_max").removesuffix("_min").endswith("_s"):
            if match := _DURATION.match(value):
                return float(match[1]) * _UNITS_S[match[2]]
            raise self._wrong(key, f"{value!r} is not a duration", 'Use seconds, or "90s", "5m", "2h", "3d".')
        raise self._wrong(key, f"{value!r} is not a number", "Give a number.")

    def _wrong(self, key: str, problem: str, remedy: str) -> ConfigurationError:
        return ConfigurationError(f"{self._where}: {key or 'the file'}", problem, remedy)


@cache
def _hints(plan: type) -> Mapping[str, object]:
    return get_type_hints(plan)


def _there_are(name: str, known: Iterable[str]) -> str:
    """The remedy for a name that is none: the one that was meant, probably, and all of them."""
    names = tuple(known)
    near = get_close_matches(name, names, n=1)
    return f"{f'Did you mean {near[0]!r}? ' if near else ''}There are: {', '.join(names)}."
