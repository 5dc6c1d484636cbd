"""Tells a move in words."""

from __future__ import annotations

from typing import assert_never

from fsm.checker.scene import GONE, HIDDEN, NONE, VISIBLE, Scene, Slot
from fsm.checker.turn import Action
from fsm.checker.world import World
from fsm.delivery import (
    Call,
    Checkpointed,
    Delete,
    Failed,
    Found,
    Interrupted,
    PresenceFound,
    PutPoison,
    ReadPresence,
    ReadRecord,
    Release,
    Renew,
    Returned,
    WriteRecord,
)
from fsm.record import Counts, Record

_OF_WORKERS = {
    "crash": "{who}'s process dies",
    "evict": "{who}'s VM is taken",
    "notice": "a notice names {who}'s VM",
    "withdrawn": "the notice for {who}'s VM is withdrawn, or has come to nothing",
    "stop": "an operator stops {who}",
    "exit": "{who} ends in good order",
    "start": "{who} starts: a new process, which writes its presence",
}
_OF_THE_QUEUE = {
    "lapse": "the lease lapses: the message can be received again",
    "lost receive": "somebody receives the message (delivery {epoch}), and the reply is lost",
    "receive": "{who} receives the message (delivery {epoch})",
    "twin": "the queue delivers the same delivery {epoch} to {who} as well",
    "prune": "the record is pruned",
    "late write": "a write that was given up lands after all: the record is {record}",
    "late renewal": "a renewal that was given up lands after all",
    "late release": "a release that was given up lands after all",
    "late delete": "a delete that was given up lands after all",
}
_OF_RENEWALS = {
    "renewal due": "{who} is to renew its lease",
    "renewal refused": "the queue refuses {who}'s renewal",
    "renewal applied": "{who}'s renewal is applied, its reply under way",
    "renewal reply": "{who} has the renewal's reply",
    "renewal lost before": "{who}'s renewal is lost on its way",
    "renewal lost after": "the reply to {who}'s renewal is lost",
    "not renewed": "{who} does not ask for more of its lease, which runs out: the message can be received again",
    "renewal late": "{who} gives a renewal up that is still on its way",
}
_UNANSWERED = {
    "lost before": "{call} is lost on its way",
    "lost after": "{call} takes effect, and its reply is lost",
    "late": "{call} is given up while it is still on its way",
}

_PLACES = {HIDDEN: "hidden", VISIBLE: "visible", GONE: "off the queue"}


