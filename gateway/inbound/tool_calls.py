"""The calls of tools in one answer, put together while they are written. Sans-IO.

Languages in which a call is begun, added to and ended need to know when it is over, and a chat does not say: it
is once its arguments are complete, or the answer is. An engine may write several calls at once. What must stay
true: each piece is looked at once, so that a long answer costs its own length and not the square of it.
"""

import re

import msgspec

from contracts.errors import UpstreamFault
from contracts.events import ToolCallDelta
from gateway.answers import PIECE_BYTES

_MARKS = re.compile(r'["\\{}\[\]]')
_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Nesting:
    """How deep in a text of JSON one is, while it comes."""

    def __init__(self) -> None:
        self.closed = False
        """What was opened first is closed: nothing but white space can follow."""
        self._depth = 0
        self._in_string = False
        self._escaped = 0
        """Characters to come that a backslash has taken the meaning from."""

    def add(self, text: str) -> None:
        plain_from = self._escaped
        for found in _MARKS.finditer(text):
            at, mark = found.start(), found[0]
            if at < plain_from:
                continue
            if mark == '"':
                self._in_string = not self._in_string
            elif mark == "\\":
                plain_from = at + 2
            elif not self._in_string:
                self._depth += 1 if mark in "{[" else -1
                self.closed = self.closed or self._depth == 0
        self._escaped = max(0, plain_from - len(text))


class ToolCall:
    """One of them. `place` is where its language has put it, None before it is begun."""

    def __init__(self) -> None:
        self.place: int | None = None
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.nesting = _Nesting()
        self.ended = False

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def complete(self) -> bool:
        """Its arguments are an object."""
        try:
            _read_object(self.arguments)
        except (msgspec.MsgspecError, RecursionError):
            return False
        return True


class ToolCalls:
    """All of them, in the order of their beginning. Pieces are kept, up to `max_bytes`."""

    def __init__(self, *, max_bytes: int) -> None:
        self._left = max_bytes
        self._calls: dict[int, ToolCall] = {}
        self._closed: list[ToolCall] = []
        """Those that may be complete, until somebody asks."""

    def add(self, piece: ToolCallDelta) -> tuple[ToolCall | None, str]:
        """The call that the piece belongs to, and what is to be told of its arguments now; None while it has no
        name, or once it has ended. Whoever gets one without a place begins it. Raises UpstreamFault."""
        call = self._calls.setdefault(piece.index, ToolCall())
        if call.ended:
            return None, ""
        call.id, call.name = piece.id or call.id, piece.name or call.name
        self._left -= PIECE_BYTES + len(piece.id or "") + len(piece.name or "")
        self._left -= len(piece.arguments)
        if self._left < 0:
            raise too_large()
        was_closed = call.nesting.closed
        if piece.arguments:
            call.pieces.append(piece.arguments)
            call.nesting.add(piece.arguments)
        if call.nesting.closed and not was_closed:
            self._closed.append(call)
        if not call.name:
            return None, ""
        return call, call.arguments if call.place is None else piece.arguments

    def end_complete(self) -> list[ToolCall]:
        """Those that are over since their arguments are complete."""
        begun = [call for call in self._closed if call.place is not None]
        self._closed = [call for call in self._closed if call.place is None]
        return self._end([call for call in begun if call.complete])

    def end_all(self) -> list[ToolCall]:
        """The answer is over, and so are all that were begun."""
        return self._end(list(self._calls.values()))

    @staticmethod
    def _end(calls: list[ToolCall]) -> list[ToolCall]:
        over = [call for call in calls if call.place is not None and not call.ended]
        for call in over:
            call.ended = True
        return over


def too_large() -> UpstreamFault:
    """What has to be kept of an answer is more than may be."""
    return UpstreamFault("the answer is larger than this gateway allows", code="answer_too_large")
