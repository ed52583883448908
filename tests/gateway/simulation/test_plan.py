"""What is simulated, and what is wrong with it before anything runs."""

from pathlib import Path

import pytest

from adapters.fakellmd.settings import LlmdSettings
from contracts.problems import ProblemsFound
from gateway.configuration import load
from gateway.policy_files import load_policies
from gateway.simulation.bounds import offered_load
from gateway.simulation.drift import parse_drift
from gateway.simulation.plan import load_of, loaded_to, make_plan, read_plan, shares
from gateway.simulation.trace import Arrival
from gateway.simulation.traffic_source import TraceFile
from tests.fakes.simulated import ENGINE, ONE_MODEL, PROMISE, TWO_MODELS, files, plan_of, requests

pytestmark = pytest.mark.req("INT-12")
BIG, SMALL = ("sim", "big"), ("far", "small")


def refusal(folder: Path, config: str, policies: str = PROMISE, **more: object) -> str:
    with pytest.raises(ProblemsFound) as caught:
        plan_of(folder, requests(0.0), config=config, policies=policies, **more)
    return str(caught.value)


def test_the_engines_are_those_that_the_configuration_describes(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [], config=TWO_MODELS)
    assert set(plan.settings) == {BIG, SMALL}
    assert plan.settings[BIG].max_num_seqs == 8
    assert plan.model == "big"
    assert [pool.id for pool in plan.pools] == ["sim", "far"]


def test_a_pool_with_endpoints_is_simulated_too_if_it_is_described(tmp_path: Path) -> None:
    config = ONE_MODEL.replace("engine: llmd,", "engine: llmd, endpoint: 'http://10.0.0.1',")
    assert set(plan_of(tmp_path, [], config=config).settings) == {BIG}


REMOTE = f"""\
pools:
  - {{id: away, engine: openai}}
  - {{id: far, engine: llmd, simulate: {ENGINE}}}
models:
  - {{name: remote, pool: away}}
  - {{name: small, pool: far}}
routes: {{remote: [remote, small]}}
policies: policies.yaml
"""


def test_what_is_not_described_does_not_exist_in_a_simulation(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [], config=REMOTE)
    assert list(plan.catalog.models) == ["small"]
    assert plan.model == "small"
    assert plan.catalog.routes == {"remote": ("small",)}
    assert [pool.id for pool in plan.pools] == ["far"]
    assert plan.notes == ("not simulated, and so not there: remote",)


def test_hedges_are_told_to_do_nothing_here(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [], policies="intents: [{name: a, ladder: [hedge]}]")
    assert plan.notes == ("hedges are not simulated: the rung does nothing here",)


def test_without_any_engine_the_remedy_is_named(tmp_path: Path) -> None:
    config = (
        "pools: [{id: o, engine: openai}]\nmodels: [{name: m, pool: o}]\npolicies: policies.yaml"
    )
    told = refusal(tmp_path, config)
    assert told.startswith(f"{tmp_path / 'setpoint.yaml'}:1:1: no model is described")
    assert "simulate: {" in told


def test_without_a_configuration_the_engine_that_serve_starts_is_simulated() -> None:
    config = load(None, env={})
    policy = load_policies(config.policies_path, config.catalog, {})
    plan = make_plan(config, policy, [])
    own = LlmdSettings()
    assert set(plan.settings) == {("sim", "sim-large"), ("sim", "sim-small")}
    for (_, name), settings in plan.settings.items():
        assert settings.latency_of(name) == own.latency_of(name)
        assert settings.max_num_seqs == own.max_num_seqs
    assert plan.model == "assistant"


def test_drifts_are_the_engines(tmp_path: Path) -> None:
    drifts = (parse_drift("at=1s,itl=2x"),)
    plan = plan_of(tmp_path, [], drifts=drifts)
    (drift,) = plan.settings[BIG].drift
    assert drift.inter_token_latency_s == 0.04
    told = refusal(tmp_path, ONE_MODEL, drifts=(parse_drift("at=1s,itl=2x,model=huge"),))
    assert told.startswith("--drift:1:1: no model 'huge' is simulated")


