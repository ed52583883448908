"""A read that says nothing new but texts goes out as it came in, with something else around each text. Sans-IO.

Once a stream's chunk is known (`adapters.repeated_chunk`) and what its client gets is as constant around a text,
neither needs events in between: of what came, each text is read and written again, by the same two functions
that the events' way calls, which takes less time than to see whether it could stay as it is; all else is put
there from memory. Must stay true: what goes out, and what is counted, is what the events' way would have made
of the same bytes; a read that has anything else in it, or ends within an event, is left to that way.

What was true of the decoder, the normaliser and the sink stays so until something goes the other way: that is
when to `renew`.
"""

from abc import ABC, abstractmethod

import msgspec

from adapters.normalise import Normaliser
from adapters.openai_decoders import StreamDecoder
from adapters.repeated_chunk import Member
from adapters.sse import MAX_EVENT_BYTES

_read_text = msgspec.json.Decoder(str).decode
_write_text = msgspec.json.Encoder().encode


class TextSink(ABC):
    """Where an answer goes whose frames are the same around each text, so that it needs no events for them."""

    @abstractmethod
    def around(self, choice: int, member: Member) -> tuple[bytes, bytes] | None:
        """What its next frame is before and after a text, as JSON, that is all there is to say. None: that
        cannot be said in one frame, or not yet."""
        ...

    @abstractmethod
    def send(self, frames: bytes, at_s: float) -> None:
        """What was put together of them at that time. Must not raise, must not block."""
        ...


class Splice:
    """One attempt's."""

    __slots__ = (
        *("_after", "_before", "_between", "_decoder", "_end", "_head", "_least_of_two"),
        *("_normaliser", "_repeated", "_start", "_tail", "pieces", "sink"),
    )

    def __init__(self, decoder: StreamDecoder, normaliser: Normaliser, sink: TextSink) -> None:
        self.sink = sink
        self._decoder = decoder
        self._repeated = decoder.repeated
        self._normaliser = normaliser
        self._before = b""
        """Empty: nothing is known that could be spliced."""
        self._after = self._between = self._head = self._tail = b""
        self._start = self._end = self._least_of_two = 0
        self.pieces = 0
        """How many texts the newest frames have."""

    def frames(self, data: bytes) -> bytes:
        """What to send for a read, a frame for each text, which is counted; nothing where it goes the events' way."""
        before = self._before
        if not before or not data.startswith(before) or not data.endswith(self._after):
            return b""
        text, size, pieces = data[self._start : self._end], len(data), 1
        if size < self._least_of_two:  # nearly every read
            told = self._frame(text)
        else:
            texts = text[1:-1].split(self._between)
            frames = [self._frame(b'"%b"' % text) for text in texts]
            pieces = len(frames)
            told = b"".join(frames) if all(frames) and size <= MAX_EVENT_BYTES else b""
        if told:
            self.pieces = pieces
            self._normaliser.deltas += pieces
            self._repeated.saved += pieces
        return told

    def _frame(self, text: bytes) -> bytes:
        """Nothing, where it is no text or an empty one."""
        try:
            said = _read_text(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return b""
        return self._head + _write_text(said) + self._tail if said else b""

    def renew(self) -> None:
        """Something went the events' way: what can be spliced from here on."""
        self._before = b""
        repeated = self._repeated
        if not self._decoder.repeats or not self._normaliser.expects(repeated.choice):
            return
        around = self.sink.around(repeated.choice, repeated.member)
        chunk = repeated.before + repeated.after
        if around is None or b"\n" in chunk or b"\r" in chunk:  # it came in several
            return
        self._head, self._tail = around
        # With their quotes, so that a text has no blanks around it, and is all there is between them.
        before, after = b'data: %b"' % repeated.before, b'"%b\n\n' % repeated.after
        self._before, self._after, self._between = before, after, after + before
        self._start, self._end = len(before) - 1, 1 - len(after)
        self._least_of_two = min(2 * len(before + after), MAX_EVENT_BYTES)
