"""What the endpoint picker of a fake llm-d is told: bands, policies, detectors, and llm-d's version.

Strict, like `adapters.fakellmd.settings`, of which it is the member `epp`. The defaults are llm-d's:
flow control is off. Nothing is decided here.
Source: llm-d-router `apix/config/v1alpha1/endpointpickerconfig_types.go`, as told in `docs/llmd.md`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$")]
Priority = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Share = Annotated[float, Meta(ge=0, le=1)]

Profile = Literal["v0.9", "v0.10", "main"]
FairnessPolicy = Literal["global-strict", "round-robin", "program-aware"]
OrderingPolicy = Literal["fcfs", "edf", "slo-deadline"]
Admitter = Literal["latency-slo-admitter", "probabilistic-admitter"]

DEFAULT_FLOW = "default-flow"
BAND_MAX_BYTES = 1_000_000_000


class ProfileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What changed between llm-d's versions and a client can see. TTL and bound: 0 is none."""

    knows_empty_pools: bool
    """A wait that ends in an empty pool is told apart, and one that ends otherwise is a 429."""
    default_ttl_s: float
    band_max_requests: int
    queue_duration_header: bool
    ttl_header: bool


PROFILES: dict[Profile, ProfileFacts] = {
    "v0.9": ProfileFacts(
        knows_empty_pools=False,
        default_ttl_s=0.0,
        band_max_requests=0,
        queue_duration_header=False,
        ttl_header=False,
    ),
    "v0.10": ProfileFacts(
        knows_empty_pools=True,
        default_ttl_s=60.0,
        band_max_requests=5000,
        queue_duration_header=False,
        ttl_header=False,
    ),
    "main": ProfileFacts(
        knows_empty_pools=True,
        default_ttl_s=60.0,
        band_max_requests=5000,
        queue_duration_header=True,
        ttl_header=True,
    ),
}


class BandPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the requests of one priority wait. Bounds: 0 is none, None the version's default."""

    fairness: FairnessPolicy = "global-strict"
    ordering: OrderingPolicy = "fcfs"
    max_requests: Count | None = None
    max_bytes: Count = BAND_MAX_BYTES


class Band(BandPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    priority: Priority


class UsageLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The saturation at which each band stops. `static` uses `ceiling`, `priority-holdback` the others.

    llm-d has no default for `min_ceiling`.
    """

    policy: Literal["static", "priority-holdback", "soft-reflective"] = "static"
    ceiling: Annotated[float, Meta(ge=0)] = 1.0
    min_ceiling: Share = 0.5
    max_ceiling: Share = 1.0

    def __post_init__(self) -> None:
        if self.min_ceiling >= self.max_ceiling:
            raise ValueError("min_ceiling must be less than max_ceiling")


class Saturation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The detector. `utilization` reads scraped metrics, `concurrency` counts what is in flight."""

    detector: Literal["utilization", "concurrency"] = "utilization"
    queue_depth_threshold: Annotated[int, Meta(ge=1)] = 5
    kv_cache_util_threshold: Annotated[float, Meta(gt=0, le=1)] = 0.8
    metrics_staleness_s: Seconds = 0.2
    concurrency_mode: Literal["requests", "tokens", "hybrid"] = "requests"
    max_concurrency: Annotated[int, Meta(ge=1)] = 100
    max_token_concurrency: Annotated[int, Meta(ge=1)] = 1_000_000
    filters: bool = False
    """The detector also is a scheduling filter: pods above its limits get nothing."""
    headroom: Annotated[float, Meta(ge=0)] = 0.0
    """How far above its limits the filter lets a pod go, as a share of them."""


class EppSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One endpoint picker; each model's pool has one of its own, with these settings."""

    flow_control: bool = False
    profile: Profile = "v0.10"
    objectives: Annotated[dict[Name, Priority], Meta(max_length=1000)] = {}
    """InferenceObjectives and their priorities, higher first. An unknown name silently means 0."""
    default_band: BandPolicy = BandPolicy()
    default_negative_band: BandPolicy | None = None
    priority_bands: Annotated[tuple[Band, ...], Meta(max_length=1000)] = ()
    max_requests: Count = 0
    max_bytes: Count = 0
    """Both over all bands; 0 is no bound."""
    default_request_ttl_s: Seconds | None = None
    """None: the version's; 0: requests wait for ever."""
    no_endpoint_request_ttl_s: Seconds | None = None
    """The same while no pod is alive. None: as `default_request_ttl_s`."""
    usage_limit: UsageLimit = UsageLimit()
    saturation: Saturation = Saturation()
    scrape_interval_s: Seconds = 0.05
    """Metrics are as old as the last scrape; 0: they are always those of now."""
    scrape_paused: bool = False
    """No scrape succeeds: metrics stay as they were and grow old."""
    admitters: tuple[Admitter, ...] = ()
    probabilistic_power: Annotated[float, Meta(gt=0)] = 5.0
    probabilistic_k: Annotated[float, Meta(gt=0)] = 300.0
    latency_predictor: bool = True
    """Off: nothing is predicted, and the `latency-slo-admitter` lets everybody in."""
    slo_buffer_factor: Annotated[float, Meta(gt=0)] = 1.0
    enable_eviction: bool = False
    max_revocations_per_decision: Annotated[int, Meta(ge=1)] = 2
    eviction_grace_s: Seconds = 0.5
    eviction_timeout_s: Seconds = 10.0
    agent_identity: bool = False
    """Without a fairness header, the session headers of coding agents name the flow."""
    fairness_label_limit: Count = 1000
    """Fairness ids beyond so many are `other` in metrics."""

    def __post_init__(self) -> None:
        listed = [band.priority for band in self.priority_bands]
        if len(set(listed)) != len(listed):
            raise ValueError("two priority_bands have the same priority")

    @property
    def facts(self) -> ProfileFacts:
        return PROFILES[self.profile]

    @property
    def request_ttl_s(self) -> float:
        """How long a request may wait where pods are alive; 0 is for ever."""
        own_s = self.default_request_ttl_s
        return self.facts.default_ttl_s if own_s is None else own_s

    @property
    def empty_pool_ttl_s(self) -> float:
        """How long a request may wait where none is; 0 is for ever."""
        own_s = self.no_endpoint_request_ttl_s
        return self.request_ttl_s if own_s is None else own_s

    @property
    def watches_pods(self) -> bool:
        """Whether anything asks what the pods' metrics say: only sheddable requests or a queue do."""
        return self.flow_control or any(priority < 0 for priority in self.objectives.values())

    def priorities(self) -> list[int]:
        """The priorities that have a band, highest first; 0 always has one."""
        listed = [band.priority for band in self.priority_bands]
        return sorted({0, *listed, *self.objectives.values()}, reverse=True)

    def band_policy(self, priority: int) -> BandPolicy:
        """The policy of a band, its bound resolved (0: none)."""
        policy = self.default_band
        if priority < 0 and self.default_negative_band is not None:
            policy = self.default_negative_band
        for band in self.priority_bands:
            if band.priority == priority:
                policy = band
        bound = policy.max_requests
        return BandPolicy(
            fairness=policy.fairness,
            ordering=policy.ordering,
            max_requests=self.facts.band_max_requests if bound is None else bound,
            max_bytes=policy.max_bytes,
        )
