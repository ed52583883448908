"""Exact binomial evidence: the published thresholds, and arithmetic done again in fractions."""

from fractions import Fraction
from math import comb, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.evidence import MIN_SAMPLES, proves_compliance, proves_violation

pytestmark = pytest.mark.req("INT-4")

N = st.integers(0, 150)
PERCENT = st.integers(0, 100)


def at_least(n: int, bad: int, rate: Fraction) -> Fraction:
    """P(X >= bad), with nothing rounded."""
    terms = (comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(bad, n + 1))
    return sum(terms, Fraction(0))


@pytest.mark.parametrize(("n", "bad"), [(20, 4), (50, 6), (100, 10), (200, 16)])
def test_five_percent_are_broken_from_this_many_bad(n: int, bad: int) -> None:
    assert proves_violation(n, bad, 0.05)
    assert not proves_violation(n, bad - 1, 0.05)


@pytest.mark.parametrize(("n", "bad"), [(59, 0), (100, 1), (200, 4)])
def test_five_percent_are_kept_up_to_this_many_bad(n: int, bad: int) -> None:
    assert proves_compliance(n, bad, 0.05)
    assert not proves_compliance(n, bad + 1, 0.05)


def test_58_good_ones_do_not_yet_prove_five_percent() -> None:
    assert not proves_compliance(58, 0, 0.05)


@given(n=N, percent=PERCENT, data=st.data())
def test_the_answers_are_those_of_exact_fractions(
    n: int, percent: int, data: st.DataObject
) -> None:
    bad = data.draw(st.integers(0, n))
    # The rate and the doubt that the floats really are, so that no tie is decided by rounding.
    allowed, doubt = Fraction(percent / 100), Fraction(1 - 0.95)
    enough = n >= MIN_SAMPLES
    violated = enough and at_least(n, bad, allowed) <= doubt
    complied = enough and 1 - at_least(n, bad + 1, allowed) <= doubt
    assert proves_violation(n, bad, percent / 100) == violated
    assert proves_compliance(n, bad, percent / 100) == complied


@given(n=N, percent=PERCENT, data=st.data())
def test_nothing_is_both_broken_and_kept(n: int, percent: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, n))
    allowed = percent / 100
    assert not (proves_violation(n, bad, allowed) and proves_compliance(n, bad, allowed))


@given(n=st.integers(MIN_SAMPLES, 400), percent=PERCENT, data=st.data())
def test_one_more_bad_never_speaks_for_compliance(
    n: int, percent: int, data: st.DataObject
) -> None:
    bad = data.draw(st.integers(0, n - 1))
    allowed = percent / 100
    assert proves_violation(n, bad + 1, allowed) >= proves_violation(n, bad, allowed)
    assert proves_compliance(n, bad + 1, allowed) <= proves_compliance(n, bad, allowed)


@given(n=st.integers(0, MIN_SAMPLES - 1), percent=PERCENT)
def test_too_few_samples_prove_nothing(n: int, percent: int) -> None:
    assert not proves_violation(n, n, percent / 100)
    assert not proves_compliance(n, 0, percent / 100)


def test_more_confidence_needs_more_evidence() -> None:
    assert proves_violation(20, 4, 0.05, confidence=0.95)
    assert not proves_violation(20, 4, 0.05, confidence=0.999)
    assert proves_violation(20, 7, 0.05, confidence=0.999)


def test_any_bad_one_breaks_a_promise_of_none_and_nothing_proves_it_kept() -> None:
    assert proves_violation(20, 1, 0.0)
    assert not proves_violation(20, 0, 0.0)
    assert not proves_compliance(100_000, 0, 0.0)


def test_a_promise_of_nothing_cannot_be_broken() -> None:
    assert not proves_violation(100, 100, 1.0)
    assert proves_compliance(100, 99, 1.0)


@pytest.mark.parametrize("n", [10_000, 100_000, 1_000_000])
@pytest.mark.parametrize("allowed", [0.01, 0.05, 0.5, 0.95])
def test_many_samples_neither_overflow_nor_underflow(n: int, allowed: float) -> None:
    deviation = sqrt(n * allowed * (1 - allowed))
    # The normal approximation puts both thresholds near 1.645 deviations from the mean.
    mean = n * allowed
    assert not proves_violation(n, int(mean + 1.4 * deviation), allowed)
    assert proves_violation(n, int(mean + 1.9 * deviation), allowed)
    assert not proves_compliance(n, int(mean - 1.4 * deviation), allowed)
    assert proves_compliance(n, int(mean - 1.9 * deviation), allowed)


@pytest.mark.parametrize("allowed", [1e-12, 1e-6, 1 - 1e-6, 1 - 1e-12])
def test_rates_next_to_the_ends_are_answered_too(allowed: float) -> None:
    assert proves_violation(1000, 1, allowed) == (allowed < 0.5)
    assert proves_compliance(1000, 999, allowed) == (allowed > 0.5)


@pytest.mark.parametrize(
    ("allowed", "confidence"), [(-0.1, 0.95), (1.1, 0.95), (0.05, 0.5), (0.05, 1.0)]
)
def test_impossible_questions_are_errors(allowed: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="must be in"):
        proves_violation(100, 5, allowed, confidence)
    with pytest.raises(ValueError, match="must be in"):
        proves_compliance(100, 5, allowed, confidence)
