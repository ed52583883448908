"""What a checked configuration holds: the values that the gateway is built from.

Made by `gateway.configuration` only. Nothing here shows a secret, and nothing is still to be resolved.
"""

from pathlib import Path

import msgspec

from adapters.fakellmd.settings import LlmdSettings
from contracts.catalog import Catalog
from contracts.config import BudgetEntry, Config, Engine, Unsupported
from contracts.inference import Timeouts
from contracts.problems import Position, Problem
from gateway.addresses import LOOPBACK, Network
from gateway.records.database_url import DatabaseUrl
from gateway.secrets import Redactor, SecretValue
from policies.breaker import BreakerSettings


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A named caller and its token."""

    name: str
    token: SecretValue
    intent: str | None
    weight: float
    budget: tuple[BudgetEntry, ...] | None = None
    """None: that of `auth.default_budget`."""


class PoolOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool works."""

    max_inflight: int | None
    max_waiting: int
    max_tasks: int
    queue_timeout_s: float
    timeouts: Timeouts
    retries: int
    retry_budget: float = 0.2
    """The share of a pool's requests that may be repeated."""
    breaker: BreakerSettings = BreakerSettings()
    probe_interval_s: float
    api_key: SecretValue | None = None
    priority_scheduling: bool = False
    """Its dialect may send the body's `priority`."""
    inference_ttl: bool = False
    """Its dialect may send how long a request may wait at the backend."""
    load_metrics: bool = False
    """Its endpoints are asked how busy they are."""
    self_test: bool = False
    """Its endpoints are asked for a few tokens once they are ready."""
    discovers: bool = False
    """No model was configured for it: it serves what it lists itself."""
    unsupported: Unsupported = "refuse"
    """What its dialect does with a parameter that the backend cannot do."""


class PoolSpec(PoolOptions, frozen=True, kw_only=True):
    """One pool, ready to be built. Endpoints have no trailing slash and no trailing `/v1`; an embedded
    pool has none, and neither has one that is simulated in process."""

    id: str
    engine: Engine
    endpoints: tuple[str, ...]
    namespace: str | None
    verify_tls: bool
    ca_file: Path | None
    metrics: str | None = None
    """Where the endpoint picker's metrics are."""
    simulated: dict[str, LlmdSettings] = {}
    """What its engines are like in a simulation, by upstream model; each knows that one model. Of a pool
    of engine llmd or vllm without endpoints all models are here, and it is served from here."""


class RecordsSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Where records go, and for how long."""

    database: DatabaseUrl
    bodies: bool
    keep_s: float
    max_bytes: int
    spill: Path


class TelemetrySpec(msgspec.Struct, frozen=True, kw_only=True):
    """Where traces and metrics go. `otlp` has no trailing slash."""

    otlp: str
    headers: tuple[tuple[str, SecretValue], ...]
    sample: float
    traceparent: bool
    """Backends are told of the trace."""


class LoadedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that holds together. Safe to show: every secret in it reads `***`."""

    config: Config
    """As the file has it, secrets masked; the built-in pools and models are not in it."""
    file: str
    """For people: the path as it was given, or words for "there is none"."""
    base_dir: Path
    """What relative paths in the file start from."""
    host: str
    port: int
    policies_path: Path
    log_file: Path | None
    decisions_file: Path | None
    token: SecretValue | None
    callers: tuple[Caller, ...]
    proxies: tuple[Network, ...] = LOOPBACK
    """Where trusted proxies connect from, if any is trusted."""
    pools: tuple[PoolSpec, ...]
    catalog: Catalog
    records: RecordsSpec | None = None
    telemetry: TelemetrySpec | None = None
    warnings: tuple[Problem, ...] = ()
    """What is allowed and most likely not meant, as far as the configuration alone tells it."""
    target_places: dict[tuple[str, int], Position] = {}
    """Where each target of a route stands in the text."""

    def redactor(self) -> Redactor:
        """A redactor that knows every secret of this configuration."""
        records = self.records.database.password if self.records else None
        held = (
            self.token,
            *(c.token for c in self.callers),
            *(p.api_key for p in self.pools),
            records,
            *(words for _, value in _headers(self) for words in (value, *_words(value))),
        )
        return Redactor(secret for secret in held if secret is not None)


def _headers(loaded: LoadedConfig) -> tuple[tuple[str, SecretValue], ...]:
    return loaded.telemetry.headers if loaded.telemetry else ()


def _words(value: SecretValue) -> list[SecretValue]:
    """The credentials of `Scheme credentials`, which may show without their scheme."""
    return [SecretValue(word) for word in value.reveal().split()[1:]]


def without_self_test(loaded: LoadedConfig) -> LoadedConfig:
    """The same, and no pool's endpoints are asked for tokens of the gateway's own."""
    pools = tuple(msgspec.structs.replace(pool, self_test=False) for pool in loaded.pools)
    return msgspec.structs.replace(loaded, pools=pools)
