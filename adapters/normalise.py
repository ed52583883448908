"""Any backend's events, made well-formed: the grammar at the head of `contracts.events`.

What must stay true, whatever the backend does: one terminal event and nothing after it; a finish
once a choice; `End` only when every choice has finished, so a stream that just stops is a fault and
never a short success; tool calls counted from 0 in the order of their appearance; usage once.
Sans-IO, one instance an attempt.
"""

from collections.abc import Callable, Iterable

from contracts.errors import GatewayError, StreamBroken, UpstreamFault
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


_FAILURES = frozenset({"error", "abort", "incomplete_generation"})
"""Reasons by which an engine says that it failed (vLLM, TGI, OpenRouter): no finish at all."""


class _ToolOrder:
    """Upstream's calls in the order of their appearance, from 0: its indexes may start anywhere.

    A new id at an old index is a new call (some backends send 0 always). A piece with neither index
    nor id belongs to the call before it, unless it names a function, as the start of a call does.
    """

    __slots__ = ("_at", "_identified", "_ids", "_last", "_named", "count")

    def __init__(self) -> None:
        self._at: dict[int | None, int] = {}
        self._ids: dict[tuple[int | None, str], int] = {}
        self._identified: set[int] = set()
        self._named: set[int] = set()
        self._last: int | None = None
        self.count = 0

    def place(self, piece: ToolCallDelta) -> tuple[int, bool]:
        """Our index, and whether the call is new."""
        index = piece.index if piece.index >= 0 else None
        mine = self._find(index, piece.id, piece.name)
        is_new = mine is None
        if mine is None:
            mine = self.count
            self.count += 1
        self._at[index] = self._last = mine
        if piece.id:
            self._identified.add(mine)
            self._ids[index, piece.id] = mine
        return mine, is_new

    def name(self, mine: int, name: str | None) -> str | None:
        """The call's name, the first time that it is told; some backends repeat it in every piece."""
        if not name or mine in self._named:
            return None
        self._named.add(mine)
        return name

    def _find(self, index: int | None, call_id: str | None, name: str | None) -> int | None:
        if call_id:
            known = self._ids.get((index, call_id))
            if known is not None:
                return known
            mine = self._at.get(index)  # its id may come late
            return None if mine in self._identified else mine
        if index is not None:
            return self._at.get(index)
        return None if name and self._last in self._named else self._last


