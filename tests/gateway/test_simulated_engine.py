"""From `simulate` to a fake llm-d that has that one model, and is as it was described."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fakellmd.settings import LlmdSettings
from contracts.config import Engine, Model, Pool, Simulate
from contracts.quantities import Duration
from gateway.simulated_engine import (
    faults,
    is_stood_in_for,
    out_of_bounds,
    simulated_engines,
    undescribed,
)

pytestmark = pytest.mark.req("INT-8")


def pool(simulate: Simulate | None = None, engine: Engine = "vllm", **given: Any) -> Pool:
    return Pool(id="p", engine=engine, simulate=simulate, **given)


def model(name: str, simulate: Simulate | None = None, **given: Any) -> Model:
    return Model(name=name, pool="p", simulate=simulate, **given)


def test_every_field_arrives_under_the_name_that_the_fake_has_for_it() -> None:
    described = Simulate(
        replicas=2,
        max_num_seqs=64,
        inter_token_latency=Duration(0.025),
        inter_token_latency_std_dev=Duration(0.002),
        time_factor_under_load=3.0,
        prefill_overhead=Duration(0.08),
        prefill_time_per_token=Duration(0.0005),
        prefill_time_std_dev=Duration(0.01),
        kv_tokens=500_000,
    )
    assert None not in [getattr(described, name) for name in described.__struct_fields__]
    a = model("a", described, upstream="Llama/70B", context=4096)
    (settings,) = simulated_engines(pool(priority_scheduling=True), [a]).values()
    assert [served.name for served in settings.models] == ["Llama/70B"]
    assert (settings.replicas, settings.max_num_seqs, settings.kv_cache_tokens) == (2, 64, 500_000)
    assert (settings.max_model_len, settings.priority_scheduling) == (4096, True)
    latency = settings.latency_of("Llama/70B")
    assert latency.latency_calculator == "per-token"
    assert (latency.inter_token_latency_s, latency.inter_token_latency_std_dev_s) == (0.025, 0.002)
    assert (latency.prefill_overhead_s, latency.prefill_time_per_token_s) == (0.08, 0.0005)
    assert (latency.prefill_time_std_dev_s, latency.time_factor_under_load) == (0.01, 3.0)


def test_what_nobody_says_is_the_simulators_own_without_variation() -> None:
    (settings,) = simulated_engines(pool(Simulate()), [model("a")]).values()
    usual = LlmdSettings()
    for name in ("replicas", "max_num_seqs", "kv_cache_tokens", "max_model_len", "seed"):
        assert getattr(settings, name) == getattr(usual, name)
    assert not settings.priority_scheduling
    assert settings.latency.inter_token_latency_s == usual.latency.inter_token_latency_s
    assert settings.latency.inter_token_latency_std_dev_s == 0
    assert settings.latency.prefill_time_std_dev_s == 0


COUNTS = st.none() | st.integers(1, 9)
SIMULATES = st.none() | st.builds(
    Simulate,
    replicas=COUNTS,
    max_num_seqs=COUNTS,
    kv_tokens=COUNTS,
    time_factor_under_load=st.none() | st.integers(1, 9).map(float),
    inter_token_latency=st.none() | st.integers(1, 9).map(Duration),
    prefill_overhead=st.none() | st.integers(0, 9).map(Duration),
)


@given(theirs=SIMULATES, own=SIMULATES, context=st.none() | st.integers(1, 2**40))
def test_each_field_is_the_models_else_the_pools(
    theirs: Simulate | None, own: Simulate | None, context: int | None
) -> None:
    engines = simulated_engines(pool(theirs), [model("a", own, context=context)])
    if theirs is None and own is None:
        assert engines == {}
        return
    settings = engines["a"]
    for name, found in (
        ("replicas", settings.replicas),
        ("max_num_seqs", settings.max_num_seqs),
        ("kv_tokens", settings.kv_cache_tokens),
        ("time_factor_under_load", settings.latency.time_factor_under_load),
        ("inter_token_latency", settings.latency.inter_token_latency_s),
        ("prefill_overhead", settings.latency.prefill_overhead_s),
    ):
        wanted = [getattr(said, name) for said in (own, theirs) if said is not None]
        wanted = [value for value in wanted if value is not None]
        if wanted:
            assert found == wanted[0]
    # A running fake checks its settings whenever it is told to change.
    assert msgspec.convert(msgspec.to_builtins(settings), LlmdSettings) == settings


def test_only_models_of_the_pool_are_its_engines() -> None:
    elsewhere = Model(name="b", pool="other", simulate=Simulate())
    assert list(simulated_engines(pool(Simulate()), [model("a"), elsewhere])) == ["a"]


def test_several_names_of_one_model_are_one_engine() -> None:
    slow = Simulate(inter_token_latency=Duration(0.1))
    names = [
        model("plain", upstream="up", context=100),
        model("fast", slow, upstream="up", context=200),
        model("same", slow, upstream="up"),
    ]
    (settings,) = simulated_engines(pool(), names).values()
    assert settings.latency.inter_token_latency_s == 0.1
    assert settings.max_model_len == 200
    assert list(undescribed(pool(), names)) == []
    assert list(faults(pool(), names)) == []
    other = [*names, model("other", Simulate(), upstream="up")]
    assert [path for path, _, _ in faults(pool(), other)] == [("models", 3, "simulate")]


def test_what_cannot_be_simulated_is_told() -> None:
    odd = model("a", upstream="two words")
    assert list(faults(pool(), [odd])) == []  # nobody asks for it
    ((path, said, _),) = faults(pool(Simulate()), [odd])
    assert path == ("models", 0, "upstream")
    assert "a name of up to 128" in said
    assert list(undescribed(pool(), [model("a"), model("b", Simulate())])) == [0]


@pytest.mark.parametrize(
    ("described", "fields"),
    [
        (None, []),
        (Simulate(), []),
        (Simulate(inter_token_latency=Duration(1e-7)), ["inter_token_latency"]),
        (Simulate(inter_token_latency=Duration(1e-6)), []),
        (Simulate(prefill_overhead=Duration(86_400)), []),
        (Simulate(prefill_overhead=Duration(86_401)), ["prefill_overhead"]),
    ],
)
def test_times_that_the_fake_would_not_take_are_told(
    described: Simulate | None, fields: list[str]
) -> None:
    assert [field for field, _ in out_of_bounds(described)] == fields


@pytest.mark.parametrize("engine", ["llmd", "vllm", "openai", "llamacpp", "embedded"])
def test_a_fake_stands_in_for_llmd_and_vllm_only(engine: Engine) -> None:
    may = engine in ("llmd", "vllm")
    assert is_stood_in_for(pool(Simulate(), engine), []) == may
    assert is_stood_in_for(pool(None, engine), [model("a", Simulate())]) == may
    assert not is_stood_in_for(pool(None, engine), [model("a")])
