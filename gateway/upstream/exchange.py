"""One request's fate, as its owner holds it: what its sink has been told, and which socket carries it.

Must stay true: the sink hears exactly one ending, and nothing once it was cancelled, however many
connections the request travels over. It is the only thing here that calls a sink.
"""

from typing import Protocol

import msgspec

from adapters.transport import ResponseSink
from contracts.errors import UpstreamFault


class Carrier(Protocol):
    """What an exchange asks of the connection it is on."""

    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class HttpExchange(msgspec.Struct, eq=False):
    """See `adapters.transport.Exchange`.

    After `pause`, what the socket has already given us (one read, at most 256 KiB) may still
    arrive, the end included; nothing more is read until `resume`.
    """

    sink: ResponseSink | None
    """None once the exchange is over."""
    wire: bytes
    """The request; emptied as soon as it can no longer be needed again."""
    carrier: Carrier | None = None
    paused: bool = False

    def cancel(self) -> None:
        carrier = self.carrier
        self._settle()
        if carrier is not None:
            carrier.abort()

    def pause(self) -> None:
        if not self.paused:
            self.paused = True
            if self.carrier is not None:
                self.carrier.pause_reading()

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            if self.carrier is not None:
                self.carrier.resume_reading()

    def end(self) -> None:
        """The body is complete. Its connection must have let go of it already."""
        sink = self._settle()
        if sink is not None:
            sink.on_end()

    def fail(self, error: UpstreamFault) -> None:
        """The exchange failed. Its connection must have let go of it already."""
        sink = self._settle()
        if sink is not None:
            sink.on_error(error)

    def _settle(self) -> ResponseSink | None:
        sink = self.sink
        self.sink = self.carrier = None
        self.wire = b""
        return sink
