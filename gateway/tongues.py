"""What a door that answers inferences must know of the language that its clients speak.

A tongue reads a request and words errors; the voice that comes with each request words its answer. Behind
them every request is the same InferRequest, and every answer the same events. Pure, all of them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from contracts.errors import GatewayError
from contracts.events import Event, Usage
from contracts.inference import InferRequest, Operation
from gateway.answers import Identity

Cost = Callable[[Usage], float | None]
"""What was used, in USD; None where that is not known."""


class Writer(Protocol):
    """Well-formed events to the frames of one stream."""

    heartbeat: bytes
    """What tells a client that waits that somebody is still there. May come between any two frames."""

    def served_by(self, model: str) -> None:
        """An attempt at `model` is about to be made. Not after the first content."""
        ...

    def write(self, events: Iterable[Event]) -> bytes:
        """The frames for `events`; empty if none of them shows. Raises UpstreamFault where the answer is too
        large to be gone on with; then only `failed` may follow."""
        ...

    def failed(self, error: GatewayError, request_id: str) -> bytes:
        """The last frames of a stream that failed, whatever it has said before."""
        ...


class Folding(Protocol):
    """Events folded into the one object of a non-streamed answer."""

    def add(self, events: Iterable[Event]) -> None:
        """Raises UpstreamFault when the answer is too large, or cannot be read."""
        ...

    def body(self) -> bytes:
        """The answer, as JSON: whole after `End`. Raises UpstreamFault where it cannot be said."""
        ...


class Voice(Protocol):
    """How one request is answered, in the language in which it was asked. `max_bytes` bounds what has to be
    kept of the answer to go on with it."""

    def writer(self, identity: Identity, *, cost: Cost, max_bytes: int) -> Writer: ...

    def folding(self, identity: Identity, *, max_bytes: int) -> Folding: ...

    def error(self, error: GatewayError, request_id: str) -> bytes:
        """The body of an error's answer, which names what it is about as this request does."""
        ...


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request, and how it wants to be answered."""

    infer: InferRequest
    voice: Voice


class Tongue(Protocol):
    """One API that clients speak."""

    operation: Operation

    def read(self, body: bytes, *, request_id: str, key: str, headers: Mapping[str, str]) -> Asked:
        """Raises ClientFault, with the member's name where it is one."""
        ...

    def error(self, error: GatewayError, request_id: str) -> bytes:
        """The body of an error's answer, where no request was read."""
        ...
