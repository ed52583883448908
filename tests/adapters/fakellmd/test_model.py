"""One engine: exact times, the queue, priorities, KV use, faults, and the promises that hold for any history."""

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fakellmd.model import Done, EngineEvent, EngineModel, Job, Lost, Started, Token
from adapters.fakellmd.settings import Drift, Latency, LlmdSettings, ServedModel

pytestmark = pytest.mark.req("INT-9")
Build = Callable[..., LlmdSettings]


def job(number: int, tokens: int = 5, **members: Any) -> Job:
    return Job(id=number, prompt_tokens=4, output_tokens=tokens, **members)


def token_times(events: list[EngineEvent], number: int) -> list[float]:
    return [e.at_s for e in events if isinstance(e, Token) and e.job_id == number]


def fates(events: list[EngineEvent]) -> dict[int, float]:
    return {e.job_id: e.at_s for e in events if isinstance(e, Done)}


# -- the law ----------------------------------------------------------------------------


def test_a_lone_job_takes_the_first_token_time_and_a_gap_for_each_further_token(
    exact: Build,
) -> None:
    engine = EngineModel(exact(), "m")
    assert engine.submit(1.0, job(1, 4)) == "running"
    events = engine.advance(9.0)
    assert token_times(events, 1) == [1.5, 1.5625, 1.625, 1.6875]
    assert events[0] == Started(1, 1.0)
    assert events[-1] == Done(
        job_id=1, at_s=1.6875, submitted_s=1.0, started_s=1.0, first_token_s=1.5, output_tokens=4
    )
    assert engine.next_event_s() is None


def test_an_answer_longer_than_the_table_of_sums_keeps_its_pace() -> None:
    """Newcomers change the batch and so the plan of all; with a flat law, not one token's time."""
    flat = Latency(time_factor_under_load=1.0, inter_token_latency_std_dev_s=0.001)
    settings = LlmdSettings(models=(ServedModel(name="m", latency=flat),), max_num_seqs=8)
    ends = []
    for newcomers in ((), (5.0, 2000.0, 2100.0, 2900.0)):
        engine = EngineModel(settings, "m")
        engine.submit(0.0, job(1, 200_000, seed=3, every_token=False))
        counted = []
        for number, at_s in enumerate(newcomers, 2):
            engine.submit(at_s, job(number, 10))
            counted.append(engine.generated(1, at_s))
        assert counted == sorted(counted)
        ends.append(fates(engine.advance(10_000.0))[1])
    assert ends[1] == pytest.approx(ends[0], rel=1e-9)
    assert ends[0] == pytest.approx(200_000 * 0.015, rel=0.01)


def test_a_full_batch_is_slower_by_the_load_factor(exact: Build) -> None:
    engine = EngineModel(exact(), "m")
    for number in range(5):
        engine.submit(0.0, job(number, 3))
    events = engine.advance(9.0)
    # factor(5) = 2: the fifth pays it for its first token, and all of them for each gap ...
    assert token_times(events, 4)[0] == 1.0
    # ... until the first to finish leaves: factor(1..4) are 1, 1.25, 1.5, 1.75 at their start.
    assert token_times(events, 0) == [0.5, 0.625, 0.75]
    assert token_times(events, 1) == [0.625, 0.75, 0.859375]


def test_a_gap_is_recomputed_from_the_batch_at_that_token(exact: Build) -> None:
    engine = EngineModel(exact(max_num_seqs=2), "m")
    engine.submit(0.0, job(1, 6))
    engine.submit(0.5625, job(2, 1))  # joins exactly at token 2: gaps double from there
    events = engine.advance(9.0)
    assert fates(events)[2] == 0.5625 + 1.0
    assert token_times(events, 1) == [0.5, 0.5625, 0.6875, 0.8125, 0.9375, 1.0625]


def test_the_gap_under_way_keeps_its_length_when_the_batch_changes(exact: Build) -> None:
    engine = EngineModel(exact(max_num_seqs=2), "m")
    engine.submit(0.0, job(1, 4))
    engine.submit(0.515625, job(2, 9))  # inside the gap before token 2
    assert token_times(engine.advance(9.0), 1) == [0.5, 0.5625, 0.6875, 0.8125]


