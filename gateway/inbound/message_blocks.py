"""Events as the content blocks of an Anthropic message, each begun, added to and stopped. Sans-IO.

What must stay true: blocks are numbered in the order of their beginning; text and thinking are stopped before
the next block begins, and so is a call whose arguments are complete. An engine may write several calls at once:
one whose arguments are not complete stays open until it is over. Signed thinking keeps its signature.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.anthropic_conversation import SIGNED_BY
from contracts.events import Delta, ToolCallDelta
from gateway.inbound.tool_calls import ToolCalls

Told = dict[str, Any]
"""One event of a stream."""
_DETAILS = "reasoning_details"


class Blocks:
    """The blocks of one message. Arguments of calls are kept, up to `max_bytes`."""

    def __init__(self, *, max_bytes: int) -> None:
        self._count = 0
        self._open: tuple[int, str] | None = None
        """The text or thinking that is being written: its number and its type."""
        self._calls = ToolCalls(max_bytes=max_bytes)

    def add(self, event: Delta) -> list[Told]:
        """What the event adds. Raises UpstreamFault."""
        out: list[Told] = []
        if event.reasoning:
            self._write("thinking", "thinking", event.reasoning, out)
        for entry in _details(event.extra):
            self._signed(entry, out)
        if text := event.content + event.refusal:
            self._write("text", "text", text, out)
        for piece in event.tool_calls:
            self._call(piece, out)
        return out

    def close(self) -> list[Told]:
        """Nothing more comes."""
        out: list[Told] = []
        self._stop_open(out)
        out += [_stop(call.place or 0) for call in self._calls.end_all()]
        return out

    def _write(self, kind: str, member: str, text: str, out: list[Told]) -> None:
        index = self._opened(kind, out)
        out.append(_delta(index, {"type": f"{kind}_delta", member: text}))

    def _opened(self, kind: str, out: list[Told]) -> int:
        """The number of an open block of that type."""
        if self._open is not None and self._open[1] == kind:
            return self._open[0]
        empty = {"thinking": "", "signature": ""} if kind == "thinking" else {"text": ""}
        self._open = self._begin({"type": kind, **empty}, out), kind
        return self._open[0]

    def _begin(self, block: Told, out: list[Told]) -> int:
        self._stop_open(out)
        out += [_stop(call.place or 0) for call in self._calls.end_complete()]
        index, self._count = self._count, self._count + 1
        out.append({"type": "content_block_start", "index": index, "content_block": block})
        return index

    def _signed(self, entry: Mapping[str, Any], out: list[Told]) -> None:
        """What Anthropic signed, or hid: clients must send it back as it is."""
        if entry.get("format") != SIGNED_BY:
            return
        if signature := entry.get("signature"):
            index = self._opened("thinking", out)
            out.append(_delta(index, {"type": "signature_delta", "signature": signature}))
            self._stop_open(out)
        elif data := entry.get("data"):
            index = self._begin({"type": "redacted_thinking", "data": data}, out)
            out.append(_stop(index))

    def _call(self, piece: ToolCallDelta, out: list[Told]) -> None:
        call, told = self._calls.add(piece)
        if call is None:
            return
        if call.place is None:
            begun = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            call.place = self._begin(begun, out)
        if told:
            out.append(_delta(call.place, {"type": "input_json_delta", "partial_json": told}))

    def _stop_open(self, out: list[Told]) -> None:
        if self._open is not None:
            out.append(_stop(self._open[0]))
            self._open = None


def _delta(index: int, delta: Told) -> Told:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _stop(index: int) -> Told:
    return {"type": "content_block_stop", "index": index}


def _details(extra: Mapping[str, msgspec.Raw] | None) -> list[dict[str, Any]]:
    raw = (extra or {}).get(_DETAILS)
    if raw is None:
        return []
    try:
        return msgspec.json.decode(raw, type=list[dict[str, Any]])
    except (msgspec.MsgspecError, RecursionError):
        return []  # some other provider's own
