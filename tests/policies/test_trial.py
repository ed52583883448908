"""Did an action work? Each verdict, what it takes, and that it follows from the logged numbers alone."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.control import TrialNumbers
from policies.objectives import Objective
from policies.sequential_test import SequentialTest
from policies.trial import (
    JUDGE_MAX_S,
    JUDGE_MIN_S,
    MIN_SAMPLES,
    SAMPLES_WANTED,
    Before,
    Now,
    Trial,
    expectation,
    harm_of,
    verdict_of,
)

pytestmark = pytest.mark.req("INT-6")

TTFT = Objective(name="ttft_p95", signal="ttft", target=1.0, allowed=0.05, quantile=0.95)
COST = Objective(name="cost_per_minute", signal="cost_per_minute", target=1.0, allowed=None)


def trial(
    objective: Objective = TTFT, *, now_s: float = 100.0, settle_s: float = 2.0, **told: float
) -> Trial:
    usual = {"late_share": 0.2, "load_rps": 10.0, "own_rps": 10.0}
    before = Before(**{**usual, "error_share": 0.0, "usd_per_request": 0.01, **told})
    return Trial(objective, before, now_s=now_s, settle_s=settle_s)


def numbers(**told: Any) -> TrialNumbers:
    """Those of an action taken where 20% were late at 10 requests a second."""
    expected, otherwise = expectation(TTFT, told.get("late_share_before", 0.2))
    usual = {"late_share_before": 0.2, "load_before_rps": 10.0, "load_rps": 10.0}
    shares = {"expected_share": expected, "otherwise_share": otherwise}
    return TrialNumbers(**{**shares, **usual, **told})


# -- what is expected ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late_share", "expected", "otherwise"),
    [
        (0.0, 0.05, 0.15),  # three times what is allowed is the least that no effect can mean
        (0.06, 0.05, 0.15),
        (0.2, 0.12, 0.2),  # a partial help is a help
        (0.5, 0.3, 0.5),
        (1.0, 0.6, 0.9),
    ],
)
def test_of_the_late_share_three_fifths_may_be_left(
    late_share: float, expected: float, otherwise: float
) -> None:
    assert expectation(TTFT, late_share) == pytest.approx((expected, otherwise))


@given(allowed=st.floats(0.0, 1.0), late_share=st.floats(0.0, 1.0))
def test_the_two_explanations_are_always_apart(allowed: float, late_share: float) -> None:
    objective = Objective(name="error_rate", signal="error_rate", target=0.0, allowed=allowed)
    expected, otherwise = expectation(objective, late_share)
    if allowed == 0.0 or allowed > 1e-5:  # less is not a promise
        SequentialTest(expected=expected, otherwise=otherwise)
        assert expected <= otherwise / 1.5 + 1e-6


def test_a_median_that_stays_where_it_was_is_not_a_success() -> None:
    """Half may be late; three times that is no share at all."""
    p50 = Objective(name="ttft_p50", signal="ttft", target=1.0, allowed=0.5, quantile=0.5)
    expected, otherwise = expectation(p50, 0.65)
    seen = TrialNumbers(
        expected_share=expected,
        otherwise_share=otherwise,
        late_share_before=0.65,
        load_before_rps=10.0,
        load_rps=10.0,
        samples=1000,
        bad=650,
        ended=900,
    )
    assert verdict_of(seen, p50) == "no_effect"
    assert verdict_of(msgspec.structs.replace(seen, bad=450), p50) == "confirmed"


# -- which requests count -----------------------------------------------------------------


@pytest.mark.req("INT-4")
def test_only_requests_that_arrived_after_it_had_settled_count() -> None:
    one = trial(now_s=100.0, settle_s=2.0)
    for arrived_s in (90.0, 100.0, 101.99, 102.0, 110.0):
        one.saw(True, arrived_s=arrived_s, held_out=False)
        one.ended(arrived_s=arrived_s, failed=True, cut_short=True, usd=1.0, held_out=False)
    seen = one.numbers(Now(load_rps=10.0, served_share=1.0), 111.0)
    assert (seen.samples, seen.bad) == (2, 2)
    assert (seen.ended, seen.errors, seen.cut_short, seen.usd) == (2, 2, 2, 2.0)


def test_those_it_spared_are_counted_beside_the_others() -> None:
    one = trial()
    one.saw(True, arrived_s=110.0, held_out=True)
    one.saw(False, arrived_s=110.0, held_out=True)
    one.saw(False, arrived_s=110.0, held_out=False)
    one.ended(arrived_s=110.0, failed=True, cut_short=False, usd=5.0, held_out=True)
    seen = one.numbers(Now(load_rps=10.0, served_share=1.0), 111.0)
    assert (seen.samples, seen.bad, seen.spared, seen.spared_bad) == (1, 0, 2, 1)
    assert (seen.ended, seen.errors, seen.usd) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("own_rps", "lasts_s"),
    [(0.0, JUDGE_MAX_S), (0.1, JUDGE_MAX_S), (2.0, SAMPLES_WANTED / 2.0), (50.0, JUDGE_MIN_S)],
)
def test_it_has_as_long_as_its_own_requests_need(own_rps: float, lasts_s: float) -> None:
    """The pool may be as busy as it likes with the requests of others."""
    one = trial(own_rps=own_rps, load_rps=500.0, now_s=100.0, settle_s=2.0)
    assert one.judge_by_s - 102.0 == pytest.approx(lasts_s)
    calm = Now(load_rps=10.0, served_share=1.0)
    assert not one.numbers(calm, one.judge_by_s - 0.25).overdue
    assert one.numbers(calm, one.judge_by_s).overdue


# -- verdicts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ({"samples": 60, "bad": 2, "ended": 20}, "confirmed"),
        ({"samples": 60, "bad": 2, "ended": 20, "load_rps": 8.1}, "confirmed"),
        ({"samples": 60, "bad": 2, "ended": 20, "load_rps": 7.9}, "confounded"),  # fewer came
        ({"samples": 60, "bad": 2, "ended": 19}, None),  # whether they end well is not known
        ({"samples": 60, "bad": 2, "ended": 19, "overdue": True}, "confirmed"),
        ({"samples": 60, "bad": 30}, "no_effect"),
        ({"samples": 60, "bad": 30, "load_rps": 20.0}, "no_effect"),
        # as late as it was, at twice the load of which half is served: it would have been worse
        ({"samples": 60, "bad": 18, "load_rps": 20.0, "served_share": 0.5}, "confounded"),
        ({"samples": 60, "bad": 18, "load_rps": 11.0, "served_share": 0.5}, "no_effect"),
        ({"samples": 60, "bad": 9}, None),  # in between
        ({"samples": 60, "bad": 9, "overdue": True}, "inconclusive"),
        ({}, None),
        ({"overdue": True}, "inconclusive"),
    ],
)
def test_late_requests_lead_to_a_verdict(told: dict[str, Any], verdict: str | None) -> None:
    assert verdict_of(numbers(**told), TTFT) == verdict


@pytest.mark.req("INT-4")
@pytest.mark.parametrize("bad", [0, MIN_SAMPLES - 1])
def test_a_burst_is_too_few_to_say_anything(bad: int) -> None:
    few = numbers(late_share_before=0.9, samples=MIN_SAMPLES - 1, bad=bad, ended=40)
    assert verdict_of(few, TTFT) is None
    enough = msgspec.structs.replace(few, samples=MIN_SAMPLES, bad=bad and MIN_SAMPLES)
    assert verdict_of(enough, TTFT) == ("no_effect" if bad else "confirmed")


@pytest.mark.parametrize(
    ("told", "harm"),
    [
        ({"ended": 40, "errors": 4}, None),
        ({"ended": 40, "errors": 5}, "errors"),
        ({"ended": 19, "errors": 19}, None),  # too few
        ({"ended": 40, "errors": 10, "error_share_before": 0.1}, None),  # as before
        ({"ended": 40, "errors": 11, "error_share_before": 0.1}, "errors"),
        ({"ended": 40, "cut_short": 20}, None),
        ({"ended": 40, "cut_short": 21}, "cut_short"),
        ({"samples": 60, "bad": 60}, None),  # there is nobody to compare with
        ({"samples": 60, "bad": 60, "spared": 19}, None),
        ({"samples": 60, "bad": 60, "spared": 20, "spared_bad": 13}, "late"),
        ({"samples": 60, "bad": 60, "spared": 20, "spared_bad": 14}, None),  # nor are they better
        ({"samples": 60, "bad": 20, "spared": 20}, None),  # worse, but not that much
    ],
)
def test_harm_is_errors_cut_answers_or_late_ones_where_the_spared_do_better(
    told: dict[str, Any], harm: str | None
) -> None:
    seen = numbers(**told)
    assert harm_of(seen) == harm
    assert (verdict_of(seen, TTFT) == "harmful") is (harm is not None)
    assert (verdict_of(seen, COST) == "harmful") is (harm is not None)


@pytest.mark.parametrize(
    ("ended", "usd", "before", "verdict"),
    [
        (20, 0.18, 0.01, "confirmed"),
        (20, 0.181, 0.01, "no_effect"),
        (19, 0.01, 0.01, None),
        (100, 0.5, 0.0, None),  # what it cost before is not known
    ],
)
def test_a_tenth_less_for_a_request_is_a_saving(
    ended: int, usd: float, before: float, verdict: str | None
) -> None:
    seen = numbers(ended=ended, usd=usd, usd_per_request_before=before, samples=90, bad=90)
    assert verdict_of(seen, COST) == verdict
    fewer = msgspec.structs.replace(seen, load_rps=1.0)
    assert verdict_of(fewer, COST) == verdict, "what one request costs is not a matter of load"


# -- for all of them ------------------------------------------------------------------------

COUNTS = st.integers(0, 80)
SHARES = st.integers(0, 20).map(lambda n: n / 20)


@st.composite
def any_numbers(draw: st.DrawFn) -> TrialNumbers:
    late_share = draw(SHARES)
    samples, spared, ended = draw(COUNTS), draw(COUNTS), draw(COUNTS)
    return numbers(
        late_share_before=late_share,
        load_rps=draw(st.integers(0, 30)),
        served_share=draw(SHARES),
        samples=samples,
        bad=draw(st.integers(0, samples)),
        spared=spared,
        spared_bad=draw(st.integers(0, spared)),
        ended=ended,
        errors=draw(st.integers(0, ended)),
        overdue=draw(st.booleans()),
    )


@pytest.mark.req("INT-2")
@given(seen=any_numbers())
def test_a_verdict_survives_its_way_through_the_log(seen: TrialNumbers) -> None:
    again = msgspec.json.decode(msgspec.json.encode(seen), type=TrialNumbers)
    assert again == seen
    assert verdict_of(again, TTFT) == verdict_of(seen, TTFT)


@given(seen=any_numbers())
def test_fewer_requests_are_never_taken_for_a_success(seen: TrialNumbers) -> None:
    verdict = verdict_of(seen, TTFT)
    if verdict == "confirmed":
        assert seen.load_rps >= 0.8 * seen.load_before_rps
    if verdict in ("confirmed", "no_effect", "confounded"):
        assert seen.samples >= MIN_SAMPLES
    assert verdict is not None or not seen.overdue, "in the end something is said"


@given(seen=any_numbers(), more=st.integers(1, 40))
def test_more_late_ones_never_make_a_success(seen: TrialNumbers, more: int) -> None:
    worse = msgspec.structs.replace(seen, bad=min(seen.bad + more, seen.samples))
    order = {
        "confirmed": 0,
        "confounded": 0,
        None: 1,
        "inconclusive": 1,
        "no_effect": 2,
        "harmful": 3,
    }
    if seen.load_rps <= 12:  # where load explains nothing that got worse
        assert order[verdict_of(worse, TTFT)] >= order[verdict_of(seen, TTFT)]
