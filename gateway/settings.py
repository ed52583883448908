"""What a checked configuration holds: the values that the gateway is built from.

Made by `gateway.configuration` only. Nothing here shows a secret, and nothing is still to be resolved.
"""

from pathlib import Path

import msgspec

from adapters.fakellmd.settings import LlmdSettings
from contracts.catalog import Catalog
from contracts.config import Config, Engine
from contracts.inference import Timeouts
from gateway.secrets import Redactor, SecretValue


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A named caller and its token."""

    name: str
    token: SecretValue
    intent: str | None
    weight: float


class PoolOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool works."""

    max_inflight: int | None
    max_waiting: int
    queue_timeout_s: float
    timeouts: Timeouts
    retries: int
    probe_interval_s: float
    api_key: SecretValue | None = None
    priority_scheduling: bool = False
    """Its dialect may send the body's `priority`."""
    inference_ttl: bool = False
    """Its dialect may send how long a request may wait at the backend."""


class PoolSpec(PoolOptions, frozen=True, kw_only=True):
    """One pool, ready to be built. Endpoints have no trailing slash and no trailing `/v1`; an embedded
    pool has none, and neither has one that is simulated in process."""

    id: str
    engine: Engine
    endpoints: tuple[str, ...]
    namespace: str | None
    verify_tls: bool
    ca_file: Path | None
    discovers: bool
    """No model was configured for it: it serves what it lists itself."""
    metrics: str | None = None
    """Where the endpoint picker's metrics are."""
    simulated: dict[str, LlmdSettings] = {}
    """What its engines are like in a simulation, by upstream model; each knows that one model. Of a pool
    of engine llmd or vllm without endpoints all models are here, and it is served from here."""


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
    pools: tuple[PoolSpec, ...]
    catalog: Catalog

    def redactor(self) -> Redactor:
        """A redactor that knows every secret of this configuration."""
        held = (self.token, *(c.token for c in self.callers), *(p.api_key for p in self.pools))
        return Redactor(secret for secret in held if secret is not None)
