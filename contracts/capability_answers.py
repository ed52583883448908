"""What this gateway can do, for clients that adapt: `GET /v1/capabilities`. Null: not known."""

from typing import Literal

import msgspec

from contracts.config import Engine


class EngineCapability(msgspec.Struct, kw_only=True):
    """An engine behind the gateway, with the versions that its endpoints told."""

    engine: Engine
    pools: list[str]
    versions: list[str]


class ModelPrice(msgspec.Struct, kw_only=True):
    """USD per million tokens."""

    input: float
    output: float


class ModelCapability(msgspec.Struct, kw_only=True):
    """A model as clients name it."""

    name: str
    pool: str
    engine: Engine
    context: int | None
    """Tokens, prompt and answer together: the operator's number, or the smallest that an endpoint told."""
    quality: float | None
    """0 to 1, on the operator's own scale."""
    price: ModelPrice | None


class Features(msgspec.Struct, kw_only=True):
    """What the gateway itself does. What a model makes of tools or images is not known here: members
    that the gateway does not read travel on to the backend as they came."""

    endpoints: list[str]
    """Paths that take work."""
    streaming: bool
    tasks: bool
    sessions: bool
    """Requests that name one (`x-session-id`, `prompt_cache_key`, `session_id`) go where their beginning
    is cached."""
    budgets: bool
    """The configuration bounds what some callers may use."""
    durable_tasks: bool
    """Tasks that wait survive a restart of the gateway."""


class QueueLimits(msgspec.Struct, kw_only=True):
    """Of one pool."""

    pool: str
    max_requests: int
    timeout_s: float
    max_tasks: int


class CapabilityLimits(msgspec.Struct, kw_only=True):
    """What one client may take from the gateway."""

    body_bytes: int
    header_bytes: int
    headers: int
    answer_bytes: int
    """Of an answer that is not streamed."""
    body_timeout_s: float
    stream_heartbeat_s: float
    """Silence after which a stream gets a comment."""
    session_ttl_s: float
    """How long after its last request a session is remembered."""
    task_ttl_default_s: float
    task_ttl_max_s: float
    queues: list[QueueLimits]


class IntentCapability(msgspec.Struct, kw_only=True):
    """A promise that requests can fall under. `objectives` by name, as a policy file spells them: seconds,
    a share, or USD."""

    name: str
    priority: int
    objectives: dict[str, float]


class Capabilities(msgspec.Struct, kw_only=True):
    """`GET /v1/capabilities`."""

    api_version: Literal["v1"] = "v1"
    version: str
    """Setpoint's own."""
    engines: list[EngineCapability]
    models: list[ModelCapability]
    features: Features
    limits: CapabilityLimits
    intents: list[IntentCapability]
