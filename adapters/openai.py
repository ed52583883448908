"""The OpenAI dialect: chat, text completions and embeddings, as OpenAI and its many imitators speak them.

Base of the other OpenAI-speaking dialects, which override what differs. Sans-IO.
"""

from collections.abc import Mapping

import msgspec

from adapters import openai_body
from adapters.dialect import AttemptContext, Decoder, EndpointState, WireHead, WireRequest
from adapters.openai_wire import (
    EXTRA_MEMBERS,
    ChoicePiece,
    ChunkPiece,
    DeltaPiece,
    ErrorPiece,
    UsagePiece,
    as_utf8,
    has_items,
    is_present,
    members_decoder,
    read_chunk,
    read_error,
)
from adapters.retry_after import retry_after_s
from adapters.sse import EventTooLarge, SSEDecoder, SSEEvent
from contracts.errors import FaultClass, StreamBroken, UpstreamFault
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
from contracts.inference import InferRequest, Operation

PATHS: dict[Operation, str] = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "embedding": "/v1/embeddings",
}
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024

_QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    }
)
_CONTENT_CODES = frozenset({"content_policy_violation", "content_filter"})
_encode = msgspec.json.Encoder().encode


class OpenAIDialect:
    """OpenAI itself, and any backend that speaks as it does."""

    engine = "openai"
    limit_names: tuple[str, ...] = ("max_tokens", "max_completion_tokens")
    """Every member by which this backend lets itself be told how much to generate."""

    def request(self, infer: InferRequest, attempt: AttemptContext) -> WireRequest:
        replace: dict[str, msgspec.Raw | bytes] = dict(attempt.overrides)
        replace["model"] = _encode(attempt.upstream_model)
        if infer.operation != "embedding":
            replace["stream"] = b"true"
            replace["stream_options"] = b'{"include_usage":true}'
            cap = self.token_cap(infer, attempt)
            if cap is not None:
                default = self.limit_name(infer.operation)
                replace |= openai_body.capped(infer.members, cap, default, self.limit_names)
        body = openai_body.compose(infer.members, replace)
        return WireRequest(
            method="POST",
            path=PATHS[infer.operation],
            headers=self.headers(infer, attempt),
            body=body,
        )

    def headers(self, infer: InferRequest, attempt: AttemptContext) -> tuple[tuple[str, str], ...]:
        """Never the client's own: only what this backend needs."""
        accept = "application/json" if infer.operation == "embedding" else "text/event-stream"
        headers = [
            ("content-type", "application/json"),
            ("accept", accept),
            ("x-request-id", infer.request_id),
        ]
        if attempt.api_key:
            headers.append(("authorization", f"Bearer {attempt.api_key}"))
        return tuple(headers)

    def token_cap(self, infer: InferRequest, attempt: AttemptContext) -> int | None:
        """The most tokens this attempt may generate, or None to leave it to the backend."""
        return attempt.max_tokens

    def limit_name(self, operation: Operation) -> str:
        """The member that limits tokens where the client named none. OpenAI's reasoning models
        refuse the older name."""
        return "max_completion_tokens" if operation == "chat" else "max_tokens"

    def decoder(self, infer: InferRequest, head: WireHead) -> Decoder:
        kind = head.headers.get("content-type", "").lower()
        if infer.operation == "embedding":
            return EmbeddingDecoder(self)
        if kind.startswith("application/json"):
            return DocumentDecoder(self)
        return StreamDecoder(self)

    def fault(self, head: WireHead, body: bytes) -> UpstreamFault:
        found = read_error(body) or ErrorPiece()
        return self.fault_of(found, head.status, retry_after_s(head.headers))

    def fault_of(
        self, found: ErrorPiece, status: int | None, retry_s: float | None = None
    ) -> UpstreamFault:
        """An error object as a fault. `status` None: it came inside a stream, where the object may
        tell the status itself: a stream can fail after its 200, and before its first token."""
        told = status if status is not None else _status_in(found)
        fault = self.classify(found, told)
        shown, code, kind = _presentation(fault, found, told)
        return UpstreamFault(
            _message(fault, found, told),
            fault=fault,
            status=shown,
            code=code,
            type=kind,
            param=found.param,
            upstream_status=status,
            retry_after_s=retry_s,
        )

    def classify(self, found: ErrorPiece, status: int | None) -> FaultClass:
        """What kind of failure, by what the engine says and then by status."""
        code, kind = str(found.code or ""), found.type or ""
        if code == "context_length_exceeded" or _speaks_of_context(found):
            return "context_length"
        if code in _CONTENT_CODES:
            return "content"
        if code in _QUOTA_CODES or kind in _QUOTA_CODES:
            return "quota"
        if code == "server_is_overloaded" or kind == "overloaded_error":
            return "overload"
        if status is None:
            return "stream_broken"
        return _class_of_status(status)

    def probes(self) -> tuple[str, ...]:
        return ("/v1/models",)

    def state(self, answers: Mapping[str, tuple[WireHead, bytes]]) -> EndpointState:
        found = answers.get("/v1/models")
        if found is None:
            return EndpointState(why="no answer")
        head, body = found
        if head.status in (401, 403):
            return EndpointState(live=True, why="it refuses the API key")
        if head.status != 200:
            return EndpointState(live=True, why=f"its model list answers {head.status}")
        return EndpointState(live=True, ready=True, why="ok", models=listed_models(body))


