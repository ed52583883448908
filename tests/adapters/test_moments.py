import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.moments import seconds_until, unix_s

pytestmark = pytest.mark.req("RUN-6")
SAME = 784111777.0


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "1994-11-06T08:49:37Z",
        "1994-11-06T09:49:37+01:00",
        " 1994-11-06T08:49:37.000Z ",
    ],
)
def test_a_moment_is_the_same_in_each_of_its_forms(text: str) -> None:
    assert unix_s(text) == SAME


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "5",
        "1994-11-06",
        "1994-11-06T08:49:37",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "x" * 999,
    ],
)
def test_what_is_no_moment_is_none(text: str) -> None:
    assert unix_s(text) is None


@given(text=st.text(max_size=60))
def test_no_text_raises(text: str) -> None:
    unix_s(text)
    seconds_until(text, {"date": text})


def test_how_far_it_is_is_told_by_the_answers_own_date() -> None:
    answer = {"date": "Sun, 06 Nov 1994 08:49:37 GMT"}
    assert seconds_until("Sun, 06 Nov 1994 08:50:07 GMT", answer) == 30.0
    assert seconds_until("1994-11-06T08:49:07Z", answer) == 0.0
    assert seconds_until("1994-11-06T08:49:07Z", {}) is None
    assert seconds_until("soon", answer) is None
