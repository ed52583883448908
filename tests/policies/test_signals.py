"""What is measured: each request once, refused ones among the late, nothing older than its window."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.control import MeasuredObjective
from contracts.policy import Intent, Objectives
from policies.objectives import objectives_of
from policies.signals import (
    ENOUGH,
    FRESH_S,
    MAX_LIVE,
    SEVERITY_MAX,
    STALE_S,
    IntentSignals,
    LaneSignals,
    Signals,
)

pytestmark = pytest.mark.req("INT-4")

LATENCIES = {"ttft_p50": 0.2, "ttft_p95": 1.0, "tpot_p95": 0.05, "e2e_p95": 20.0}


def signals(window_s: float = 30.0, **promised: float) -> IntentSignals:
    intent = Intent(name="i", objectives=Objectives(**promised))
    return IntentSignals(objectives_of(intent), window_s)


def one(measured: Iterable[MeasuredObjective], name: str) -> MeasuredObjective:
    return next(m for m in measured if m.objective == name)


def judge(
    seen: IntentSignals, now_s: float, signal: str, value: float | None, own: float | None
) -> set[str]:
    """What one request missed."""
    missed = seen.judge(now_s, signal, [(value, own)])
    return {name for name, (bad,) in missed.items() if bad}


# -- a request is judged ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "missed"),
    [(0.1, set()), (0.2, set()), (0.21, {"ttft_p50"}), (1.01, {"ttft_p50", "ttft_p95"})],
)
def test_each_objective_of_a_signal_is_missed_by_itself(value: float, missed: set[str]) -> None:
    assert judge(signals(**LATENCIES), 3.0, "ttft", value, None) == missed


def test_a_request_without_a_value_has_missed_all_of_them() -> None:
    seen = signals(**LATENCIES)
    assert judge(seen, 3.0, "ttft", None, None) == {"ttft_p50", "ttft_p95"}
    p95 = one(seen.measured(3.0), "ttft_p95")
    assert (p95.samples, p95.bad, p95.value) == (1, 1, None)


def test_a_client_tightens_its_own_promise_and_never_loosens_it() -> None:
    seen = signals(ttft_p95=1.0)
    assert judge(seen, 0.0, "ttft", 0.6, 0.5) == {"ttft_p95"}
    assert judge(seen, 0.0, "ttft", 1.5, 9.0) == {"ttft_p95"}
    assert not judge(seen, 0.0, "ttft", 0.6, 9.0)


def test_of_many_requests_each_is_judged_by_itself() -> None:
    seen = signals(ttft_p50=0.2, ttft_p95=1.0)
    values = [(0.1, None), (0.3, None), (None, None), (0.3, 0.25), (2.0, 9.0)]
    assert seen.judge(0.0, "ttft", values) == {
        "ttft_p50": [False, True, True, True, True],
        "ttft_p95": [False, False, True, True, True],
    }
    p95 = one(seen.measured(0.0), "ttft_p95")
    assert (p95.samples, p95.bad) == (5, 3)


@pytest.mark.req("INT-1")
def test_an_error_rate_of_nothing_is_measured_like_any_other() -> None:
    seen = signals(error_rate=0.0)
    assert not judge(seen, 0.0, "error_rate", 0.0, None)
    assert judge(seen, 0.0, "error_rate", 1.0, None) == {"error_rate"}
    (measured,) = seen.measured(0.0)
    assert (measured.value, measured.samples, measured.bad) == (0.5, 2, 1)
    assert measured.severity == SEVERITY_MAX, "any share of nothing is too much"
    assert seen.any_bad(0.0)


def test_a_signal_without_a_promise_is_not_counted() -> None:
    seen = signals(ttft_p95=1.0)
    assert not judge(seen, 0.0, "tpot", 9.0, None)
    assert not seen.any_bad(0.0)
    assert [m.samples for m in seen.measured(0.0)] == [0]


@given(
    judged=st.lists(
        st.tuples(
            st.integers(0, 40),
            st.sampled_from(["ttft", "tpot", "e2e"]),
            st.sampled_from([None, 0.01, 0.1, 0.5, 5.0, 50.0]),
        ),
        max_size=40,
    ),
    wait_s=st.integers(0, 40),
)
def test_every_judged_request_counts_once_for_each_objective_of_its_signal(
    judged: list[tuple[int, str, float | None]], wait_s: int
) -> None:
    seen = signals(**LATENCIES)
    judged.sort(key=lambda told: told[0])
    for at_s, signal, value in judged:
        judge(seen, float(at_s), signal, value, None)
    now_s = (judged[-1][0] if judged else 0) + wait_s
    for measured in seen.measured(float(now_s)):
        mine = [
            value
            for at_s, signal, value in judged
            if measured.objective.startswith(signal) and at_s > now_s - 30
        ]
        bad = sum(value is None or value > measured.target for value in mine)
        assert (measured.samples, measured.bad) == (len(mine), bad)


# -- what is told of it -------------------------------------------------------------------


def test_severity_is_measured_by_promised_and_never_above_its_maximum() -> None:
    seen = signals(ttft_p95=1.0)
    assert one(seen.measured(0.0), "ttft_p95").severity is None
    seen.ttft.add(0.0, 0.5)
    assert one(seen.measured(0.0), "ttft_p95").severity == pytest.approx(0.5, rel=0.02)
    seen.ttft.add(1.0, 90.0, 30)
    measured = one(seen.measured(1.0), "ttft_p95")
    assert measured.value == pytest.approx(90.0, rel=0.02)
    assert measured.severity == SEVERITY_MAX, "a spike of ninety times does not poison an average"


def test_where_more_are_refused_than_allowed_the_share_of_them_is_how_severe_it_is() -> None:
    seen = signals(ttft_p95=1.0)
    for nth in range(100):
        late = nth < 8
        judge(seen, 0.0, "ttft", None if late else 0.2, None)
        if not late:
            seen.ttft.add(0.0, 0.2)
    assert one(seen.measured(0.0), "ttft_p95").severity == pytest.approx(8 / 5)


def test_who_refuses_everybody_is_not_calm_for_want_of_a_latency() -> None:
    seen = signals(ttft_p95=1.0)
    judge(seen, 0.0, "ttft", None, None)
    assert one(seen.measured(0.0), "ttft_p95").severity == SEVERITY_MAX


def test_what_is_older_than_the_window_is_gone_by_time_alone() -> None:
    seen = signals(window_s=5.0, ttft_p95=1.0)
    judge(seen, 0.0, "ttft", 3.0, None)
    seen.ttft.add(0.0, 3.0)
    assert seen.any_bad(4.0)
    assert not seen.any_bad(5.0)
    measured = one(seen.measured(5.0), "ttft_p95")
    assert (measured.value, measured.samples, measured.bad, measured.severity) == (None, 0, 0, None)


@pytest.mark.parametrize(("asked_s", "window_s"), [(0.5, 5), (12.4, 12), (3600.0, 300)])
def test_a_window_is_whole_seconds_between_five_and_three_hundred(
    asked_s: float, window_s: int
) -> None:
    assert signals(window_s=asked_s).window_s == window_s


# -- money ----------------------------------------------------------------------------------


@pytest.mark.req("INT-1")
def test_the_first_dear_request_is_not_taken_for_a_minutes_spending() -> None:
    seen = signals(cost_per_minute=1.0)
    seen.pay(0.2, 0.05)
    (measured,) = seen.measured(0.5)
    assert measured.value is not None
    assert measured.value < 0.11, "five cents in a window of half a minute"
    assert measured.samples == 0


def test_a_steady_rate_of_money_is_measured_as_it_is() -> None:
    seen = signals(cost_per_minute=1.0)
    for tick in range(4 * 90):
        seen.pay(tick / 4, 0.01)
    (measured,) = seen.measured(90.0)
    assert measured.value == pytest.approx(2.4, rel=0.02)
    assert measured.severity == SEVERITY_MAX
    assert seen.any_bad(90.0)


def test_money_speaks_against_a_promise_when_nearly_as_much_is_spent_as_may_be() -> None:
    for cents, spoken in ((0.8, False), (0.9, True)):
        seen = signals(cost_per_minute=1.0)
        for second in range(60):
            seen.pay(float(second), cents / 60)
        assert seen.any_bad(60.0) is spoken


def test_what_was_spent_before_an_action_is_no_evidence_for_the_next_one() -> None:
    seen = signals(cost_per_minute=1.0)
    for second in range(70):
        seen.pay(float(second), 0.05)
    seen.forget_evidence()
    assert one(seen.measured(70.0), "cost_per_minute").value == pytest.approx(3.0, rel=0.05)
    assert one(seen.evidence(70.0), "cost_per_minute").value == 0.0
    for second in range(70, 130):
        seen.pay(float(second), 0.01)
    after = one(seen.evidence(130.0), "cost_per_minute")
    assert after.value == pytest.approx(0.6, rel=0.05)


def test_a_cost_per_request_is_a_mean_and_a_share_of_dear_ones() -> None:
    seen = signals(cost_per_request=0.02)
    for usd in (0.01, 0.01, 0.04):
        judge(seen, 0.0, "cost_per_request", usd, None)
        seen.pay(0.0, usd)
        seen.served.add(0.0, 1.0)
    (measured,) = seen.measured(0.0)
    assert measured.value == pytest.approx(0.02)
    assert (measured.samples, measured.bad) == (3, 1)


def test_evidence_is_forgotten_and_measurements_are_kept() -> None:
    seen = signals(ttft_p95=1.0)
    judge(seen, 0.0, "ttft", 2.0, None)
    seen.ttft.add(0.0, 2.0)
    seen.forget_evidence()
    measured = one(seen.evidence(0.0), "ttft_p95")
    assert (measured.samples, measured.bad) == (0, 0)
    assert measured.value == pytest.approx(2.0, rel=0.02)


# -- lanes ------------------------------------------------------------------------------------


def test_the_pace_of_a_lane_is_that_of_its_slow_streams_now() -> None:
    lane = LaneSignals()
    for gap in range(20):
        lane.pace(10.0, 0.01 + 0.001 * gap)
    assert lane.tpot_p95_s(10.0) == pytest.approx(0.029)


def test_older_paces_count_only_where_fresh_ones_are_few() -> None:
    lane = LaneSignals()
    lane.pace(10.0, 9.0)
    later_s = 10.0 + FRESH_S + 0.5
    for _ in range(ENOUGH - 1):
        lane.pace(later_s, 0.02)
    assert lane.tpot_p95_s(later_s) == 9.0
    lane.pace(later_s, 0.02)
    assert lane.tpot_p95_s(later_s) == 0.02


def test_without_a_fresh_pace_nothing_is_known() -> None:
    lane = LaneSignals()
    assert lane.tpot_p95_s(0.0) is None
    lane.pace(1.0, 0.02)
    assert lane.tpot_p95_s(1.0 + STALE_S) == 0.02
    assert lane.tpot_p95_s(1.01 + STALE_S) is None


def test_paces_are_bounded_whatever_the_traffic() -> None:
    lane = LaneSignals()
    for _ in range(MAX_LIVE + 50):
        lane.pace(1.0, 0.02)
    lane.pace(1.0, 5.0)
    assert lane.tpot_p95_s(1.0) == 0.02
    assert len(lane._live) == MAX_LIVE


# -- all of them --------------------------------------------------------------------------------


def declared(everything: Signals, window_s: float = 30.0, **promised: dict[str, float]) -> None:
    everything.declare(
        {name: (signals(**told).objectives, window_s) for name, told in promised.items()}
    )


def test_an_intent_that_is_promised_the_same_keeps_what_it_has_measured() -> None:
    everything = Signals()
    declared(everything, a={"ttft_p95": 1.0}, b={"ttft_p95": 1.0})
    for name in ("a", "b"):
        judge(everything.intent(name), 0.0, "ttft", 2.0, None)
    kept = everything.intent("a")
    declared(everything, a={"ttft_p95": 1.0}, b={"ttft_p95": 0.5})
    assert everything.intent("a") is kept
    assert not everything.intent("b").any_bad(0.0), "another promise begins anew"
    declared(everything, window_s=60.0, a={"ttft_p95": 1.0})
    assert everything.intent("a") is not kept
    assert set(everything.intents) == {"a"}


def test_who_was_promised_nothing_is_measured_against_nothing() -> None:
    everything = Signals()
    assert everything.intent("") is everything.intent("")
    assert everything.intent("").measured(0.0) == []
    assert everything.lane(("p", "m")) is everything.lane(("p", "m"))