class Normaliser:
    """`push` what a decoder emitted; `close` when the body ended. Both give well-formed events.

    `choices` is how many answers the request asked for. `new_id` makes an id for a tool call
    that came without one. `where` names the endpoint in faults.
    """

    __slots__ = (
        *("_choices", "_finished", "_new_id", "_opened", "_prompt_tokens", "_told", "_tools"),
        *("_unjudged", "_where", "complete", "deltas", "document", "fault", "finish_reasons"),
        *("over", "usage"),
    )

    def __init__(
        self, choices: int, prompt_tokens: int, new_id: Callable[[], str], where: str
    ) -> None:
        self._choices = choices
        self._prompt_tokens = prompt_tokens
        self._new_id = new_id
        self._where = where
        self._opened = False
        self._finished: set[int] = set()
        self._unjudged: list[Finish] = []
        """Told when the usage has come."""
        self._tools: dict[int, _ToolOrder] = {}
        self._told: Usage | None = None
        """What the backend counted, as far as it has said so."""
        self.document = False
        """The answer is one, and it is there."""
        self.deltas = 0
        """Pieces of content, the nearest that one gets to tokens without the backend's own count."""
        self.complete = choices <= 0
        """Every choice has finished; usage and the end marker may still come."""
        self.over = False
        self.usage: Usage | None = None
        """As it was reported, in the end."""
        self.finish_reasons: list[str] = []
        self.fault: GatewayError | None = None
        """The terminal one."""

    def push(self, events: Iterable[Event]) -> list[Event]:
        """Well-formed events; empty after the terminal one."""
        out: list[Event] = []
        # By their types, as none has subclasses: a pattern that does not match takes 110 ns, this 20 ns.
        for event in events:
            if self.over:
                break
            if type(event) is Delta:  # nearly every event is one
                if 0 <= event.choice < self._choices and event.choice not in self._finished:
                    if event.tool_calls and not self._called(event, out):
                        continue
                    self._opened = True
                    self.deltas += event.pieces
                    out.append(event)
            elif type(event) is Finish:
                self._finish(event, out)
            elif type(event) is UsageReport:
                self._told = event.usage
                if self.complete:
                    self._end(out)  # no need to wait for a `[DONE]` that may never come
            elif type(event) is Opened:
                if not self._opened:
                    self._opened = True
                    out.append(event)
            elif type(event) is End:
                self._end(out)
            elif type(event) is Document:
                if not self.document:
                    self._opened = self.document = self.complete = True
                    out.append(event)
            elif type(event) is Fault:
                if self.complete and (self.deltas or self.document):
                    self._end(out)  # what failed is the farewell of an answer that is there
                else:
                    self._fault(event.error, out)
        return out

    def close(self) -> list[Event]:
        """The body ended. Complete, or a fault: there is no third way."""
        out: list[Event] = []
        if not self.over:
            self._end(out)
        return out

    def expects(self, choice: int) -> bool:
        """Whether more may be said of it."""
        return not self.over and 0 <= choice < self._choices and choice not in self._finished

    def estimate(self) -> Usage:
        """What has come so far, as the gateway counts."""
        return Usage(
            prompt_tokens=self._prompt_tokens, completion_tokens=self.deltas, estimated=True
        )

    def _called(self, event: Delta, out: list[Event]) -> bool:
        """Put its tool calls in their places; False where nothing is left to say of it."""
        event.tool_calls = self._placed(event.choice, event.tool_calls)
        if self._tools[event.choice].count > MAX_TOOL_CALLS:
            self._fail(f"the engine made more than {MAX_TOOL_CALLS} tool calls", out)
            return False
        return bool(event.tool_calls) or _says_more(event)

    def _placed(self, choice: int, pieces: tuple[ToolCallDelta, ...]) -> tuple[ToolCallDelta, ...]:
        order = self._tools.setdefault(choice, _ToolOrder())
        placed: list[ToolCallDelta] = []
        for piece in pieces:
            index, is_new = order.place(piece)
            name = order.name(index, piece.name)
            if not (is_new or name or piece.arguments):
                continue  # no token, and nothing that anybody could read
            placed.append(
                ToolCallDelta(
                    index=index,
                    id=(piece.id or self._new_id()) if is_new else None,
                    name=name,
                    arguments=piece.arguments,
                )
            )
        return tuple(placed)

    def _finish(self, event: Finish, out: list[Event]) -> None:
        if not self.expects(event.choice):
            return
        if event.reason in _FAILURES:
            self._fail(f"the engine ended its answer with {event.reason!r}", out)
            return
        self._opened = True
        self._finished.add(event.choice)
        self.complete = self.complete or len(self._finished) >= self._choices
        if event.limit is not None and self._told is None:
            self._unjudged.append(event)
        else:
            self._judge(event, out)

    def _judge(self, event: Finish, out: list[Event]) -> None:
        reason = _FINISH_REASONS.get(event.reason, event.reason)
        if reason == "stop" and event.limit is not None and self._told is not None:
            reason = "length" if self._told.completion_tokens >= event.limit else "stop"
        # Engines disagree about a tool call that ends for another reason (vLLM #53269, Ollama):
        # "length" always stands, otherwise a call that was sent makes it "tool_calls".
        if reason == "stop" and event.choice in self._tools:
            reason = "tool_calls"
        told = event.stop_sequence if reason == "stop" else None
        self.finish_reasons.append(reason)
        out.append(Finish(reason=reason, choice=event.choice, stop_sequence=told))

    def _end(self, out: list[Event]) -> None:
        if not self.complete:
            self._fail("the engine's stream ended before its answer was complete", out)
            return
        self.over = True
        for finish in self._unjudged:
            self._judge(finish, out)
        self.usage = self._told or self.estimate()
        out += (UsageReport(usage=self.usage), End())

    def _fail(self, message: str, out: list[Event]) -> None:
        self._fault(StreamBroken(message, fault="stream_broken"), out)

    def _fault(self, error: GatewayError, out: list[Event]) -> None:
        if isinstance(error, UpstreamFault) and error.where is None:
            error.where = self._where
        self.over, self.fault = True, error
        out.append(Fault(error=error))


def _says_more(event: Delta) -> bool:
    """Than its calls do."""
    text = event.content or event.reasoning or event.refusal
    return bool(text or event.extra) or event.logprobs is not None