class Teller:
    """Puts the moves of one world into words."""

    def __init__(self, world: World) -> None:
        self._world = world

    def tell(self, before: tuple[int, ...], after: tuple[int, ...], action: Action, message: int) -> str:
        """One line: what happens, the rows that are taken, and what is asked for next."""
        who = "" if action.who == NONE else self._world.names[action.who]
        if message == NONE:
            return _OF_WORKERS[action.kind].format(who=who) + "."
        scenes = self._world.scenes
        old, new = scenes[before[1 + message]], scenes[after[1 + message]]
        about = f"message {message + 1}: " if len(before) > 2 else ""
        return about + self._what(old, new, action, who) + self._then(old, new, action, before[0])

    def tell_circle(self, steps: int) -> str:
        """The last line of a story without an end."""
        return f"From here {told_again(steps)} can come again and again, without a fault."

    def tell_end(self, state: tuple[int, ...]) -> str:
        """The last line of a story that stops: how things stand, and what can no longer be."""
        stand = []
        for number, scene in enumerate((self._world.scenes[scene] for scene in state[1:]), start=1):
            name = f"message {number}" if len(state) > 2 else "the message"
            held = [
                f"{self._world.names[who]}'s delivery {self._delivering(slot)}"
                for who, slot in enumerate(scene.slots)
                if slot is not None
            ]
            stand.append(f"{name} is {_PLACES[scene.place]}, {' and '.join(held) or 'in no hands'}")
        return f"From here no end can be reached without another fault: {'; '.join(stand)}."

    def _delivering(self, slot: Slot) -> str:
        delivery = self._world.stepper.deliveries[slot.delivery]
        call = "no call" if slot.call == NONE else f"its {_named(self._world.stepper.calls[slot.call])}"
        return f"{delivery.epoch} is {delivery.phase} and waits for {call}"

    def _what(self, old: Scene, new: Scene, action: Action, who: str) -> str:
        record = "absent" if new.record == NONE else told_record(self._world.stepper.records[new.record])
        values = {"who": who, "epoch": str(new.epoch), "record": record}
        if action.kind in _OF_THE_QUEUE:
            return _OF_THE_QUEUE[action.kind].format(**values)
        if action.kind in _OF_RENEWALS:
            return _OF_RENEWALS[action.kind].format(**values)
        if action.kind == "lease gone":
            return f"{who} sees its lease run out"
        if action.kind == "handler":
            return f"{who}'s handler {self._handler(action)}"
        slot = old.slots[action.who]
        assert slot is not None
        call = told_call(self._world.stepper.calls[slot.call], who)
        if action.kind == "time up":
            return f"{who} runs out of time; {call} is given up"
        if action.kind in _UNANSWERED:
            return _UNANSWERED[action.kind].format(call=call)
        return f"{call} is answered: {self._reply(action)}"

    def _handler(self, action: Action) -> str:
        match self._world.stepper.events[action.event]:
            case Checkpointed(progress=progress):
                return f"checkpoints progress {progress}"
            case Returned():
                return "returns"
            case Failed():
                return "fails"
            case Interrupted(end=end):
                return f"lets go ({end})"
            case other:
                raise AssertionError(f"no handler reports {other}")

    def _reply(self, action: Action) -> str:
        match self._world.stepper.events[action.event]:
            case Found(record=None):
                return "absent"
            case Found(record=Record() as record):
                return told_record(record)
            case PresenceFound(presence=presence):
                return "nobody" if presence is None else f"{presence.boot_id}, {presence.process}"
            case event:
                return type(event).__name__.lower()

    def _then(self, old: Scene, new: Scene, action: Action, workers: int) -> str:
        """The rows taken, and the next call."""
        if action.event == NONE:
            return "."
        slot, left = old.slots[action.who], new.slots[action.who]
        said = []
        if slot is not None and action.kind not in ("receive", "twin"):
            draining = self._world.workers[workers][action.who].draining
            taken = self._world.stepper.step(slot.delivery, action.event, draining).taken
            said += [f"row {one.row.id}, {one.row.outcome}" for one in taken]
        if left is not None and left.call != NONE and (slot is None or left.call != slot.call):
            said.append("next " + told_call(self._world.stepper.calls[left.call], ""))
        if left is None:
            said.append("the delivery has ended")
        return "; ".join(["", *said]) + "."


def told_again(steps: int) -> str:
    """The steps of a circle, once they have been told."""
    return "the last step" if steps == 1 else f"the last {steps} steps"


def told_call(call: Call, who: str) -> str:
    """A call, as a thing of somebody's."""
    return f"{who}'s {_named(call)}" if who else _named(call)


def _named(call: Call) -> str:
    match call:
        case ReadRecord():
            return "read of the record"
        case ReadPresence(owner=owner):
            return f"read of {owner.vm_id}'s presence"
        case WriteRecord(record=record):
            return f"write ({told_record(record)})"
        case PutPoison():
            return "poison put"
        case Delete():
            return "delete"
        case Release(pause_s=pause_s):
            return "release" if pause_s == 0 else "release with a pause"
        case Renew():
            return "renewal"
        case _:
            assert_never(call)


def told_record(record: Record) -> str:
    """A record in a few words."""
    counts = [f"{count} {name}" for name, count in _counts(record.counts) if count]
    progress = [] if record.progress is None else [f"progress {record.progress}"]
    return ", ".join([f"{record.status} by {record.owner.vm_id}'s delivery {record.epoch}", *progress, *counts])


def _counts(counts: Counts) -> list[tuple[str, int]]:
    return [
        ("failures", counts.failures),
        ("deaths", counts.deaths),
        ("evictions", counts.evictions),
        ("lapses", counts.lapses),
        ("stops", counts.stops),
    ]
