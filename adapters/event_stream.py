"""A stream of server-sent events, for dialects that answer in them. Sans-IO.

A dialect's decoder says in `read` what one event means; the rest is in `adapters.framed_stream`.
"""

from abc import abstractmethod
from itertools import groupby
from operator import attrgetter

from adapters.framed_stream import FramedStreamDecoder
from adapters.sse import SSEDecoder, SSEEvent
from contracts.events import Event

_name = attrgetter("event")


class EventStreamDecoder(FramedStreamDecoder[SSEEvent]):
    """A `Decoder` of a `text/event-stream`. One instance an attempt."""

    def __init__(self) -> None:
        self._framing = self._sse = SSEDecoder()

    @abstractmethod
    def read(self, name: str, data: bytes, out: list[Event]) -> None:
        """Append what one event says. `name` is "message" where the event has none, `data` is without
        surrounding blanks and never empty: an event without data is some proxy's heartbeat. Must not raise."""

    def read_all(self, name: str, datas: list[bytes], out: list[Event]) -> None:
        """Append what events of one name say that follow each other, up to a terminal one. `datas` are as they
        came. Must not raise."""
        for data in datas:
            if data := data.strip():
                self.read(name, data, out)
                if self._over:
                    return

    def feed(self, data: bytes) -> list[Event]:
        if self._over:
            return []
        plain = self._sse.plain(data)
        if plain is None:
            return super().feed(data)
        out: list[Event] = []
        self.read_all("message", plain, out)
        return out

    def take(self, frames: list[SSEEvent], out: list[Event]) -> None:
        for name, events in groupby(frames, _name):
            self.read_all(name, [event.data for event in events], out)
            if self._over:
                return
