"""How one HTTP exchange with a backend is carried, whatever carries it.

Callbacks, not coroutines: a token costs one function call. Two bodies implement it: the HTTP
client of the gateway, and the fake llm-d in process.
"""

from typing import Protocol

from adapters.dialect import WireHead, WireRequest
from contracts.errors import UpstreamFault


class ResponseSink(Protocol):
    """Where an answer goes. Order: `on_head`, `on_data`*, then exactly one of `on_end`, `on_error`.

    `on_error` may also come first and alone. Nothing is called after `Exchange.cancel`.
    Callbacks must not raise and must not block; they are never called from within `start`.
    """

    def on_head(self, head: WireHead) -> None: ...

    def on_data(self, data: bytes) -> None: ...

    def on_end(self) -> None:
        """The body ended as HTTP says it should (length reached, last chunk, or a clean close where
        the head allows it)."""
        ...

    def on_error(self, error: UpstreamFault) -> None:
        """The exchange failed: ConnectFailed (nothing was sent), UpstreamFault, or StreamBroken."""
        ...


class Exchange(Protocol):
    """One request under way."""

    def cancel(self) -> None:
        """Give up now: the connection closes, the backend stops working. Idempotent."""
        ...

    def pause(self) -> None:
        """Read no more for now: the reader downstream is slow. Idempotent."""
        ...

    def resume(self) -> None:
        """Read on. Idempotent."""
        ...


class Transport(Protocol):
    """One endpoint of a pool."""

    def start(self, request: WireRequest, sink: ResponseSink) -> Exchange:
        """Begin an exchange. Returns at once."""
        ...

    async def aclose(self) -> None:
        """Close idle connections and cancel what still runs."""
        ...
