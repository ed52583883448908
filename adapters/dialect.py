"""What a backend's dialect must do: turn a request into bytes, and bytes into events. Sans-IO.

A dialect never awaits, opens nothing and reads no clock. The executor calls `request` once an
attempt, feeds what arrives to `decoder`, and asks `fault` what an error answer means.
Health probes are described here (`probes`) and carried out by the gateway.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from contracts.errors import UpstreamFault
from contracts.events import Event
from contracts.inference import Constraints, InferRequest


class WireRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request to a backend; `path` starts with a slash and follows the endpoint's own path."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


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
    prefill_s: float | None = None
    """How long the backend will need to read the prompt, where that is predicted."""
    priority_scheduling: bool = False
    """The backend orders its own queue by the body's `priority`."""
    inference_ttl: bool = False
    """The backend lets itself be told how long a request may wait in its queue."""


class EndpointState(msgspec.Struct, frozen=True, kw_only=True):
    """What probes say about one endpoint. `None`: it does not say."""

    live: bool = False
    ready: bool = False
    why: str = "not probed yet"
    version: str | None = None
    model_digest: str | None = None
    models: tuple[str, ...] = ()
    slots: int | None = None
    """Requests it works on at once."""
    context: int | None = None
    """Tokens a request may have."""


class Decoder(Protocol):
    """One answer's bytes to events. Cutting the bytes differently never changes the events."""

    def feed(self, data: bytes) -> list[Event]:
        """Events that `data` completes. After a `Fault` or `End` the rest is ignored."""
        ...

    def close(self) -> list[Event]:
        """The body ended as HTTP says it should. Events still held back, if any."""
        ...


class Dialect(Protocol):
    """One backend's way of speaking."""

    engine: str

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        """The request's wire form. Always a streamed one: a folded stream is cancelled in
        milliseconds where a blocking answer may not be.

        Raises ClientFault for what this backend cannot do.
        """
        ...

    def decoder(self, infer: InferRequest, head: WireHead) -> Decoder:
        """A fresh decoder for the body of a 200 answer."""
        ...

    def fault(self, head: WireHead, body: bytes) -> UpstreamFault:
        """What a non-200 answer means. `body` may be cut short."""
        ...

    def queue_s(self, head: WireHead) -> float | None:
        """Seconds that the request waited in the backend's own queue, as the head of its answer
        says; None where it does not say."""
        ...

    def probes(self) -> tuple[str, ...]:
        """Paths to GET, in order, to learn an endpoint's state. None of them may wake a sleeping
        backend or cost a generation."""
        ...

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        """Read the probes' answers, keyed by path. A path is missing where nothing answered."""
        ...
