"""`setpoint.yaml`, as Structs. Strict: an unknown field is an error.

Only shape and single-field bounds live here. What needs more than one field (a model naming a
pool that does not exist) is checked in `gateway.configuration`; reading files is done there too.
"""

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from contracts.inference import Resume
from contracts.prompt_template import PromptTemplate, TemplateName
from contracts.quantities import Duration, Money, Period, Share, Size

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
HeaderName = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$", description="the name of an HTTP header"),
]
BuiltInEngine = Literal[
    "openai",
    "anthropic",
    "gemini",
    "ollama",
    "llamacpp",
    "mlx",
    "tgi",
    "triton",
    "triton_openai",
    "llmd",
    "vllm",
    "embedded",
]
"""Engines whose dialect ships. `embedded` is the fake llm-d inside the gateway's own process."""
Engine = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_-]{0,63}$",
        description="an engine that ships, or one that a plug-in adds",
        extra_json_schema={"examples": list(get_args(BuiltInEngine))},
    ),
]
"""The name of a dialect. Which ones there are is known to `adapters.registry`, plug-ins included."""
Unsupported = Literal["refuse", "drop"]
"""What becomes of a parameter that a backend cannot do."""


class SecretFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A secret in a file of its own: `{file: /run/secrets/token}`. Surrounding blanks are dropped."""

    file: str


Secret = str | SecretFile


class BudgetEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One limit of a budget: exactly one of `requests`, `tokens` and `cost`."""

    requests: Annotated[int, Meta(ge=1, le=10**12)] | None = None
    tokens: Annotated[int, Meta(ge=1, le=10**15)] | None = None
    """Of prompts and answers together."""
    cost: Money | None = None
    """By the prices of the models that answer."""
    per: Period
    """A sliding window; `day` is the calendar day in UTC."""


BudgetEntries = Annotated[list[BudgetEntry], Meta(max_length=8)]


class CallerKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A named caller. `intent` is the one its requests get when no header says otherwise."""

    name: Name
    token: Secret
    intent: Name | None = None
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    budget: BudgetEntries | None = None
    """What it may use. Default: that of `default_budget`; an empty list is no limit."""


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may call. `token` is the operator's; `keys` are callers'."""

    token: Secret | None = None
    optional: bool = False
    """Callers on loopback may come without a token."""
    trust_proxy_auth: bool = False
    """A proxy in front has checked the caller; its name is in `proxy_user_header`."""
    proxy_user_header: HeaderName = "x-forwarded-user"
    trusted_proxies: list[str] | None = None
    """Addresses and networks from which that header counts. Default: loopback only."""
    keys: list[CallerKey] = []
    default_budget: BudgetEntries = []
    """For each caller without a budget of its own, also those whom a proxy names. The operator has none."""


class TimeoutSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long an attempt may take. `first_token` is not armed on the last attempt."""

    connect: Duration = Duration(5)
    first_token: Duration = Duration(60)
    idle: Duration = Duration(120)
    total: Duration = Duration(1800)
    min_tokens_per_s: Annotated[float, Meta(gt=0, le=10_000)] | None = None
    """A slower stream counts as failing, where another attempt can go on with it. Default: no limit."""


class BreakerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When an endpoint that fails is left alone, as long as there is another way."""

    failures: Annotated[int, Meta(ge=1, le=1000)] = 5
    window: Duration = Duration(30)
    """So many failures within so long open it."""
    cooldown: Duration = Duration(5)
    """Until one request is sent there as a probe; twice as long after each that fails, up to 20s."""


class QueueSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The pool's queue in the gateway. Full: 429. Waited too long: 503."""

    max_requests: Annotated[int, Meta(ge=0, le=100_000)] = 256
    max_tasks: Annotated[int, Meta(ge=0, le=100_000)] = 1000
    """Tasks that wait have a room of their own: beside `max_requests`, and never in its places."""
    timeout: Duration = Duration(60)
    """For requests with a client that waits. A task's wait is bounded by its own `ttl`."""


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
    load_metrics: bool | None = None
    """Read from each endpoint's metrics how busy it says it is. Default: yes for vllm and tgi. llama.cpp: only
    for a server that is started with `--metrics` and never sleeps."""
    inference_ttl: bool = False
    """llm-d: its router is newer than v0.10 and reads `x-llm-d-inference-ttl`."""
    priority_scheduling: bool = False
    """vLLM runs with `--scheduling-policy priority`: only then is it told a request's priority."""
    unsupported: Unsupported = "refuse"
    """A parameter that the engine cannot do: the request is refused, or the parameter is left out and
    the header `x-setpoint-dropped` says so."""
    simulate: Simulate | None = None
    """What its models' engines are like in a simulation. Without an endpoint, llm-d and vLLM are
    simulated in the gateway's own process."""
    max_inflight: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """Requests at once over all endpoints. Default: what the backend says it has (llama.cpp
    slots), else 64 an endpoint."""
    timeouts: TimeoutSettings = TimeoutSettings()
    retries: Annotated[int, Meta(ge=0, le=5)] = 1
    retry_budget: Share = Share(0.2)
    """The share of its requests that may be repeated; a quiet pool has a few in reserve. 0: none."""
    breaker: BreakerSettings = BreakerSettings()
    queue: QueueSettings = QueueSettings()
    probe_interval: Duration = Duration(2)
    self_test: bool | None = None
    """Ask each endpoint for a few tokens once it is ready, to see that it answers, stops when told and
    counts. Default: yes for llamacpp, vllm, llmd and embedded; no where it may cost money."""
    verify_tls: bool = True
    ca_file: str | None = None


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """USD per million tokens."""

    input: Money
    output: Money
    cached_input: Money | None = None
    """Prompt tokens that the backend had in its cache. Default: as any other prompt token."""
    cache_write: Money | None = None
    """Prompt tokens that the backend has put into its cache, where it says how many: Anthropic takes 1.25 times
    `input` for them. Default: as any other prompt token."""


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
    prefill: bool | None = None
    """Whether it goes on with a last message of the assistant's. Default: what its engine is known to do."""
    template: TemplateName | PromptTemplate | None = None
    """triton: how a chat is written as one text. Without it, its chats are refused."""
    simulate: Simulate | None = None
    """What its engine is like in a simulation, over what the pool's own `simulate` says."""


