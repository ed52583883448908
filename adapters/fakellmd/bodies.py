"""Request bodies, read and checked as vLLM does it: bytes in, `Generation` or `ApiError` out. Pure.

Unknown members are ignored, as vLLM ignores them. What is not honoured (logprobs, penalties, ...)
is accepted and changes only which text the seed picks. The answer's text is settled here; when it
is sent is not.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from adapters.fakellmd.draws import digest, mix
from adapters.fakellmd.failures import ApiError
from adapters.fakellmd.settings import LlmdSettings
from adapters.fakellmd.text import Order, Script, Tool, prompt_tokens, write

MAX_CHOICES = 128
MAX_TEXTS = 2048
_ANY_OBJECT = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    },
}


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()

    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content)
        return self.content or ""


class _Function(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Tool(msgspec.Struct):
    function: _Function


class _NamedFunction(msgspec.Struct):
    name: str


class _NamedTool(msgspec.Struct):
    function: _NamedFunction


class _JsonSchema(msgspec.Struct):
    schema: dict[str, Any] = {}


class _ResponseFormat(msgspec.Struct):
    type: str
    json_schema: _JsonSchema | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Sampling(msgspec.Struct, kw_only=True):
    model: str | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    seed: Int64 | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    priority: Int64 | None = None


class _ChatBody(_Sampling, kw_only=True):
    messages: list[_Message]
    max_completion_tokens: int | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _NamedTool | None = None
    response_format: _ResponseFormat | None = None


Texts = str | list[str | int | list[int]]


class _CompletionBody(_Sampling, kw_only=True):
    prompt: Texts


class _EmbeddingBody(msgspec.Struct, kw_only=True):
    input: Texts
    model: str | None = None
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None


class _TokenizeBody(msgspec.Struct, kw_only=True):
    model: str | None = None
    prompt: str | None = None
    messages: list[_Message] | None = None


class Choice(msgspec.Struct, frozen=True):
    """One sequence: the prompt it continues (in tokens), and what it says."""

    prompt_tokens: int
    script: Script


def prefill_only(prompt_tokens: int) -> Choice:
    """The sequence of an embeddings request: over when its first token would come."""
    return Choice(prompt_tokens, Script(pieces=("",), finish_reason="stop"))


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """A chat or completion request that will be carried out. `prompt_tokens` counts each prompt once."""

    operation: Literal["chat", "completion"]
    model: str
    choices: tuple[Choice, ...]
    prompt_tokens: int
    stream: bool
    include_usage: bool
    priority: int


class Embedding(msgspec.Struct, frozen=True, kw_only=True):
    """An embeddings request that will be carried out."""

    model: str
    texts: tuple[str, ...]
    dimensions: int
    base64: bool
    prompt_tokens: int


def parse_chat(body: bytes, settings: LlmdSettings) -> Generation:
    """Raises ApiError."""
    chat = _decode(body, _ChatBody)
    model = _model(chat.model, settings)
    if not chat.messages:
        raise ApiError(
            400,
            "Cannot apply chat template to an empty conversation. Provide at least one message.",
        )
    if chat.max_completion_tokens is not None:
        chat.max_tokens = chat.max_completion_tokens
    tool = _tool(chat)
    prompt = _render(chat.messages)
    if chat.tools:
        prompt += msgspec.json.encode(chat.tools).decode()
    schema = None if tool else _schema(chat.response_format)
    return _generation("chat", chat, settings, model, [prompt], tool, schema)


def parse_completion(body: bytes, settings: LlmdSettings) -> Generation:
    """Raises ApiError."""
    completion = _decode(body, _CompletionBody)
    model = _model(completion.model, settings)
    return _generation(
        "completion", completion, settings, model, _texts(completion.prompt, "prompt")
    )


def parse_embedding(body: bytes, settings: LlmdSettings) -> Embedding:
    """Raises ApiError."""
    asked = _decode(body, _EmbeddingBody)
    model = _model(asked.model, settings)
    texts = _texts(asked.input, "input")
    dimensions = asked.dimensions
    if dimensions is None:
        dimensions = settings.embedding_dimensions
    if not 1 <= dimensions <= 4096:
        raise ApiError(
            400, f"dimensions must be from 1 to 4096, got {dimensions}", param="dimensions"
        )
    counts = [prompt_tokens(text) for text in texts]
    for count in counts:
        _check_prompt(count, settings)
    return Embedding(
        model=model,
        texts=tuple(texts),
        dimensions=dimensions,
        base64=asked.encoding_format == "base64",
        prompt_tokens=sum(counts),
    )


def parse_tokenize(body: bytes, settings: LlmdSettings) -> list[int]:
    """The prompt's tokens, as many as `prompt_tokens` counts. Raises ApiError."""
    asked = _decode(body, _TokenizeBody)
    _model(asked.model, settings)
    if asked.prompt is None and asked.messages is None:
        raise ApiError(400, "either `prompt` or `messages` is needed", param="prompt")
    prompt = asked.prompt if asked.prompt is not None else _render(asked.messages or [])
    raw = prompt.encode(errors="replace")
    return [int.from_bytes(raw[at : at + 4], "big") for at in range(0, max(len(raw), 1), 4)]


