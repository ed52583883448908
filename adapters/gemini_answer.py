"""What the pieces of a Gemini answer say, as events. Pure; bytes and framing are `gemini_stream`'s.

Calls come whole (in pieces where the caller asked for that at Vertex). What must stay true: a prompt that was
blocked is a refusal, and not silence; a candidate that failed is a fault, and not an answer; arguments that come
whole keep their bytes.
"""

import msgspec
from msgspec import Raw

from adapters.cumulative_usage import merged
from adapters.gemini_arguments import Arguments, NoSuchPlace
from adapters.gemini_conversation import SIGNED_BY
from adapters.gemini_wire import (
    CallPiece,
    CandidatePiece,
    ChunkPiece,
    FeedbackPiece,
    LogprobsPiece,
    PartPiece,
    TokenPiece,
    TopPiece,
    UsagePiece,
)
from adapters.logprobs import Token, content_logprobs
from adapters.openai_wire import has_items
from adapters.service_tier import openai_tier
from contracts.errors import FaultClass, StreamBroken, UpstreamFault
from contracts.events import (
    Delta,
    Event,
    Finish,
    Opened,
    ToolCallDelta,
    Usage,
    UsageReport,
)

MAX_CANDIDATES = 128
"""As many as OpenAI gives to one request. Each costs memory."""

_FILTERED = "content_filter"
_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
"""The word for none."""
_FINISH_REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": _FILTERED,
    "RECITATION": _FILTERED,
    "LANGUAGE": _FILTERED,
    "BLOCKLIST": _FILTERED,
    "PROHIBITED_CONTENT": _FILTERED,
    "SPII": _FILTERED,
    "IMAGE_SAFETY": _FILTERED,
    "IMAGE_PROHIBITED_CONTENT": _FILTERED,
    "IMAGE_RECITATION": _FILTERED,
    "ESCALATION": _FILTERED,
    "PUP_LIMITED_DISABLED": _FILTERED,
    "MODEL_ARMOR": _FILTERED,
}
"""A reason that is in neither table travels on as it is."""
_FAILURES: dict[str, FaultClass] = {
    "MALFORMED_FUNCTION_CALL": "upstream_bug",
    "MALFORMED_RESPONSE": "upstream_bug",
    "UNEXPECTED_TOOL_CALL": "upstream_bug",
    "TOO_MANY_TOOL_CALLS": "upstream_bug",
    "MISSING_THOUGHT_SIGNATURE": "client",
    "IMAGE_OTHER": "upstream_bug",
    "NO_IMAGE": "upstream_bug",
    "OTHER": "upstream_bug",
}
"""Reasons by which Gemini says that it failed, and whether another attempt may help."""
_encode = msgspec.json.Encoder().encode


class _Candidate:
    """What must be known of one candidate from piece to piece."""

    def __init__(self) -> None:
        self.calls = 0
        self.details = 0
        self.open: tuple[int, Arguments] | None = None
        """The call that is being told in pieces: which one it is, and its arguments so far."""


class AnswerReader:
    """The pieces of one answer, in their order."""

    def __init__(self, choices: int) -> None:
        self._choices = choices
        self._candidates: dict[int, _Candidate] = {}
        self._usage = UsagePiece()
        self._opened = False
        self._finished = False

    def read(self, chunk: ChunkPiece, out: list[Event]) -> UpstreamFault | None:
        """Append what `chunk` says; the fault by which it ends the answer, if it does."""
        if chunk.usage_metadata is not None:
            self._usage = merged(self._usage, chunk.usage_metadata)
        if not self._opened:
            self._opened = True
            out.append(Opened(service_tier=openai_tier(self._usage.service_tier)))
        if not chunk.candidates and chunk.prompt_feedback is not None:
            self._blocked(chunk.prompt_feedback, out)
        for candidate in chunk.candidates or ():
            fault = self._candidate(candidate, chunk.response_id, out)
            if fault is not None:
                return fault
        if self._finished and self._usage.prompt_token_count is not None:
            out.append(UsageReport(usage=usage_of(self._usage)))
        return None

    def _blocked(self, feedback: FeedbackPiece, out: list[Event]) -> None:
        if not feedback.block_reason:
            return
        said = feedback.block_reason_message or f"the prompt was blocked: {feedback.block_reason}"
        self._finished = True
        for choice in range(self._choices):
            out.append(Delta(choice=choice, refusal=said))
            out.append(Finish(choice=choice, reason=_FILTERED))

    def _candidate(
        self, piece: CandidatePiece, response_id: str | None, out: list[Event]
    ) -> UpstreamFault | None:
        choice = piece.index or 0
        if not 0 <= choice < MAX_CANDIDATES:
            return None
        candidate = self._candidates.setdefault(choice, _Candidate())
        try:
            for part in (piece.content.parts if piece.content else None) or ():
                _part(part, choice, candidate, response_id, out)
        except NoSuchPlace as exc:
            return StreamBroken(
                f"the engine made a call that cannot be read: {exc}", fault="stream_broken"
            )
        if piece.logprobs_result is not None:
            _logprobs(piece.logprobs_result, choice, out)
        if piece.finish_reason and piece.finish_reason != _UNSPECIFIED:
            self._finished = True
            return _finish(piece, choice, candidate, out)
        return None


