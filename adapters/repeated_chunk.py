"""The chunk that a stream repeats, with another text in it each time: what comes before that text and after it.

Nearly every chunk of a stream differs from the one before it in the text of one member only. Once that
member has been found, the others need no decoding: to read one JSON string takes 0.5 us, the chunk around
it 1.7 us. Must stay true: what is read here is what decoding the whole chunk would have given, whatever the
bytes are; where that is not certain, there is no answer. Pure.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from contracts.events import Delta, Event

PAYS_OFF, MAX_WAIT = 4, 256
"""To learn a chunk takes as long as to decode one. If it saved fewer than that, the next one is learned only
after as many chunks, and then after twice as many: some backends put padding of a random length, or the
time, into each of them, so that no two are alike."""
PROBE = "a text that stands in for the stream's own"
_PROBE = b'"%b"' % PROBE.encode()
Member = Literal["content", "reasoning"]
_MEMBERS: tuple[Member, ...] = ("content", "reasoning")
_read_text = msgspec.json.Decoder(str).decode


class RepeatedChunk:
    """One stream's. `decode` is what a whole chunk means, and must depend on nothing else."""

    __slots__ = (
        *("_decode", "_end", "_start", "_wait", "_waits"),
        *("after", "before", "choice", "member", "saved"),
    )

    def __init__(self, decode: Callable[[bytes], list[Event]]) -> None:
        self._decode = decode
        self.before = self.after = b""
        self._start = self._end = 0
        """Where the text is in a chunk, the end counted from behind."""
        self.member: Member = "content"
        self.choice = 0
        self.saved = self._wait = 0
        self._waits = PAYS_OFF

    def read(self, chunk: bytes) -> Delta | None:
        """What `chunk` says, if it is like the one that was learned. None: it must be decoded."""
        before = self.before
        if not before or not chunk.startswith(before) or not chunk.endswith(self.after):
            return None
        try:
            text = _read_text(chunk[self._start : self._end])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None  # no text, or more than that
        if not text:
            return None
        self.saved += 1
        return _said(text, self.member, self.choice)

    def learn(self, data: bytes, event: Delta) -> None:
        """`data` was decoded to `event` and nothing else: the chunk to compare with from now on, if it is fit
        for that."""
        if self.saved >= PAYS_OFF:
            self._wait, self._waits = 0, PAYS_OFF
        if self._wait > 0:
            self._wait -= 1
            return
        self.saved, self._wait = 0, self._waits
        self._waits = min(2 * self._waits, MAX_WAIT)
        self.before = b""
        for member in _MEMBERS:
            text: str = getattr(event, member)
            if not text:
                continue
            before, found, after = data.rpartition(b'"%b"' % text.encode())
            if not found:
                continue  # it is spelled with escapes
            # Is this its value, and does it change nothing else? The decoder knows.
            if self._decode(before + _PROBE + after) == [_said(PROBE, member, event.choice)]:
                self.before, self.after = before, after
                self._start, self._end = len(before), -len(after)
                self.member, self.choice = member, event.choice
                return


def _said(text: str, member: Member, choice: int) -> Delta:
    if member == "content":
        return Delta(content=text, choice=choice)
    return Delta(reasoning=text, choice=choice)
