"""What came of a run, in numbers that can be checked by hand."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.control import LoopDecision, Verdict
from gateway.simulation.bounds import bounds
from gateway.simulation.outcome import FATES, Fate, Outcome
from gateway.simulation.plan import Plan
from gateway.simulation.summary import Summary, judge, percentile, summarise
from tests.fakes.simulated import TWO_MODELS, plan_of, requests

pytestmark = pytest.mark.req("INT-12")
POLICIES = """\
intents:
  - name: chat
    match: {default: true}
    objectives: {ttft_p50: 100ms, ttft_p95: 500ms, tpot_p95: 50ms, e2e_p99: 2s, cost_per_request: 0.01 USD}
  - {name: free}
"""


def outcome(
    fate: Fate = "served",
    *,
    at_s: float = 0.0,
    intent: str = "chat",
    ttft_s: float = 0.5,
    tpot_s: float | None = 0.05,
    e2e_s: float = 2.0,
    usd: float = 0.01,
) -> Outcome:
    made = Outcome(at_s, "", 1)
    made.fate, made.intent, made.model = fate, intent, "big"
    if fate == "served":
        made.ttft_s, made.tpot_s, made.e2e_s, made.cost_usd = ttft_s, tpot_s, e2e_s, usd
    return made


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    arrivals = requests(0.0, 5.0, 10.0)
    return plan_of(tmp_path, arrivals, config=TWO_MODELS, policies=POLICIES)


def summary(plan: Plan, *outcomes: Outcome, flaps: int = 0, decisions: object = ()) -> Summary:
    return summarise(plan, outcomes, decisions, flaps=flaps, wall_s=1.23456)


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, True),
        ({"ttft_s": 0.51}, False),
        ({"tpot_s": 0.051}, False),
        ({"tpot_s": None}, True),
        ({"e2e_s": 2.1}, False),
        ({"usd": 0.011}, False),
        ({"fate": "failed"}, False),
        ({"fate": "shed", "intent": "free"}, False),
        ({"intent": "free", "ttft_s": 99.0, "tpot_s": 99.0, "e2e_s": 999.0, "usd": 9.0}, True),
    ],
)
def test_a_request_is_good_if_it_met_every_objective_of_its_intent(
    plan: Plan, changes: dict[str, object], good: bool
) -> None:
    made = outcome(**changes)
    assert judge(plan.policy)(made) is good


def test_everything_that_was_offered_has_one_of_the_fates(plan: Plan) -> None:
    told = summary(plan, *(outcome(fate) for fate in FATES for _ in range(2)))
    assert told.offered == 12
    assert {fate: getattr(told, fate) for fate in FATES} == dict.fromkeys(FATES, 2)
    chat = told.per_intent["chat"]
    assert chat.offered == 12
    assert {fate: getattr(chat, fate) for fate in FATES} == dict.fromkeys(FATES, 2)


def test_rates_and_ratios_are_of_the_time_up_to_the_last_arrival(plan: Plan) -> None:
    told = summary(plan, outcome(), outcome(ttft_s=9.0), outcome("refused"))
    assert (told.span_s, told.good, told.goodput_rps) == (10.0, 1, 0.1)
    bound = bounds(plan.arrivals, plan.settings["sim", "big"], 0.05)
    assert told.bound_blind_rps == pytest.approx(bound.blind_rps, abs=1e-6)
    assert told.bound_aware_rps == pytest.approx(bound.aware_rps, abs=1e-6)
    assert told.ratio_blind == pytest.approx(0.1 / bound.blind_rps, abs=1e-6)
    assert told.ratio_aware == pytest.approx(0.1 / bound.aware_rps, abs=1e-6)
    assert told.wall_s == 1.235


def test_the_bounds_of_several_models_add_up(tmp_path: Path) -> None:
    arrivals = [*requests(0.0, 5.0), *requests(8.0, 10.0, model="small")]
    plan = plan_of(tmp_path, arrivals, config=TWO_MODELS, policies=POLICIES)
    assert summary(plan).bound_blind_rps == pytest.approx(0.4)


def test_where_all_come_at_once_there_are_no_rates(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, requests(0.0), policies=POLICIES)
    told = summary(plan, outcome())
    assert (told.good, told.goodput_rps, told.ratio_blind, told.load) == (1, None, None, None)
    assert told.flaps_per_hour is None


def test_intents_are_told_apart_and_percentiles_are_of_the_served(plan: Plan) -> None:
    mine = [outcome(ttft_s=nth / 1000, usd=0.001) for nth in range(1, 101)]
    told = summary(plan, *mine, outcome("dropped"), outcome(intent="free", ttft_s=7.0, tpot_s=None))
    chat, free = told.per_intent["chat"], told.per_intent["free"]
    assert list(told.per_intent) == ["chat", "free"]
    assert (chat.ttft_p95_s, chat.tpot_p95_s, chat.e2e_p95_s) == (0.095, 0.05, 2.0)
    assert (free.ttft_p95_s, free.tpot_p95_s) == (7.0, None)
    assert (chat.cost_usd, free.cost_usd, told.cost_usd) == (0.1, 0.01, 0.11)
    assert told.served_by == {"big": 101}


def test_what_was_never_finished_is_in_no_percentile(plan: Plan) -> None:
    begun = outcome("cancelled")
    begun.ttft_s = 99.0
    assert summary(plan, outcome(ttft_s=0.1), begun).ttft_p95_s == 0.1


def decision(verdict: Verdict | None) -> LoopDecision:
    kind = "climb" if verdict is None else "verdict"
    return LoopDecision(seq=1, at_s=1.0, kind=kind, intent="chat", words="x", verdict=verdict)


def test_verdicts_are_counted_and_flaps_are_an_hours(plan: Plan) -> None:
    told = [decision(None), decision("confirmed"), decision("confirmed"), decision("harmful")]
    made = summary(plan, decisions=told, flaps=2)
    assert made.verdicts == {
        "confirmed": 2,
        "no_effect": 0,
        "harmful": 1,
        "confounded": 0,
        "inconclusive": 0,
    }
    assert made.flaps_per_hour == 720.0
    assert made.decisions == tuple(told)


def test_the_json_has_all_that_was_promised(plan: Plan) -> None:
    encoded = msgspec.json.decode(msgspec.json.encode(summary(plan, outcome())))
    promised = (
        "offered served good goodput_rps bound_blind_rps bound_aware_rps ratio_blind ratio_aware "
        "ttft_p95_s tpot_p95_s per_intent decisions verdicts flaps_per_hour cost_usd wall_s"
    )
    assert set(promised.split()) <= encoded.keys()
    wanted = "offered served good refused dropped shed failed ttft_p95_s tpot_p95_s cost_usd"
    assert set(wanted.split()) <= encoded["per_intent"]["chat"].keys()


@example(values=list(range(100)), percent=7)
@given(values=st.lists(st.integers(0, 9), min_size=1), percent=st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_stay_within(
    values: list[int], percent: int
) -> None:
    found = percentile(values, percent / 100)
    assert found is not None
    within = [value for value in values if value <= found]
    below = [value for value in values if value < found]
    assert len(below) * 100 < percent * len(values) <= len(within) * 100


def test_nothing_has_no_percentile() -> None:
    assert percentile([None, None], 0.95) is None
