"""How a backend is asked for the number of tokens of a prompt. Sans-IO: requests out, answers in.

Each way is a generator: it yields a request, is sent the answer to it, and returns the count, or None
where the answer does not say. What must stay true: a count is what the backend will report as
`prompt_tokens`, or there is none. Parts other than text are never counted: what an image or a sound
takes depends on the model, and no tokenizer says it.
"""

from typing import TypeVar

import msgspec

from adapters import openai_body
from adapters.chat_request import NULL
from adapters.dialect import AttemptContext, Counting, TokenCount, WireRequest
from adapters.llamacpp_request import TOOL_MEMBERS
from contracts.inference import InferRequest

T = TypeVar("T")
_Headers = tuple[tuple[str, str], ...]
_Ids = list[int]

_TEXT_PARTS = frozenset({"text", "refusal"})
_OF_THE_ANSWER = frozenset({"stream", "stream_options"})
"""Members that say how to answer, where nothing is to be answered."""
_VLLM_CHAT = (
    "messages",
    "tools",
    "chat_template",
    "chat_template_kwargs",
    "add_generation_prompt",
    "continue_final_message",
    "add_special_tokens",
)
"""What vLLM's `/tokenize` reads of a chat."""

_encode = msgspec.json.Encoder().encode


def countable(infer: InferRequest) -> bool:
    """One prompt, and all of it text: what a tokenizer can count, and the size of the body estimates."""
    if infer.operation == "chat":
        return _is_text(infer.members["messages"])
    return infer.operation == "completion" and _one_prompt(infer) is not None


def by_llamacpp(infer: InferRequest, attempt: AttemptContext) -> Counting:
    """Ask a llama.cpp server, which reads a chat as if to answer it: template, tools and all.

    One that is too old to count a chat (404) is asked to apply its template, and to tokenize the outcome.
    Both agree with the usage of the answers of b10434. `infer` must be `countable`.
    """
    headers = _headers(infer, attempt)
    if infer.operation == "completion":
        return (yield from _llamacpp_text(_one_prompt(infer) or "", headers))
    members = {**infer.members, **attempt.overrides}
    members = {n: v for n, v in members.items() if n not in _OF_THE_ANSWER}
    if bytes(members.get("tool_choice", NULL)) == b'"none"':
        members = {n: v for n, v in members.items() if n not in TOOL_MEMBERS}
    body = openai_body.compose(members, {"model": attempt.upstream_model})
    head, answer = yield _post("/v1/chat/completions/input_tokens", body, headers)
    if head.status == 200:
        told = _read(answer, _InputTokens)
        return None if told is None else TokenCount(tokens=told.input_tokens)
    if head.status != 404:
        return None
    head, answer = yield _post("/apply-template", body, headers)
    rendered = _read(answer, _Rendered) if head.status == 200 else None
    return None if rendered is None else (yield from _llamacpp_text(rendered.prompt, headers))


def _llamacpp_text(prompt: str | list[str | int], headers: _Headers) -> Counting:
    asked = {"content": prompt, "add_special": True, "parse_special": True}
    head, answer = yield _post("/tokenize", _encode(asked), headers)
    told = _read(answer, _Tokens) if head.status == 200 else None
    return None if told is None else TokenCount(tokens=len(told.tokens))


def by_vllm(infer: InferRequest, attempt: AttemptContext) -> Counting:
    """Ask vLLM's `/tokenize`, which tells the model's context as well. `infer` must be `countable`."""
    members = infer.members | attempt.overrides
    asked: dict[str, openai_body.Value] = {"model": attempt.upstream_model}
    if infer.operation == "completion":
        prompt = _one_prompt(infer)
        if not isinstance(prompt, str):
            # It tokenizes text only, and these are tokens already.
            ids = all(isinstance(item, int) for item in prompt or ())
            return TokenCount(tokens=len(prompt)) if prompt and ids else None
        asked |= {"prompt": prompt}
        asked |= {n: members[n] for n in ("add_special_tokens",) if n in members}
    else:
        asked |= {name: members[name] for name in _VLLM_CHAT if name in members}
    body = openai_body.compose({}, asked)
    head, answer = yield _post("/tokenize", body, _headers(infer, attempt))
    told = _read(answer, _VllmCount) if head.status == 200 else None
    return None if told is None else TokenCount(tokens=told.count, context=told.max_model_len)


def _headers(infer: InferRequest, attempt: AttemptContext) -> _Headers:
    """Those of a question. What an intent asks of the infrastructure concerns the answer alone."""
    headers = (
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("x-request-id", infer.request_id),
    )
    key = attempt.api_key
    return (*headers, ("authorization", f"Bearer {key}")) if key else headers


def _post(path: str, body: bytes, headers: _Headers) -> WireRequest:
    return WireRequest(method="POST", path=path, headers=headers, body=body)


# -- reading ----------------------------------------------------------------------------


class _Part(msgspec.Struct):
    type: str = "text"


class _Message(msgspec.Struct):
    content: str | list[_Part | str] | None = None


class _InputTokens(msgspec.Struct):
    input_tokens: int


class _Rendered(msgspec.Struct):
    prompt: str


class _Tokens(msgspec.Struct):
    tokens: list[msgspec.Raw]


class _VllmCount(msgspec.Struct):
    count: int
    max_model_len: int | None = None


def _is_text(messages: msgspec.Raw) -> bool:
    read = _read(messages, list[_Message])
    return read is not None and all(
        isinstance(part, str) or part.type in _TEXT_PARTS
        for message in read
        if isinstance(message.content, list)
        for part in message.content
    )


def _one_prompt(infer: InferRequest) -> str | list[str | int] | None:
    """The prompt of a text completion: text, or tokens, which llama.cpp also takes mixed with text. None
    if there are several, or none."""
    raw = infer.members["prompt"]
    text = _read(raw, str)
    if text is not None:
        return text
    mixed = _read(raw, list[str | int])
    if mixed is None:
        several = _read(raw, list[_Ids])
        return list(several[0]) if several and len(several) == 1 else None
    texts = [item for item in mixed if isinstance(item, str)]
    if len(texts) < len(mixed):
        return mixed
    return texts[0] if len(texts) == 1 else None


def _read(body: bytes | msgspec.Raw, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
