"""A failing backend gets a share more than its requests, and not a multiple."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.retry_budget import MAX_SAVED, PER_S, RESERVE, RetryBudget

pytestmark = pytest.mark.req("RUN-5", "RUN-7")


@given(
    share=st.sampled_from([0.1, 0.2, 0.5, 1.0]),
    steps=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=200),
)
def test_retries_are_a_share_of_requests_beyond_the_reserve(
    share: float, steps: list[tuple[int, bool]]
) -> None:
    budget, now_s, requests, retries = RetryBudget(share), 0, 0, 0
    for wait_s, is_request in steps:
        now_s += wait_s
        if is_request:
            budget.requests += 1
            requests += 1
        else:
            retries += budget.take(now_s)
    assert retries <= RESERVE + share * requests + PER_S * now_s + 1e-6


@pytest.mark.req("OPS-4")
@given(
    share=st.sampled_from([0.125, 0.5, 1.0]),  # of which floats have the multiples
    steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["comes", "fails"])), max_size=300),
)
def test_to_count_requests_when_somebody_asks_is_to_count_them_as_they_come(
    share: float, steps: list[tuple[int, str]]
) -> None:
    late, at_once, now_s = RetryBudget(share), RetryBudget(share), 0
    for wait_s, what in steps:
        if what == "comes":
            late.requests += 1
            at_once.requests += 1
            at_once.allows(now_s)
        else:
            now_s += wait_s
            assert late.take(now_s) == at_once.take(now_s)


def test_a_quiet_pool_may_retry_again_after_a_while() -> None:
    budget = RetryBudget(0.2)
    assert sum(budget.take(0) for _ in range(50)) == RESERVE
    assert not budget.take(1)
    assert budget.take(4)


def test_what_is_saved_is_bounded_and_time_alone_saves_only_the_reserve() -> None:
    budget = RetryBudget(1.0)
    budget.take(0)
    assert sum(budget.take(1_000_000) for _ in range(500)) == RESERVE
    budget.requests += 1000
    assert sum(budget.take(1_000_000) for _ in range(500)) == MAX_SAVED


def test_a_share_of_nothing_is_no_retries() -> None:
    budget = RetryBudget(0.0)
    budget.requests += 1
    assert not any(budget.take(at_s) for at_s in range(0, 1000, 100))


def test_asking_whether_a_retry_is_allowed_counts_none() -> None:
    budget, told = RetryBudget(0.2), []
    for _ in range(20):
        told.append(budget.allows(0))
        assert budget.allows(0) == told[-1]
        assert budget.take(0) == told[-1]
    assert told.count(True) == RESERVE
