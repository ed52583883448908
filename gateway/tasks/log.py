"""The events of one task, numbered, as far as they are still in the buffer. Pure.

Must stay true: numbers grow by one and never stand for two things; a reader, who holds nothing but the
number of the last event it was given, misses none and gets none twice, unless it is told of the gap;
after `cut` nobody gets another token; what is kept is bounded, whoever reads and whoever does not.
Number 1 is `started`, a token `i` has number `i + 2`, and the end has the last one.
"""

from collections import deque

import msgspec

from contracts.tasks import EndEvent, ErrorEvent

STARTED_ID = 1
_FIRST_TOKEN_ID = 2
_UNKNOWN = 2**53 - 3
"""Tokens of a task whose number nobody knows: the number of its end is the largest that JavaScript has."""
TOKEN_BYTES = 64
"""What one token counts beside its text: it is an object of its own."""

Terminal = EndEvent | ErrorEvent


class Started(msgspec.Struct, frozen=True):
    """The first event. Where the task stands is asked when it is written."""

    id: int = STARTED_ID


class Token(msgspec.Struct, frozen=True):
    id: int
    text: str

    @property
    def index(self) -> int:
        return self.id - _FIRST_TOKEN_ID


class Gap(msgspec.Struct, frozen=True):
    """Tokens `first` up to and with `last` are gone. Its number is that of the last one."""

    id: int
    first: int
    last: int


class Ended(msgspec.Struct, frozen=True):
    id: int
    event: Terminal


LogEvent = Started | Token | Gap | Ended


class TaskLog:
    """One task's. `held`: nothing but `started` is shown before `release`."""

    def __init__(self, *, max_events: int, max_bytes: int, held: bool = False) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._held = held
        self._texts: deque[str] = deque()
        self._bytes = 0
        self._gone = 0
        """Tokens that have left the buffer; so the number of the oldest one in it."""
        self._cut = False
        self._end: Ended | None = None

    @classmethod
    def remembered(cls, tokens: int | None, terminal: Terminal) -> "TaskLog":
        """Of a task that ended before anybody here can remember its tokens. None: not even how many there
        were, so its end has a number above all that may have been given."""
        log = cls(max_events=0, max_bytes=0)
        log._gone = _UNKNOWN if tokens is None else tokens
        log._cut = tokens is None
        log.close(terminal)
        return log

    @property
    def tokens(self) -> int:
        """How many there were; those that nobody may read any more included."""
        return self._gone + len(self._texts)

    @property
    def last_id(self) -> int:
        """The number of the newest event."""
        return STARTED_ID + self.tokens + (self._end is not None)

    @property
    def over(self) -> bool:
        """Nothing follows the newest event."""
        return self._end is not None

    @property
    def bytes(self) -> int:
        """What it keeps in memory."""
        return self._bytes

    def append(self, text: str) -> None:
        """Another token. Nothing is kept of what comes after the end."""
        if self._end is not None:
            return
        self._texts.append(text)
        self._bytes += _size(text)
        while len(self._texts) > self._max_events or self._bytes > self._max_bytes:
            self._bytes -= _size(self._texts.popleft())
            self._gone += 1

    def cut(self) -> None:
        """It was cancelled: tokens that nobody has read yet are for nobody."""
        if self._end is None:
            self._gone = self.tokens
            self._texts.clear()
            self._bytes = 0
            self._cut = True

    def close(self, terminal: Terminal) -> None:
        """The last event. Only the first one counts."""
        if self._end is None:
            self._end = Ended(self.last_id + 1, terminal)

    def release(self) -> None:
        self._held = False

    def next(self, after: int) -> LogEvent | None:
        """What comes after the event `after` (0: from the beginning). None: nothing so far, or ever,
        where `after` is the end."""
        if after < STARTED_ID:
            return Started()
        if self._held:
            return None
        index = after + 1 - _FIRST_TOKEN_ID
        if index < self._gone and not self._cut:
            return Gap(self._gone + _FIRST_TOKEN_ID - 1, index, self._gone - 1)
        if self._gone <= index < self.tokens:
            return Token(after + 1, self._texts[index - self._gone])
        if self._end is not None and after < self._end.id:
            return self._end
        return None


def _size(text: str) -> int:
    return TOKEN_BYTES + (len(text) if text.isascii() else len(text.encode()))
