"""What `simulate` says of a pool and its models, as settings of fake llm-ds with one model each.

What must stay true: where `faults` and `out_of_bounds` find nothing, the fake accepts what is made here.
A field is the model's, else the pool's, else the simulator's own. Nothing is started here.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import msgspec

from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel
from contracts.config import Engine, Model, Name, Pool, Simulate
from contracts.problems import Path
from contracts.quantities import Duration

STOOD_IN_FOR: frozenset[Engine] = frozenset({"llmd", "vllm"})
"""Engines that a fake in process serves for where there is no endpoint."""
LONGEST_S, SHORTEST_GAP_S = 86_400.0, 1e-6
STEADY = Latency(prefill_time_std_dev_s=0.0, inter_token_latency_std_dev_s=0.0)
"""An engine that somebody describes varies only as much as they say."""
_LATENCIES = {
    "inter_token_latency": "inter_token_latency_s",
    "inter_token_latency_std_dev": "inter_token_latency_std_dev_s",
    "time_factor_under_load": "time_factor_under_load",
    "prefill_overhead": "prefill_overhead_s",
    "prefill_time_per_token": "prefill_time_per_token_s",
    "prefill_time_std_dev": "prefill_time_std_dev_s",
}
_LIMITS = {"replicas": "replicas", "max_num_seqs": "max_num_seqs", "kv_tokens": "kv_cache_tokens"}
_CONTEXT_MIN, _CONTEXT_MAX = 16, 1_048_576
_NAME = get_args(Name)[1]


def simulated_engines(pool: Pool, models: Sequence[Model]) -> dict[str, LlmdSettings]:
    """The engines of those of `models` that live in `pool` and are described, by upstream name."""
    engines = {}
    for upstream, aliases in _by_upstream(pool, models).items():
        own = _own([model for _, model in aliases])
        if pool.simulate is not None or own is not None:
            contexts = [model.context for _, model in aliases if model.context is not None]
            engines[upstream] = simulated_engine(pool, own, upstream, max(contexts, default=None))
    return engines


def simulated_engine(
    pool: Pool, own: Simulate | None, upstream: str, context: int | None
) -> LlmdSettings:
    """One engine of `pool`; `own` is what its model says over what the pool says."""
    longest = context or LlmdSettings().max_model_len
    return LlmdSettings(
        models=(ServedModel(name=upstream),),
        latency=msgspec.structs.replace(STEADY, **_given(pool.simulate, own, _LATENCIES)),
        max_model_len=max(_CONTEXT_MIN, min(longest, _CONTEXT_MAX)),
        priority_scheduling=pool.priority_scheduling,
        **_given(pool.simulate, own, _LIMITS),
    )


def is_stood_in_for(pool: Pool, models: Sequence[Model]) -> bool:
    """Whether a fake in process can serve for the pool: it or a model of its says what it is like."""
    return pool.engine in STOOD_IN_FOR and (
        pool.simulate is not None
        or any(model.simulate is not None for model in models if model.pool == pool.id)
    )


def undescribed(pool: Pool, models: Sequence[Model]) -> Iterator[int]:
    """The places in `models` of those in the pool of which nothing says what they are like."""
    engines = simulated_engines(pool, models)
    for upstream, aliases in _by_upstream(pool, models).items():
        if upstream not in engines:
            yield from (index for index, _ in aliases)


def faults(pool: Pool, models: Sequence[Model]) -> Iterator[tuple[Path, str, str]]:
    """(where, what is wrong, the remedy) for the pool's models that cannot be simulated as written."""
    for upstream, aliases in _by_upstream(pool, models).items():
        own = _own([model for _, model in aliases])
        for index, model in aliases:
            if (pool.simulate or own) and not re.search(str(_NAME.pattern), upstream):
                said = f"this cannot be simulated: expected {_NAME.description}"
                yield ("models", index, "upstream"), said, ""
            if model.simulate is not None and model.simulate != own:
                first = next(nth for nth, other in aliases if other.simulate is not None)
                said = f"models[{first}] is the same model of this pool, and simulated otherwise"
                yield ("models", index, "simulate"), said, "say it once"


def out_of_bounds(simulate: Simulate | None) -> Iterator[tuple[str, str]]:
    """(field, what is wrong) for durations that the fake would not take; zeros are not looked at."""
    if simulate is None:
        return
    for name in simulate.__struct_fields__:
        value = getattr(simulate, name)
        if isinstance(value, Duration) and value > LONGEST_S:
            yield name, "must be at most 1d"
    gap = simulate.inter_token_latency
    if gap is not None and 0 < gap < SHORTEST_GAP_S:
        yield "inter_token_latency", "must be at least 1us"


def _by_upstream(pool: Pool, models: Sequence[Model]) -> dict[str, list[tuple[int, Model]]]:
    """The pool's models with their places in the list; several may be one model at the backend."""
    found: dict[str, list[tuple[int, Model]]] = {}
    for index, model in enumerate(models):
        if model.pool == pool.id:
            found.setdefault(model.upstream or model.name, []).append((index, model))
    return found


def _own(aliases: Sequence[Model]) -> Simulate | None:
    return next((model.simulate for model in aliases if model.simulate is not None), None)


def _given(pool: Simulate | None, own: Simulate | None, names: dict[str, str]) -> dict[str, Any]:
    """The fields that pool or model name, under the simulator's names."""
    given = {}
    for source in (pool, own):
        for name, theirs in names.items():
            value = getattr(source, name, None)
            if value is not None:
                given[theirs] = float(value) if isinstance(value, Duration) else value
    return given
