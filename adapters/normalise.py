"""Any backend's events, made well-formed: the grammar at the head of `contracts.events`.

What must stay true, whatever the backend does: one terminal event and nothing after it; a finish
once a choice; `End` only when every choice has finished, so a stream that just stops is a fault and
never a short success; tool calls counted from 0 in the order of their appearance; usage once.
Sans-IO, one instance an attempt.
"""

from collections.abc import Callable, Iterable

import msgspec

from contracts.errors import StreamBroken
from contracts.events import (
    Delta,
    Document,
    End,
    Event,
    Fault,
    Finish,
    Opened,
    ToolCallDelta,
    Usage,
    UsageReport,
)

MAX_TOOL_CALLS = 1024
"""Tool calls in one choice; each costs memory for its place in the order."""

_FINISH_REASONS = {
    "eos_token": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "max_tokens": "length",
    "function_call": "function_call",
}
"""Spellings that leak from engines (TGI among them). Unknown ones travel on as they are."""


class _ToolIndex:
    """Upstream indexes to ours. A new id at an old index is a new call (some backends send 0 always)."""

    __slots__ = ("_current", "_last", "count")

    def __init__(self) -> None:
        self._current: dict[int | None, tuple[str | None, int]] = {}
        self._last: int | None = None
        self.count = 0

    def place(self, index: int | None, call_id: str | None) -> tuple[int, bool]:
        """Our index, and whether the call is new."""
        if index is None and call_id is None and self._last is not None:
            return self._last, False
        known = self._current.get(index)
        if known is not None and (call_id is None or known[0] in (None, call_id)):
            if known[0] is None and call_id is not None:
                self._current[index] = (call_id, known[1])
            self._last = known[1]
            return known[1], False
        mine = self.count
        self.count += 1
        self._current[index] = (call_id, mine)
        self._last = mine
        return mine, True


class Normaliser:
    """`push` what a decoder emitted; `close` when the body ended. Both give well-formed events.

    `choices` is how many answers the request asked for. `new_id` makes an id for a tool call
    that came without one. `where` names the endpoint in faults.
    """

    def __init__(
        self, *, choices: int, prompt_tokens: int, new_id: Callable[[], str], where: str
    ) -> None:
        self._choices = choices
        self._prompt_tokens = prompt_tokens
        self._new_id = new_id
        self._where = where
        self._opened = False
        self._finished: set[int] = set()
        self._tools: dict[int, _ToolIndex] = {}
        self._usage: Usage | None = None
        self._document = False
        self._deltas = 0
        self.over = False

    def push(self, events: Iterable[Event]) -> list[Event]:
        """Well-formed events; empty after the terminal one."""
        out: list[Event] = []
        for event in events:
            if self.over:
                break
            match event:
                case Delta():
                    self._delta(event, out)
                case Finish():
                    self._finish(event, out)
                case UsageReport():
                    self._usage = event.usage
                case Opened():
                    if not self._opened:
                        self._opened = True
                        out.append(event)
                case Document():
                    self._document = True
                    out.append(event)
                case End():
                    self._end(out)
                case Fault():
                    self.over = True
                    out.append(event)
        if not self.over and self._usage is not None and self._complete():
            self._end(out)  # no need to wait for a `[DONE]` that may never come
        return out

    def close(self) -> list[Event]:
        """The body ended. Complete, or a fault: there is no third way."""
        out: list[Event] = []
        if not self.over:
            self._end(out)
        return out

    def _complete(self) -> bool:
        return self._document or len(self._finished) >= self._choices

    def _delta(self, event: Delta, out: list[Event]) -> None:
        if event.choice in self._finished or not 0 <= event.choice < self._choices:
            return
        if event.tool_calls:
            event.tool_calls = self._placed(event.choice, event.tool_calls)
        self._deltas += 1
        out.append(event)

    def _placed(self, choice: int, pieces: tuple[ToolCallDelta, ...]) -> tuple[ToolCallDelta, ...]:
        order = self._tools.setdefault(choice, _ToolIndex())
        placed: list[ToolCallDelta] = []
        for piece in pieces:
            index, is_new = order.place(piece.index if piece.index >= 0 else None, piece.id or None)
            if index >= MAX_TOOL_CALLS:
                continue
            placed.append(
                ToolCallDelta(
                    index=index,
                    id=(piece.id or self._new_id()) if is_new else None,
                    name=piece.name if is_new else None,
                    arguments=piece.arguments,
                )
            )
        return tuple(placed)

    def _finish(self, event: Finish, out: list[Event]) -> None:
        if event.choice in self._finished or not 0 <= event.choice < self._choices:
            return
        self._finished.add(event.choice)
        reason = _FINISH_REASONS.get(event.reason, event.reason)
        # Engines disagree about a tool call that ends for another reason (vLLM #53269, Ollama):
        # "length" always stands, otherwise a call that was sent makes it "tool_calls".
        if reason == "stop" and event.choice in self._tools:
            reason = "tool_calls"
        out.append(Finish(reason=reason, choice=event.choice))

    def _end(self, out: list[Event]) -> None:
        self.over = True
        if not self._complete():
            out.append(
                Fault(
                    error=StreamBroken(
                        "the engine's stream ended before its answer was complete",
                        fault="stream_broken",
                        where=self._where,
                    )
                )
            )
            return
        usage = self._usage
        if usage is None:
            usage = Usage(
                prompt_tokens=self._prompt_tokens, completion_tokens=self._deltas, estimated=True
            )
        out.append(UsageReport(usage=usage))
        out.append(End())


def carries_content(event: Event) -> bool:
    """Is this a first token? Headers, role-only deltas and comments are not."""
    return isinstance(event, Delta | Document)
