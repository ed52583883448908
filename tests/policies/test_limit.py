"""The limit's law step by step: bounds, order, what holds it, what cuts it. The loop is closed next door."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from policies.limit import (
    EXPIRED_FACTOR,
    FOLDS,
    GAIN_FOLDS,
    GROW_MAX,
    HOPELESS_S,
    OPEN_S,
    PROBE_AGAIN_S,
    PROBE_FACTOR,
    REFUSED_FACTOR,
    SHRINK_MAX,
    SLOW_START_S,
    THETA,
    UPSTREAM_QUEUE_FACTOR,
    LimitBounds,
    LimitReading,
    LimitState,
    Reason,
    refused,
    step,
)

pytestmark = pytest.mark.req("INT-4", "INT-5")

TICK_S = 0.25
BOUNDS = LimitBounds(floor=1.0, ceiling=512.0)
STARTED = LimitState(limit=50.0, starting=False)

# Small integers, and what a broken probe may say.
TIMES = st.sampled_from([None, 0.0, 1e-300, 0.001, 0.02, 0.025, 0.03, 0.1, 1e9, math.inf, math.nan])
OBJECTIVES = st.sampled_from([None, 0.0, 1e-9, 0.001, 0.02, 0.025, 0.0255, 0.028, 0.03, 1.0, 1e9])
READINGS = st.builds(
    LimitReading,
    tpot_s=TIMES,
    tpot_objective_s=OBJECTIVES,
    binding=st.booleans(),
    inflight=st.integers(0, 60),
    upstream_late=st.booleans(),
    tokens_per_s=st.integers(0, 9).map(float),
    waits_inside=st.booleans(),
)
BOUNDS_DRAWN = st.builds(
    LimitBounds, floor=st.integers(1, 4).map(float), ceiling=st.integers(0, 40).map(float)
)
EVENTS = st.lists(
    st.tuples(st.integers(0, 12), READINGS, st.sampled_from([None, None, "capacity", "expired"])),
    max_size=30,
)


def reading(
    tpot_s: float | None = None,
    objective_s: float | None = 0.025,
    *,
    binding: bool = True,
    inflight: int = 50,
    upstream_late: bool = False,
    tokens_per_s: float = 0.0,
) -> LimitReading:
    return LimitReading(
        tpot_s=tpot_s,
        tpot_objective_s=objective_s,
        binding=binding,
        inflight=inflight,
        upstream_late=upstream_late,
        tokens_per_s=tokens_per_s,
    )


def after(
    events: list[tuple[int, LimitReading, Literal["capacity", "expired"] | None]],
    bounds: LimitBounds,
    limit: float = 8.0,
) -> Iterator[tuple[LimitState, float]]:
    """The states that events lead to, and when."""
    state, now_s = LimitState(limit=limit), 0.0
    for step_s, seen, refusal in events:
        now_s += step_s
        if refusal is not None:
            state = refused(state, bounds, refusal, now_s - 1, now_s)
        state, _ = step(state, seen, bounds, now_s)
        yield state, now_s


# -- for all inputs ---------------------------------------------------------------------


@given(events=EVENTS, bounds=BOUNDS_DRAWN, limit=st.integers(0, 100).map(float))
def test_whatever_it_sees_the_limit_stays_between_floor_and_ceiling(
    events: list[tuple[int, LimitReading, Literal["capacity", "expired"] | None]],
    bounds: LimitBounds,
    limit: float,
) -> None:
    for state, _ in after(events, bounds, limit):
        assert bounds.floor <= state.limit <= max(bounds.ceiling, bounds.floor)
        assert len(state.folds) <= FOLDS


@given(
    events=EVENTS,
    seen=READINGS,
    factor=st.sampled_from([1.0, 1.001, 1.02, 1.1, 1.3, 2.0, 100.0]),
    ticks=st.integers(0, 8),
)
@example(events=[], seen=reading(0.0230, inflight=8), factor=1.1, ticks=0)
@example(
    events=[(0, reading(0.001, inflight=8), None)],
    seen=reading(0.0235, inflight=16),
    factor=1.3,
    ticks=1,
)
@example(
    events=[(5, reading(0.03, inflight=8), None)],
    seen=reading(0.0246, inflight=8, upstream_late=True),
    factor=1.02,
    ticks=1,
)
def test_a_looser_objective_never_gives_a_smaller_next_limit(
    events: list[tuple[int, LimitReading, Literal["capacity", "expired"] | None]],
    seen: LimitReading,
    factor: float,
    ticks: int,
) -> None:
    assume(seen.tpot_objective_s is not None)
    assert seen.tpot_objective_s is not None
    state, now_s = LimitState(limit=8.0), 0.0
    for state, now_s in after(events, BOUNDS):  # noqa: B007  # the last state is what counts
        pass
    now_s += ticks * TICK_S
    looser = msgspec.structs.replace(seen, tpot_objective_s=seen.tpot_objective_s * factor)
    tight, reason = step(state, seen, BOUNDS, now_s)
    loose, _ = step(state, looser, BOUNDS, now_s)
    assert loose.limit >= tight.limit or reason == "unattainable"


@given(seen=READINGS, later=st.integers(1, 9))
def test_the_same_state_and_reading_give_the_same_step(seen: LimitReading, later: int) -> None:
    assert step(STARTED, seen, BOUNDS, later) == step(STARTED, seen, BOUNDS, later)


# -- what holds it ----------------------------------------------------------------------


@pytest.mark.parametrize("tpot_s", [None, 0.0, math.inf, math.nan])
@pytest.mark.parametrize("late", [False, True])
def test_no_data_means_hold(tpot_s: float | None, late: bool) -> None:
    held, reason = step(STARTED, reading(tpot_s, upstream_late=late), BOUNDS, 9.0)
    assert (held.limit, reason) == (50, "no_data")


@pytest.mark.parametrize(("late", "binding"), [(True, True), (False, False)])
def test_no_data_at_the_start_means_hold_where_the_limit_is_not_why_they_wait(
    late: bool, binding: bool
) -> None:
    start = LimitState(limit=50.0)
    held, reason = step(start, reading(None, upstream_late=late, binding=binding), BOUNDS, 9.0)
    assert (held.limit, reason) == (50, "no_data")


def test_engines_that_think_before_they_speak_are_not_kept_at_the_first_limit() -> None:
    state = LimitState(limit=50.0)
    for tick in range(44):
        assert tick > 4 or state.limit == 50, "not before a second has passed"
        state, _ = step(state, reading(None), BOUNDS, 9.0 + tick * TICK_S)
    assert state.limit == pytest.approx(50 * 1.1**10)
    seen, _ = step(state, reading(0.01), BOUNDS, 60.0)
    assert seen.limit > 1.5 * state.limit, "and from the first sample on it doubles as ever"


@pytest.mark.parametrize("state", [STARTED, LimitState(limit=50.0)])
def test_a_limit_that_holds_nothing_back_does_not_grow(state: LimitState) -> None:
    held, reason = step(state, reading(0.01, binding=False), BOUNDS, 9.0)
    assert (held.limit, reason) == (50, "not_binding")


def test_a_limit_that_holds_nothing_back_shrinks_all_the_same() -> None:
    shrunk, reason = step(STARTED, reading(0.05, binding=False), BOUNDS, 9.0)
    assert shrunk.limit < 50
    assert reason == "shrink"


def test_it_steers_to_a_part_of_the_objective_and_another_part_is_another_aim() -> None:
    assert THETA < 1, "goodput is a cliff above the objective"
    for theta in (0.9, THETA):
        for tpot_s, aim in ((0.025 * theta * 0.97, "grow"), (0.025 * theta * 1.01, "shrink")):
            seen = msgspec.structs.replace(reading(tpot_s), theta=theta)
            assert step(STARTED, seen, BOUNDS, 9.0)[1] == aim
    assert reading(0.02).theta == THETA


def test_at_the_objective_it_grows_by_less_than_a_percent() -> None:
    grown, reason = step(STARTED, reading(0.025 * THETA * 0.99), BOUNDS, 9.0)
    assert reason == "grow"
    assert 1 < grown.limit / 50 < 1.01


def test_one_step_is_bounded_both_ways_and_quicker_downwards() -> None:
    grown, _ = step(STARTED, reading(1e-6), BOUNDS, 9.0)
    assert grown.limit == pytest.approx(50 * math.exp(GROW_MAX))
    shrunk, _ = step(STARTED, reading(9.9, inflight=1), BOUNDS, 9.0)
    assert shrunk.limit == pytest.approx(50 * math.exp(-SHRINK_MAX))
    assert SHRINK_MAX > GROW_MAX


def test_it_begins_by_doubling_once_a_second_until_it_was_too_much() -> None:
    state, limits = LimitState(limit=8.0), []
    for tick in range(9):
        state, reason = step(state, reading(0.001), BOUNDS, tick * TICK_S)
        limits.append(state.limit)
        assert reason == "slow_start"
    assert limits == [16] * 4 + [32] * 4 + [64]
    state, _ = step(state, reading(0.03), BOUNDS, 9 * TICK_S)
    before = state.limit
    state, reason = step(state, reading(0.001), BOUNDS, 9.0)
    assert (state.limit / before, reason) == (pytest.approx(math.exp(GROW_MAX)), "grow")


def test_near_the_objective_it_begins_by_less_than_doubling() -> None:
    state, _ = step(LimitState(limit=8.0), reading(0.02), BOUNDS, 0.0)
    assert 8 * math.exp(GROW_MAX) < state.limit < 16
    assert SLOW_START_S > TICK_S


@pytest.mark.parametrize(("objective_s", "most"), [(1.0, math.exp(0.03)), (None, 1.03)])
def test_where_requests_wait_inside_it_grows_by_little(
    objective_s: float | None, most: float
) -> None:
    seen = msgspec.structs.replace(reading(0.001, objective_s), answering=4, waits_inside=True)
    state, _ = step(LimitState(limit=16.0), seen, BOUNDS, 9.0)
    assert 16 < state.limit <= 16 * most * (1 + 1e-9)


# -- anti-windup ------------------------------------------------------------------------


def test_it_does_not_shrink_for_what_still_runs_above_it() -> None:
    """From 100 at once to a limit of 40: until those above it have ended, more shrinking says nothing."""
    state = LimitState(limit=40.0, starting=False)
    for tick in range(40):
        state, _ = step(state, reading(0.035, inflight=100), BOUNDS, tick * TICK_S)
    assert state.limit == 40
    enough = 100 * (THETA * 0.025 / 0.045) ** 2
    for tick in range(40, 80):
        state, _ = step(state, reading(0.045, inflight=100), BOUNDS, tick * TICK_S)
    assert state.limit == pytest.approx(enough)


def test_where_nothing_runs_above_it_it_shrinks_on() -> None:
    state = LimitState(limit=40.0, starting=False)
    for tick in range(40):
        state, _ = step(state, reading(0.035, inflight=int(state.limit)), BOUNDS, tick * TICK_S)
    assert state.limit < 5


# -- refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "factor"), [("capacity", REFUSED_FACTOR), ("expired", EXPIRED_FACTOR)]
)
def test_a_refusal_cuts_the_limit_once_a_flight(
    kind: Literal["capacity", "expired"], factor: float
) -> None:
    state = refused(LimitState(limit=80.0), BOUNDS, kind, dispatched_s=9.0, now_s=10.0)
    assert state.limit == 80 * factor
    for sent_s in (8.0, 9.5, 10.0):
        assert refused(state, BOUNDS, kind, sent_s, 11.0) == state, "sent before the cut"
    again = refused(state, BOUNDS, kind, 10.5, 11.0)
    assert again.limit == pytest.approx(80 * factor * factor)


def test_a_refusal_ends_the_doubling_and_never_cuts_below_the_floor() -> None:
    state = LimitState(limit=3.0)
    for second in range(9):
        state = refused(state, BOUNDS, "capacity", second + 0.5, second + 1.0)
        assert not state.starting
    assert state.limit == BOUNDS.floor


# -- the upstream's own queue -----------------------------------------------------------


@pytest.mark.parametrize("objective_s", [None, 0.025])
@pytest.mark.parametrize("binding", [False, True])
def test_a_queue_inside_the_upstream_shrinks_the_limit(
    objective_s: float | None, binding: bool
) -> None:
    seen = reading(0.02, objective_s, upstream_late=True, binding=binding)
    shrunk, reason = step(STARTED, seen, BOUNDS, 9.0)
    assert shrunk.limit == pytest.approx(50 * UPSTREAM_QUEUE_FACTOR)
    assert reason == "upstream_queue"


def test_too_slow_and_a_queue_inside_shrink_by_no_less_than_one_of_both() -> None:
    seen = reading(0.025 * THETA * 1.001, upstream_late=True)
    shrunk, _ = step(STARTED, seen, BOUNDS, 9.0)
    assert shrunk.limit <= 50 * UPSTREAM_QUEUE_FACTOR


# -- an objective that cannot be met -----------------------------------------------------


def at_the_floor(begin_s: float = 0.0) -> tuple[LimitState, float]:
    """Stepped with one slow request at a time until it gave up, or for a minute. Returns when, too."""
    state = LimitState(limit=1.0, starting=False)
    for tick in range(240):
        now_s = begin_s + tick * TICK_S
        state, reason = step(state, reading(0.05, inflight=1), BOUNDS, now_s)
        if reason == "unattainable":
            return state, now_s
    return state, math.inf


@pytest.mark.parametrize("begin_s", [0.0, 1000.0])
def test_an_objective_that_one_at_a_time_cannot_meet_opens_the_limit(begin_s: float) -> None:
    state, gave_up_s = at_the_floor(begin_s)
    assert gave_up_s == begin_s + HOPELESS_S
    assert state.limit == BOUNDS.ceiling


def test_open_it_stays_so_for_its_time_and_then_comes_back() -> None:
    state, gave_up_s = at_the_floor()
    now_s = gave_up_s
    while now_s + TICK_S < gave_up_s + OPEN_S:
        now_s += TICK_S
        state, reason = step(state, reading(0.05, inflight=200), BOUNDS, now_s)
        assert (reason, state.limit) == ("open", BOUNDS.ceiling)
    state, reason = step(state, reading(0.02, inflight=200), BOUNDS, gave_up_s + OPEN_S)
    assert reason == "grow"
    limits = []
    for tick in range(1, 41):
        state, reason = step(
            state, reading(0.05, inflight=1), BOUNDS, gave_up_s + OPEN_S + tick * TICK_S
        )
        limits.append(state.limit)
        assert reason == "shrink"
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] == BOUNDS.floor


def test_open_it_is_cut_by_refusals_and_grows_again() -> None:
    state, now_s = at_the_floor()
    state = refused(state, BOUNDS, "capacity", now_s + 1, now_s + 2)
    for tick in range(1, 5):
        state, reason = step(state, reading(0.05, inflight=99), BOUNDS, now_s + 2 + tick * TICK_S)
        assert reason == "open"
    assert BOUNDS.ceiling / 2 < state.limit < BOUNDS.ceiling * 0.7
    calm, _ = step(state, reading(0.05, binding=False), BOUNDS, now_s + 4)
    assert calm.limit == state.limit
    for tick in range(60):
        state, _ = step(state, reading(0.05, inflight=99), BOUNDS, now_s + 4 + tick * TICK_S)
    assert state.limit == BOUNDS.ceiling


@pytest.mark.parametrize("better", [reading(0.02, inflight=1), reading(0.05, inflight=2)])
def test_it_is_not_given_up_while_something_speaks_for_it(better: LimitReading) -> None:
    """Met now and then, or with more running than the floor."""
    state, bounds = LimitState(limit=1.0, starting=False), LimitBounds(floor=1.0, ceiling=1.0)
    for tick in range(400):
        seen = better if tick % 20 == 0 else reading(0.05, inflight=1)
        state, reason = step(state, seen, bounds, tick * TICK_S)
        assert reason != "unattainable"


# -- without an objective ---------------------------------------------------------------


def grown_without_objective(
    tokens_per_s: Callable[[int], float], seconds: int, limit: float = 16.0
) -> list[tuple[float, Reason]]:
    """A saturated lane, throughput over the last five seconds."""
    state, seen = LimitState(limit=limit), deque[float](maxlen=20)
    history = []
    for tick in range(seconds * 4):
        running = int(state.limit)
        seen.append(tokens_per_s(running))
        now = reading(None, None, inflight=running, tokens_per_s=sum(seen) / len(seen))
        state, reason = step(state, now, BOUNDS, tick * TICK_S)
        history.append((state.limit, reason))
    return history


def test_without_an_objective_it_grows_while_that_gives_more_tokens() -> None:
    limits = [limit for limit, _ in grown_without_objective(lambda n: 40.0 * n, 60)]
    assert limits == sorted(limits)
    assert limits[-1] == BOUNDS.ceiling


def test_noise_does_not_stop_it_while_more_gives_more() -> None:
    wobble = [1.2, 1.15, 1.05, 0.95, 0.85, 0.8, 0.8, 0.85, 0.95, 1.05, 1.15]
    seen = iter(range(10**6))
    history = grown_without_objective(lambda n: 40.0 * n * wobble[next(seen) // 4 % 11], 60)
    assert max(limit for limit, _ in history) == BOUNDS.ceiling


def test_without_an_objective_few_seconds_prove_nothing() -> None:
    history = grown_without_objective(lambda n: 1000.0, 2 * GAIN_FOLDS)
    reasons = [reason for _, reason in history]
    assert reasons.index("throughput_flat") >= 4 * (GAIN_FOLDS - 1)


def test_concurrency_and_throughput_are_noted_once_a_second_for_as_long_as_they_count() -> None:
    state = LimitState(limit=16.0)
    for tick in range(4 * 2 * FOLDS):
        state, _ = step(state, reading(0.02, inflight=tick), BOUNDS, tick * TICK_S)
        assert len(state.folds) == min(tick // 4 + 1, FOLDS)
    assert [inflight for inflight, _ in state.folds] == [4.0 * n for n in range(FOLDS, 2 * FOLDS)]


@pytest.mark.parametrize("knee", [40, 64, 128])
def test_without_an_objective_it_goes_back_to_where_more_gave_no_more(knee: int) -> None:
    history = grown_without_objective(lambda n: 40.0 * min(n, knee), 900)
    settled = [limit for limit, _ in history[60 * 4 :]]
    assert 0.95 * knee <= min(settled)
    assert max(settled) <= 2 * PROBE_FACTOR**2 * knee, "growing, it sees five seconds late"
    flat = sum(reason == "throughput_flat" for _, reason in history[60 * 4 :])
    assert flat > 0.8 * len(settled), "mostly it rests"


def test_without_an_objective_more_that_gives_less_is_taken_back() -> None:
    history = grown_without_objective(lambda n: 40.0 * (n if n < 50 else max(100 - n, 5)), 300)
    assert 40 <= history[-1][0] <= 100


def test_stopped_it_looks_again_after_a_while() -> None:
    """What was flat rises again: another endpoint has come."""
    growing = [16.0]

    def tokens_per_s(running: int) -> float:
        growing[0] += TICK_S
        return 40.0 * min(running, 48 if growing[0] < 200 else 480)

    history = grown_without_objective(tokens_per_s, 600)
    assert max(limit for limit, _ in history[100 * 4 : 180 * 4]) < 150
    assert history[-1][0] > 300
    assert PROBE_AGAIN_S < 60


@pytest.mark.parametrize("binding", [False, True])
def test_without_an_objective_it_grows_once_a_second_and_only_if_it_binds(binding: bool) -> None:
    state, steps = LimitState(limit=16.0), 0
    for tick in range(40):
        before = state.limit
        seen = reading(None, None, inflight=int(state.limit), binding=binding)
        state, _ = step(state, msgspec.structs.replace(seen, tokens_per_s=before), BOUNDS, tick / 4)
        steps += state.limit > before
    assert steps == (10 if binding else 0)
