"""What can be drawn, and as what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import assert_never

from fsm.application import APPLICATION
from fsm.drawing.dot import render_dot
from fsm.drawing.joint import joint_picture
from fsm.drawing.journey import Journey
from fsm.drawing.machine import picture_of
from fsm.drawing.markdown import render_joint_markdown, render_markdown, render_protocol_markdown
from fsm.drawing.mermaid import render_mermaid
from fsm.drawing.picture import Picture
from fsm.drawing.protocol import protocol_picture
from fsm.drawing.xstate import render_joint_xstate, render_protocol_xstate, render_xstate
from fsm.errors import ConfigurationError
from fsm.job import JOB
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
        case Machine.JOINT:
            return Drawing(
                machine=machine,
                picture=joint_picture("The joint rules"),
                decisions=render_joint_markdown(),
                xstate=render_joint_xstate,
            )
        case Machine.DELIVERY:
            return Drawing(
                machine=machine,
                picture=protocol_picture("The delivery protocol"),
                decisions=render_protocol_markdown(),
                xstate=render_protocol_xstate,
            )
        case Machine.SPOT_VM | Machine.APPLICATION | Machine.JOB:
            return drawing_with_path(machine, None)
        case _:
            assert_never(machine)


def drawing_with_path(machine: Machine, journey: Journey | None) -> Drawing:
    """The machine of one table with a path in it.

    Raises:
        ConfigurationError: the path is not of this table, or the machine is of none.
    """
    match machine:
        case Machine.SPOT_VM:
            return _of_table(machine, SPOT_VM, "The Spot VM", journey)
        case Machine.APPLICATION:
            return _of_table(machine, APPLICATION, "The application", journey)
        case Machine.JOB:
            return _of_table(machine, JOB, "The job", journey)
        case Machine.JOINT | Machine.DELIVERY:
            tables = ", ".join((Machine.SPOT_VM, Machine.APPLICATION, Machine.JOB))
            raise ConfigurationError("--journal", f"{machine} has no path of its own", f"Draw one of {tables}.")
        case _:
            assert_never(machine)


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
