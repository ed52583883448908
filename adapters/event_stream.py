"""A stream of server-sent events, for dialects that answer in them. Sans-IO.

A dialect's decoder says in `read` what one event means; the rest is in `adapters.framed_stream`.
"""

from abc import abstractmethod

from adapters.framed_stream import FramedStreamDecoder
from adapters.sse import SSEDecoder, SSEEvent
from contracts.events import Event


class EventStreamDecoder(FramedStreamDecoder[SSEEvent]):
    """A `Decoder` of a `text/event-stream`. One instance an attempt."""

    def __init__(self) -> None:
        super().__init__(SSEDecoder())

    @abstractmethod
    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        """Append what one event says. `name` is "message" where the event has none, `data` is without
        surrounding blanks and never empty: an event without data is some proxy's heartbeat. Must not raise."""

    def take(self, frames: list[SSEEvent], out: list[Event]) -> None:
        for event in frames:
            data = event.data.strip()
            if data:
                self.read(event.event, data, out)
            if self._over:
                return
