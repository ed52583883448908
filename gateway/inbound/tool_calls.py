"""The calls of tools in one answer, put together while they are written. Sans-IO.

Languages in which a call is begun, added to and ended need to know when it is over, and a chat does not say: it
is once its arguments are complete, or the answer is. An engine may write several calls at once.
"""

import msgspec

from contracts.errors import UpstreamFault
from contracts.events import ToolCallDelta


class ToolCall:
    """One of them. `place` is where its language has put it, None before it is begun."""

    def __init__(self) -> None:
        self.place: int | None = None
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.ended = False

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def complete(self) -> bool:
        """Its arguments are an object: nothing but white space can follow."""
        try:
            msgspec.json.decode(self.arguments, type=dict[str, msgspec.Raw])
        except msgspec.MsgspecError:
            return False
        return True


class ToolCalls:
    """All of them, in the order of their beginning. Arguments are kept, up to `max_bytes`."""

    def __init__(self, *, max_bytes: int) -> None:
        self._left = max_bytes
        self._calls: dict[int, ToolCall] = {}

    def add(self, piece: ToolCallDelta) -> tuple[ToolCall | None, str]:
        """The call that the piece belongs to, and what is to be told of its arguments now; None while it has no
        name, or once it has ended. Whoever gets one without a place begins it. Raises UpstreamFault."""
        call = self._calls.setdefault(piece.index, ToolCall())
        if call.ended:
            return None, ""
        call.id, call.name = piece.id or call.id, piece.name or call.name
        self._left -= len(piece.id or "") + len(piece.name or "") + len(piece.arguments)
        if self._left < 0:
            raise too_large()
        call.pieces.append(piece.arguments)
        if not call.name:
            return None, ""
        return call, call.arguments if call.place is None else piece.arguments

    def end_complete(self) -> list[ToolCall]:
        """Those that are over since their arguments are complete."""
        return self._end([call for call in self._calls.values() if call.complete])

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