class _Model(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    data: list[_Model] = []


_decode_models = msgspec.json.Decoder(_ModelList).decode


def listed_models(body: bytes) -> tuple[str, ...]:
    """Ids in an OpenAI model list, sorted as the backend sorts them; none if it is not one."""
    try:
        return tuple(entry.id for entry in _decode_models(body).data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ()


def _class_of_status(status: int) -> FaultClass:
    match status:
        case 401 | 402 | 403:
            return "auth"
        case 404:
            return "not_found"
        case 408 | 504:
            return "timeout"
        case 429:
            return "rate_limit"
        case 502 | 503:
            return "unavailable"
        case 529:
            return "overload"
        case _ if 400 <= status < 500 or status == 501:
            return "client"
        case _:
            return "upstream_bug"


def _status_in(found: ErrorPiece) -> int | None:
    """The HTTP status that an error object names as its code (llama.cpp, vLLM, OpenRouter)."""
    code = found.code
    if isinstance(code, str):
        code = int(code) if code.isdecimal() and len(code) == 3 else None
    return code if code is not None and 400 <= code < 600 else None


def _message(fault: FaultClass, found: ErrorPiece, status: int | None) -> str:
    if fault == "auth":
        # The engine's own words repeat parts of the pool's key, which is not the client's to see.
        return "the engine refuses the gateway's credentials"
    if found.message:
        return found.message
    return "the engine reported an error" if status is None else f"the engine answered {status}"


def _presentation(
    fault: FaultClass, found: ErrorPiece, status: int | None
) -> tuple[int | None, str | None, str | None]:
    """Status, code and type that the gateway's own client gets to see.

    An engine's 401 is the operator's trouble (a wrong key in a pool), so the client sees a 502;
    a 501 becomes a 400, since every SDK repeats a 501.
    """
    code = found.code if isinstance(found.code, str) and not found.code.isdecimal() else None
    match fault:
        case "client":
            shown = status if status is not None and 400 <= status < 500 else 400
            return shown, code or "invalid_request", "invalid_request_error"
        case "context_length":
            return 400, "context_length_exceeded", "invalid_request_error"
        case "content":
            return 400, code, found.type or "invalid_request_error"
        case "not_found":
            return 502, "upstream_not_found", None
        case "auth":
            return 502, "upstream_auth", None
        case "rate_limit" | "quota":
            return 429, code or "upstream_rate_limited", "rate_limit_error"
        case "overload" if status == 429:
            return 429, code or "upstream_overloaded", "rate_limit_error"
        case "overload" | "unavailable" | "slo_shed":
            return 503, code or "upstream_unavailable", "overloaded_error"
        case "timeout":
            return 504, "upstream_timeout", None
        case "stream_broken" | "upstream_bug":
            return 502, code or "upstream_error", None


def _speaks_of_context(found: ErrorPiece) -> bool:
    text = (found.message or "").lower()
    return "maximum context length" in text or "exceeds the available context size" in text


# -- bytes to events --------------------------------------------------------------------


class StreamDecoder:
    """Chunks of a stream to events."""

    def __init__(self, dialect: OpenAIDialect) -> None:
        self._dialect = dialect
        self._sse = SSEDecoder()
        self._opened = False
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        if self._over:
            return out
        try:
            for event in self._sse.feed(data):
                self._event(event, out)
        except EventTooLarge as exc:
            self._fail(f"the engine's stream cannot be read: {exc}", out)
        return out

    def close(self) -> list[Event]:
        out: list[Event] = []
        if self._over:
            return out
        try:
            for event in self._sse.close():
                self._event(event, out)
        except EventTooLarge as exc:
            self._fail(f"the engine's stream cannot be read: {exc}", out)
        if not self._over:
            self._over = True
            out.append(End())
        return out

    def _event(self, event: SSEEvent, out: list[Event]) -> None:
        data = event.data.strip()
        if self._over or not data:  # an event without data is some proxy's heartbeat
            return
        if data == b"[DONE]":
            self._over = True
            out.append(End())
            return
        chunk = read_chunk(data)
        if chunk is None:
            # A lost delta would be a hole in the text that nobody sees.
            self._fail("the engine sent an event that is not valid JSON", out)
            return
        if event.event == "error" or _is_error(chunk):
            self._over = True
            out.append(Fault(error=self._dialect.fault_of(read_error(data) or ErrorPiece(), None)))
            return
        if not self._opened and chunk.choices:  # Azure's first chunk is about the prompt only
            self._opened = True
            out.append(_opened(chunk))
        chunk_events(chunk, out)

    def _fail(self, message: str, out: list[Event]) -> None:
        self._over = True
        out.append(Fault(error=StreamBroken(message, fault="stream_broken")))


class DocumentDecoder:
    """A backend that ignored `stream: true`: one JSON object to the events it stands for."""

    def __init__(self, dialect: OpenAIDialect) -> None:
        self._dialect = dialect
        self._body = bytearray()
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        if self._over:
            return []
        self._body += data
        if len(self._body) > MAX_DOCUMENT_BYTES:
            self._over = True
            return [Fault(error=UpstreamFault("the engine's answer is too large"))]
        return []

    def close(self) -> list[Event]:
        if self._over:
            return []
        self._over = True
        return self._events(as_utf8(bytes(self._body)))

    def _events(self, body: bytes) -> list[Event]:
        chunk = read_chunk(body)
        if chunk is None:
            return [_unreadable()]
        if chunk.choices is None or _is_error(chunk):
            return [self._failed(body, "the engine's answer has no choices")]
        out: list[Event] = [_opened(chunk)]
        chunk_events(chunk, out)
        out.append(End())
        return out

    def _failed(self, body: bytes, otherwise: str) -> Event:
        """An answer with status 200 that is an error: its own code says which, else it is a bug."""
        found = read_error(body) or ErrorPiece(message=otherwise)
        return Fault(error=self._dialect.fault_of(found, _status_in(found) or 500))


class EmbeddingDecoder(DocumentDecoder):
    """An embeddings answer: its members as they are."""

    def _events(self, body: bytes) -> list[Event]:
        try:
            members = members_decoder.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return [_unreadable()]
        chunk = read_chunk(body)
        if chunk is None:
            return [_unreadable()]
        if "data" not in members or _is_error(chunk):
            return [self._failed(body, "the engine's answer has no data")]
        out: list[Event] = [Document(members=members)]
        if chunk.usage is not None:
            out.append(UsageReport(usage=usage_of(chunk.usage)))
        out.append(End())
        return out


def _unreadable() -> Fault:
    return Fault(error=UpstreamFault("the engine's answer is not valid JSON"))


def _is_error(chunk: ChunkPiece) -> bool:
    return has_items(chunk.error) or (chunk.choices is None and has_items(chunk.detail))


def _opened(chunk: ChunkPiece) -> Opened:
    return Opened(system_fingerprint=chunk.system_fingerprint, service_tier=chunk.service_tier)


def chunk_events(chunk: ChunkPiece, out: list[Event]) -> None:
    """Append what one chunk says. Content that rides on a finish chunk (vLLM) comes before the finish."""
    for choice in chunk.choices or ():
        index = choice.index or 0
        delta = _delta(index, choice)
        if delta is not None:
            out.append(delta)
        if choice.finish_reason:
            out.append(Finish(reason=choice.finish_reason, choice=index))
    if chunk.usage is not None and chunk.usage.prompt_tokens is not None:
        out.append(UsageReport(usage=usage_of(chunk.usage)))


def _delta(index: int, choice: ChoicePiece) -> Delta | None:
    piece = choice.delta or choice.message
    # A raw value is a view that would keep its whole chunk in memory, hence the copies.
    logprobs = choice.logprobs.copy() if is_present(choice.logprobs) else None
    if piece is None:
        if not choice.text and not _tells_tokens(logprobs):
            return None
        return Delta(choice=index, content=choice.text or "", logprobs=logprobs)
    content = piece.content
    reasoning = piece.reasoning_content or piece.reasoning or ""
    if isinstance(content, list):
        content, thought = _parts(content)
        reasoning += thought
    extra = _extra(piece)
    if not (content or reasoning or piece.refusal or piece.tool_calls or extra) and (
        not _tells_tokens(logprobs)
    ):
        return None
    return Delta(
        choice=index,
        content=content or "",
        reasoning=reasoning,
        refusal=piece.refusal or "",
        tool_calls=_tool_calls(piece) if piece.tool_calls else (),
        logprobs=logprobs,
        extra=extra,
    )


def _tells_tokens(logprobs: msgspec.Raw | None) -> bool:
    """A token can have no text of its own (a piece of a character) and yet have a probability."""
    if logprobs is None:
        return False
    try:
        told = msgspec.json.decode(logprobs)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return isinstance(told, dict) and any(told.values())


def _extra(piece: DeltaPiece) -> dict[str, msgspec.Raw] | None:
    found = None
    for name in EXTRA_MEMBERS:
        raw = getattr(piece, name)
        if has_items(raw):
            found = found or {}
            found[name] = raw.copy()
    return found


def _tool_calls(piece: DeltaPiece) -> tuple[ToolCallDelta, ...]:
    calls = []
    for call in piece.tool_calls or ():
        function = call.function
        arguments = function.arguments if function else None
        if isinstance(arguments, dict):
            arguments = _encode(arguments).decode()
        calls.append(
            ToolCallDelta(
                index=-1 if call.index is None else call.index,
                id=call.id,
                name=function.name if function else None,
                arguments=arguments or "",
            )
        )
    return tuple(calls)


def _parts(parts: list[object]) -> tuple[str, str]:
    """Content as a list of parts (Mistral's reasoning models): text, and thinking."""
    text, thought = "", ""
    for part in parts:
        match part:
            case {"type": "text", "text": str(piece)}:
                text += piece
            case {"type": "thinking", "thinking": list(inner)}:
                thought += _parts(inner)[0]
            case {"type": "thinking", "thinking": str(piece)}:
                thought += piece
    return text, thought


def usage_of(piece: UsagePiece) -> Usage:
    """Counts made inclusive: xAI leaves reasoning out of the completion tokens, but not of the total."""
    prompt, completion = piece.prompt_tokens_details, piece.completion_tokens_details
    reasoning = completion.reasoning_tokens if completion else None
    prompt_tokens, completion_tokens = piece.prompt_tokens or 0, piece.completion_tokens or 0
    if reasoning and piece.total_tokens == prompt_tokens + completion_tokens + reasoning:
        completion_tokens += reasoning
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=prompt.cached_tokens if prompt else None,
        reasoning_tokens=reasoning,
    )
