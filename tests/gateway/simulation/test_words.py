"""Times, numbers and long texts as a report says them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulation.words import clock, number, shortened

pytestmark = pytest.mark.req("INT-10")


@pytest.mark.parametrize(
    ("at_s", "said"),
    [
        (0.0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (245.0, "4:05"),
        (3599.0, "59:59"),
        (3845.0, "1:04:05"),
        (-0.4, "0:00"),
        (-65.0, "-1:05"),
    ],
)
def test_a_time_reads_like_a_clock(at_s: float, said: str) -> None:
    assert clock(at_s) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.8, "0.8"), (0.0, "0"), (9999.0, "9999"), (12_000.0, "12,000")]
)
def test_a_number_is_as_short_as_it_can_be_read(value: float, said: str) -> None:
    assert number(value) == said


@given(text=st.text(), most=st.integers(3, 20))
def test_a_shortened_text_is_one_printable_line_of_bounded_length(text: str, most: int) -> None:
    told = shortened(text, most)
    assert len(told) <= most
    assert told.isprintable()


def test_what_is_cut_shows_it() -> None:
    assert shortened("one\ttwo\n  three", 99) == "one two three"
    assert shortened("one two three", 10) == "one two..."
