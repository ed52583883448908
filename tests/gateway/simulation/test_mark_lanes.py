"""Words beside poles: none on top of another, none crossed by a pole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulation.mark_lanes import lanes

pytestmark = pytest.mark.req("INT-10")


def test_a_mark_alone_takes_the_highest_lane() -> None:
    assert lanes([1.0], [2.0], count=3, end=9.0) == [2]


def test_marks_close_together_go_down_like_stairs_until_there_is_no_room() -> None:
    assert lanes([0.0, 1.0, 2.0, 3.0], [4.0] * 4, count=3, end=99.0) == [2, 1, 0, None]


def test_a_lane_is_free_again_where_its_words_end() -> None:
    assert lanes([0.0, 4.0], [4.0, 4.0], count=3, end=99.0) == [2, 2]
    assert lanes([0.0, 3.0], [4.0, 4.0], count=3, end=99.0) == [2, 1]


def test_words_that_would_leave_the_picture_are_left_out() -> None:
    assert lanes([1.0, 6.0], [4.0, 4.0], count=1, end=9.0) == [0, None]


@given(
    marks=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), max_size=12).map(sorted),
    count=st.integers(1, 4),
)
def test_no_words_overlap_and_no_pole_crosses_words(
    marks: list[tuple[int, int]], count: int
) -> None:
    chosen = lanes(
        [float(x) for x, _ in marks], [float(w) for _, w in marks], count=count, end=22.0
    )
    placed = [
        (x, x + w, lane) for (x, w), lane in zip(marks, chosen, strict=True) if lane is not None
    ]
    for number, (start, _, lane) in enumerate(placed):
        for other_start, other_end, other_lane in placed[:number]:
            inside = other_start <= start < other_end
            # The pole goes from below up to its own lane.
            assert not (inside and other_lane <= lane)
    assert all(0 <= lane < count for _, _, lane in placed)
