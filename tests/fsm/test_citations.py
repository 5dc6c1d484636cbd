"""What rows and constants rest on: promises and protocol rules that exist, and pages that a stranger can open."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from fsm import sources
from fsm.joint import AFTER_APPLICATION, AFTER_JOB, AFTER_VM
from fsm.promises import Promise
from fsm.protocol_rules import RULES
from tests.fsm.machines import ROWS, PlainRow

CORE = Path(sources.__file__).parent
PAGES = {name: value for name, value in vars(sources).items() if isinstance(value, sources.Source)}
CITED = {row.id: row.rests_on for row in ROWS}
CITED |= {rule.id: rule.rests_on for rule in AFTER_VM.rows}
CITED |= {rule.id: rule.rests_on for rule in AFTER_APPLICATION.rows}
CITED |= {rule.id: rule.rests_on for rule in AFTER_JOB.rows}
PROMISES = [
    "nothing_lost", "no_effect_twice", "progress_never_back", "no_work_after_notice", "drained_in_time",
    "eviction_is_not_failure", "released_at_once", "row_by_row", "always_comes_back",
]  # fmt: skip


def test_the_promises_are_these_nine() -> None:
    """A promise keeps its name: tests, checkers and journals refer to it."""
    assert [promise.value for promise in Promise] == PROMISES


@pytest.mark.parametrize("promise", Promise)
def test_every_promise_is_a_sentence(promise: Promise) -> None:
    """Each promise says in words what holds."""
    assert promise.sentence[0].isupper()
    assert promise.sentence.endswith(".")


def test_promises_that_need_a_store_say_so() -> None:
    """A promise that holds only with a job store has that condition in its own sentence."""
    conditional = {promise.value for promise in Promise if "has a job store" in promise.sentence}
    assert conditional == {"no_effect_twice", "eviction_is_not_failure"}


def test_the_protocol_has_eleven_rules() -> None:
    """Rules are numbered without a gap, because rows cite them by number."""
    assert list(RULES) == list(range(1, 12))
    assert all(text.endswith(".") for text in RULES.values())


@pytest.mark.parametrize("row_id", [row_id for row_id, cited in CITED.items() if cited])
def test_what_a_row_rests_on_can_be_found(row_id: str) -> None:
    """A cited promise, rule or page exists, and a page carries the month it was read."""
    cited = CITED[row_id]
    for name in re.findall(r"promise (\w+)", cited):
        assert name in PROMISES
    for number in re.findall(r"delivery protocol, rule (\d+)", cited):
        assert int(number) in RULES
    known = {str(page) for page in PAGES.values()}
    for page in re.findall(r"https://\S+ read \d{4}-\d\d", cited):
        assert page in known
    assert cited.count("https://") == len(re.findall(r"https://\S+ read \d{4}-\d\d", cited))


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_every_row_says_why_and_every_change_rests_on_something(row: PlainRow) -> None:
    """No row stands without a reason, and no state changes on our word alone."""
    assert row.why
    assert row.outcome
    if row.dest is not None:
        assert row.rests_on


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_public_and_dated(name: str) -> None:
    """A source is an https address with the month it was read."""
    assert PAGES[name].url.startswith("https://")
    assert re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", PAGES[name].read)
    assert PAGES[name].says("so it is") == f"so it is ({PAGES[name].url} read {PAGES[name].read})"


def test_no_page_is_listed_twice() -> None:
    """Each page has one name."""
    assert len({page.url for page in PAGES.values()}) == len(PAGES)


def test_docstrings_name_pages_that_exist() -> None:
    """Where a docstring of the core points to a constant of `fsm.sources`, the constant is there."""
    named = re.findall(r"fsm\.sources\.([A-Z_]+)", _core_text())
    assert named
    assert set(named) <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_cited_somewhere(name: str) -> None:
    """`fsm.sources` keeps no page that nothing rests on."""
    assert re.search(rf"\b{name}\b", _core_text())


def test_nothing_is_cited_by_a_tag_of_our_own() -> None:
    """A fact of the platform is cited by a public page, never by a section of notes that a stranger does not have."""
    assert re.findall(r"\[[A-Z]+ \d+(?:\.\d+)?[,\]]|\((?:AZURE|DESIGN)\b", _core_text()) == []


@cache
def _core_text() -> str:
    """The core's source, without the pages themselves."""
    paths = sorted(CORE.rglob("*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if path.name != "sources.py")
