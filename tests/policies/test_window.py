"""Rolling windows against the plainest model there is: a list of all that ever arrived."""

import math
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import policies.window
from policies.sketch import bucket_of, quantile
from policies.window import Rate, Tally, Window

pytestmark = pytest.mark.req("INT-4")

SPANS_S = (2, 5, 9)
# Quarters of a second, going back now and then, with pauses longer than every span.
STEPS_S = st.sampled_from([-2.5, -0.25, 0.0, 0.25, 0.5, 1.0, 3.0, 20.0])
VALUES = st.sampled_from([0.0, 0.25, 0.5, 1.0, 4.0, 5000.0])
ARRIVALS = st.lists(
    st.tuples(STEPS_S, st.one_of(st.none(), VALUES), st.integers(1, 3)), max_size=40
)
Arrivals = list[tuple[float, float | None, int]]


class Everything:
    """What arrived, each with the second that it counts for."""

    def __init__(self) -> None:
        self.second = 0
        self.seen: list[tuple[int, float | None, int]] = []

    def add(self, now_s: float, value: float | None, count: int) -> None:
        self.second = max(self.second, math.floor(now_s))
        self.seen.append((self.second, value, count))

    def within(self, now_s: float, span_s: int) -> list[float | None]:
        self.second = max(self.second, math.floor(now_s))
        return [v for s, v, count in self.seen if s > self.second - span_s for _ in range(count)]


def filled(arrivals: Arrivals) -> tuple[Window, Everything, float]:
    window, model, now_s = Window(SPANS_S), Everything(), 0.0
    for step_s, value, count in arrivals:
        now_s = max(now_s + step_s, 0.0)
        model.add(now_s, value, count)
        if value is None:
            window.add_missing(now_s, count)
        elif count == 2:
            window.add_all(now_s, [value, value])
        else:
            window.add(now_s, value, count)
    return window, model, now_s


@given(arrivals=ARRIVALS, pause_s=STEPS_S, span_s=st.sampled_from(SPANS_S))
def test_a_span_holds_what_arrived_in_its_seconds_and_nothing_else(
    arrivals: Arrivals, pause_s: float, span_s: int
) -> None:
    window, model, now_s = filled(arrivals)
    expected = model.within(now_s + pause_s, span_s)
    values = [v for v in expected if v is not None]
    counts, n, missing = window.counts(now_s + pause_s, span_s)
    assert counts == Counter(map(bucket_of, values))
    assert (n, missing) == (len(values), len(expected) - len(values))
    assert window.count(now_s, span_s) == len(expected)
    assert window.total(now_s, span_s) == sum(values)
    assert window.mean(now_s, span_s) == (sum(values) / len(values) if values else None)


@given(
    arrivals=ARRIVALS,
    pauses_s=st.lists(STEPS_S, max_size=4),
    span_s=st.sampled_from(SPANS_S),
    q=st.sampled_from([0.05, 0.5, 0.95]),
)
def test_a_quantile_is_that_of_the_counts_however_often_it_was_read(
    arrivals: Arrivals, pauses_s: list[float], span_s: int, q: float
) -> None:
    window, now_s = Window(SPANS_S), 0.0
    for step_s, value, count in [*arrivals, *((pause_s, 1.0, 1) for pause_s in pauses_s)]:
        now_s = max(now_s + step_s, 0.0)
        window.add(now_s, value or 0.0, count)
        assert window.quantile(now_s, span_s, q) == quantile(*window.counts(now_s, span_s)[:2], q)
    for pause_s in pauses_s:
        now_s += pause_s
        counts, n, missing = window.counts(now_s, span_s)
        assert window.quantile(now_s, span_s, q) == quantile(counts, n, q, missing)


def test_one_value_leaves_each_span_in_its_time_without_new_arrivals() -> None:
    window = Window((5, 30))
    window.add(10.9, 1.0)
    assert [window.count(now_s, 5) for now_s in (10.9, 14.9, 15.0)] == [1, 1, 0]
    assert [window.count(now_s, 30) for now_s in (39.9, 40.0)] == [1, 0]


def test_a_silent_window_says_nothing_and_not_zero() -> None:
    window = Window((5,))
    assert window.quantile(0.0, 5, 0.95) is None
    window.add(0.0, 1.0)
    window.add_missing(0.0)
    assert window.quantile(0.0, 5, 0.95) == math.inf
    assert window.quantile(60.0, 5, 0.95) is None
    assert window.mean(60.0, 5) is None


