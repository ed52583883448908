"""The virtual clock: each request has one fate, nothing runs over a limit, and nothing is left to chance."""

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.simulation.engines import Engines
from gateway.simulation.outcome import FATES, Outcome
from gateway.simulation.plan import Plan
from gateway.simulation.rival_body import RivalBody
from gateway.simulation.rivals.registry import make_rival
from gateway.simulation.setpoint_body import SetpointBody
from gateway.simulation.trace import Arrival
from gateway.simulation.world import MAX_TAIL_S, World
from tests.fakes.simulated import ONE_MODEL, plan_of, requests

pytestmark = pytest.mark.req("INT-12")
CONTROLLERS = ("setpoint", "none", "static:1", "static:3", "vegas", "gradient2", "envoy")


def world_of(plan: Plan, **more: object) -> World:
    engines = Engines(plan.settings)
    if plan.controller == "setpoint":
        body = SetpointBody(plan.reception(), plan.pools, engines, plan.weights)
        return World(plan.arrivals, body, engines, seed=plan.seed, **more)
    rival = RivalBody(
        lambda: make_rival(plan.controller, plan.seed), plan.reception(), plan.settings
    )
    return World(plan.arrivals, rival, engines, seed=plan.seed, **more)


def run(plan: Plan) -> list[Outcome]:
    world = world_of(plan)
    world.run()
    return world.outcomes


def facts(outcome: Outcome) -> tuple[object, ...]:
    return tuple(getattr(outcome, name) for name in Outcome.__slots__)


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        arrival_s=st.integers(0, 40).map(lambda quarters: quarters / 4.0),
        input_tokens=st.sampled_from([1, 100, 6000]),
        output_tokens=st.sampled_from([1, 2, 40]),
        tenant=st.sampled_from(["", "web", "night"]),
    ),
    max_size=40,
).map(lambda arrivals: sorted(arrivals, key=lambda arrival: arrival.arrival_s))


@given(arrivals=ARRIVALS, controller=st.sampled_from(CONTROLLERS), seed=st.integers(0, 3))
@hypothesis_settings(max_examples=40)
def test_every_request_meets_one_fate_and_its_times_add_up(
    arrivals: list[Arrival], controller: str, seed: int
) -> None:
    with TemporaryDirectory() as folder:
        plan = plan_of(Path(folder), arrivals, controller=controller, seed=seed)
    outcomes = run(plan)
    assert [outcome.arrival_s for outcome in outcomes] == [a.arrival_s for a in arrivals]
    for arrival, outcome in zip(arrivals, outcomes, strict=True):
        assert outcome.fate in FATES
        assert outcome.fate != "cancelled"
        if outcome.fate == "served":
            _check_times(arrival, outcome)
        else:
            assert outcome.ttft_s is None
            assert outcome.finish_reason
    assert [facts(outcome) for outcome in run(plan)] == [facts(outcome) for outcome in outcomes]


def _check_times(arrival: Arrival, outcome: Outcome) -> None:
    assert outcome.queued_s is not None
    assert outcome.ttft_s is not None
    assert outcome.e2e_s is not None
    assert 0.0 <= outcome.queued_s < outcome.ttft_s <= outcome.e2e_s
    assert outcome.output_tokens == arrival.output_tokens
    if arrival.output_tokens == 1:
        assert outcome.tpot_s is None
        assert outcome.e2e_s == outcome.ttft_s
    else:
        assert outcome.tpot_s is not None
        decoded_s = outcome.tpot_s * (arrival.output_tokens - 1)
        assert outcome.e2e_s == pytest.approx(outcome.ttft_s + decoded_s)


def most_at_once(outcomes: list[Outcome]) -> int:
    """Requests between their dispatch and their end."""
    changes = []
    for o in outcomes:
        if o.e2e_s is not None and o.queued_s is not None:
            changes += [(o.arrival_s + o.queued_s, 1), (o.arrival_s + o.e2e_s, -1)]
    now = most = 0
    for _, change in sorted((round(at_s, 9), change) for at_s, change in changes):
        now += change
        most = max(most, now)
    return most


