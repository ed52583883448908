"""What every decoder of a stream does alike, however the stream is framed: one terminal event, no surprises. Sans-IO.

What must stay true: cutting the bytes differently never changes the events, no bytes raise, and nothing is
read after a terminal event. `adapters.event_stream` and `adapters.line_stream` are its two kinds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from adapters.lines import LineTooLong
from adapters.sse import EventTooLarge
from contracts.errors import GatewayError, StreamBroken
from contracts.events import End, Event, Fault

Frame = TypeVar("Frame")


class Framing(Protocol[Frame]):
    """Bytes to frames, bounded. Raises EventTooLarge or LineTooLong, and is not used after that."""

    def feed(self, data: bytes) -> list[Frame]: ...

    def close(self) -> list[Frame]: ...


class FramedStreamDecoder(ABC, Generic[Frame]):
    """A `Decoder` of frames. One instance an attempt."""

    _framing: Framing[Frame]
    _over = False

    @abstractmethod
    def take(self, frames: list[Frame], out: list[Event]) -> None:
        """Append what the frames say, until a terminal event is out. Must not raise."""

    def last(self, out: list[Event]) -> None:
        """The body has ended and all its frames were taken. A decoder that holds something back tells it
        first. Must not raise."""
        self.end(out)

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        if not self._over:
            self._read(self._framing.feed, data, out)
        return out

    def close(self) -> list[Event]:
        """What is still held back, and an end: whether the answer is complete, the normaliser judges."""
        out: list[Event] = []
        if not self._over:
            self._read(lambda _: self._framing.close(), b"", out)
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
        """The stream cannot be trusted any more: a lost frame would be a hole in the text that nobody sees."""
        self.fault(StreamBroken(message, fault="stream_broken"), out)

    def _read(self, frames: Callable[[bytes], list[Frame]], given: bytes, out: list[Event]) -> None:
        try:
            found = frames(given)
        except (EventTooLarge, LineTooLong) as exc:
            self.broken(f"the engine's stream cannot be read: {exc}", out)
        else:
            self.take(found, out)