def test_the_prefill_of_a_longer_prompt_takes_longer(exact: Build) -> None:
    engine = EngineModel(
        exact(
            latency=msgspec.structs.replace(exact().latency, latency_calculator="per-token"),
            max_num_seqs=1,
        ),
        "m",
    )
    engine.submit(0.0, Job(id=1, prompt_tokens=8, output_tokens=1, cached_tokens=4))
    assert fates(engine.advance(9.0)) == {1: 0.25 + 4 * 0.125}


def test_jitter_is_clamped_and_depends_on_the_seed_alone(exact: Build) -> None:
    wild = msgspec.structs.replace(
        exact().latency, inter_token_latency_std_dev_s=1.0, time_to_first_token_std_dev_s=5.0
    )

    def run(seed: int) -> list[float]:
        engine = EngineModel(exact(latency=wild), "m")
        engine.submit(0.0, job(1, 200, seed=seed))
        return token_times(engine.advance(99.0), 1)

    times = run(1)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert 0.3 * 0.5 <= times[0] <= 1.7 * 0.5
    assert min(gaps) == pytest.approx(0.3 * 0.0625)
    assert max(gaps) == pytest.approx(1.7 * 0.0625)
    assert run(1) == times != run(2)


# -- the queue --------------------------------------------------------------------------


def test_a_full_engine_queues_and_a_full_queue_refuses(exact: Build) -> None:
    engine = EngineModel(exact(max_num_seqs=1, max_waiting_queue_length=2), "m")
    answers = [engine.submit(0.0, job(number)) for number in range(4)]
    assert answers == ["running", "waiting", "waiting", "full"]
    assert (engine.running, engine.waiting) == (1, 2)
    assert sorted(fates(engine.advance(99.0))) == [0, 1, 2]


def test_an_unbounded_queue_never_refuses(exact: Build) -> None:
    engine = EngineModel(exact(max_num_seqs=1, max_waiting_queue_length=None), "m")
    assert {engine.submit(0.0, job(number)) for number in range(3000)} == {"running", "waiting"}


def test_a_waiting_job_starts_the_moment_another_ends(exact: Build) -> None:
    engine = EngineModel(exact(max_num_seqs=1), "m")
    engine.submit(0.0, job(1, 1))
    engine.submit(0.0, job(2, 1))
    events = engine.advance(9.0)
    assert Started(2, 0.5) in events
    assert fates(events) == {1: 0.5, 2: 1.0}


@pytest.mark.parametrize(("scheduling", "order"), [(True, [0, 3, 1, 2]), (False, [0, 1, 2, 3])])
def test_lower_priorities_start_first_and_ties_by_arrival(
    exact: Build, scheduling: bool, order: list[int]
) -> None:
    engine = EngineModel(exact(max_num_seqs=1, priority_scheduling=scheduling), "m")
    for number, priority in enumerate([9, 5, 5, -1]):
        engine.submit(0.0, job(number, priority=priority))
    assert [e.job_id for e in engine.advance(99.0) if isinstance(e, Started)] == order


def test_an_urgent_job_does_not_preempt_a_running_one(exact: Build) -> None:
    engine = EngineModel(exact(max_num_seqs=1), "m")
    engine.submit(0.0, job(1, priority=5))
    assert engine.submit(0.0, job(2, priority=-5)) == "waiting"


def test_cancelling_a_running_job_gives_its_place_to_the_next_at_once(exact: Build) -> None:
    engine = EngineModel(exact(max_num_seqs=1), "m")
    engine.submit(0.0, job(1, 100))
    engine.submit(0.0, job(2, 1))
    assert engine.cancel(1, 0.25)
    assert not engine.cancel(1, 0.25)
    assert fates(engine.advance(9.0)) == {2: 0.75}


def test_a_cancelled_waiter_never_takes_a_place(exact: Build) -> None:
    engine = EngineModel(exact(max_num_seqs=1, max_waiting_queue_length=1), "m")
    engine.submit(0.0, job(0, 1))
    for number in range(1, 1000):
        assert engine.submit(0.0, job(number)) == "waiting"
        assert engine.cancel(number, 0.0)
    assert len(engine._queue) < 200  # what is left of the cancelled ones is bounded
    assert sorted(fates(engine.advance(9.0))) == [0]


def test_cancelling_speeds_up_those_that_stay(exact: Build) -> None:
    engine = EngineModel(exact(max_num_seqs=2), "m")
    engine.submit(0.0, job(1, 4))
    engine.submit(0.0, job(2, 100))
    engine.cancel(2, 0.5)
    assert token_times(engine.advance(9.0), 1) == [0.5, 0.5625, 0.625, 0.6875]


