"""What every dialect that answers in server-sent events does alike: framing, one terminal event, no surprises.

A dialect's decoder says in `read` what one event means. What must stay true: cutting the bytes differently
never changes the events, no bytes raise, and nothing is read after a terminal event. Sans-IO.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from adapters.sse import EventTooLarge, SSEDecoder, SSEEvent
from contracts.errors import GatewayError, StreamBroken
from contracts.events import End, Event, Fault


class EventStreamDecoder(ABC):
    """A `Decoder` of a `text/event-stream`. One instance an attempt."""

    def __init__(self) -> None:
        self._sse = SSEDecoder()
        self._over = False

    @abstractmethod
    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        """Append what one event says. `name` is "message" where the event has none, `data` is without
        surrounding blanks and never empty: an event without data is some proxy's heartbeat. Must not raise."""

    def feed(self, data: bytes) -> list[Event]:
        return self._read(self._sse.feed, data)

    def close(self) -> list[Event]:
        """What is still held back, and an end: whether the answer is complete, the normaliser judges."""
        out = self._read(lambda _: self._sse.close(), b"")
        if not self._over:
            self.end(out)
        return out

    def end(self, out: list[Event]) -> None:
        """The backend says that its stream is over."""
        self._over = True
        out.append(End())

    def fault(self, error: GatewayError, out: list[Event]) -> None:
        """The backend says that it failed."""
        self._over = True
        out.append(Fault(error=error))

    def broken(self, message: str, out: list[Event]) -> None:
        """The stream cannot be trusted any more: a lost event would be a hole in the text that nobody sees."""
        self.fault(StreamBroken(message, fault="stream_broken"), out)

    def _read(self, events: Callable[[bytes], list[SSEEvent]], given: bytes) -> list[Event]:
        out: list[Event] = []
        if self._over:
            return out
        try:
            for event in events(given):
                data = event.data.strip()
                if data:
                    self.read(event.event, data, out)
                if self._over:
                    break
        except EventTooLarge as exc:
            self.broken(f"the engine's stream cannot be read: {exc}", out)
        return out