class Hedge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A second attempt beside a first one that has no token yet. The first to have one answers."""

    after: Duration
    budget: Share = Share(0.1)
    """The share of the route's requests that may have one."""


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to try, in order, when a target fails, and what becomes of a stream that breaks."""

    targets: list[Name]
    resume: Resume = "off"
    """off: it ends with an error; replay: another attempt says it again, and what is new goes on;
    continue: where a model can, it is shown the text and continues it, else as replay."""
    hedge: Hedge | None = None


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


class SessionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Requests that belong together go to the endpoint whose cache has their beginning."""

    ttl: Duration = Duration(600)
    """How long after its last request a session is remembered. 0: not at all."""
    max: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    """Sessions that are remembered; the one unused for the longest is forgotten first."""


class TaskSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Work that is handed in at `/v1/tasks`. How many may wait is each pool's `queue.max_tasks`."""

    ttl: Duration = Duration(3600)
    """How long a task may wait to start, where it does not say so itself."""
    max_ttl: Duration = Duration(86_400)
    """The most that it may say."""
    durable: bool = False
    """Tasks are in the records before they are accepted; those that wait survive a restart."""
    buffer_events: Annotated[int, Meta(ge=1, le=1_000_000)] = 8192
    """Tokens of one task that a reader can still be given; the oldest fall out first."""
    buffer: Size = Size(1024 * 1024)
    """The same in bytes."""
    result: Size = Size(4 * 1024 * 1024)
    """Of one answer, how much is kept for `GET /v1/tasks/{id}`: its beginning."""
    readers: Annotated[int, Meta(ge=1, le=10_000)] = 16
    """Streams of one task at a time."""
    bodies: Size = Size(256 * 1024 * 1024)
    """Requests of all tasks that have not ended. More are refused with 429."""
    keep: Annotated[int, Meta(ge=0, le=100_000)] = 1000
    """Tasks that have ended and can still be asked for."""
    keep_for: Duration = Duration(3600)
    keep_bytes: Size = Size(256 * 1024 * 1024)
    """What those take together, answers and tokens; the oldest are forgotten first."""


class Logging(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """JSON Lines on stderr; a readable form when stderr is a terminal."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    file: str | None = None
    decisions: str | None = None
    """A file of its own for what the loop decides, one JSON object a line. Relative to the
    configuration file."""


class Records(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was asked, decided, tried and paid, in a database. Traffic never waits for it."""

    url: Secret
    """`sqlite:///path/to/file.db` (relative to the configuration file) or
    `postgresql://user:password@host/database`."""
    bodies: bool = False
    """Keep what clients sent and were answered, prompts included."""
    keep: Duration = Duration(30 * 86400)
    """Older records are removed, and tasks that ended before that."""
    max_size: Size = Size(2**30)
    """More than that, and the oldest are removed. At least 1MiB."""
    spill: str = "setpoint-records.spill.jsonl"
    """Where records wait while the database is down. Relative to the configuration file."""


class Telemetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Traces and GenAI metrics by OpenTelemetry. Its packages are in requirements.lock."""

    otlp: Url
    """The collector, by OTLP over HTTP: `http://127.0.0.1:4318`."""
    headers: dict[HeaderName, Secret] = {}
    """What the collector wants to see, its credentials for example."""
    sample: Share = Share(1)
    """The share of requests that leave a trace; one that comes with a `traceparent` header says so itself."""
    traceparent: bool = False
    """Backends are sent the trace that they work for."""


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
    routes: dict[str, list[Name] | Route] = {}
    """What to try, in order, when a target fails. A list is short for the targets of a mapping."""
    policies: str | None = None
    """A folder of policy files, or one file. Relative to the configuration file. Without it,
    the shipped policies."""
    limits: Limits = Limits()
    streams: Streams = Streams()
    sessions: SessionSettings = SessionSettings()
    tasks: TaskSettings = TaskSettings()
    records: Records | str | None = None
    """A database's URL is short for its mapping. None: nothing is recorded."""
    telemetry: Telemetry | None = None
    logging: Logging = Logging()
    drain_timeout: Duration = Duration(30)
