"""The margin to the TPOT objective: moved by whole requests, and only by those it could have influenced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.trim import DOWN_MAX, SAMPLES, THETA, THETA_MAX, THETA_MIN, UP, Trim

pytestmark = pytest.mark.req("INT-4", "INT-5")
ALLOWED = 0.05


def fed(trim: Trim, slow: int, n: int = 100, dispatched_s: float = 100.0) -> Trim:
    for nth in range(n):
        trim.ended(nth < slow, dispatched_s)
    return trim


def test_too_many_slow_requests_take_the_margin_down() -> None:
    trim = fed(Trim(), slow=9)
    trim.step(ALLOWED, 200.0)
    assert THETA - DOWN_MAX <= trim.theta < THETA


def test_hardly_any_slow_request_lets_it_rise_a_little() -> None:
    trim = fed(Trim(), slow=0)
    trim.step(ALLOWED, 200.0)
    assert trim.theta == pytest.approx(THETA + UP)


def test_about_as_many_as_allowed_is_where_it_rests() -> None:
    trim = fed(Trim(), slow=3)
    trim.step(ALLOWED, 200.0)
    assert trim.theta == THETA


def test_few_requests_move_nothing() -> None:
    trim = fed(Trim(), slow=SAMPLES - 1, n=SAMPLES - 1)
    trim.step(ALLOWED, 200.0)
    assert trim.theta == THETA


def test_requests_of_before_the_last_change_do_not_count() -> None:
    trim = fed(Trim(), slow=50)
    trim.step(ALLOWED, 200.0)
    after = trim.theta
    fed(trim, slow=100, dispatched_s=199.0)
    trim.step(ALLOWED, 300.0)
    assert trim.theta == after
    fed(trim, slow=100, dispatched_s=200.0)
    trim.step(ALLOWED, 300.0)
    assert trim.theta < after


@given(batches=st.lists(st.integers(0, 100), max_size=60))
def test_it_never_leaves_its_bounds(batches: list[int]) -> None:
    trim = Trim()
    for second, slow in enumerate(batches):
        fed(trim, slow, dispatched_s=float(second))
        trim.step(ALLOWED, float(second))
        assert THETA_MIN <= trim.theta <= THETA_MAX


def test_noisy_requests_are_held_to_their_share_in_a_closed_loop() -> None:
    """Each request's own noise is 4% (deterministic, evenly spread): steered to theta, the share of slow
    requests comes to rest near the setpoint, below what is allowed."""
    from statistics import NormalDist

    noise, trim, late = NormalDist(1.0, 0.04), Trim(), []
    for second in range(400):
        for nth in range(20):
            quantile = (second * 20 + nth) * 0.6180339887 % 1.0
            slow = trim.theta * noise.inv_cdf(min(max(quantile, 1e-6), 1 - 1e-6)) > 1.0
            trim.ended(slow, float(second))
            if second > 200:
                late.append(slow)
        trim.step(ALLOWED, float(second))
    assert 0.2 * ALLOWED < sum(late) / len(late) < ALLOWED
