"""The sketch: a hundredth of error at most, and merging that changes nothing."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.sketch import (
    HIGHEST,
    LEAST_S,
    LOWEST,
    MOST_S,
    RELATIVE_ERROR,
    bucket_of,
    quantile,
    value_of,
)

pytestmark = pytest.mark.req("INT-4")

IN_RANGE = st.floats(math.log(LEAST_S), math.log(MOST_S)).map(math.exp)
# Tenths of a second and how often: enough of them that a p95 is not the maximum, and ranks on ties.
LATENCIES = st.dictionaries(st.integers(1, 12), st.integers(1, 30), max_size=12).map(
    lambda often: [tenths / 10 for tenths, count in often.items() for _ in range(count)]
)
MISSING = st.one_of(st.just(0), st.integers(1, 20))
Q = st.sampled_from([0.0, 0.07, 0.5, 0.51, 0.7, 0.9, 0.95, 1.0])


def sketch(values: list[float]) -> Counter[int]:
    return Counter(map(bucket_of, values))


def nearest_rank(values: list[float], q_percent: int) -> float:
    """By the book, and in integers: the smallest value with q% of all at or below it."""
    rank = max(-(-q_percent * len(values) // 100), 1)
    return sorted(values)[rank - 1]


@given(value=IN_RANGE)
def test_a_bucket_stands_for_its_values_within_a_hundredth(value: float) -> None:
    if LEAST_S < value < MOST_S:
        assert value_of(bucket_of(value)) == pytest.approx(value, rel=RELATIVE_ERROR + 1e-9)


@given(one=IN_RANGE, other=IN_RANGE)
def test_a_larger_value_is_never_in_a_lower_bucket(one: float, other: float) -> None:
    assert bucket_of(min(one, other)) <= bucket_of(max(one, other))


def test_values_outside_the_range_share_the_buckets_at_its_ends() -> None:
    assert {bucket_of(v) for v in (-1.0, 0.0, 1e-9, LEAST_S)} == {LOWEST}
    assert {bucket_of(v) for v in (MOST_S, 1e9, math.inf)} == {HIGHEST}
    assert LOWEST < bucket_of(LEAST_S * 1.001) < bucket_of(MOST_S * 0.999) < HIGHEST


def test_the_values_of_the_buckets_rise() -> None:
    values = [value_of(bucket) for bucket in range(LOWEST, HIGHEST + 1)]
    assert values == sorted(set(values))
    assert (values[0], values[-1]) == (LEAST_S, MOST_S)


def test_nan_is_an_error_and_not_a_bucket() -> None:
    with pytest.raises(ValueError, match="NaN"):
        bucket_of(math.nan)


@given(values=LATENCIES.filter(bool), q=Q, missing=MISSING)
def test_a_quantile_is_the_nearest_rank_within_a_hundredth(
    values: list[float], q: float, missing: int
) -> None:
    exact = nearest_rank(values + [math.inf] * missing, round(q * 100))
    got = quantile(sketch(values), len(values), q, missing)
    assert got == pytest.approx(exact, rel=RELATIVE_ERROR + 1e-9)


@given(values=LATENCIES.filter(bool), q=Q, above=st.integers(0, 50))
def test_knowing_the_top_saves_time_and_changes_nothing(
    values: list[float], q: float, above: int
) -> None:
    counts = sketch(values)
    with_top = quantile(counts, len(values), q, top=max(counts) + above)
    assert with_top == quantile(counts, len(values), q)


@given(values=LATENCIES.filter(bool), limit=st.integers(1, 12), missing=MISSING)
def test_a_p95_is_over_a_limit_exactly_when_more_than_5_percent_are(
    values: list[float], limit: int, missing: int
) -> None:
    bad = missing + sum(value > limit / 10 for value in values)
    p95 = quantile(sketch(values), len(values), 0.95, missing)
    assert p95 is not None
    # Half a tenth beyond the limit is far from every value on either side.
    assert (p95 > limit / 10 + 0.05) == (100 * bad > 5 * (len(values) + missing))


@given(one=LATENCIES, other=LATENCIES, q=Q)
def test_merged_sketches_answer_like_one(one: list[float], other: list[float], q: float) -> None:
    merged = sketch(one) + sketch(other)
    whole = sketch(one + other)
    n = len(one) + len(other)
    assert quantile(merged, n, q) == quantile(whole, n, q)


@given(values=LATENCIES.filter(bool), q=Q, larger=Q)
def test_quantiles_rise_with_q(values: list[float], q: float, larger: float) -> None:
    low, high = sorted((q, larger))
    first, second = (quantile(sketch(values), len(values), each) for each in (low, high))
    assert first is not None
    assert second is not None
    assert first <= second


def test_nothing_has_no_quantile_and_nothing_but_missing_has_an_infinite_one() -> None:
    assert quantile({}, 0, 0.95) is None
    assert quantile({}, 0, 0.95, missing=1) == math.inf
    assert quantile({}, 0, 0.0, missing=1) == math.inf


@pytest.mark.parametrize("percent", range(1, 101))
def test_each_percent_of_a_hundred_values_is_one_of_them(percent: int) -> None:
    # 0.07 * 100 is a little more than 7, and must not be rank 8.
    counts = sketch([float(second) for second in range(1, 101)])
    assert quantile(counts, 100, percent / 100) == pytest.approx(percent, rel=0.0101)


def test_a_quantile_is_infinite_only_where_it_falls_among_the_missing() -> None:
    counts = sketch([1.0] * 19)
    assert quantile(counts, 19, 0.95, missing=1) == pytest.approx(1.0, rel=0.01)
    assert quantile(counts, 19, 0.96, missing=1) == math.inf


@pytest.mark.parametrize("q", [0.2, 0.9])
def test_a_total_that_the_counts_do_not_reach_is_an_error(q: float) -> None:
    with pytest.raises(ValueError, match="add up"):
        quantile({5: 1}, 30, q)
