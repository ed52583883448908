"""Events to what Anthropic's clients read: the events of a stream, or the one message that they make. Pure.

The message is folded from its own stream, so that both say the same. Anthropic's counts leave out what concerns
its cache; ours are inclusive.
"""

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from contracts.errors import GatewayError, UpstreamFault
from contracts.events import Delta, End, Event, Finish, Usage, UsageReport
from gateway.answers import PIECE_BYTES, Identity
from gateway.inbound.message_blocks import Blocks, Told
from gateway.inbound.messages_errors import error_body
from gateway.inbound.origins import SAME, Origins
from gateway.inbound.tool_calls import too_large
from gateway.tongues import Cost

PING = b'event: ping\ndata: {"type": "ping"}\n\n'

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""A reason that is not here travels on as it is."""
_encode = msgspec.json.Encoder().encode


class Story:
    """One message, told as events of Anthropic's."""

    def __init__(
        self, identity: Identity, *, prompt_tokens: int, stops: Collection[str], max_bytes: int
    ) -> None:
        """`prompt_tokens` is an estimate, for the beginning; `stops` are the client's stop sequences."""
        self.model = identity.model
        self._id = f"msg_{identity.id.rpartition('-')[2]}"
        self._prompt_tokens = prompt_tokens
        self._stops = stops
        self._blocks = Blocks(max_bytes=max_bytes)
        self._begun = False
        self._refused = False
        self._finish: Finish | None = None

    def told(self, events: Iterable[Event]) -> list[Told]:
        """Raises UpstreamFault."""
        out: list[Told] = []
        for event in events:
            match event:
                case Delta():
                    self._begin(out)
                    self._refused = self._refused or bool(event.refusal)
                    out += self._blocks.add(event)
                case Finish():
                    self._begin(out)
                    self._finish = event
                    out += self._blocks.close()
                case UsageReport():
                    self._end(event.usage, out)
                case End():
                    self._end(Usage(prompt_tokens=self._prompt_tokens, completion_tokens=0), out)
                    out.append({"type": "message_stop"})
                case _:
                    pass
        return out

    def _begin(self, out: list[Told]) -> None:
        if self._begun:
            return
        self._begun = True
        message: Told = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": self._prompt_tokens, "output_tokens": 0},
        }
        out.append({"type": "message_start", "message": message})

    def _end(self, usage: Usage, out: list[Told]) -> None:
        if self._finish is None:
            return
        finish, self._finish = self._finish, None
        delta = self._ending(finish)
        out.append({"type": "message_delta", "delta": delta, "usage": usage_object(usage)})

    def _ending(self, finish: Finish) -> Told:
        met = finish.stop_sequence
        if met in self._stops and finish.reason == "stop":
            return {"stop_reason": "stop_sequence", "stop_sequence": met}
        reason = _STOP_REASONS.get(finish.reason, finish.reason)
        if self._refused and reason == "end_turn":
            reason = "refusal"
        ending: Told = {"stop_reason": reason, "stop_sequence": None}
        if reason == "refusal":
            ending["stop_details"] = {"type": "refusal", "category": None, "explanation": None}
        return ending


def usage_object(usage: Usage) -> dict[str, Any]:
    """Anthropic's `usage`; what the backend did not tell is not there."""
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    shown: dict[str, Any] = {
        "input_tokens": max(0, usage.prompt_tokens - (cached or 0) - (written or 0)),
        "output_tokens": usage.completion_tokens,
    }
    if cached is not None:
        shown["cache_read_input_tokens"] = cached
    if written is not None:
        shown["cache_creation_input_tokens"] = written
    if usage.reasoning_tokens is not None:
        shown["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.estimated:
        shown["estimated"] = True
    return shown


class MessageWriter:
    """A Writer."""

    heartbeat = PING

    def __init__(self, story: Story, origins: Origins) -> None:
        self._story = story
        self._origins = origins

    def served_by(self, model: str) -> None:
        self._story.model = model

    def write(self, events: Iterable[Event]) -> bytes:
        return b"".join(
            b"event: %b\ndata: %b\n\n" % (told["type"].encode(), _encode(told))
            for told in self._story.told(events)
        )

    def failed(self, error: GatewayError, request_id: str) -> bytes:
        return b"event: error\ndata: %b\n\n" % error_body(error, request_id, self._origins)


class MessageFold:
    """A Folding."""

    def __init__(self, story: Story, *, max_bytes: int) -> None:
        self._story = story
        self._max_bytes = max_bytes
        self._bytes = 0
        self._message: dict[str, Any] = {}
        self._pieces: list[dict[str, list[str]]] = []
        """What is added to each block, by member."""

    def add(self, events: Iterable[Event]) -> None:
        for told in self._story.told(events):
            match told["type"]:
                case "message_start":
                    self._message = told["message"]
                case "content_block_start":
                    self._message["content"].append(told["content_block"])
                    self._pieces.append({})
                    self._count(_encode(told["content_block"]).decode())
                case "content_block_delta":
                    delta = told["delta"]
                    ((member, text),) = ((n, t) for n, t in delta.items() if n != "type")
                    self._pieces[told["index"]].setdefault(member, []).append(text)
                    self._count(text)
                case "message_delta":
                    self._message |= {**told["delta"], "usage": told["usage"]}
                case _:
                    pass

    def body(self) -> bytes:
        for block, pieces in zip(self._message["content"], self._pieces, strict=True):
            for member, texts in pieces.items():
                text = "".join(texts)
                if member == "partial_json":
                    block["input"] = self._input(text)
                else:
                    block[member] = text
        return _encode(self._message)

    def _input(self, arguments: str) -> msgspec.Raw | dict[str, Any]:
        """A call's arguments as an object, which is all that Anthropic's clients take."""
        try:
            msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
        except (msgspec.MsgspecError, RecursionError) as exc:
            if self._message["stop_reason"] == "max_tokens":
                return {}  # cut off: the client sees by the reason that this is not all
            raise UpstreamFault(
                "the engine called a tool with arguments that are not a JSON object"
            ) from exc
        return msgspec.Raw(arguments.encode())

    def _count(self, text: str) -> None:
        self._bytes += PIECE_BYTES + (len(text) if text.isascii() else len(text.encode()))
        if self._bytes > self._max_bytes:
            raise too_large()


class MessagesVoice(msgspec.Struct, frozen=True, kw_only=True):
    """A Voice. A message's price is not part of it: Anthropic's usage has no place for one."""

    prompt_tokens: int
    stops: frozenset[str]
    origins: Origins = SAME

    def writer(self, identity: Identity, *, cost: Cost, max_bytes: int) -> MessageWriter:
        return MessageWriter(self._story(identity, max_bytes), self.origins)

    def folding(self, identity: Identity, *, max_bytes: int) -> MessageFold:
        return MessageFold(self._story(identity, max_bytes), max_bytes=max_bytes)

    def error(self, error: GatewayError, request_id: str) -> bytes:
        return error_body(error, request_id, self.origins)

    def _story(self, identity: Identity, max_bytes: int) -> Story:
        return Story(
            identity, prompt_tokens=self.prompt_tokens, stops=self.stops, max_bytes=max_bytes
        )