def test_a_plan_is_stretched_to_a_load(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, requests(*range(0, 100)))
    for load_x in (0.5, 1.6):
        stretched = loaded_to(plan, load_x)
        assert load_of(stretched) == pytest.approx(load_x)
        settings = plan.settings[BIG]
        assert offered_load(stretched.arrivals, settings, 0.05) == pytest.approx(load_x)
        assert [a.input_tokens for a in stretched.arrivals] == [100] * 100


@pytest.mark.parametrize(
    ("times_s", "promise", "told"),
    [((0.0, 0.0), "50ms", "no time to stretch"), ((0.0, 1.0), "19ms", "no load can be served")],
)
def test_what_cannot_be_stretched_is_told(
    tmp_path: Path, times_s: tuple[float, ...], promise: str, told: str
) -> None:
    policies = PROMISE.replace("50ms", promise)
    plan = plan_of(tmp_path, requests(*times_s), policies=policies)
    with pytest.raises(ProblemsFound, match=told):
        loaded_to(plan, 1.6, "trace.csv")


INTENTS = """\
intents:
  - {name: quick, objectives: {tpot_p95: 30ms}}
  - {name: slow, objectives: {tpot_p95: 60ms}}
  - {name: any, match: {default: true}}
  - {name: unused, objectives: {tpot_p95: 21ms}}
"""


def test_a_lane_is_measured_against_the_strictest_pace_of_those_who_ask_for_it(
    tmp_path: Path,
) -> None:
    arrivals = [
        Arrival(0.0, 1, 1, intent="slow"),
        Arrival(1.0, 1, 1, intent="quick"),
        Arrival(2.0, 1, 1, intent="slow", model="small"),
        Arrival(3.0, 1, 1),
    ]
    told = shares(plan_of(tmp_path, arrivals, config=TWO_MODELS, policies=INTENTS))
    assert {lane: share.tpot_s for lane, share in told.items()} == {BIG: 0.03, SMALL: 0.06}
    assert [a.arrival_s for a in told[BIG].arrivals] == [0.0, 1.0, 3.0]


def test_the_load_of_several_models_is_that_of_the_fullest(tmp_path: Path) -> None:
    busy = [*requests(0.0, *[1.0] * 9), *requests(2.0, model="small")]
    plan = plan_of(tmp_path, busy, config=TWO_MODELS)
    settings = plan.settings[BIG]
    assert load_of(plan) == offered_load(busy[:10], settings, 0.05, span_s=2.0)


def test_requests_that_come_all_at_once_have_no_load(tmp_path: Path) -> None:
    assert load_of(plan_of(tmp_path, requests(0.0))) is None
    assert load_of(plan_of(tmp_path, [])) is None


def trace(folder: Path, *rows: str) -> Path:
    path = folder / "trace.csv"
    path.write_text("\n".join(["arrival_s,input_tokens,output_tokens,intent", *rows]))
    return path


def test_a_plan_is_read_from_files_and_says_of_which(tmp_path: Path) -> None:
    path = trace(tmp_path, "0,100,11,", "10,100,11,chat")
    drifts = (parse_drift("at=90s,itl=2x"),)
    plan = read_plan(
        files(tmp_path), TraceFile(path), {}, load_x=0.5, controller="vegas", seed=7, drifts=drifts
    )
    assert load_of(plan) == pytest.approx(0.5)
    assert (plan.controller, plan.seed) == ("vegas", 7)
    facts = dict(plan.facts)
    assert facts["trace"] == str(path)
    assert facts["policies"].startswith(str(tmp_path / "policies.yaml") + ", version ")
    assert (facts["load"], facts["controller"], facts["seed"]) == ("0.5", "vegas", "7")
    assert facts["drift"] == "at 1:30: itl 2x"


def test_a_trace_that_names_what_does_not_exist_is_refused_with_its_line(tmp_path: Path) -> None:
    path = trace(tmp_path, "0,100,11,", "10,100,11,chatt")
    with pytest.raises(ProblemsFound, match=f"{path}:3:1: intent: there is no intent 'chatt'"):
        read_plan(files(tmp_path), TraceFile(path), {})
