"""What dialects do alike that answer in lines: framing, one terminal event, no surprises. Sans-IO.

The counterpart of `adapters.event_stream`: a dialect's decoder says in `read` what one line means. What must
stay true: cutting the bytes differently never changes the events, no bytes raise, and nothing is read after
a terminal event.
"""

from abc import ABC, abstractmethod

from adapters.lines import LineDecoder, LineTooLong
from contracts.errors import GatewayError, StreamBroken
from contracts.events import End, Event, Fault


class LineStreamDecoder(ABC):
    """A `Decoder` of lines. One instance an attempt."""

    def __init__(self) -> None:
        self._lines = LineDecoder()
        self._over = False

    @abstractmethod
    def read(self, line: bytes, out: list[Event]) -> None:
        """Append what one line says; it may be empty. Must not raise."""

    def last(self, out: list[Event]) -> None:
        """The body has ended and all its lines were read. A decoder that holds something back tells it
        first. Must not raise."""
        self.end(out)

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        if self._over:
            return out
        try:
            self._read(self._lines.feed(data), out)
        except LineTooLong as exc:
            self.broken(f"the engine's stream cannot be read: {exc}", out)
        return out

    def close(self) -> list[Event]:
        """What is still held back, and an end: whether the answer is complete, the normaliser judges."""
        out: list[Event] = []
        if self._over:
            return out
        self._read(self._lines.close(), out)
        if not self._over:
            self.last(out)
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
        """The stream cannot be trusted any more: a lost line would be a hole in the text that nobody sees."""
        self.fault(StreamBroken(message, fault="stream_broken"), out)

    def _read(self, lines: list[bytes], out: list[Event]) -> None:
        for line in lines:
            if self._over:
                return
            self.read(line, out)
