"""A request on its way in, and the plan that says how it is to be carried out."""

from typing import Literal

import msgspec

Operation = Literal["chat", "completion", "embedding"]


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What rules may ask about a request. Built once, at the edge.

    `prompt_tokens` is an estimate (a quarter of the prompt's bytes) until a backend has counted.
    `headers` are lower-case, without credentials. `key` is the caller's name, "" for an anonymous one.
    `task`: nobody waits for its answer on this connection. `asked_priority` is what it asks for itself: it
    stands back behind its intent, and goes before it only where it `may_raise`. `wait_s` is how long a task
    may wait until it starts, counted from its acceptance.
    """

    operation: Operation
    model: str
    stream: bool = False
    max_tokens: int | None = None
    prompt_tokens: int = 0
    messages: int = 0
    n: int = 1
    tools: int = 0
    key: str = ""
    user: str = ""
    headers: dict[str, str] = {}
    session: str = ""
    """Requests of one session go where its beginning is still in a KV cache; "": it is of none."""
    task: bool = False
    asked_priority: int | None = None
    may_raise: bool = False
    wait_s: float | None = None


class InferRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One inference. `members` is the client's JSON object, each value in its own bytes."""

    request_id: str
    operation: Operation
    members: dict[str, msgspec.Raw]
    facts: RequestFacts
    include_usage: bool = False
    """The client asked for a usage chunk in its stream."""
    native: dict[str, dict[str, msgspec.Raw]] = {}
    """By engine: the request as that engine's own clients write it, where it came so. An attempt there may send
    it as it came; `members` say the same to all others, as far as they can."""
    untold: tuple[str, ...] = ()
    """What of such a request found no place in `members`, by name: fit for a header."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. `first_token_s` is not armed on a plan's last attempt; `idle_s` always runs, and so must be
    longer than a backend without heartbeats takes to read its longest prompt."""

    connect_s: float = 5.0
    first_token_s: float = 60.0
    idle_s: float = 120.0
    total_s: float = 1800.0
    min_tokens_per_s: float | None = None
    """A stream slower than this is failing, for those who can have it gone on with elsewhere."""


class Constraints(msgspec.Struct, frozen=True, kw_only=True):
    """What the intent asks of the infrastructure below. A dialect writes down what it can express.

    `ttft_s` counts from the gateway's own receipt; the dialect sends what *remains* of it.
    """

    objective: str | None = None
    priority: int = 0
    ttft_s: float | None = None
    tpot_s: float | None = None
    fairness_id: str | None = None


Resume = Literal["off", "replay", "continue"]
"""What becomes of a stream that breaks after content: an error; or another attempt that says it again, of which the
client gets what is new; or, where a target can, one that continues the text it is shown."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One place to try: a model as clients name it, its pool, and its name there."""

    model: str
    pool: str
    upstream: str
    context: int | None = None
    """Tokens that fit there, where the configuration says so."""
    prefill: bool = False
    """It continues a trailing assistant message."""


class RoutingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Targets in the order to try them, and what each attempt may change in the body.

    `overrides` are set in the body over what the client sent (JSON values).
    """

    targets: tuple[Target, ...]
    route: str = ""
    """Whose share of hedges an attempt counts against; "": no configured route's."""
    overrides: dict[str, msgspec.Raw] = {}
    max_tokens: int | None = None
    constraints: Constraints = Constraints()
    resume: Resume = "off"
    hedge_after_s: float | None = None
    """A second attempt may start beside the first when that has no token after so long."""
    hedge_budget: float = 0.1
    """The share of the route's requests that may have one."""
