"""What a client is told in the end: well-formed events, folded by hand into something to compare.

Also the providers' own words out of recordings, read naively and not by the decoders under test.
"""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from contracts.errors import UpstreamFault
from contracts.events import Delta, End, Event, Fault, Finish, Usage, UsageReport


class Told(msgspec.Struct, kw_only=True):
    """`calls` are id, name and arguments."""

    reasoning: str = ""
    text: str = ""
    refusal: str = ""
    calls: list[tuple[str, str, str]] = []
    finish: str | None = None
    usage: Usage | None = None
    whole: bool = False
    fault: str | None = None
    """The fault's class, where it ended in one."""


def told(events: Iterable[Event]) -> Told:
    """One choice. Checks the grammar of `contracts.events` on the way."""
    out = Told()
    calls: list[list[str]] = []
    over = False
    for event in events:
        assert not over, f"{event} after the end"
        match event:
            case Delta():
                assert out.finish is None, f"{event} after the finish"
                out.reasoning += event.reasoning
                out.text += event.content
                out.refusal += event.refusal
                for piece in event.tool_calls:
                    if piece.index == len(calls):
                        assert piece.id
                        assert piece.name
                        calls.append([piece.id, piece.name, ""])
                    calls[piece.index][2] += piece.arguments
            case Finish():
                out.finish = event.reason
            case UsageReport():
                out.usage = event.usage
            case End():
                out.whole = over = True
            case Fault():
                assert isinstance(event.error, UpstreamFault)
                out.fault, over = event.error.fault, True
    out.calls = [(call_id, name, arguments) for call_id, name, arguments in calls]
    return out


def _data_lines(body: bytes) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data:").strip() for line in body.decode().split("\n")]
    return [json.loads(line) for line in lines if line.startswith("{")]


def openai_said(body: bytes) -> Told:
    """A recorded stream of chunks."""
    out = Told(whole=True)
    calls: dict[int, list[str]] = {}
    for chunk in _data_lines(body):
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {}
            out.text += delta.get("content") or choice.get("text") or ""
            out.reasoning += delta.get("reasoning_content") or delta.get("reasoning") or ""
            for call in delta.get("tool_calls") or []:
                entry = calls.setdefault(call["index"], ["", "", ""])
                entry[0] = entry[0] or call.get("id") or ""
                entry[1] = entry[1] or call["function"].get("name") or ""
                entry[2] += call["function"].get("arguments") or ""
            out.finish = choice.get("finish_reason") or out.finish
        if usage := chunk.get("usage"):
            out.usage = Usage(
                prompt_tokens=usage["prompt_tokens"], completion_tokens=usage["completion_tokens"]
            )
    out.calls = [(i, n, a) for i, n, a in calls.values()]
    return out


_FINISHES = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}


def gemini_said(body: bytes) -> Told:
    """A recorded stream of candidates: the first one. Arguments in pieces are texts, at one level."""
    out = Told(whole=True)
    calls: list[tuple[str, str, dict[str, Any]]] = []
    counts: dict[str, Any] = {}
    for chunk in _data_lines(body):
        counts |= chunk.get("usageMetadata", {})
        for candidate in chunk.get("candidates", ()):
            for part in candidate.get("content", {}).get("parts", ()):
                call = part.get("functionCall", {})
                if "name" in call:
                    call_id = call.get("id", f"{chunk['responseId']}-0-{len(calls)}")
                    calls.append((call_id, call["name"], call.get("args", {})))
                for piece in call.get("partialArgs", ()):
                    arguments, name = calls[-1][2], piece["jsonPath"].removeprefix("$.")
                    arguments[name] = arguments.get(name, "") + piece["stringValue"]
                if part.get("thought"):
                    out.reasoning += part["text"]
                else:
                    out.text += part.get("text", "")
            if "finishReason" in candidate:
                assert candidate["finishReason"] == "STOP"
                out.finish = "tool_calls" if calls else "stop"
    out.calls = [
        (i, n, json.dumps(a, ensure_ascii=False, separators=(",", ":"))) for i, n, a in calls
    ]
    out.usage = Usage(
        prompt_tokens=counts["promptTokenCount"] + counts.get("toolUsePromptTokenCount", 0),
        completion_tokens=counts.get("candidatesTokenCount", 0)
        + counts.get("thoughtsTokenCount", 0),
    )
    return out


def ollama_said(body: bytes) -> Told:
    """A recorded stream of lines, of a chat or of a completion."""
    out = Told(whole=True)
    for line in _data_lines(body):
        out.text += line["response"] if "response" in line else line["message"]["content"]
        if line["done"]:
            out.finish = line["done_reason"]
            if "prompt_eval_count" in line:
                counts = line["prompt_eval_count"], line["eval_count"]
                out.usage = Usage(prompt_tokens=counts[0], completion_tokens=counts[1])
    return out


def anthropic_said(body: bytes) -> Told:
    """A recorded stream of content blocks: the first message in it."""
    out = Told(whole=True)
    kinds: dict[int, str] = {}
    calls: dict[int, list[str]] = {}
    counts: dict[str, Any] = {}
    for event in _data_lines(body):
        match event["type"]:
            case "message_start":
                counts |= event["message"]["usage"]
            case "content_block_start":
                block = event["content_block"]
                kinds[event["index"]] = block["type"]
                if block["type"] == "tool_use":
                    calls[event["index"]] = [block["id"], block["name"], ""]
            case "content_block_delta":
                delta, kind = event["delta"], kinds[event["index"]]
                out.text += delta.get("text", "")
                out.reasoning += delta.get("thinking", "")
                if kind == "tool_use":
                    calls[event["index"]][2] += delta["partial_json"]
            case "message_delta":
                reason = event["delta"]["stop_reason"]
                out.finish = _FINISHES[reason]
                counts |= {n: v for n, v in event["usage"].items() if v is not None}
            case "message_stop":
                break
    cached = counts.get("cache_read_input_tokens") or 0
    written = counts.get("cache_creation_input_tokens") or 0
    out.calls = [(i, n, a or "{}") for i, n, a in calls.values()]
    out.usage = Usage(
        prompt_tokens=counts["input_tokens"] + cached + written,
        completion_tokens=counts["output_tokens"],
    )
    return out


def tgi_said(body: bytes) -> Told:
    """A recorded stream of chunks, whose calls have neither ids nor an end."""
    out = openai_said(body)
    out.calls = [(f"made-{n}", name, given) for n, (_, name, given) in enumerate(out.calls)]
    if out.calls and out.finish in (None, "stop"):
        out.finish = "tool_calls"
    return out


def triton_said(body: bytes) -> Told:
    """Recorded responses: texts, and nothing else."""
    texts = [event["text_output"] for event in _data_lines(body)]
    return Told(text="".join(texts), finish="stop", whole=True)
