"""What can be drawn, and as what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import assert_never

from fsm.application import APPLICATION
from fsm.drawing.dot import render_dot
from fsm.drawing.joint import joint_picture
from fsm.drawing.journey import (
    JointJourney,
    Journey,
    ProtocolJourney,
    joint_journey_of,
    journey_of,
    protocol_journey_of,
)
from fsm.drawing.machine import picture_of
from fsm.drawing.markdown import render_joint_markdown, render_markdown, render_protocol_markdown
from fsm.drawing.mermaid import render_mermaid
from fsm.drawing.picture import Picture
from fsm.drawing.protocol import protocol_picture
from fsm.drawing.xstate import render_joint_xstate, render_protocol_xstate, render_xstate
from fsm.errors import ConfigurationError
from fsm.job import JOB
from fsm.journal import Line
from fsm.spot_vm import SPOT_VM
from fsm.table import FactT, StateT, Table, TriggerT

_NOTE = "Generated from the code in `fsm/` by `spotfsm draw`; changes here are overwritten."


class Machine(StrEnum):
    """What can be drawn."""

    SPOT_VM = "spot_vm"
    APPLICATION = "application"
    JOB = "job"
    JOINT = "joint"
    DELIVERY = "delivery"


class Format(StrEnum):
    """As what it can be drawn."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    PNG = "png"
    XSTATE = "xstate"
    MARKDOWN = "markdown"

    @property
    def ending(self) -> str:
        """What a file of this format ends in, behind the dot."""
        return _ENDINGS.get(self, self.value)

    @property
    def is_text(self) -> bool:
        """Whether it can be written without any library; the others are pictures that somebody laid out."""
        return self not in (Format.SVG, Format.PNG)


_ENDINGS = {Format.MERMAID: "mmd", Format.XSTATE: "xstate.json", Format.MARKDOWN: "md"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A machine, ready to be drawn.

    Attributes:
        machine: which.
        picture: what there is to see.
        decisions: its decision table, in Markdown.
        xstate: makes its XState configuration.
    """

    machine: Machine
    picture: Picture
    decisions: str
    xstate: Callable[[], str]

    @property
    def fenced(self) -> str:
        """The Mermaid picture as it stands within Markdown."""
        return f"```mermaid\n{render_mermaid(self.picture)}```\n"

    def text(self, form: Format) -> str:
        """The drawing in a format that is text.

        Raises:
            AssertionError: SVG and PNG are not drawn here.
        """
        match form:
            case Format.MERMAID:
                return render_mermaid(self.picture)
            case Format.DOT:
                return render_dot(self.picture)
            case Format.XSTATE:
                return self.xstate()
            case Format.MARKDOWN:
                return f"# {self.picture.title}\n\n{_NOTE}\n\n{self.fenced}\n{self.decisions}"
            case Format.SVG | Format.PNG:
                raise AssertionError(f"{form} needs a layout")
            case _:
                assert_never(form)


@cache
def drawing_of(machine: Machine) -> Drawing:
    """A machine as it is."""
    match machine:
        case Machine.SPOT_VM:
            return _of_table(machine, SPOT_VM, "The Spot VM", None)
        case Machine.APPLICATION:
            return _of_table(machine, APPLICATION, "The application", None)
        case Machine.JOB:
            return _of_table(machine, JOB, "The job", None)
        case Machine.JOINT:
            return _of_joint_rules(None)
        case Machine.DELIVERY:
            return _of_protocol(None)
        case _:
            assert_never(machine)


def drawing_with_path(machine: Machine, lines: Sequence[Line], *, job: str | None = None) -> Drawing:
    """A machine with the path that journals took through it.

    Args:
        machine: which.
        lines: of one journal or of several.
        job: the id of the only message to look at, for the job and its delivery.

    Raises:
        ConfigurationError: there is no path in the lines, or it is not of this machine.
    """
    match machine:
        case Machine.SPOT_VM:
            return _of_table(machine, SPOT_VM, "The Spot VM", _journey(machine, lines, None))
        case Machine.APPLICATION:
            return _of_table(machine, APPLICATION, "The application", _journey(machine, lines, None))
        case Machine.JOB:
            return _of_table(machine, JOB, "The job", _journey(machine, lines, job))
        case Machine.JOINT:
            rules = joint_journey_of(lines)
            _require(machine, found=bool(rules.rules), job=None)
            return _of_joint_rules(rules)
        case Machine.DELIVERY:
            steps = protocol_journey_of(lines, job=job)
            _require(machine, found=bool(steps.visits), job=job)
            return _of_protocol(steps)
        case _:
            assert_never(machine)


def _journey(machine: Machine, lines: Sequence[Line], job: str | None) -> Journey:
    journey = journey_of(machine.value, lines, job=job)
    _require(machine, found=bool(journey.rows), job=job)
    return journey


def _require(machine: Machine, *, found: bool, job: str | None) -> None:
    if not found and job:
        raise ConfigurationError("--job", f"{job!r} is not in the journal", "Name a message id that it has.")
    if not found:
        problem = f"it has no line of {_LINES[machine]}"
        raise ConfigurationError("--journal", problem, "Draw another machine, or another journal.")


_LINES = {
    **{machine: f"the machine {machine.value}" for machine in (Machine.SPOT_VM, Machine.APPLICATION, Machine.JOB)},
    Machine.JOINT: "a joint rule",
    Machine.DELIVERY: "a delivery's steps",
}
"""What a machine's path is read from."""


def _of_joint_rules(journey: JointJourney | None) -> Drawing:
    return Drawing(
        machine=Machine.JOINT,
        picture=joint_picture("The joint rules", journey),
        decisions=render_joint_markdown(journey),
        xstate=render_joint_xstate,
    )


def _of_protocol(journey: ProtocolJourney | None) -> Drawing:
    return Drawing(
        machine=Machine.DELIVERY,
        picture=protocol_picture("The delivery protocol", journey),
        decisions=render_protocol_markdown(),
        xstate=render_protocol_xstate,
    )


def _of_table(machine: Machine, table: Table[StateT, TriggerT, FactT], title: str, journey: Journey | None) -> Drawing:
    known = {(state.value, row.id) for row in table.rows for state in row.source}
    for state, row_id in () if journey is None else journey.rows:
        if (state, row_id) not in known:
            problem = f"no row {row_id!r} is taken in state {state!r} of the table {table.name}"
            raise ConfigurationError("--journal", problem, "Draw it with the spotfsm that wrote it.")
    return Drawing(
        machine=machine,
        picture=picture_of(table, title, journey=journey),
        decisions=render_markdown(table, journey),
        xstate=lambda: render_xstate(table),
    )
