"""Events to what clients of OpenAI's Responses read: the events of a stream, or the one object. Pure.

The object is the one that its stream ends with. Every event has a number; the first two and the last hold the
response as it is then.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from contracts.errors import ErrorBody, ErrorEnvelope, GatewayError
from contracts.events import Delta, End, Event, Finish, Usage, UsageReport
from gateway.answers import HEARTBEAT, Identity
from gateway.inbound.origins import SAME, Origins
from gateway.inbound.response_items import Items, Told
from gateway.tongues import Cost

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Reasons to end that leave an answer incomplete, in OpenAI's words for it."""
_encode = msgspec.json.Encoder().encode


class Story:
    """One response, told as events. `repeated` are the members of the request that it shows."""

    def __init__(self, identity: Identity, repeated: Mapping[str, Any], *, max_bytes: int) -> None:
        suffix = identity.id.rpartition("-")[2]
        self.model = identity.model
        self._id = f"resp_{suffix}"
        self._created_s = identity.created_s
        self._repeated = repeated
        self._items = Items(suffix, max_bytes=max_bytes)
        self._begun = False
        self._finish: Finish | None = None
        self._ended = False

    def told(self, events: Iterable[Event]) -> list[Told]:
        """Raises UpstreamFault."""
        out: list[Told] = []
        for event in events:
            match event:
                case Delta():
                    self._begin(out)
                    out += self._items.add(event)
                case Finish():
                    self._begin(out)
                    self._finish = event
                    out += self._items.close(complete=event.reason not in _INCOMPLETE)
                case UsageReport():
                    self._end(event.usage, out)
                case End():
                    self._end(None, out)
                case _:
                    pass
        return out

    def failed(self, told: ErrorBody) -> list[Told]:
        """The end of one that failed. The SDKs raise what stands under `error`; others read the response."""
        out: list[Told] = []
        self._begin(out)
        out.append(
            {
                "type": "error",
                "code": told.code,
                "message": told.message,
                "param": told.param,
                "error": told,
            }
        )
        failure = {"code": told.code, "message": told.message}
        response = self._response("failed", output=self._items.output, error=failure)
        out.append({"type": "response.failed", "response": response})
        return out

    def _begin(self, out: list[Told]) -> None:
        if self._begun:
            return
        self._begun = True
        response = self._response("in_progress", output=[])
        out += [
            {"type": "response.created", "response": response},
            {"type": "response.in_progress", "response": response},
        ]

    def _end(self, usage: Usage | None, out: list[Told]) -> None:
        if self._ended or self._finish is None:
            return
        self._ended = True
        why = _INCOMPLETE.get(self._finish.reason)
        status = "completed" if why is None else "incomplete"
        response = self._response(
            status,
            output=self._items.output,
            usage=None if usage is None else usage_object(usage),
            incomplete_details=None if why is None else {"reason": why},
        )
        out.append({"type": f"response.{status}", "response": response})

    def _response(self, status: str, *, output: list[Told], **told: Any) -> Told:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created_s,
            "completed_at": None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "usage": None,
            **self._repeated,
            "model": self.model,
            "output": output,
            **told,
        }


def usage_object(usage: Usage) -> dict[str, Any]:
    """The SDKs want every member: what the backend did not tell is 0 here."""
    shown: dict[str, Any] = {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
    }
    if usage.estimated:
        shown["estimated"] = True
    return shown


class ResponseWriter:
    """A Writer."""

    heartbeat = HEARTBEAT

    def __init__(self, story: Story, origins: Origins) -> None:
        self._story = story
        self._origins = origins
        self._number = 0

    def served_by(self, model: str) -> None:
        self._story.model = model

    def write(self, events: Iterable[Event]) -> bytes:
        return self._framed(self._story.told(events))

    def failed(self, error: GatewayError, request_id: str) -> bytes:
        told = self._origins.told(error.envelope(request_id).error)
        return self._framed(self._story.failed(told))

    def _framed(self, told: list[Told]) -> bytes:
        frames: list[bytes] = []
        for event in told:
            event["sequence_number"] = self._number
            self._number += 1
            frames.append(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _encode(event)))
        return b"".join(frames)


class ResponseFold:
    """A Folding."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._response: Told = {}

    def add(self, events: Iterable[Event]) -> None:
        for event in self._story.told(events):
            self._response = event.get("response", self._response)

    def body(self) -> bytes:
        return _encode(self._response)


class ResponsesVoice(msgspec.Struct, frozen=True, kw_only=True):
    """A Voice. A response's price is not part of it: there is no place for one."""

    repeated: dict[str, Any]
    origins: Origins = SAME

    def writer(self, identity: Identity, *, cost: Cost, max_bytes: int) -> ResponseWriter:
        return ResponseWriter(Story(identity, self.repeated, max_bytes=max_bytes), self.origins)

    def folding(self, identity: Identity, *, max_bytes: int) -> ResponseFold:
        return ResponseFold(Story(identity, self.repeated, max_bytes=max_bytes))

    def error(self, error: GatewayError, request_id: str) -> bytes:
        return _encode(ErrorEnvelope(error=self.origins.told(error.envelope(request_id).error)))