@given(arrivals=ARRIVALS, limit=st.integers(1, 4))
@hypothesis_settings(max_examples=20)
def test_no_more_run_than_the_limit_allows(arrivals: list[Arrival], limit: int) -> None:
    with TemporaryDirectory() as folder:
        plan = plan_of(Path(folder), arrivals, controller=f"static:{limit}")
    outcomes = run(plan)
    assert {outcome.fate for outcome in outcomes} <= {"served"}
    assert most_at_once(outcomes) <= limit
    # The limit is used: whoever waits does so because all places are taken.
    starts = sorted((o.arrival_s + (o.queued_s or 0.0)) for o in outcomes if o.queued_s)
    ends = {round(o.arrival_s + (o.e2e_s or 0.0), 9) for o in outcomes}
    assert {round(start_s, 9) for start_s in starts} <= ends


def test_a_place_that_comes_free_goes_to_the_next_at_once(tmp_path: Path) -> None:
    outcomes = run(plan_of(tmp_path, requests(0.0, 0.0, 0.0), controller="static:1"))
    ends = [outcome.e2e_s for outcome in outcomes]
    assert ends == pytest.approx([0.22, 0.44, 0.66])
    assert [outcome.queued_s for outcome in outcomes] == pytest.approx([0.0, 0.22, 0.44])


def test_who_cannot_be_in_time_any_more_is_dropped_when_that_is_so(tmp_path: Path) -> None:
    # One takes 20 s, the limit of a model that begins is 16, and the engine has 8 places.
    outcomes = run(plan_of(tmp_path, requests(*[0.0] * 16, 0.1, output=1000)))
    assert outcomes[-1].fate == "dropped"
    assert outcomes[-1].finish_reason == "deadline_passed"
    assert outcomes[-1].queued_s == pytest.approx(0.5)


def test_the_engines_jitter_comes_from_the_seed(tmp_path: Path) -> None:
    noisy = {"inter_token_latency_std_dev_s": 0.005}
    base = plan_of(tmp_path, requests(0.0, 0.1, 0.2))

    def times(seed: int) -> list[float | None]:
        told = {
            lane: msgspec.structs.replace(
                settings, latency=msgspec.structs.replace(settings.latency, **noisy)
            )
            for lane, settings in base.settings.items()
        }
        plan = msgspec.structs.replace(base, settings=told, seed=seed)
        return [outcome.e2e_s for outcome in run(plan)]

    assert times(1) == times(1)
    assert times(1) != times(2)


def test_the_watcher_is_called_every_250_ms_until_the_last_answer(tmp_path: Path) -> None:
    seen: list[float] = []
    world_of(plan_of(tmp_path, requests(0.1, 0.9)), watch=seen.append).run()
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_a_trace_without_requests_is_over_at_once(tmp_path: Path) -> None:
    assert run(plan_of(tmp_path, [])) == []


def test_what_is_not_over_after_a_long_tail_counts_as_cancelled(tmp_path: Path) -> None:
    # 20 s a token: 4000 s for an answer.
    config = ONE_MODEL.replace("20ms", "20s").replace("load: 3", "load: 1")
    traffic = [*requests(0.0, output=201), *requests(0.0, output=2)]
    long, short = run(plan_of(tmp_path, traffic, config=config, controller="none"))
    assert long.fate == "cancelled"
    assert long.ttft_s is not None
    assert long.e2e_s is None
    assert short.fate == "served"
    assert MAX_TAIL_S == 3600.0


@pytest.mark.parametrize("controller", ["setpoint", "static:1"])
def test_a_request_that_its_engine_declines_has_failed(tmp_path: Path, controller: str) -> None:
    plan = plan_of(tmp_path, requests(0.0, 0.0, 1.0), controller=controller)
    lost = {
        lane: msgspec.structs.replace(settings, pods_down={lane[1]: (0,)})
        for lane, settings in plan.settings.items()
    }
    outcomes = run(msgspec.structs.replace(plan, settings=lost))
    assert [outcome.fate for outcome in outcomes] == ["failed"] * 3
    assert {outcome.finish_reason for outcome in outcomes} == {"error"}
    assert {outcome.cost_usd for outcome in outcomes} == {None}


def test_an_answer_costs_what_its_tokens_cost(tmp_path: Path) -> None:
    (outcome,) = run(plan_of(tmp_path, requests(0.0)))
    assert outcome.cost_usd == pytest.approx((100 * 1 + 11 * 2) / 1e6)
