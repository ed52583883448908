"""How fast a stream is, window after window."""

import pytest

from contracts.events import Delta, ToolCallDelta
from policies.pace import CHARS_A_TOKEN, WINDOW_S, Pace

pytestmark = pytest.mark.req("RUN-5")


def spoken(pace: Pace, *contents: str) -> None:
    for content in contents:
        pace.note(Delta(content=content))


def test_the_floor_itself_is_fast_enough_and_a_token_less_is_not() -> None:
    pace = Pace(2.0)
    pace.begin(100.0)
    spoken(pace, *["a"] * 19)
    assert pace.is_too_slow(100.0 + WINDOW_S)
    spoken(pace, "a")
    assert not pace.is_too_slow(100.0 + WINDOW_S)


def test_a_long_piece_counts_as_many_tokens_as_it_may_hold_in_whatever_part_of_it() -> None:
    long = "x" * 10 * CHARS_A_TOKEN
    call = ToolCallDelta(index=0, id=None, name=None, arguments=long)
    for delta in (
        Delta(content=long),
        Delta(reasoning=long),
        Delta(refusal=long),
        Delta(tool_calls=(call,)),
    ):
        pace = Pace(1.0)
        pace.begin(0.0)
        pace.note(delta)
        assert [pace.is_too_slow(at_s) for at_s in (10.0, 10.5)] == [False, True]


def test_a_window_that_begins_anew_has_forgotten_what_came_before() -> None:
    pace = Pace(1.0)
    pace.begin(0.0)
    spoken(pace, *["a"] * 100)
    pace.begin(7.0)
    assert pace.left_s(7.0 + WINDOW_S) == 0.0
    assert pace.left_s(10.0) == WINDOW_S - 3.0
    assert pace.is_too_slow(8.0)
