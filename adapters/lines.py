"""Lines: bytes in, whole lines out. For backends that frame their answers by lines and not by events.

Cutting the bytes differently never changes the lines. LF ends a line, and a CR before it is no part of it;
lines stay bytes, since a text cut in the middle of a character is nobody's text. No clock, no IO.
"""

from adapters.sse import MAX_EVENT_BYTES


class LineTooLong(ValueError):
    """A line passed the limit. The stream cannot be trusted any more."""


class LineDecoder:
    """`feed` as bytes arrive, `close` once when the body has properly ended.

    Raises LineTooLong from both; the decoder must not be used after that.
    """

    __slots__ = ("_limit", "_tail")

    def __init__(self, max_line_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_line_bytes
        self._tail = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Lines that `data` ends."""
        if 0x0A not in data:
            self._tail += data
            self._check(len(self._tail))
            return []
        first, *others = data.split(b"\n")
        lines = [bytes(self._tail + first), *others]
        self._tail = bytearray(lines.pop())
        self._check(max(map(len, lines)))
        self._check(len(self._tail))
        return [line.removesuffix(b"\r") for line in lines]

    def close(self) -> list[bytes]:
        """The last line, where its end is missing."""
        rest = bytes(self._tail).removesuffix(b"\r")
        self._tail.clear()
        return [rest] if rest else []

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise LineTooLong(f"a line is longer than {self._limit} bytes")