def test_time_that_goes_back_counts_as_now() -> None:
    window, tally, rate = Window((5,)), Tally(5), Rate((5,))
    assert window.count(100.0, 5) == tally.read(100.0)[0] == rate.sum(100.0, 5) == 0
    window.add_missing(3.0)
    window.add(3.0, 1.0)
    tally.add(3.0, bad=2, of=2)
    rate.add(3.0, 2.0)
    assert window.count(104.9, 5) == tally.read(104.9)[0] == rate.sum(104.9, 5) == 2
    assert window.count(105.0, 5) == tally.read(105.0)[0] == rate.sum(105.0, 5) == 0


def test_the_counts_belong_to_the_caller() -> None:
    window = Window((5,))
    window.add(0.0, 1.0)
    counts, _, _ = window.counts(0.0, 5)
    counts.clear()
    assert window.counts(0.0, 5)[0] == {bucket_of(1.0): 1}


def test_the_windows_of_two_replicas_merge_by_adding() -> None:
    one, other, both = Window((5,)), Window((5,)), Window((5,))
    for value in (0.1, 0.2, 0.3, 0.4):
        (one if value < 0.25 else other).add(1.0, value)
        both.add(1.0, value)
    (first, n, _), (second, m, _) = one.counts(1.0, 5), other.counts(1.0, 5)
    assert (Counter(first) + Counter(second), n + m, 0) == both.counts(1.0, 5)


def test_a_quantile_is_worked_out_again_only_after_something_came_or_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked_out: list[float] = []

    def counting(counts: dict[int, int], n: int, q: float, missing: int, *, top: int) -> float:
        worked_out.append(q)
        return float(n + missing)

    monkeypatch.setattr(policies.window, "quantile", counting)
    window = Window((5, 30))
    window.add(0.0, 1.0)
    for now_s in (0.0, 0.25, 0.5):
        assert window.quantile(now_s, 5, 0.95) == 1
    assert worked_out == [0.95]
    window.add(0.5, 1.0)
    assert window.quantile(0.5, 5, 0.95) == 2
    window.add_missing(0.5)
    assert window.quantile(0.5, 5, 0.95) == 3
    assert window.quantile(0.5, 30, 0.95) == 3
    assert window.quantile(0.5, 30, 0.5) == 3
    assert window.quantile(5.0, 5, 0.95) == 0
    assert worked_out == [0.95, 0.95, 0.95, 0.95, 0.5, 0.95]


@pytest.mark.req("OPS-4")
def test_windows_that_fill_alike_are_not_put_in_order_in_the_same_moment() -> None:
    windows = [Window(SPANS_S) for _ in range(8)]
    at_once = []
    for _ in range(200):
        for window in windows:
            window.add_all(1.0, [0.25] * 16)
        at_once.append(sum(not window._fresh for window in windows))
    assert sum(at_once) > 8 * 10, "they were put in order"
    assert sorted(at_once)[-20] <= 2
    assert max(at_once) < 8
    assert all(window.counts(1.0, 5)[1] == 200 * 16 for window in windows)


def test_asking_for_ever_new_quantiles_fills_no_memory() -> None:
    window = Window((5,))
    window.add(0.0, 1.0)
    tracemalloc.start()
    try:
        for step in range(20_000):
            window.quantile(0.0, 5, step / 20_000)
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_by_the_span_and_not_by_the_traffic() -> None:
    window, tally, rate = Window((2, 10)), Tally(10), Rate((2, 10))

    def arrive(second: int, arrivals: int) -> None:
        for nth in range(arrivals):
            window.add(second, 0.5 + nth % 10)
            tally.add(second, bad=nth % 2 == 0)
            rate.add(second, 1.0)

    tracemalloc.start()
    try:
        for second in range(3000):
            arrive(second, 5)
        arrive(3000, 15_000)
        # One tuple for each of those seconds, or one number for each arrival, would be 200 kB.
        assert tracemalloc.get_traced_memory()[0] < 60_000
    finally:
        tracemalloc.stop()


def test_a_snapshot_of_twenty_classes_with_eight_signals_each_is_right() -> None:
    windows = [Window() for _ in range(20 * 8)]
    for nth, window in enumerate(windows):
        for sample in range(300):
            window.add(sample / 10, math.exp((nth + sample * 7 % 100) / 100))
    for nth, window in enumerate(windows):
        p95 = window.quantile(29.9, 30, 0.95)
        assert p95 == pytest.approx(math.exp((nth + 94) / 100), rel=0.011)
        assert window.count(29.9, 5) == 50


