"""What is deployed: it loads, it differs in one line, and the traffic is what the engines make of it."""

from pathlib import Path

import pytest

from adapters.fakellmd import law
from adapters.fakellmd.settings import LlmdSettings
from gateway.cli.llmd import settings_of
from gateway.cli.program import make_parser
from gateway.configuration import load
from gateway.demo import deployment
from gateway.demo.deployment import BIG, ENGINES, SMALL, Engine
from gateway.demo.scenario import CALM_RPS, INTENT, OUTPUT_TOKENS, PROMPT_TOKENS, SPIKE, Promise
from gateway.policy_files import load_policies

pytestmark = pytest.mark.req("INT-10")
URLS = {engine.pool: f"http://127.0.0.1:{9000 + nth}" for nth, engine in enumerate(ENGINES)}


def settings(engine: Engine) -> LlmdSettings:
    return settings_of(make_parser().parse_args(engine.command(1)))


@pytest.mark.parametrize("act", [True, False])
def test_the_configuration_and_the_policy_load(tmp_path: Path, act: bool) -> None:
    (tmp_path / "policy.yaml").write_text(deployment.policy(Promise(), act=act))
    file = tmp_path / "setpoint.yaml"
    file.write_text(deployment.configuration(URLS, "policy.yaml"))
    loaded = load(file, env={})
    policy = load_policies(loaded.policies_path, loaded.catalog, {})
    intent = policy.intents[INTENT]
    assert intent.dry_run is not act
    assert intent.objectives.ttft_p95 == Promise().ttft_p95_s
    assert intent.objectives.tpot_p95 == Promise().tpot_p95_s
    assert intent.objectives.cost_per_minute == Promise().usd_per_minute
    assert intent.window == Promise().window_s
    floor = intent.quality_floor
    assert floor is not None
    assert all(card.quality and card.quality >= floor for card in loaded.catalog.models.values())


def test_the_loop_off_differs_from_the_loop_on_in_one_line() -> None:
    off, on = (deployment.policy(Promise(), act=act) for act in (False, True))
    first, _, rest = off.partition("\n\n")
    assert first.startswith("dry_run: true ")
    assert rest == on


def test_the_command_of_an_engine_says_what_it_is_like() -> None:
    told = settings(BIG)
    assert [model.name for model in told.models] == [BIG.upstream]
    assert told.max_num_seqs == BIG.max_num_seqs
    assert told.latency.inter_token_latency_s == 0.024
    assert told.latency.time_factor_under_load == BIG.time_factor_under_load


@pytest.mark.parametrize(
    ("engine", "calm", "spike"), [(BIG, (0.5, 0.7), (1.6, 2.0)), (SMALL, (0.0, 0.2), (0.1, 0.5))]
)
def test_the_calm_fits_the_big_model_and_the_spike_only_the_small_one(
    engine: Engine, calm: tuple[float, float], spike: tuple[float, float]
) -> None:
    told = settings(engine)
    promised_s = Promise().tpot_p95_s
    at_once = law.optimal_concurrency(told, promised_s)
    factor = law.load_factor(round(at_once), told.max_num_seqs, engine.time_factor_under_load)
    prompt_tokens, output_tokens = sum(PROMPT_TOKENS) // 2, sum(OUTPUT_TOKENS) / 2
    first_s = law.idle_first_token_s(told.latency, prompt_tokens, 0) * factor
    gap_s = told.latency.inter_token_latency_s * factor
    served_rps = at_once / (first_s + (output_tokens - 1) * gap_s)
    assert calm[0] <= CALM_RPS / served_rps <= calm[1]
    assert spike[0] <= SPIKE * CALM_RPS / served_rps <= spike[1]


def test_the_ceiling_lies_between_what_the_calm_costs_and_what_the_spike_would() -> None:
    usd = deployment.usd(BIG.name, sum(PROMPT_TOKENS) / 2, sum(OUTPUT_TOKENS) / 2)
    assert 60 * CALM_RPS * usd * 1.3 < Promise().usd_per_minute < 60 * CALM_RPS * usd * 2


def test_tokens_cost_what_their_model_costs() -> None:
    assert deployment.usd(BIG.name, 1e6, 0) == BIG.input_price
    assert deployment.usd(SMALL.name, 0, 1e6) == SMALL.output_price
    assert deployment.usd("unknown", 1e6, 1e6) == 0.0
