"""What a request's progress says of its pace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import Usage
from gateway.progress import Progress, Took

pytestmark = pytest.mark.req("RUN-10")


def progress(
    first_s: float | None, ended_s: float | None, tokens: int | None, accepted_s: float = 0.0
) -> Progress:
    usage = None if tokens is None else Usage(prompt_tokens=1, completion_tokens=tokens)
    return Progress(accepted_s=accepted_s, first_token_s=first_s, ended_s=ended_s, usage=usage)


def test_tpot_is_the_mean_gap_after_the_first_token() -> None:
    assert progress(1.0, 3.0, 5).tpot_s == 0.5


@given(
    first_s=st.integers(0, 5),
    gaps=st.integers(1, 100),
    gap_s=st.integers(0, 5),
    accepted_s=st.integers(-5, 0),
)
def test_tpot_times_its_gaps_is_the_time_they_took(
    first_s: int, gaps: int, gap_s: int, accepted_s: int
) -> None:
    one = progress(float(first_s), float(first_s + gaps * gap_s), gaps + 1, float(accepted_s))
    assert one.tpot_s == pytest.approx(gap_s), "what came before the first token does not count"


@pytest.mark.parametrize(
    ("first_s", "ended_s", "tokens"),
    [
        (1.0, 3.0, 1),
        (1.0, 3.0, 0),
        (1.0, 3.0, None),
        (None, 3.0, 5),
        (1.0, None, 5),
        (None, None, None),
    ],
)
def test_tpot_is_undefined_where_there_is_no_gap(
    first_s: float | None, ended_s: float | None, tokens: int | None
) -> None:
    assert progress(first_s, ended_s, tokens).tpot_s is None


def test_two_requests_share_nothing() -> None:
    one, other = progress(1.0, 2.0, 3), progress(1.0, 2.0, 3)
    one.finish_reasons.append("stop")
    assert other.finish_reasons == []
    assert one.attempts is not other.attempts


@pytest.mark.req("OPS-2")
def test_what_a_request_came_to_took_so_long_and_the_rest_is_unknown() -> None:
    refused = Progress(accepted_s=1.0)
    assert refused.took(1.5) == Took(0.5)
    answered = Progress(
        accepted_s=1.0,
        queue_s=0.25,
        dispatched_s=1.25,
        first_token_s=2.0,
        ended_s=3.0,
        usage=Usage(prompt_tokens=1, completion_tokens=5),
    )
    assert answered.took(3.5) == Took(2.5, 0.25, 1.0, 0.75, 0.25)
