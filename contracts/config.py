"""`setpoint.yaml`, as Structs. Strict: an unknown field is an error.

Only shape and single-field bounds live here. What needs more than one field (a model naming a
pool that does not exist) is checked in `gateway.configuration`; reading files is done there too.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.quantities import Duration, Money, Share, Size

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$",
        description="a name of up to 128 ASCII letters, digits and . _ : / @ + -",
    ),
]
Url = Annotated[
    str,
    Meta(pattern=r"^https?://[^\s/]+", description="a URL such as http://127.0.0.1:8081"),
]
BindAddress = Annotated[
    str,
    Meta(
        pattern=r"^(\[[0-9a-fA-F:.]+\]|[^:\s]+):\d{1,5}$",
        description="an address and port such as 127.0.0.1:8080 or [::1]:8080",
    ),
]
Engine = Literal["openai", "llamacpp", "llmd", "vllm", "embedded"]
"""Engines with a dialect. `embedded` is the fake llm-d inside the gateway's own process."""


class SecretFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A secret in a file of its own: `{file: /run/secrets/token}`. Surrounding blanks are dropped."""

    file: str


Secret = str | SecretFile


class CallerKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A named caller. `intent` is the one its requests get when no header says otherwise."""

    name: Name
    token: Secret
    intent: Name | None = None
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may call. `token` is the operator's; `keys` are callers'."""

    token: Secret | None = None
    optional: bool = False
    """Callers on loopback may come without a token."""
    trust_proxy_auth: bool = False
    """A proxy in front has checked the caller; its name is in `proxy_user_header`."""
    proxy_user_header: str = "x-forwarded-user"
    keys: list[CallerKey] = []


class TimeoutSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long an attempt may take. `first_token` is not armed on the last attempt."""

    connect: Duration = Duration(5)
    first_token: Duration = Duration(60)
    idle: Duration = Duration(120)
    total: Duration = Duration(1800)


class QueueSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The pool's queue in the gateway. Full: 429. Waited too long: 503."""

    max_requests: Annotated[int, Meta(ge=0, le=100_000)] = 256
    timeout: Duration = Duration(60)


class Simulate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an engine is like in a simulation. The names are those of llm-d-inference-sim's flags.

    What is left out comes from the pool's own `simulate`, and then from the simulator.
    """

    replicas: Annotated[int, Meta(ge=1, le=256)] | None = None
    """Engines of a model."""
    max_num_seqs: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    """Sequences that one engine works on at once."""
    inter_token_latency: Duration | None = None
    """Between two tokens, on an engine that does nothing else."""
    inter_token_latency_std_dev: Duration | None = None
    time_factor_under_load: Annotated[float, Meta(ge=1, le=1000)] | None = None
    """How many times slower a full batch is than a batch of one."""
    prefill_overhead: Duration | None = None
    """Until the first token, whatever the prompt."""
    prefill_time_per_token: Duration | None = None
    """Until the first token, for each token of the prompt."""
    prefill_time_std_dev: Duration | None = None
    kv_tokens: Annotated[int, Meta(ge=1)] | None = None
    """Tokens that one engine can keep in its cache."""


class Pool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where work can go: one engine, one or more endpoints of it."""

    id: Name
    engine: Engine
    endpoint: Url | None = None
    endpoints: list[Url] = []
    api_key: Secret | None = None
    namespace: str | None = None
    """llm-d: the Kubernetes namespace of the InferencePool, for people and logs."""
    metrics: Url | None = None
    """llm-d: the endpoint picker's own metrics, to check that objectives are honoured."""
    inference_ttl: bool = False
    """llm-d: its router is newer than v0.10 and reads `x-llm-d-inference-ttl`."""
    priority_scheduling: bool = False
    """vLLM runs with `--scheduling-policy priority`: only then is it told a request's priority."""
    simulate: Simulate | None = None
    """What its models' engines are like in a simulation. Without an endpoint, llm-d and vLLM are
    simulated in the gateway's own process."""
    max_inflight: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """Requests at once over all endpoints. Default: what the backend says it has (llama.cpp
    slots), else 64 an endpoint."""
    timeouts: TimeoutSettings = TimeoutSettings()
    retries: Annotated[int, Meta(ge=0, le=5)] = 1
    queue: QueueSettings = QueueSettings()
    probe_interval: Duration = Duration(2)
    verify_tls: bool = True
    ca_file: str | None = None


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """USD per million tokens."""

    input: Money
    output: Money


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A name that clients use."""

    name: Name
    pool: Name
    upstream: str | None = None
    """Its name at the backend; the same name by default."""
    quality: Share | None = None
    """0 to 1, the operator's own scale. Unrated models never replace a promised one."""
    context: Annotated[int, Meta(ge=1)] | None = None
    """Tokens, prompt and answer together."""
    price: Price | None = None
    simulate: Simulate | None = None
    """What its engine is like in a simulation, over what the pool's own `simulate` says."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one client may take from the gateway."""

    body: Size = Size(32 * 1024 * 1024)
    header: Size = Size(16 * 1024)
    """One header line, the request line included."""
    headers: Annotated[int, Meta(ge=8, le=1000)] = 100
    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 4096
    header_timeout: Duration = Duration(10)
    body_timeout: Duration = Duration(60)
    idle_timeout: Duration = Duration(75)
    """A keep-alive connection without a request."""
    write_buffer: Size = Size(256 * 1024)
    """Bytes waiting for a slow reader before its upstream is paused."""
    slow_reader_timeout: Duration = Duration(30)
    answer: Size = Size(64 * 1024 * 1024)
    """A non-streamed answer."""


class Streams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How streams look to clients."""

    heartbeat: Duration = Duration(15)
    """Silence after which a `: ping` comment is sent."""
    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    """The one name under which reasoning text is sent, whichever the backend used."""


class Logging(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """JSON Lines on stderr; a readable form when stderr is a terminal."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    file: str | None = None
    decisions: str | None = None
    """A file of its own for what the loop decides, one JSON object a line. Relative to the
    configuration file."""


class Adapter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The short form for one backend; its models are those it lists itself."""

    engine: Engine
    endpoint: Url | None = None
    api_key: Secret | None = None


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. Everything has a default; an empty file is the embedded fake llm-d."""

    bind_addr: BindAddress = "127.0.0.1:8080"
    auth: Auth = Auth()
    adapter: Adapter | None = None
    pools: list[Pool] = []
    models: list[Model] = []
    routes: dict[str, list[Name]] = {}
    """What to try, in order, when a target fails."""
    policies: str | None = None
    """A folder of policy files, or one file. Relative to the configuration file. Without it,
    the shipped policies."""
    limits: Limits = Limits()
    streams: Streams = Streams()
    logging: Logging = Logging()
    drain_timeout: Duration = Duration(30)