def _part(
    part: PartPiece,
    choice: int,
    candidate: _Candidate,
    response_id: str | None,
    out: list[Event],
) -> None:
    call_id = None
    if part.function_call is not None:
        call_id = _call(part.function_call, choice, candidate, response_id, out)
    elif part.text and part.thought:
        out.append(Delta(choice=choice, reasoning=part.text))
    elif part.text:
        out.append(Delta(choice=choice, content=part.text))
    elif part.inline_data is not None:
        url = f"data:{part.inline_data.mime_type};base64,{part.inline_data.data}"
        images = [{"type": "image_url", "image_url": {"url": url}}]
        out.append(Delta(choice=choice, extra={"images": Raw(_encode(images))}))
    signed = call_id is not None or (part.text is not None and not part.thought)
    if part.thought_signature and signed:
        details = _signature(part.thought_signature, call_id, candidate)
        out.append(Delta(choice=choice, extra={"reasoning_details": details}))


def _call(
    piece: CallPiece,
    choice: int,
    candidate: _Candidate,
    response_id: str | None,
    out: list[Event],
) -> str | None:
    """Append what a part says of a call; the call's id, where the call begins and has one."""
    if piece.name:
        _close(candidate, choice, out)
        number = candidate.calls
        candidate.calls += 1
        call_id = piece.id or (f"{response_id}-{choice}-{number}" if response_id else None)
        call = ToolCallDelta(index=number, id=call_id, name=piece.name)
        if piece.will_continue or piece.partial_args:
            candidate.open = (number, Arguments())
        else:
            call.arguments = bytes(piece.args).decode() if has_items(piece.args) else "{}"
        out.append(Delta(choice=choice, tool_calls=(call,)))
    else:
        call_id = None
    if candidate.open is not None:
        for partial in piece.partial_args or ():
            candidate.open[1].add(partial)
        if not piece.will_continue:
            _close(candidate, choice, out)
    return call_id


def _close(candidate: _Candidate, choice: int, out: list[Event]) -> None:
    """The call that was told in pieces is complete."""
    if candidate.open is None:
        return
    number, arguments = candidate.open
    candidate.open = None
    piece = ToolCallDelta(index=number, arguments=arguments.encoded())
    out.append(Delta(choice=choice, tool_calls=(piece,)))


def _signature(signature: str, call_id: str | None, candidate: _Candidate) -> Raw:
    """What a client must send back for the model to go on from its thoughts, as OpenRouter writes it."""
    entry = {"type": "reasoning.encrypted", "format": SIGNED_BY, "index": candidate.details}
    candidate.details += 1
    named = {"id": call_id} if call_id is not None else {}
    return Raw(_encode([{**entry, **named, "data": signature}]))


def _logprobs(piece: LogprobsPiece, choice: int, out: list[Event]) -> None:
    chosen = piece.chosen_candidates or ()
    tops = piece.top_candidates or ()
    if chosen:
        told = content_logprobs(
            (_token(token), map(_token, _top(tops, place))) for place, token in enumerate(chosen)
        )
        out.append(Delta(choice=choice, logprobs=told))


def _top(tops: list[TopPiece] | tuple[()], place: int) -> list[TokenPiece]:
    return (tops[place].candidates or []) if place < len(tops) else []


def _token(piece: TokenPiece) -> Token:
    return piece.token, piece.log_probability


def _finish(
    piece: CandidatePiece, choice: int, candidate: _Candidate, out: list[Event]
) -> UpstreamFault | None:
    _close(candidate, choice, out)
    told = piece.finish_reason or ""
    failure = _FAILURES.get(told)
    if failure is not None:
        why = f": {piece.finish_message}" if piece.finish_message else ""
        return UpstreamFault(
            f"the engine ended its answer with {told}{why}",
            fault=failure,
            status=400 if failure == "client" else None,
        )
    reason = _FINISH_REASONS.get(told, told)
    if reason == _FILTERED and piece.finish_message:
        out.append(Delta(choice=choice, refusal=piece.finish_message))
    out.append(Finish(choice=choice, reason=reason))
    return None


def usage_of(piece: UsagePiece) -> Usage:
    """Counts made inclusive: Gemini leaves thoughts out of the candidates' tokens, and tools out of the prompt."""
    thoughts = piece.thoughts_token_count
    return Usage(
        prompt_tokens=(piece.prompt_token_count or 0) + (piece.tool_use_prompt_token_count or 0),
        completion_tokens=(piece.candidates_token_count or 0) + (thoughts or 0),
        cached_tokens=piece.cached_content_token_count,
        reasoning_tokens=thoughts,
    )
