"""The checker is checked: every table with one thing wrong must be noticed.

A mutant is a table with a row removed, a destination changed, or an atom of a guard flipped or dropped. It dies when it
does not build, when the joint rules do not know its moves, when a check of the table or of the joint machine fails, or
when the delivery protocol, decided by it, breaks a promise. One that lives must be the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Generic

from fsm.application import APPLICATION, AppState
from fsm.checker.joint import AppTable, JobTable, Machines, VmTable
from fsm.checker.joint_search import JointSearch, explore_joint
from fsm.checker.report import Check, Finding
from fsm.checker.scenario import FAILING, FRESH, HOPELESS, KILLING, REJECTED, STORELESS, WEARING
from fsm.checker.search import Search
from fsm.checker.stepper import Protocol
from fsm.checker.tables import check_spot_vm, check_table
from fsm.checker.world import World
from fsm.delivery import Delivery, Event, Step, advance
from fsm.errors import IllegalTableError
from fsm.job import JOB
from fsm.spot_vm import PAY_AS_YOU_GO, SPOT_VM, Offer, Terms, VmFact, VmRow, VmState, VmTrigger, vm_facts
from fsm.table import FactT, Row, StateT, Table, TriggerT, Verdict

SCENARIOS = (REJECTED, STORELESS, HOPELESS, WEARING, FRESH, FAILING, KILLING)
"""Where a wrong job table must show, cheapest first."""


@dataclass(frozen=True, kw_only=True)
class Mutant(Generic[StateT, TriggerT, FactT]):
    """A table with one thing wrong.

    Attributes:
        name: what is wrong.
        table: the table it was made from.
        rows: its rows.
    """

    name: str
    table: Table[StateT, TriggerT, FactT]
    rows: tuple[Row[StateT, TriggerT, FactT], ...]

    def build(self) -> Table[StateT, TriggerT, FactT]:
        """The table.

        Raises:
            IllegalTableError: it is not one.
        """
        return replace(self.table, rows=self.rows)

    @property
    def same(self) -> bool:
        """Whether it is proven to be the same machine: every row leads where it led from each of its states."""
        return len(self.rows) == len(self.table.rows) and all(
            (one.id, one.source, one.when, one.unless) == (other.id, other.source, other.when, other.unless)
            and all(one.after(state) is other.after(state) for state in one.source)
            for one, other in zip(self.rows, self.table.rows, strict=True)
        )


def mutants_of(table: Table[StateT, TriggerT, FactT]) -> Iterator[Mutant[StateT, TriggerT, FactT]]:
    """Every table that differs from this one in one thing."""
    for at, row in enumerate(table.rows):
        before, after = table.rows[:at], table.rows[at + 1 :]
        yield Mutant(name=f"{table.name}: row {row.id} removed", table=table, rows=before + after)
        for what, changed in _changed(table, row):
            yield Mutant(name=f"{table.name}: row {row.id}, {what}", table=table, rows=(*before, changed, *after))


def _changed(
    table: Table[StateT, TriggerT, FactT], row: Row[StateT, TriggerT, FactT]
) -> Iterator[tuple[str, Row[StateT, TriggerT, FactT]]]:
    destinations: list[StateT | None] = [None, *table.states]
    for dest in destinations:
        if dest is not row.dest:
            where = "stays" if dest is None else f"leads to {str(dest)!r}"
            yield where, replace(row, dest=dest)
    for fact in row.when:
        others = tuple(one for one in row.when if one is not fact)
        yield f"wants {str(fact)!r} false", replace(row, when=others, unless=(*row.unless, fact))
        yield f"does not look at {str(fact)!r}", replace(row, when=others)
    for fact in row.unless:
        others = tuple(one for one in row.unless if one is not fact)
        yield f"wants {str(fact)!r} true", replace(row, when=(*row.when, fact), unless=others)
        yield f"does not look at {str(fact)!r}", replace(row, unless=others)


def killed_vm(table: VmTable) -> str | None:
    """What notices that this Spot VM table is wrong, or None."""
    return _first(check_spot_vm(table).findings) or _killed_jointly(lambda: Machines(vm=table), table)


def killed_application(table: AppTable) -> str | None:
    """What notices that this application table is wrong, or None."""
    return _first(check_table(table).findings) or _killed_jointly(lambda: Machines(application=table), table)


def killed_job(table: JobTable) -> str | None:
    """What notices that this job table is wrong, or None."""
    return (
        _first(check_table(table).findings)
        or _killed_by_the_protocol(table, faults=0)
        or _killed_jointly(lambda: Machines(job=table), table)
        or _killed_by_the_protocol(table, faults=1)
    )


def _first(findings: Collection[Finding]) -> str | None:
    return next((f"{finding.promise}: {finding.what}" for finding in findings), None)


def _killed_jointly(machines: Callable[[], Machines], table: Table[StateT, TriggerT, FactT]) -> str | None:
    """By the joint rules, by a promise, or by a row that is never taken."""
    try:
        explored = JointSearch(machines(), jobs_max=1).run(stop_at_first=True)
    except IllegalTableError as exc:
        return str(exc)
    idle = [row.id for row in table.rows if row.id not in explored.taken]
    return _first(explored.findings) or (f"row {idle[0]} is never taken" if idle else None)


def _killed_by_the_protocol(table: JobTable, *, faults: int) -> str | None:
    for scenario in SCENARIOS:
        world = World(replace(scenario, faults=faults), protocol=_decided_by(table))
        for trouble in Search(world).run(stop_at_first=True).troubles:
            return f"{trouble.promise}: {trouble.what}"
    return None


def _decided_by(table: JobTable) -> Protocol:
    def protocol(delivery: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
        return advance(delivery, event, draining=draining, decide=table.row_for)

    return protocol


def check_mutants(
    table: Table[StateT, TriggerT, FactT], killed: Callable[[Table[StateT, TriggerT, FactT]], str | None]
) -> Check:
    """Every mutant of a table dies, or is the same machine."""
    counts = {"mutants": 0, "refused when built": 0, "killed": 0, "the same machine": 0}
    findings, notes = [], []
    for mutant in mutants_of(table):
        counts["mutants"] += 1
        try:
            built = mutant.build()
        except IllegalTableError:
            counts["refused when built"] += 1
            continue
        if mutant.same:
            counts["the same machine"] += 1
            notes.append(f"{mutant.name}: the same machine, every cell leads where it led")
        elif killed(built) is not None:
            counts["killed"] += 1
        else:
            findings.append(Finding(promise="the checker is checked", what=f"not noticed: {mutant.name}"))
    return Check(name=f"mutants: {table.name}", counts=counts, findings=tuple(findings), notes=tuple(notes))


def check_spot_vm_mutants() -> Check:
    """The mutants of the VM's table."""
    return check_mutants(SPOT_VM, killed_vm)