def test_an_id_that_is_live_is_refused(exact: Build) -> None:
    engine = EngineModel(exact(), "m")
    engine.submit(0.0, job(1))
    with pytest.raises(ValueError, match="live"):
        engine.submit(0.0, job(1))
    with pytest.raises(ValueError, match="no tokens"):
        engine.submit(0.0, job(2, 0))


# -- what can be seen -------------------------------------------------------------------


@pytest.mark.parametrize("every_token", [True, False])
def test_kv_use_is_the_resident_tokens_of_running_sequences(
    exact: Build, every_token: bool
) -> None:
    engine = EngineModel(exact(max_num_seqs=1, kv_cache_tokens=16), "m")
    engine.submit(0.0, job(1, 5, every_token=every_token))
    engine.submit(0.0, job(2, 1))
    use = []
    for now_s in (0.0, 0.5, 0.5625, 0.6249, 0.625, 0.75):
        engine.advance(now_s)
        use.append(engine.kv_usage(now_s) * 16)
    assert use == [4, 5, 6, 6, 7, 4]  # at last the second one, in prefill
    assert engine.generated(2, 0.75) == 0
    engine.advance(9.0)
    assert engine.kv_usage(9.0) == 0.0


def test_kv_use_does_not_exceed_the_cache(exact: Build) -> None:
    engine = EngineModel(exact(kv_cache_tokens=3), "m")
    engine.submit(0.0, job(1))
    assert engine.kv_usage(0.0) == 1.0


# -- drift and faults -------------------------------------------------------------------


@pytest.mark.parametrize("every_token", [True, False])
def test_a_drift_changes_the_gaps_that_begin_after_it(exact: Build, every_token: bool) -> None:
    drift = Drift(at_s=0.625, inter_token_latency_s=0.25)
    engine = EngineModel(exact(drift=(drift,)), "m", started_s=100.0)
    engine.submit(100.0, job(1, 5, every_token=every_token))
    events = engine.advance(999.0)
    assert fates(events) == {1: 100.0 + 0.625 + 2 * 0.25}
    engine.submit(999.0, job(2, 2))
    assert token_times(engine.advance(9999.0), 2) == [999.5, 999.75]


def test_a_drift_that_speeds_an_engine_up_is_seen_in_time(exact: Build) -> None:
    drift = Drift(at_s=0.5, inter_token_latency_s=0.03125)
    engine = EngineModel(exact(drift=(drift,)), "m")
    engine.submit(0.0, job(1, 3, every_token=False))
    times = []
    while (next_s := engine.next_event_s()) is not None:
        times += [event.at_s for event in engine.advance(next_s)]
    assert times == [0.0, 0.5, 0.5625]


@pytest.mark.parametrize("every_token", [True, False])
def test_reconfiguring_changes_gaps_and_places_from_now_on(exact: Build, every_token: bool) -> None:
    engine = EngineModel(exact(max_num_seqs=1), "m")
    engine.submit(0.0, job(1, 4, every_token=every_token))
    engine.submit(0.0, job(2, 1))
    slower = msgspec.structs.replace(
        exact().latency, inter_token_latency_s=0.25, time_factor_under_load=1.0
    )
    engine.reconfigure(0.53125, exact(latency=slower, max_num_seqs=2))
    events = engine.advance(9.0)
    assert Started(2, 0.53125) in events
    assert fates(events) == {1: 0.5625 + 2 * 0.25, 2: 1.03125}


def test_new_settings_do_not_move_the_token_under_way(exact: Build) -> None:
    wild = msgspec.structs.replace(exact().latency, inter_token_latency_std_dev_s=0.02)
    calm = exact(latency=msgspec.structs.replace(wild, inter_token_latency_s=0.5))
    engine = EngineModel(exact(latency=wild), "m")
    engine.submit(0.0, job(1, 100))
    engine.advance(3.0)
    before_s = engine.next_event_s()
    engine.reconfigure(3.0, calm)
    assert engine.next_event_s() == before_s


def test_a_lost_pod_loses_all_its_jobs_and_refuses_until_it_is_back(exact: Build) -> None:
    engine = EngineModel(exact(max_num_seqs=1), "m")
    engine.submit(0.0, job(1))
    engine.submit(0.0, job(2))
    engine.fail(0.25)
    assert [e for e in engine.advance(9.0) if isinstance(e, Lost)] == [Lost(1, 0.25), Lost(2, 0.25)]
    assert engine.submit(9.0, job(3)) == "down"
    engine.recover()
    assert engine.submit(9.0, job(3)) == "running"


