"""The chunk that a stream repeats, with another text in it each time: what comes before that text and after it.

Nearly every chunk of a stream differs from the one before it in the text of one member only. Once that
member has been found, the others need no decoding: to read one JSON string takes 0.6 us, the chunk around
it 4.4 us. Must stay true: what is read here is what decoding the whole chunk would have given, whatever the
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
Member = Literal["content", "reasoning"]
_MEMBERS: tuple[Member, ...] = ("content", "reasoning")
_read_text = msgspec.json.Decoder(str).decode


class RepeatedChunk:
    """One stream's. `decode` is what a whole chunk means, and must depend on nothing else."""

    __slots__ = (
        *("_after", "_before", "_choice", "_decode", "_end", "_member", "_saved", "_start"),
        *("_wait", "_waits"),
    )

    def __init__(self, decode: Callable[[bytes], list[Event]]) -> None:
        self._decode = decode
        self._before = self._after = b""
        self._start = self._end = 0
        """Where the text is in a chunk, the end counted from behind."""
        self._member: Member = "content"
        self._choice = 0
        self._saved = self._wait = 0
        self._waits = PAYS_OFF

    def read(self, data: bytes) -> Delta | None:
        """The one event of a chunk like the one that was learned; None: it must be decoded."""
        before = self._before
        if not before or not data.startswith(before) or not data.endswith(self._after):
            return None
        try:
            text = _read_text(data[self._start : self._end])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None  # no text, or more than that
        if not text:
            return None
        self._saved += 1
        if self._member == "content":
            return Delta(content=text, choice=self._choice)
        return Delta(reasoning=text, choice=self._choice)

    def learn(self, data: bytes, events: list[Event]) -> None:
        """`data` was decoded to `events`: the chunk to compare with from now on, if it is fit for that."""
        if len(events) != 1 or not isinstance(events[0], Delta):
            return
        if self._saved >= PAYS_OFF:
            self._wait, self._waits = 0, PAYS_OFF
        if self._wait > 0:
            self._wait -= 1
            return
        self._saved, self._wait = 0, self._waits
        self._waits = min(2 * self._waits, MAX_WAIT)
        self._before = b""
        event = events[0]
        for member in _MEMBERS:
            text: str = getattr(event, member)
            value = b'"%b"' % text.encode()
            before, found, after = data.rpartition(value) if text else (b"", b"", b"")
            if not found:
                continue  # or it is spelled with escapes
            # Is this its value, and does it change nothing else? The decoder knows.
            probed = self._decode(b'%b"%b"%b' % (before, PROBE.encode(), after))
            wanted = Delta(choice=event.choice)
            setattr(wanted, member, PROBE)
            if probed == [wanted]:
                self._before, self._after = before, after
                self._start, self._end = len(before), -len(after)
                self._member, self._choice = member, event.choice
                return