def check_application_mutants() -> Check:
    """The mutants of the application's table."""
    return check_mutants(APPLICATION, killed_application)


def check_job_mutants() -> Check:
    """The mutants of the job's table."""
    return check_mutants(JOB, killed_job)


# -- the reference's own faults ------------------------------------------------------------------------------------


def reference_faults() -> Iterator[tuple[str, Machines]]:
    """What is wrong in the reference implementation, built into our machines: none of them comes back."""
    offer = Offer(price_usd_per_h=Decimal("0.01"), capacity_available=True)
    literally = vm_facts(Terms(max_price_usd_per_h=PAY_AS_YOU_GO), offer) - {VmFact.AFFORDABLE}
    yield "a max price of -1 is read as a number", Machines(affordable=literally)
    yield "a deleted VM is never deployed again", Machines(vm=_deleted_for_good())
    yield "a notice withdrawn in the drain leaves the worker drained", Machines(application=_drained_for_good())


def _deleted_for_good() -> VmTable:
    lives = tuple(state for state in VmState if state not in (VmState.DELETED, VmState.RUNNING))
    rows = [replace(row, source=lives) if row.id in ("D1", "D2", "D3") else row for row in SPOT_VM.rows]
    final = VmRow(
        id="X1", source=(VmState.DELETED,), trigger=VmTrigger.DEPLOY, verdict=Verdict.REFUSED,
        outcome="deleted", why="the reference's picture marks Deleted as final",
    )  # fmt: skip
    return replace(SPOT_VM, rows=(*rows, final))


def _drained_for_good() -> AppTable:
    rows = (replace(row, dest=AppState.DRAINED) if row.id == "A28" else row for row in APPLICATION.rows)
    return replace(APPLICATION, rows=tuple(rows))


def check_reference_faults() -> Check:
    """Each of the reference's faults is noticed, and a VM with a max price of -1 works without them."""
    offer = Offer(price_usd_per_h=Decimal("0.01"), capacity_available=True)
    unlimited = Machines(affordable=vm_facts(Terms(max_price_usd_per_h=PAY_AS_YOU_GO), offer))
    findings = list(explore_joint(unlimited, jobs_max=1).findings)
    notes = []
    for name, machines in reference_faults():
        found = explore_joint(machines, jobs_max=1).findings
        if found:
            notes.append(f"{name}: {found[0].promise}, {found[0].what}")
        else:
            findings.append(Finding(promise="the checker is checked", what=f"not noticed: {name}"))
    return Check(
        name="the reference's faults", counts={"caught": len(notes)}, findings=tuple(findings), notes=tuple(notes)
    )