def test_a_span_that_was_not_declared_is_an_error() -> None:
    with pytest.raises(KeyError):
        Window((5,)).quantile(0.0, 6, 0.5)
    with pytest.raises(KeyError):
        Rate((5,)).sum(0.0, 6)


@pytest.mark.parametrize("spans_s", [(), (0,), (5, -1)])
def test_a_window_needs_spans_of_a_second_or_more(spans_s: tuple[int, ...]) -> None:
    for make in (Window, Rate):
        with pytest.raises(ValueError, match="whole seconds"):
            make(spans_s)
    with pytest.raises(ValueError, match="whole seconds"):
        Tally(0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_never_gets_in(value: float) -> None:
    window, rate = Window((5,)), Rate((5,))
    with pytest.raises(ValueError, match="never came"):
        window.add(0.0, value)
    with pytest.raises(ValueError, match="never came"):
        window.add_all(0.0, [1.0, value])
    with pytest.raises(ValueError, match="no amount"):
        rate.add(0.0, value)
    assert (window.count(0.0, 5), window.total(0.0, 5), rate.sum(0.0, 5)) == (0, 0.0, 0.0)


def test_no_observations_are_no_observation() -> None:
    with pytest.raises(ValueError, match="0 of 1"):
        Window((5,)).add(0.0, 1.0, count=0)


@given(arrivals=ARRIVALS, pause_s=STEPS_S, span_s=st.sampled_from(SPANS_S))
def test_a_tally_counts_what_arrived_in_its_seconds_and_nothing_else(
    arrivals: Arrivals, pause_s: float, span_s: int
) -> None:
    tally, model, now_s = Tally(span_s), Everything(), 0.0
    for step_s, value, count in arrivals:
        now_s = max(now_s + step_s, 0.0)
        model.add(now_s, value, count)
        tally.add(now_s, count if value is None else 0, count)
    expected = model.within(now_s + pause_s, span_s)
    assert tally.read(now_s + pause_s) == (len(expected), expected.count(None))


def test_a_cleared_tally_starts_anew_and_at_once() -> None:
    tally = Tally(5)
    tally.add(1.0, bad=7, of=7)
    tally.clear()
    assert tally.read(1.0) == (0, 0)
    tally.add(1.0, bad=False)
    assert tally.read(1.0) == (1, 0)
    assert tally.read(5.9) == (1, 0)
    assert tally.read(6.0) == (0, 0)


@given(arrivals=ARRIVALS, pause_s=STEPS_S, span_s=st.sampled_from(SPANS_S))
def test_a_rate_sums_what_arrived_in_its_seconds_and_nothing_else(
    arrivals: Arrivals, pause_s: float, span_s: int
) -> None:
    rate, model, now_s = Rate(SPANS_S), Everything(), 0.0
    for step_s, value, _ in arrivals:
        now_s = max(now_s + step_s, 0.0)
        model.add(now_s, value or 0.0, 1)
        rate.add(now_s, value or 0.0)
    expected = model.within(now_s + pause_s, span_s)
    assert rate.sum(now_s + pause_s, span_s) == sum(v or 0.0 for v in expected)


@given(quarters=st.integers(0, 200), span_s=st.sampled_from((5, 30)))
def test_a_steady_flow_has_a_steady_rate_at_every_moment(quarters: int, span_s: int) -> None:
    rate = Rate((5, 30))
    for quarter in range(4 * 40 + quarters):
        rate.add(quarter / 4, 3.0)
    now_s = 40 + quarters / 4
    assert rate.per_second(now_s, span_s) == 12


def test_a_young_rate_is_divided_by_its_age_and_by_a_second_at_least() -> None:
    rate = Rate((30,))
    assert rate.per_second(100.0, 30) == 0
    rate.add(100.0, 8.0)
    assert rate.per_second(100.0, 30) == 8
    assert rate.per_second(100.5, 30) == 8
    assert rate.per_second(104.0, 30) == 2


def test_a_flow_that_stopped_fades_and_is_then_exactly_zero() -> None:
    rate = Rate((5,))
    for second in range(100):
        rate.add(second, 0.1)
    fading = [rate.per_second(now_s, 5) for now_s in (99.9, 101.9, 103.9, 104.0)]
    assert fading == sorted(set(fading), reverse=True)
    assert fading[-1] == rate.sum(200.0, 5) == 0.0