# -- promises that hold for any history -------------------------------------------------

Op = tuple[str, int, int, int]
ops = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "submit", "cancel", "slower", "fail"]),
        st.integers(0, 6),  # ticks that pass before it
        st.integers(1, 9),  # tokens, or which job to cancel
        st.integers(-1, 1),  # priority
    ),
    max_size=40,
)
TICK_S = 0.0625


def history(
    operations: list[Op], spread: float, *, every_token: bool, polled: bool
) -> tuple[list[EngineEvent], Counter[int], set[int]]:
    """Run a history. Returns its events, how many fates each job met, and the accepted jobs."""
    latency = Latency(
        latency_calculator="constant",
        time_to_first_token_s=0.125,
        inter_token_latency_s=TICK_S,
        inter_token_latency_std_dev_s=spread * TICK_S,
        time_factor_under_load=3.0,
    )
    first = LlmdSettings(
        models=(ServedModel(name="m"),),
        latency=latency,
        max_num_seqs=3,
        max_waiting_queue_length=4,
        drift=(Drift(at_s=16 * TICK_S, time_factor_under_load=2.0),),
    )
    slow = msgspec.structs.replace(
        first, latency=msgspec.structs.replace(latency, inter_token_latency_s=2 * TICK_S)
    )
    engine = EngineModel(first, "m")
    met: Counter[int] = Counter()
    accepted: set[int] = set()
    events: list[EngineEvent] = []
    now_s = 0.0
    for number, (kind, ticks, amount, priority) in enumerate(operations):
        for _ in range(ticks):
            now_s += TICK_S
            if polled:
                events += engine.advance(now_s)
        if kind == "submit":
            offered = job(number, amount, priority=priority, seed=number, every_token=every_token)
            if engine.submit(now_s, offered) in ("running", "waiting"):
                accepted.add(number)
        elif kind == "cancel":
            met[number - amount] += engine.cancel(number - amount, now_s)
        elif kind == "slower":
            engine.reconfigure(now_s, slow)
        else:
            engine.fail(now_s)
            engine.recover()
        assert engine.running <= 3
        assert engine.waiting <= 4
        assert not engine.waiting or engine.running == 3
    events += engine.advance(1e6)
    assert engine.next_event_s() is None
    assert (engine.running, engine.waiting) == (0, 0)
    for event in events:
        if isinstance(event, Done | Lost):
            met[event.job_id] += 1
    return events, met, accepted


@given(operations=ops, spread=st.sampled_from([0.0, 0.2]))
def test_every_accepted_job_meets_exactly_one_fate(operations: list[Op], spread: float) -> None:
    events, met, accepted = history(operations, spread, every_token=True, polled=False)
    assert +met == Counter(accepted)
    assert [e.at_s for e in events] == sorted(e.at_s for e in events)
    for event in events:
        if isinstance(event, Done):
            mine = [e for e in events if isinstance(e, Token) and e.job_id == event.job_id]
            assert [e.index for e in mine] == list(range(1, event.output_tokens + 1))
            assert mine[-1].at_s == event.at_s


@settings(max_examples=60)
@given(operations=ops, spread=st.sampled_from([0.0, 0.2]))
def test_times_do_not_depend_on_who_looks_or_how_often(operations: list[Op], spread: float) -> None:
    loud, *_ = history(operations, spread, every_token=True, polled=False)
    polled, *_ = history(operations, spread, every_token=True, polled=True)
    quiet, *_ = history(operations, spread, every_token=False, polled=True)
    assert loud == polled
    # Ties may be told in another order; what happened, and when, is the same.
    told = [e for e in loud if not isinstance(e, Token) or e.index == 1]
    assert sorted(map(repr, told)) == sorted(map(repr, quiet))


def test_thousands_of_jobs_are_quick_enough_to_simulate_an_hour(exact: Build) -> None:
    """No clock is read: what is bounded is the number of events and of tokens looked at."""
    engine = EngineModel(exact(max_num_seqs=64, max_waiting_queue_length=None), "m")
    for number in range(5000):
        engine.submit(number / 50, job(number, 200, every_token=False))
    assert len(engine.advance(1e6)) == 3 * 5000
