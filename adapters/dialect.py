"""What a backend's dialect must do: turn a request into bytes, and bytes into events. Sans-IO.

A dialect never awaits, opens nothing and reads no clock. The executor calls `request` once an
attempt, feeds what arrives to `decoder`, and asks `fault` what an error answer means.
Health probes are described here (`probes`) and carried out by the gateway.
"""

from collections.abc import Generator, Mapping
from typing import Literal, Protocol

import msgspec

from adapters.load_signals import LoadMetrics
from adapters.rate_limits import RateLimits
from contracts.config import Unsupported
from contracts.errors import UpstreamFault
from contracts.events import Event
from contracts.inference import Constraints, InferRequest
from contracts.prompt_template import PromptTemplate


class WireRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request to a backend; `path` starts with a slash and follows the endpoint's own path."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    dropped: tuple[str, ...] = ()
    """Members of the client's request that the backend cannot do and that were left out, by name."""
    native: bool = False
    """It is the client's own request, as it came in the backend's own words."""


class WireHead(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a backend's answer. Header names are lower-case; repeated ones are joined by a comma."""

    status: int
    headers: Mapping[str, str]


class AttemptContext(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt adds to the request.

    `waited_s` is the time from the gateway's receipt of the request to this dispatch.
    `max_tokens` caps what the client asked for. `api_key` is the pool's own.
    """

    upstream_model: str
    waited_s: float = 0.0
    max_tokens: int | None = None
    overrides: dict[str, msgspec.Raw] = {}
    constraints: Constraints = Constraints()
    api_key: str | None = None
    context: int | None = None
    """Tokens a request may have there, where it is known."""
    tools: bool | None = None
    """Whether its model can be told of tools, where that is known."""
    prefill_s: float | None = None
    """How long the backend will need to read the prompt, where that is predicted."""
    priority_scheduling: bool = False
    """The backend orders its own queue by the body's `priority`."""
    inference_ttl: bool = False
    """The backend lets itself be told how long a request may wait in its queue."""
    continues: bool = False
    """The request ends with the beginning of its own answer: the backend is to go on exactly there."""
    unsupported: Unsupported = "refuse"
    """What becomes of a parameter that the backend cannot do."""
    template: PromptTemplate | None = None
    """How a chat is written as a text, where the backend cannot do that and the configuration says it."""
    joins: bool = False
    """Nobody sees the answer before its end: pieces of it that arrive together may come as one `Delta`."""


class EndpointState(msgspec.Struct, frozen=True, kw_only=True):
    """What probes say about one endpoint. `None`: it does not say."""

    live: bool = False
    ready: bool = False
    why: str = "not probed yet"
    version: str | None = None
    model_digest: str | None = None
    models: tuple[str, ...] = ()
    unlisted: bool = False
    """It has no list of its models: which it has, only the configuration can say."""
    slots: int | None = None
    """Requests it works on at once."""
    advised_slots: int | None = None
    """Where it has no such number: how many it should be given at once, unless the operator says otherwise."""
    context: int | None = None
    """Tokens a request may have."""
    tools: bool | None = None
    """Its model can be told of tools."""
    sleeping: bool = False
    """It has put its model away, and the next request would wake it."""


class TokenCount(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend's own tokenizer says of a prompt."""

    tokens: int
    context: int | None = None
    """Tokens that the model takes, prompt and answer together, where the answer says so too."""


Counting = Generator[WireRequest, tuple[WireHead, bytes], TokenCount | None]
"""Questions to a backend, one after the other: it yields a request, is sent the answer (whatever its status)
and returns the count, or None if there is none to be had."""


Prefill = Literal["none", "continues", "repeats"]
"""What becomes of a chat whose last message is the assistant's: refused or answered anew; continued from its
last character; or continued, and the answer begins with that message once more."""


class Decoder(Protocol):
    """One answer's bytes to events. Cutting the bytes differently never changes the events, except for which
    pieces come as one where the attempt `joins` them."""

    def feed(self, data: bytes) -> list[Event]:
        """Events that `data` completes. After a `Fault` or `End` the rest is ignored."""
        ...

    def close(self) -> list[Event]:
        """The body ended as HTTP says it should. Events still held back, if any."""
        ...


class Dialect(Protocol):
    """One backend's way of speaking. What few backends do has an answer here, for dialects that inherit."""

    engine: str

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        """The request's wire form. Always a streamed one: a folded stream is cancelled in
        milliseconds where a blocking answer may not be.

        Raises ClientFault, with the member's name, for what this backend cannot do; where `attempt`
        says so, a parameter is left out instead and named in `dropped` (`adapters.unsupported`).
        """
        ...

    def decoder(self, infer: InferRequest, attempt: AttemptContext, head: WireHead) -> Decoder:
        """A fresh decoder for the body of a 200 answer to the request that `request` made of the same two:
        where it must judge an answer by what was asked, that is what was sent."""
        ...

    def fault(self, head: WireHead, body: bytes) -> UpstreamFault:
        """What a non-200 answer means. `body` may be cut short."""
        ...

    def queue_s(self, head: WireHead) -> float | None:
        """Seconds that the request waited in the backend's own queue, as the head of its answer
        says; None where it does not say."""
        return None

    def rate_limits(self, head: WireHead) -> RateLimits | None:
        """What the head of an answer, whatever its status, says is left of the provider's limits; None: it
        does not say."""
        return None

    def counting(self, infer: InferRequest, attempt: AttemptContext) -> Counting | None:
        """How to ask for the number of tokens of the prompt; None: there is no tokenizer to ask, or
        there is more in the prompt than it knows of. Asking costs no generation."""
        return None

    def prefill(self) -> Prefill:
        """What this backend is known to do with a chat whose last message is the assistant's."""
        return "none"

    def load_metrics(self) -> LoadMetrics | None:
        """Where this engine says how busy it is; None: nowhere. Reading that must not cost a generation."""
        return None

    def access(self, api_key: str | None) -> tuple[tuple[str, str], ...]:
        """Headers without which this backend answers nobody: credentials, and the version of its API.
        Probes carry them as requests do."""
        return (("authorization", f"Bearer {api_key}"),) if api_key else ()

    def probes(self) -> tuple[str, ...]:
        """Paths to GET, in order, to learn an endpoint's state; "POST /path" for what answers nothing else.
        None of them may wake a sleeping backend or cost a generation."""
        ...

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        """Read the probes' answers, keyed by path. A path is missing where nothing answered."""
        ...
