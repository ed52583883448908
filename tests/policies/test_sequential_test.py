"""Wald's test: the published steps and bounds, and error rates counted in simulated streams."""

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.sequential_test import SequentialTest, Verdict

pytestmark = pytest.mark.req("INT-4", "INT-6")

FRESH = SequentialTest(expected=0.05, otherwise=0.15)
COUNT = st.integers(0, 40)
PERCENT = st.integers(1, 99)
TOWARDS_NOT: dict[Verdict, int] = {"as_expected": 0, "open": 1, "not": 2}


def draws(seed: int) -> Iterator[float]:
    """Uniform in [0, 1), the same on every machine (Knuth's MMIX generator)."""
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield (state >> 11) / 2**53


def run(rate: float, stream: Iterator[float]) -> SequentialTest:
    """One test, looked at after each request, until it stops."""
    test = FRESH
    for draw in islice(stream, 10_000):
        if test.verdict != "open":
            break
        test = test.seen(*((0, 1) if draw < rate else (1, 0)))
    return test


def test_the_steps_are_the_published_ones() -> None:
    assert FRESH.seen(0, 1).llr == pytest.approx(1.0986, abs=5e-5)
    assert FRESH.seen(1, 0).llr == pytest.approx(-0.1112, abs=5e-5)
    assert FRESH.llr == 0


def test_27_straight_good_ones_confirm_and_26_do_not() -> None:
    assert FRESH.seen(26, 0).verdict == "open"
    assert FRESH.seen(27, 0).verdict == "as_expected"


def test_three_quick_bad_ones_refute_and_two_do_not() -> None:
    assert FRESH.seen(0, 2).verdict == "open"
    assert FRESH.seen(0, 3).verdict == "not"
    assert FRESH.seen(3, 3).verdict == "not"


def test_it_stops_at_2_944_on_either_side() -> None:
    seen = [FRESH.seen(good, bad) for good in range(80) for bad in range(8)]
    assert {t.verdict for t in seen if t.llr >= 2.9445} == {"not"}
    assert {t.verdict for t in seen if abs(t.llr) <= 2.944} == {"open"}
    assert {t.verdict for t in seen if t.llr <= -2.9445} == {"as_expected"}


def test_fewer_allowed_errors_take_more_evidence() -> None:
    careful = SequentialTest(expected=0.05, otherwise=0.15, alpha=0.001, beta=0.001)
    assert careful.seen(0, 3).verdict == "open"
    assert careful.seen(27, 0).verdict == "open"


def test_alpha_guards_against_a_wrong_not_and_beta_against_a_wrong_as_expected() -> None:
    slow_to_refute = SequentialTest(expected=0.05, otherwise=0.15, alpha=0.0001)
    assert slow_to_refute.seen(0, 3).verdict == "open"
    assert slow_to_refute.seen(28, 0).verdict == "as_expected"
    slow_to_confirm = SequentialTest(expected=0.05, otherwise=0.15, beta=0.0001)
    assert slow_to_confirm.seen(0, 3).verdict == "not"
    assert slow_to_confirm.seen(28, 0).verdict == "open"


@given(good=COUNT, bad=COUNT, percent=PERCENT, more=st.integers(1, 50))
def test_more_bad_never_moves_towards_as_expected(
    good: int, bad: int, percent: int, more: int
) -> None:
    fresh = SequentialTest(expected=percent / 101, otherwise=(percent + 1) / 101)
    seen = fresh.seen(good, bad)
    worse = fresh.seen(good, bad + more)
    assert worse.llr > seen.llr
    assert TOWARDS_NOT[worse.verdict] >= TOWARDS_NOT[seen.verdict]
    assert TOWARDS_NOT[seen.seen(0, more).verdict] >= TOWARDS_NOT[seen.verdict]


@given(parts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), max_size=6))
def test_evidence_in_parts_is_evidence_at_once_while_it_is_open(
    parts: list[tuple[int, int]],
) -> None:
    test = FRESH
    for index, (good, bad) in enumerate(parts, start=1):
        if test.verdict != "open":
            break
        test = test.seen(good, bad)
        so_far = parts[:index]
        assert test == FRESH.seen(sum(g for g, _ in so_far), sum(b for _, b in so_far))


@given(
    before=st.sampled_from([(0, 3), (27, 0)]),
    after=st.tuples(COUNT, COUNT),
)
def test_a_verdict_once_reached_stays_with_the_numbers_that_led_to_it(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    decided = FRESH.seen(*before)
    assert decided.seen(*after) == decided


def test_what_was_seen_is_counted() -> None:
    seen = FRESH.seen(4, 1).seen(2, 0)
    assert (seen.n, seen.bad) == (7, 1)
    assert FRESH.n == 0


def test_looking_after_every_request_errs_as_seldom_as_asked_for() -> None:
    stream = draws(1)
    worked = [run(FRESH.expected, stream) for _ in range(1500)]
    failed = [run(FRESH.otherwise, stream) for _ in range(1500)]
    wrong_not = sum(t.verdict == "not" for t in worked) / len(worked)
    wrong_yes = sum(t.verdict == "as_expected" for t in failed) / len(failed)
    # Wald's own bound is alpha / (1 - beta) = 0.053; the rest is three deviations of 1500 runs.
    assert 0.01 < wrong_not < 0.07
    assert 0.01 < wrong_yes < 0.07
    assert all(t.verdict != "open" for t in worked + failed)


def test_it_takes_some_fifty_requests_on_average() -> None:
    stream = draws(2)
    worked = [run(FRESH.expected, stream).n for _ in range(1000)]
    failed = [run(FRESH.otherwise, stream).n for _ in range(1000)]
    assert sum(worked) / len(worked) == pytest.approx(58, rel=0.15)
    assert sum(failed) / len(failed) == pytest.approx(42, rel=0.15)


@pytest.mark.parametrize(
    ("expected", "otherwise"), [(0.0, 0.1), (0.1, 0.1), (0.2, 0.1), (0.5, 1.0), (-0.1, 0.5)]
)
def test_two_explanations_that_cannot_be_told_apart_are_an_error(
    expected: float, otherwise: float
) -> None:
    with pytest.raises(ValueError, match="expected"):
        SequentialTest(expected=expected, otherwise=otherwise)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.05), (0.05, 0.0), (0.5, 0.5)])
def test_impossible_error_rates_are_an_error(alpha: float, beta: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        SequentialTest(expected=0.05, otherwise=0.15, alpha=alpha, beta=beta)


@pytest.mark.parametrize(("good", "bad"), [(-1, 0), (0, -1)])
def test_evidence_is_never_taken_back(good: int, bad: int) -> None:
    with pytest.raises(ValueError, match="never taken back"):
        FRESH.seen(good, bad)
