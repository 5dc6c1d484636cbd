"""A picture file tells whether it was drawn from today's source and left alone since, without any library."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.drawing import stamp
from adapters.drawing.colours import Theme
from adapters.drawing.files import draw_png, draw_svg, picture_files
from adapters.drawing.stamp import is_fresh, source_of, stamped
from fsm.drawing import Machine, drawing_of
from tests.adapters.drawing.pixels import chunks
from tests.fsm.test_drawing import ROOT

PICTURE = drawing_of(Machine.JOINT).picture
FILES = {"svg": draw_svg(PICTURE), "png": draw_png(PICTURE, Theme.DARK)}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_a_file_is_fresh_until_its_source_changes(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another picture, or another look of all pictures, makes it stale."""
    assert is_fresh(data, PICTURE)
    assert not is_fresh(data, replace(PICTURE, title="Another"))
    assert not is_fresh(data, drawing_of(Machine.JOB).picture)
    monkeypatch.setattr(stamp, "LOOK", stamp.LOOK + 1)
    assert not is_fresh(data, PICTURE)


@given(kind=st.sampled_from(list(FILES)), draw=st.data())
def test_a_file_that_was_changed_is_not_fresh(kind: str, draw: st.DataObject) -> None:
    """Flip any bit, cut it anywhere: it is stale."""
    data = FILES[kind]
    at = draw.draw(st.integers(0, len(data) - 1))
    bit = 1 << draw.draw(st.integers(0, 7))
    assert not is_fresh(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :], PICTURE)
    assert not is_fresh(data[:at], PICTURE)


@given(data=st.binary(max_size=200))
def test_whatever_is_no_picture_is_not_fresh(data: bytes) -> None:
    """Nothing at all, or anything else, is stale and no error."""
    assert not is_fresh(data, PICTURE)


def test_a_stamped_png_is_a_png() -> None:
    """The stamp is a text chunk with a checksum of its own, and the picture is as it was."""
    found = dict(chunks(FILES["png"]))
    keyword, _, text = found[b"tEXt"].partition(b"\0")
    assert keyword == b"spotfsm"
    assert text.startswith(f"source={source_of(PICTURE)} content=".encode())
    bare = b"".join([FILES["png"][:33], FILES["png"][33 + 12 + len(found[b"tEXt"]) :]])
    assert [chunk for chunk in chunks(FILES["png"]) if chunk[0] != b"tEXt"] == list(chunks(bare))
    assert stamped(bare, PICTURE) == FILES["png"]


# -- the repository ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", picture_files())
def test_the_pictures_in_the_repository_are_fresh(path: str) -> None:
    """A change of what decides comes with its pictures: run `spotfsm draw`."""
    assert picture_files()[path].is_fresh((ROOT / path).read_bytes())


@pytest.mark.parametrize("machine", Machine)
def test_the_pictures_in_the_repository_look_like_those_drawn_today(machine: Machine) -> None:
    """Whoever changes how pictures look raises `LOOK`: but for lengths, each SVG is what is drawn now."""
    kept = (ROOT / f"diagrams/{machine}.svg").read_text()
    assert without_numbers(kept) == without_numbers(draw_svg(drawing_of(machine).picture).decode())


def without_numbers(svg: str) -> str:
    """An SVG without its lengths and hashes, and without how many curves a line has."""
    return re.sub(r"[\d., ]+(?=[\d., ]|\")|content=\w+|[\d.]+", "", re.sub(r' d="[^"]*"', "", svg))
