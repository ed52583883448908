"""What serves where nobody configured a pool."""

from pathlib import Path

import pytest

from adapters.fakellmd.settings import LlmdSettings
from gateway.configuration import load
from gateway.policy_files import SHIPPED
from tests.support.configured import ONE_POOL, load_text


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize("text", [None, "", "bind_addr: 127.0.0.1:8080\n"])
def test_without_pools_the_embedded_one_serves(tmp_path: Path, text: str | None) -> None:
    loaded = load(None, env={}) if text is None else load_text(tmp_path, text)
    assert (loaded.host, loaded.port) == ("127.0.0.1", 8080)
    (pool,) = loaded.pools
    assert (pool.id, pool.engine, pool.endpoints, pool.discovers) == ("sim", "embedded", (), False)
    assert {
        m.name: (m.upstream, m.quality, m.input_price) for m in loaded.catalog.models.values()
    } == {
        "assistant": ("sim-large", 0.9, 0.60),
        "assistant-small": ("sim-small", 0.7, 0.05),
    }
    assert loaded.catalog.routes == {"assistant": ("assistant", "assistant-small")}
    assert loaded.catalog.pools == {"sim"}
    assert not loaded.catalog.discovering
    assert loaded.policies_path == SHIPPED


def test_a_provider_key_is_not_used_beside_configured_pools(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, ONE_POOL, OPENAI_API_KEY="sk-1")
    assert [pool.id for pool in loaded.pools] == ["a"]
    assert len(load(None, env={"OPENAI_API_KEY": ""}).pools) == 1


def test_the_built_in_models_have_the_context_that_the_simulator_serves() -> None:
    cards = load(None, env={}).catalog.models.values()
    assert {card.context for card in cards} == {LlmdSettings().max_model_len} == {32_768}


@pytest.mark.req("INT-8")
def test_models_of_the_short_form_and_of_the_built_in_pool_may_be_described(
    tmp_path: Path,
) -> None:
    models = "models: [{name: m, pool: %s, simulate: {replicas: 3}}]\n"
    (short,) = load_text(tmp_path, "adapter: {engine: vllm}\n" + models % "default").pools
    assert (short.endpoints, short.simulated["m"].replicas) == ((), 3)
    (built_in,) = load_text(tmp_path, models % "sim").pools
    assert (built_in.engine, built_in.simulated["m"].replicas) == ("embedded", 3)
    assert load(None, env={}).pools[0].simulated == {}
