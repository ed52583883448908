"""A stream of lines, for dialects that answer in them. Sans-IO.

A dialect's decoder says in `read` what one line means; the rest is in `adapters.framed_stream`.
"""

from abc import abstractmethod

from adapters.framed_stream import FramedStreamDecoder
from adapters.lines import LineDecoder
from contracts.events import Event


class LineStreamDecoder(FramedStreamDecoder[bytes]):
    """A `Decoder` of lines. One instance an attempt."""

    def __init__(self) -> None:
        self._framing = LineDecoder()

    @abstractmethod
    def read(self, line: bytes, out: list[Event]) -> None:
        """Append what one line says; it may be empty. Must not raise."""

    def take(self, frames: list[bytes], out: list[Event]) -> None:
        for line in frames:
            self.read(line, out)
            if self._over:
                return
