"""Events as the output items of a Response, each added, written and done. Sans-IO.

What must stay true: items are numbered in the order of their beginning; reasoning and messages are done before
the next item begins, and so is a call whose arguments are complete. What is done is never changed.
"""

from typing import Any, Literal

from contracts.events import Delta, ToolCallDelta
from gateway.answers import PIECE_BYTES
from gateway.inbound.tool_calls import ToolCall, ToolCalls, too_large

Told = dict[str, Any]
"""One event of a stream."""
Kind = Literal["reasoning_text", "output_text", "refusal"]


class _Part:
    """One part of an item's content, while it is written."""

    def __init__(self, kind: Kind, index: int) -> None:
        self.kind: Kind = kind
        self.index = index
        self.pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def object(self) -> Told:
        match self.kind:
            case "output_text":
                return {"type": self.kind, "text": self.text, "annotations": [], "logprobs": []}
            case "refusal":
                return {"type": self.kind, "refusal": self.text}
            case "reasoning_text":
                return {"type": self.kind, "text": self.text}


class _Written:
    """A message, or reasoning, while it is written."""

    def __init__(self, item: Told, index: int) -> None:
        self.item = item
        self.index = index
        self.content: list[Told] = []
        self.part: _Part | None = None


class Items:
    """The output of one response: all of it is kept, up to `max_bytes`."""

    def __init__(self, suffix: str, *, max_bytes: int) -> None:
        """`suffix` makes the ids of this response's items its own."""
        self._suffix = suffix
        self._left = max_bytes
        self._calls = ToolCalls(max_bytes=max_bytes)
        self._done: list[Told | None] = []
        """By number; None while it is being written."""
        self._open: _Written | None = None

    @property
    def output(self) -> list[Told]:
        """What is done."""
        return [item for item in self._done if item is not None]

    def add(self, event: Delta) -> list[Told]:
        """What the event adds. Raises UpstreamFault."""
        out: list[Told] = []
        if event.reasoning:
            self._write("reasoning", "reasoning_text", event.reasoning, out)
        if event.content:
            self._write("message", "output_text", event.content, out)
        if event.refusal:
            self._write("message", "refusal", event.refusal, out)
        for piece in event.tool_calls:
            self._call(piece, out)
        return out

    def close(self, *, complete: bool) -> list[Told]:
        """Nothing more comes. What is not done by then is as complete as the answer is."""
        out: list[Told] = []
        status = "completed" if complete else "incomplete"
        self._end_open(out, status)
        for call in self._calls.end_all():
            self._end_call(call, out, status)
        return out

    def _write(self, item: str, kind: Kind, text: str, out: list[Told]) -> None:
        self._left -= PIECE_BYTES + len(text)
        if self._left < 0:
            raise too_large()
        if self._open is None or self._open.item["type"] != item:
            self._begin_written(item, out)
        written = self._open
        assert written is not None
        if written.part is None or written.part.kind != kind:
            self._end_part(written, out)
            written.part = _Part(kind, len(written.content))
            out.append(_of_part(written, "response.content_part.added", part=written.part.object()))
        written.part.pieces.append(text)
        more: Told = {"logprobs": []} if kind == "output_text" else {}
        out.append(_of_part(written, f"response.{kind}.delta", delta=text, **more))

    def _begin_written(self, kind: str, out: list[Told]) -> None:
        own: Told = {"summary": []} if kind == "reasoning" else {"role": "assistant"}
        begun = {"content": [], "status": "in_progress", **own}
        index, item = self._begin(kind, begun, out)
        self._open = _Written(item, index)

    def _begin(self, kind: str, members: Told, out: list[Told]) -> tuple[int, Told]:
        self._end_open(out, "completed")
        for call in self._calls.end_complete():
            self._end_call(call, out, "completed")
        index = len(self._done)
        self._done.append(None)
        prefix = {"reasoning": "rs", "message": "msg"}.get(kind, "fc")
        item = {"id": f"{prefix}_{self._suffix}{index:02}", "type": kind, **members}
        out.append({"type": "response.output_item.added", "output_index": index, "item": item})
        return index, item

    def _end_part(self, written: _Written, out: list[Told]) -> None:
        part = written.part
        if part is None:
            return
        told = part.object()
        text = {"refusal": part.text} if part.kind == "refusal" else {"text": part.text}
        more: Told = {"logprobs": []} if part.kind == "output_text" else {}
        out.append(_of_part(written, f"response.{part.kind}.done", **text, **more))
        out.append(_of_part(written, "response.content_part.done", part=told))
        written.content.append(told)
        written.part = None

    def _end_open(self, out: list[Told], status: str) -> None:
        written, self._open = self._open, None
        if written is None:
            return
        self._end_part(written, out)
        self._end(
            written.index, {**written.item, "content": written.content, "status": status}, out
        )

    def _call(self, piece: ToolCallDelta, out: list[Told]) -> None:
        call, told = self._calls.add(piece)
        if call is None:
            return
        if call.place is None:
            call.place, _ = self._begin("function_call", _call_members(call, "in_progress"), out)
        if told:
            out.append(
                {
                    "type": "response.function_call_arguments.delta",
                    "item_id": self._call_id(call),
                    "output_index": call.place,
                    "delta": told,
                }
            )

    def _call_id(self, call: ToolCall) -> str:
        return f"fc_{self._suffix}{call.place:02}"

    def _end_call(self, call: ToolCall, out: list[Told], status: str) -> None:
        assert call.place is not None
        out.append(
            {
                "type": "response.function_call_arguments.done",
                "item_id": self._call_id(call),
                "output_index": call.place,
                "name": call.name,
                "arguments": call.arguments,
            }
        )
        members = _call_members(call, status, call.arguments)
        self._end(call.place, {"id": self._call_id(call), "type": "function_call", **members}, out)

    def _end(self, index: int, item: Told, out: list[Told]) -> None:
        self._done[index] = item
        out.append({"type": "response.output_item.done", "output_index": index, "item": item})


def _call_members(call: ToolCall, status: str, arguments: str = "") -> Told:
    return {"call_id": call.id, "name": call.name, "arguments": arguments, "status": status}


def _of_part(written: _Written, kind: str, **members: Any) -> Told:
    assert written.part is not None
    return {
        "type": kind,
        "item_id": written.item["id"],
        "output_index": written.index,
        "content_index": written.part.index,
        **members,
    }