# -- reading ----------------------------------------------------------------------------

_Body = TypeVar("_Body")
_AT = re.compile(r"(?s)(.*?)(?: - at `\$\.?(.*)`)?")
_POSITION = re.compile(r"\(byte (\d+)\)")


def _decode(body: bytes, kind: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as exc:
        found = _AT.fullmatch(str(exc))
        message, path = (found[1], found[2]) if found else (str(exc), None)
        missing = re.search(r"missing required field `(\w+)`", message)
        names = [name for name in (path, missing and missing[1]) if name]
        where = ".".join(["body", *names]).replace("[", ".").replace("]", "")
        kind_of_error = "missing" if missing else "type_error"
        raise ApiError(
            400,
            f"1 validation error:\n  {{'type': '{kind_of_error}', 'loc': '{where}', "
            f"'msg': '{message}'}}",
            kind="Bad Request",
            param=where,
        ) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        position = _POSITION.search(str(exc))
        where = f"body.{position[1]}" if position else "body"
        raise ApiError(
            400,
            f"1 validation error:\n  {{'type': 'json_invalid', 'loc': '{where}', "
            f"'msg': 'JSON decode error', 'ctx': {{'error': '{exc}'}}}}",
            kind="Bad Request",
            param=where,
        ) from exc


def _model(name: str | None, settings: LlmdSettings) -> str:
    names = [model.name for model in settings.models]
    if not name:
        return names[0]
    if name not in names:
        raise ApiError(
            404,
            f"The model `{name}` does not exist. Valid aliases: {', '.join(names)}.",
            param="model",
        )
    return name


def _render(messages: list[_Message]) -> str:
    """The conversation as one text: what the fake's tokenizer counts."""
    return "".join(
        f"<|{message.role}|>{message.text()}{bytes(message.tool_calls).decode(errors='replace')}\n"
        for message in messages
    )


def _texts(raw: Texts, member: str) -> list[str]:
    if isinstance(raw, str):
        return [raw]
    if not raw:
        raise ApiError(400, f"{member} must not be empty", param=member)
    tokens = [item for item in raw if isinstance(item, int)]
    texts = [item for item in raw if not isinstance(item, int)]
    if not texts:
        return [_detokenized(tokens)]
    if tokens:
        raise ApiError(400, "texts and token ids must not be mixed in one list", param=member)
    if len(texts) > MAX_TEXTS:
        raise ApiError(400, f"at most {MAX_TEXTS} texts, got {len(texts)}", param=member)
    return [text if isinstance(text, str) else _detokenized(text) for text in texts]


def _detokenized(tokens: list[int]) -> str:
    """A text as long as these token ids: four bytes each."""
    return "".join(f"{mix(token) & 0xFFFF:04x}" for token in tokens)


# -- checking ---------------------------------------------------------------------------


def _bad(message: str, param: str, value: object) -> ApiError:
    return ApiError(400, f"{message} (parameter={param}, value={value})", param=param)


def _check(asked: _Sampling, settings: LlmdSettings) -> None:
    longest = settings.max_model_len
    if asked.temperature is not None and asked.temperature < 0:
        message = f"temperature must be non-negative, got {asked.temperature}."
        raise _bad(message, "temperature", asked.temperature)
    if asked.temperature is not None and asked.temperature > 2:
        message = f"temperature must be in [0, 2], got {asked.temperature}."
        raise _bad(message, "temperature", asked.temperature)
    if asked.top_p is not None and not 0 < asked.top_p <= 1:
        raise _bad(f"top_p must be in (0, 1], got {asked.top_p}.", "top_p", asked.top_p)
    if asked.max_tokens is not None and asked.max_tokens < 1:
        message = f"max_tokens must be at least 1, got {asked.max_tokens}."
        raise _bad(message, "max_tokens", asked.max_tokens)
    if asked.max_tokens is not None and asked.max_tokens > longest:
        raise _bad(
            f"max_tokens={asked.max_tokens} cannot be greater than max_model_len={longest}. "
            "Please request fewer output tokens.",
            "max_tokens",
            asked.max_tokens,
        )
    if (asked.min_tokens or 0) > (asked.max_tokens or longest):
        message = f"min_tokens must be at most max_tokens, got {asked.min_tokens}."
        raise _bad(message, "min_tokens", asked.min_tokens)
    if asked.n is not None and not 1 <= asked.n <= MAX_CHOICES:
        raise _bad(f"n must be from 1 to {MAX_CHOICES}, got {asked.n}.", "n", asked.n)
    if asked.stream_options is not None and not asked.stream:
        message = "Stream options can only be defined when `stream=True`."
        raise ApiError(400, message, param="stream_options")


def _check_prompt(tokens: int, settings: LlmdSettings, max_tokens: int | None = None) -> None:
    longest = settings.max_model_len
    if tokens >= longest:
        raise _bad(
            f"This model's maximum context length is {longest} tokens. However, your prompt contains "
            f"at least {tokens} input tokens, which exceeds this limit even without any output "
            "tokens. Please reduce the length of the input prompt.",
            "input_tokens",
            tokens,
        )
    if max_tokens is not None and tokens + max_tokens > longest:
        raise _bad(
            f"This model's maximum context length is {longest} tokens. However, you requested "
            f"{max_tokens} output tokens and your prompt contains {tokens} input tokens. Please "
            "reduce the length of the input prompt or the number of requested output tokens.",
            "max_tokens",
            max_tokens,
        )


def _tool(chat: _ChatBody) -> Tool | None:
    """The tool to call. With "auto": the one that the last message names, if a user wrote it.

    A conversation that ends in a tool's result is answered in words, so that agents come to an end.
    """
    tools, choice = chat.tools or [], chat.tool_choice
    named = choice.function.name if isinstance(choice, _NamedTool) else None
    if named is not None:
        for tool in tools:
            if tool.function.name == named:
                return Tool(named, tool.function.parameters)
        raise ApiError(
            400, f"Tool {named!r} in tool_choice is not in `tools`.", param="tool_choice"
        )
    if choice not in (None, "none", "auto", "required"):
        raise ApiError(400, f"Invalid value for tool_choice: {choice!r}.", param="tool_choice")
    if not tools:
        if choice == "required":
            message = "When using `tool_choice`, `tools` must be set."
            raise ApiError(400, message, param="tool_choice")
        return None
    last = chat.messages[-1]
    text = last.text() if last.role == "user" else ""
    mentioned = [tool for tool in tools if tool.function.name in text]
    wants = choice == "required" or (choice != "none" and (mentioned or "tool" in text.lower()))
    if not wants:
        return None
    function = (mentioned or tools)[0].function
    return Tool(function.name, function.parameters)


def _schema(wanted: _ResponseFormat | None) -> object:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return _ANY_OBJECT
    if wanted.type == "json_schema" and wanted.json_schema is not None:
        return wanted.json_schema.schema
    raise ApiError(400, f"Invalid response_format: {wanted.type!r}.", param="response_format")


def _generation(
    operation: Literal["chat", "completion"],
    asked: _Sampling,
    settings: LlmdSettings,
    model: str,
    prompts: list[str],
    tool: Tool | None = None,
    schema: object = None,
) -> Generation:
    _check(asked, settings)
    n = asked.n or 1
    if n * len(prompts) > MAX_CHOICES:
        raise _bad(f"at most {MAX_CHOICES} choices in all prompts.", "n", n)
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    choices: list[Choice] = []
    counts = [prompt_tokens(prompt) for prompt in prompts]
    for prompt, count in zip(prompts, counts, strict=True):
        _check_prompt(count, settings, asked.max_tokens)
        seed = _text_seed(asked, settings, model, prompt, tool, schema)
        for number in range(n):
            order = Order(
                # Greedy decoding knows one answer: its choices are alike.
                seed=seed if asked.temperature == 0 else mix(seed, number),
                max_tokens=asked.max_tokens or settings.max_model_len - count,
                natural_tokens=settings.natural_output_tokens,
                min_tokens=max(asked.min_tokens or 0, 0),
                ignore_eos=bool(asked.ignore_eos),
                stop=tuple(stop),
                tool=tool,
                schema=schema,
            )
            choices.append(Choice(count, write(order)))
    options = asked.stream_options
    return Generation(
        operation=operation,
        model=model,
        choices=tuple(choices),
        prompt_tokens=sum(counts),
        stream=bool(asked.stream),
        include_usage=options is not None and bool(options.include_usage),
        priority=asked.priority or 0,
    )


def _text_seed(
    asked: _Sampling,
    settings: LlmdSettings,
    model: str,
    prompt: str,
    tool: Tool | None,
    schema: object,
) -> int:
    """All that the text depends on but its length. Greedy decoding draws nothing: no seed then."""
    greedy = asked.temperature == 0
    seed = 0 if greedy else asked.seed or 0
    key = (settings.seed, model, prompt, asked.temperature, asked.top_p, seed, tool, schema)
    return digest(msgspec.json.encode(key))
