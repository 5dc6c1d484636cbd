"""What the three machines must do, written anew from their description: nothing here comes from the tables.

A rule is: in one of these states, on this event, when these facts hold and those do not, go there. Several rules may
cover a cell if they agree. Where no rule speaks, the state stays as it is.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """One restated rule."""

    states: str
    trigger: str
    holds: tuple[str, ...]
    fails: tuple[str, ...]
    after: str


SPOT_VM = [
    Rule("NotDeployed Stopped Deleted Running", "Deploy", ("affordable", "capacity available"), (), "Running"),
    Rule("Running", "Evict", (), ("capacity available", "policy Delete"), "Stopped"),
    Rule("Running", "Evict", ("policy Delete",), ("capacity available",), "Deleted"),
    Rule("Running", "Evict", (), ("affordable", "policy Delete"), "Stopped"),
    Rule("Running", "Evict", ("policy Delete",), ("affordable",), "Deleted"),
    Rule("Stopped", "Restart", ("affordable", "capacity available"), (), "Running"),
    Rule("Stopped", "Restart", ("policy Delete",), ("affordable",), "Deleted"),
    Rule("Running", "Deallocate", (), (), "Stopped"),
    Rule("Running Stopped", "Delete", (), (), "Deleted"),
]

APPLICATION = [
    Rule("Offline", "recover", ("VM running",), (), "Recovering"),
    Rule("Recovering", "resume", ("store answered",), (), "WarmingUp"),
    Rule("WarmingUp", "start", ("healthy",), ("notice pending", "stop requested"), "Processing"),
    Rule("Recovering WarmingUp Processing", "shutdown", ("notice pending",), (), "Evicted"),
    Rule("Recovering WarmingUp Processing", "shutdown", ("stop requested",), (), "Evicted"),
    Rule("Evicted", "drained", ("notice pending",), (), "Drained"),
    Rule("Evicted", "drained", ("stop requested",), (), "Drained"),
    Rule("Evicted", "drained", (), ("notice pending", "stop requested"), "Recovering"),
    Rule("Drained", "withdrawn", (), ("notice pending", "stop requested"), "Recovering"),
    Rule("Drained", "exit", (), (), "Offline"),
    Rule("Recovering WarmingUp Processing Evicted Drained", "vm_gone", (), (), "Offline"),
]

_MAY_BEGIN = ("draining", "record done", "record poisoned", "budget spent")
JOB = [
    Rule("Received", "begin", ("draining",), (), "Released"),
    Rule("Received", "begin", ("record done",), ("draining",), "Completed"),
    Rule("Received", "begin", ("record poisoned",), ("draining", "record done"), "Poisoned"),
    Rule("Received", "begin", ("budget spent", "safe to delete"), ("draining", "record done"), "Poisoned"),
    Rule("Received", "begin", ("storeless",), _MAY_BEGIN, "Running"),
    Rule("Received", "begin", ("claimed",), _MAY_BEGIN, "Running"),
    Rule("Received", "begin", ("first delivery",), _MAY_BEGIN, "Running"),
    Rule("Received", "reject", ("safe to delete",), (), "Poisoned"),
    Rule("Received Running", "lose_lease", (), (), "Abandoned"),
    Rule("Received Running", "interrupt", (), (), "Released"),
    Rule("Running", "finish", ("recorded",), (), "Completed"),
    Rule("Running", "finish", ("storeless", "deleted"), (), "Completed"),
    Rule("Running", "fail", (), ("budget spent",), "Released"),
    Rule("Running", "fail", ("budget spent", "safe to delete"), (), "Poisoned"),
]

MACHINES = {"spot_vm": SPOT_VM, "application": APPLICATION, "job": JOB}


def states_after(machine: str, state: str, trigger: str, facts: frozenset[str]) -> set[str]:
    """Where the restated rules lead: one state, unless they contradict one another."""
    led = {
        rule.after
        for rule in MACHINES[machine]
        if state in rule.states.split()
        and trigger == rule.trigger
        and facts.issuperset(rule.holds)
        and facts.isdisjoint(rule.fails)
    }
    return led or {state}
