"""Whether waits are predicted well enough: what it distrusts, for how long, and that it forgets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.prediction import (
    DISTRUST_S,
    MAX_OPEN,
    MIN_PROBES,
    MIN_SAMPLES,
    PROBE_EVERY,
    Prediction,
)

pytestmark = pytest.mark.req("ADM-2", "INT-4", "SEC-5")


def told(
    prediction: Prediction, said_s: float, was_s: float, times: int, now_s: float = 0.0
) -> None:
    for number in range(times):
        prediction.said(number, said_s)
        prediction.waited(number, was_s, now_s)


def probed(prediction: Prediction, outcomes: list[bool], now_s: float = 0.0) -> None:
    """One probe after the other, each of which was in time or not."""
    for in_time in outcomes:
        for request in range(PROBE_EVERY):
            if prediction.probe(request):
                prediction.came(request, in_time=in_time, now_s=now_s)


def test_it_is_trusted_until_it_proves_wrong() -> None:
    prediction = Prediction()
    assert prediction.trusted(0.0)
    assert prediction.mean_error is None
    told(prediction, 1.0, 1.0, 500)
    assert prediction.trusted(0.0)
    assert prediction.mean_error == 0


@pytest.mark.parametrize(
    ("said_s", "was_s", "trusted"),
    [(3.6, 2.0, True), (2.0, 3.6, True), (4.4, 2.0, False), (2.0, 4.4, False)],
)
def test_waits_that_are_wrong_by_more_than_a_factor_of_two_are_distrusted(
    said_s: float, was_s: float, trusted: bool
) -> None:
    prediction = Prediction()
    told(prediction, said_s, was_s, MIN_SAMPLES)
    assert prediction.trusted(0.0) is trusted


def test_few_wrong_waits_prove_nothing() -> None:
    prediction = Prediction()
    told(prediction, 9.0, 1.0, MIN_SAMPLES - 1)
    assert prediction.trusted(0.0)
    assert prediction.mean_error is None
    told(prediction, 9.0, 1.0, 1)
    assert not prediction.trusted(0.0)


def test_very_short_waits_do_not_count_as_wildly_wrong() -> None:
    prediction = Prediction()
    told(prediction, 0.1, 0.0, 200)
    assert prediction.trusted(0.0)


def test_old_waits_are_outweighed_by_new_ones() -> None:
    prediction = Prediction()
    told(prediction, 1.0, 1.0, 10_000)
    told(prediction, 9.0, 1.0, 20)
    assert not prediction.trusted(0.0)


def test_only_what_was_said_is_held_against_it() -> None:
    prediction = Prediction()
    for number in range(200):
        prediction.waited(number, 99.0, 0.0)
        prediction.said(number, 9.0)
        prediction.forget(number)
        prediction.waited(number, 1.0, 0.0)
    assert prediction.trusted(0.0)
    told(prediction, 1.0, 1.0, 1)
    assert prediction.mean_error is None


def test_distrust_lasts_its_time_and_then_evidence_begins_anew() -> None:
    prediction = Prediction()
    told(prediction, 9.0, 1.0, MIN_SAMPLES, now_s=100.0)
    assert not prediction.trusted(100.0)
    assert not prediction.trusted(100.0 + DISTRUST_S - 1)
    assert prediction.trusted(100.0 + DISTRUST_S)
    assert prediction.mean_error is None
    told(prediction, 9.0, 1.0, MIN_SAMPLES - 1, now_s=200.0)
    assert prediction.trusted(200.0)
    told(prediction, 9.0, 1.0, 1, now_s=200.0)
    assert not prediction.trusted(200.0)


def test_every_hundredth_who_would_be_refused_is_a_probe() -> None:
    prediction = Prediction()
    probes = [request for request in range(1, 5 * PROBE_EVERY + 1) if prediction.probe(request)]
    assert probes == [PROBE_EVERY * nth for nth in range(1, 6)]
    assert [prediction.is_probe(request) for request in (99, 100, 101)] == [False, True, False]


@pytest.mark.parametrize(("succeeded", "trusted"), [(2, True), (3, False)])
def test_probes_that_succeed_say_that_refusals_were_wrong(succeeded: int, trusted: bool) -> None:
    prediction = Prediction()
    probed(prediction, [True] * succeeded + [False] * (MIN_PROBES - succeeded), now_s=5.0)
    assert prediction.trusted(5.0) is trusted
    assert prediction.trusted(5.0 + DISTRUST_S)


def test_after_distrust_probes_begin_anew_too() -> None:
    prediction = Prediction()
    probed(prediction, [True] * MIN_PROBES)
    assert not prediction.trusted(0.0)
    probed(prediction, [True] * (MIN_PROBES - 1), now_s=DISTRUST_S)
    assert prediction.trusted(DISTRUST_S)
    probed(prediction, [True], now_s=DISTRUST_S)
    assert not prediction.trusted(DISTRUST_S)


def test_few_probes_prove_nothing() -> None:
    prediction = Prediction()
    probed(prediction, [True] * (MIN_PROBES - 1))
    assert prediction.trusted(0.0)


def test_years_of_failed_probes_do_not_outvote_those_of_today() -> None:
    prediction = Prediction()
    probed(prediction, [False] * 3000)
    assert prediction.trusted(0.0)
    probed(prediction, [True] * 20)
    assert not prediction.trusted(0.0)


def test_who_is_no_probe_and_who_left_prove_nothing() -> None:
    prediction = Prediction()
    for request in range(1000):
        prediction.came(request, in_time=True, now_s=0.0)
    for request in range(50 * PROBE_EVERY):
        if prediction.probe(request):
            prediction.forget(request)
            assert not prediction.is_probe(request)
        prediction.came(request, in_time=True, now_s=0.0)
    assert prediction.trusted(0.0)


def test_a_probe_counts_once() -> None:
    prediction = Prediction()
    probe = next(request for request in range(PROBE_EVERY) if prediction.probe(request))
    for _ in range(5 * MIN_PROBES):
        prediction.came(probe, in_time=True, now_s=0.0)
    assert prediction.trusted(0.0)


def test_no_more_is_remembered_than_its_bound() -> None:
    prediction = Prediction()
    for request in range(MAX_OPEN + 100):
        prediction.said(request, 1.0)
    for request in range((MAX_OPEN + 10) * PROBE_EVERY):
        prediction.probe(request)
    assert len(prediction._said) == MAX_OPEN
    assert len(prediction._probes) == MAX_OPEN


@given(pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=MIN_SAMPLES))
def test_the_error_is_a_share_whatever_was_said_and_came(pairs: list[tuple[int, int]]) -> None:
    prediction = Prediction()
    for said_s, was_s in pairs:
        told(prediction, float(said_s), float(was_s), 1)
        assert prediction.mean_error is None or 0 <= prediction.mean_error <= 0.5
