"""What a fake llm-d is told: its models, their latencies, its limits, its faults, its endpoint picker.

Strict: an unknown field is an error. Durations are seconds. The latency parameters carry the
names of llm-d-inference-sim's flags. No law is computed here; see `adapters.fakellmd.law`.
"""

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from adapters.fakellmd.epp_settings import EppSettings, Name, Seconds

Gap = Annotated[float, Meta(ge=1e-6, le=86_400)]
FailureType = Literal[
    "rate_limit",
    "invalid_api_key",
    "context_length",
    "server_error",
    "invalid_request",
    "model_not_found",
]
FAILURE_TYPES: tuple[FailureType, ...] = get_args(FailureType)


class Latency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of one engine's latency law, as measured alone on an idle engine.

    `constant` uses `time_to_first_token_s`; `per-token` uses the two `prefill_*` parameters.
    """

    latency_calculator: Literal["constant", "per-token"] = "per-token"
    time_to_first_token_s: Seconds = 0.1
    time_to_first_token_std_dev_s: Seconds = 0.0
    prefill_overhead_s: Seconds = 0.09
    prefill_time_per_token_s: Seconds = 0.000_25
    prefill_time_std_dev_s: Seconds = 0.005
    inter_token_latency_s: Gap = 0.015
    inter_token_latency_std_dev_s: Seconds = 0.001_5
    time_factor_under_load: Annotated[float, Meta(ge=1, le=1000)] = 2.0
    """How many times slower a full batch is than a batch of one."""


class ServedModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model name, and its own latency where it differs from the common one."""

    name: Name
    latency: Latency | None = None


class Drift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From `at_s` after the start on, an engine is another one. `model` None: every model's."""

    at_s: Seconds
    model: Name | None = None
    inter_token_latency_s: Gap | None = None
    time_factor_under_load: Annotated[float, Meta(ge=1, le=1000)] | None = None

    def applied_to(self, latency: Latency) -> Latency:
        """`latency` with what this drift changes."""
        changes: dict[str, Any] = {
            name: value
            for name in ("inter_token_latency_s", "time_factor_under_load")
            if (value := getattr(self, name)) is not None
        }
        return msgspec.structs.replace(latency, **changes)


SMALL = Latency(
    time_to_first_token_s=0.05,
    prefill_overhead_s=0.04,
    prefill_time_per_token_s=0.000_08,
    prefill_time_std_dev_s=0.002,
    inter_token_latency_s=0.006,
    inter_token_latency_std_dev_s=0.000_6,
    time_factor_under_load=1.5,
)
"""About 2.5 times as fast as the default: the model to switch to under pressure."""


class LlmdSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fake llm-d. The defaults make a pleasant demo: a first token in about 100 ms, then 15 ms each."""

    models: Annotated[tuple[ServedModel, ...], Meta(min_length=1, max_length=64)] = (
        ServedModel(name="sim-large"),
        ServedModel(name="sim-small", latency=SMALL),
    )
    replicas: Annotated[int, Meta(ge=1, le=256)] = 1
    """Engines a model."""
    latency: Latency = Latency()
    drift: Annotated[tuple[Drift, ...], Meta(max_length=1000)] = ()
    max_num_seqs: Annotated[int, Meta(ge=1, le=65_536)] = 16
    """Sequences that one engine works on at once."""
    max_waiting_queue_length: Annotated[int, Meta(ge=0)] | None = 1000
    """Sequences that wait at one engine; one more is refused. None: unbounded, as vLLM is by default."""
    max_model_len: Annotated[int, Meta(ge=16, le=1_048_576)] = 32_768
    """Tokens of a prompt and its answer together."""
    kv_cache_tokens: Annotated[int, Meta(ge=1)] = 131_072
    priority_scheduling: bool = True
    """The waiting queue honours the body's `priority` (lower first). Off: first come, first served."""
    natural_output_tokens: tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]] = (24, 240)
    """Answers that nothing cuts short have between these many tokens."""
    embedding_dimensions: Annotated[int, Meta(ge=1, le=4096)] = 384
    failure_injection_rate: Annotated[float, Meta(ge=0, le=100)] = 0.0
    """Percent of inference requests that fail before they reach an engine."""
    failure_types: Annotated[tuple[FailureType, ...], Meta(min_length=1)] = FAILURE_TYPES
    seed: Annotated[int, Meta(ge=0)] = 0
    startup_duration_s: Seconds = 0.0
    """How long `/health/ready` says 503 after the start."""
    max_body_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 32 * 1024 * 1024
    pods_down: dict[Name, tuple[Annotated[int, Meta(ge=0)], ...]] = {}
    """Replicas of each model that are lost: they break off what they work on and get nothing more."""
    epp: EppSettings = EppSettings()
    """The endpoint picker in front of each model's replicas."""

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if len(set(names)) != len(names):
            raise ValueError("two models have the same name")
        for drift in self.drift:
            if drift.model is not None and drift.model not in names:
                raise ValueError(f"drift names an unknown model {drift.model!r}")
        for name, replicas in self.pods_down.items():
            if name not in names:
                raise ValueError(f"pods_down names an unknown model {name!r}")
            if any(replica >= self.replicas for replica in replicas):
                raise ValueError(f"pods_down names a replica that {name!r} does not have")
        shortest, longest = self.natural_output_tokens
        if shortest > longest or longest > 1_048_576:
            raise ValueError("natural_output_tokens must be [shortest, longest], at most 1048576")

    def latency_of(self, model: str) -> Latency:
        """The latency parameters of `model` before any drift. Raises KeyError for an unknown one."""
        for served in self.models:
            if served.name == model:
                return served.latency or self.latency
        raise KeyError(model)

    def drift_of(self, model: str) -> list[Drift]:
        """The drifts that concern `model`, in time order."""
        mine = [drift for drift in self.drift if drift.model in (None, model)]
        return sorted(mine, key=lambda drift: drift.at_s)


_FIXED = ("replicas", "seed", "startup_duration_s")
"""Decided when the fake starts; a running one refuses to change them."""


def patched(settings: LlmdSettings, patch: bytes) -> LlmdSettings:
    """`settings` with the members of a JSON object put over them, objects member by member.

    All or nothing: raises ValueError (msgspec's errors are ValueErrors) for what is not JSON,
    unknown fields, values out of bounds, and what cannot change while the fake runs.
    """
    changes = msgspec.json.decode(patch, type=dict[str, Any])
    changed = msgspec.convert(_merged(msgspec.to_builtins(settings), changes), LlmdSettings)
    fixed = [name for name in _FIXED if getattr(changed, name) != getattr(settings, name)]
    if [model.name for model in changed.models] != [model.name for model in settings.models]:
        fixed.append("models[].name")
    if fixed:
        raise ValueError(f"cannot change while running: {', '.join(fixed)}")
    return changed


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            result[name] = _merged(old, value)
        else:
            result[name] = value
    return result
