"""Values of options: durations and whole numbers, within limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.cli.options import duration, size, whole
from adapters.cli.output import duration_text, one_line

DAY_S = 86400.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("30s", 30),
        ("30 s", 30),
        ("1.5m", 90),
        ("5M", 300),
        ("2h", 7200),
        ("7d", 604800),
        ("250ms", 0.25),
        (".5", 0.5),
        ("0", 0),
        (60.0, 60),
        (" 60 ", 60),
    ],
)
def test_a_duration_is_a_number_and_perhaps_a_unit(text: str | float, seconds: float) -> None:
    """Seconds where nothing is said, and the units that people write."""
    assert duration(0, 365 * DAY_S)(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "5 minutes", "1m30s", "-5", "1e3", "inf", "nan", "5,5", "0x10", "\N{ARABIC-INDIC DIGIT THREE}"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    """A text that could mean two things is refused, with examples of what could be meant."""
    with pytest.raises(ValueError, match=r"is not a duration.*such as 30, 30s or 5m"):
        duration(0, DAY_S)(text)


@given(st.floats(min_value=0, max_value=DAY_S))
def test_a_duration_that_is_shown_can_be_given(seconds: float) -> None:
    """What an error names as a limit is itself a duration, and close to the limit."""
    shown = duration(0, 2 * DAY_S)(duration_text(round(seconds, 3)))
    assert shown == pytest.approx(round(seconds, 3), rel=1e-3)


@pytest.mark.parametrize(("text", "allowed"), [("1.9s", False), ("2s", True), ("1h", True), ("61m", False)])
def test_limits_belong_to_the_range(text: str, *, allowed: bool) -> None:
    """At the limit is within, past it is not."""
    parse = duration(2.0, 3600.0)
    if allowed:
        assert parse(text)
    else:
        with pytest.raises(ValueError, match="Give 2s to 1h"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("2G", 2**31), ("512M", 2**29), ("1.5 g", None), ("1.5GiB", 3 * 2**29), ("64mb", 2**26), ("1t", 2**40)],
)
def test_a_size_is_in_powers_of_1024(text: str, count: int | None) -> None:
    """As programs that give limits to processes write it."""
    if count is None:
        with pytest.raises(ValueError, match="is not a size"):
            size(2**20)(text)
    else:
        assert size(2**20)(text) == count


@pytest.mark.parametrize(
    ("text", "told"), [("1", "too small. Give at least 16M"), ("", "is not a"), ("-1G", "is not a")]
)
def test_a_size_that_nothing_can_run_in_is_refused(text: str, told: str) -> None:
    """A number that forgets its unit is found out."""
    with pytest.raises(ValueError, match=told):
        size(16 * 2**20)(text)


@given(st.integers(min_value=-1000, max_value=1000))
def test_whole_numbers_keep_their_limits(number: int) -> None:
    """Exactly the numbers of the range are taken."""
    parse = whole(1, 256)
    if 1 <= number <= 256:
        assert parse(str(number)) == number == parse(number)
    else:
        with pytest.raises(ValueError, match="from 1 to 256"):
            parse(str(number))


@pytest.mark.parametrize(
    "text", ["", "1.0", "1e2", "0x1", "\N{ARABIC-INDIC DIGIT ONE}", "\N{SUPERSCRIPT TWO}", "one", "9" * 5000]
)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    """Only plain digits are a number."""
    with pytest.raises(ValueError, match="is not a whole number"):
        whole(1, 256)(text)


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    """Whatever a service or a user writes, a message about it is one line without control characters."""
    assert one_line(text).isprintable()
