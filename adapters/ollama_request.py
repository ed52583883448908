"""OpenAI's requests as requests to Ollama: chats, text completions and embeddings. Pure.

Ollama passes over what it does not know, and cuts a prompt that is too long, both in silence. What must stay
true: each member of the client's request travels on, is refused by its name, or is named as dropped; none
disappears; and a prompt that does not fit is an error. Source: Ollama's `api/types.go` and its API documentation.
"""

from typing import Any

import msgspec
from msgspec import Raw

from adapters.chat_request import (
    Effort,
    effort_of,
    messages_of,
    schema_of,
    stop_of,
    token_limit_of,
)
from adapters.dialect import AttemptContext
from adapters.embeddings import texts_of
from adapters.function_tools import NO_PARAMETERS, FunctionTool, allowed, function_tools
from adapters.ollama_conversation import conversation
from adapters.request_members import members_of, refuse_many
from adapters.unsupported import Cannot
from contracts.inference import InferRequest

ENGINE = "ollama"
OPTIONS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repeat_penalty",
    "repeat_last_n",
    "num_keep",
)
"""Members that Ollama knows by the same name, as options: OpenAI's, and what is its own."""
_THINK: dict[Effort, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
_encode = msgspec.json.Encoder().encode
Made = tuple[bytes, tuple[str, ...]]
"""A body, and the names of members that were left out."""


class _Asked:
    """What all three kinds of request have in common."""

    def __init__(self, infer: InferRequest, attempt: AttemptContext) -> None:
        self.cannot = Cannot(ENGINE, attempt.unsupported)
        refuse_many(infer, self.cannot)
        self.members = members_of(infer, attempt)
        self.body: dict[str, Any] = {"model": attempt.upstream_model}
        self.options: dict[str, Any] = {}
        if attempt.context is not None:
            self.options["num_ctx"] = attempt.context  # its own default is a fraction of it
        if (keep_alive := self.members.raw("keep_alive")) is not None:
            self.body["keep_alive"] = keep_alive

    def generates(self, attempt: AttemptContext) -> None:
        """Streamed, as the client wants it sampled, and with an error instead of half a prompt."""
        self.body |= {"stream": True, "truncate": False, "shift": False}
        members, options = self.members, self.options
        limit = token_limit_of(members, attempt.max_tokens)
        if limit is not None:
            options["num_predict"] = limit
        if stop := stop_of(members):
            options["stop"] = stop
        options |= {name: raw for name in OPTIONS if (raw := members.raw(name)) is not None}

    def made(self) -> Made:
        if self.members.raw("num_ctx") is not None:
            why = "the gateway's models say how much context there is, since a change loads the model anew"
            self.cannot.parameter("num_ctx", why)
        for name in self.members.left():
            self.cannot.parameter(name)
        if self.options:
            self.body["options"] = self.options
        return _encode(self.body), self.cannot.dropped


def chat_request(infer: InferRequest, attempt: AttemptContext) -> Made:
    """For `/api/chat`. Raises InvalidField for what is wrong, UnsupportedParameter for what Ollama cannot do."""
    asked = _Asked(infer, attempt)
    asked.body["messages"] = conversation(messages_of(asked.members), asked.cannot)
    asked.generates(attempt)
    _tools(asked)
    _format(asked)
    _logprobs(asked)
    think = asked.members.raw("think")
    effort = effort_of(asked.members)
    if think is not None:
        asked.body["think"] = think
    elif effort is not None:
        asked.body["think"] = _THINK[effort]
    return asked.made()


def completion_request(infer: InferRequest, attempt: AttemptContext) -> Made:
    """For `/api/generate`: the prompt as it is, without a chat's template around it; with a suffix, in the
    model's own template for what is in between. Raises as `chat_request`."""
    asked = _Asked(infer, attempt)
    asked.body["prompt"] = _prompt(asked)
    asked.generates(attempt)
    suffix = asked.members.raw("suffix")
    asked.body |= {"raw": True} if suffix is None else {"suffix": suffix}
    return asked.made()


def embedding_request(infer: InferRequest, attempt: AttemptContext) -> Made:
    """For `/api/embed`. Raises as `chat_request`."""
    asked = _Asked(infer, attempt)
    asked.members.raw("encoding_format")  # it is about the way back
    asked.body |= {"input": texts_of(asked.members), "truncate": False}
    if (dimensions := asked.members.raw("dimensions")) is not None:
        asked.body["dimensions"] = dimensions
    return asked.made()


def _prompt(asked: _Asked) -> str:
    read = asked.members.read
    prompt = read("prompt", str | list[Any])  # type: ignore[arg-type]  # a union is a type form
    if isinstance(prompt, list):
        if len(prompt) != 1 or not isinstance(prompt[0], str):
            asked.cannot.refuse("prompt", "it takes one text")
        prompt = prompt[0]
    if not prompt:
        asked.cannot.refuse("prompt", "it answers no empty one")
    return prompt


def _tools(asked: _Asked) -> None:
    tools, choice = function_tools(asked.members, asked.cannot)
    if choice.mode in ("required", "named"):
        asked.cannot.parameter("tool_choice", "it cannot be made to call a tool")
    declared = [_tool(tool, asked.cannot) for tool in allowed(tools, choice)]
    if declared and choice.mode != "none":
        asked.body["tools"] = declared


def _tool(tool: FunctionTool, cannot: Cannot) -> dict[str, Any]:
    if tool.strict:
        cannot.parameter("tools.strict", "it does not hold calls to their schemas")
    told: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters or NO_PARAMETERS}
    if tool.description:
        told["description"] = tool.description
    return {"type": "function", "function": told}


def _format(asked: _Asked) -> None:
    schema = schema_of(asked.members)
    if schema is not None:
        asked.body["format"] = schema if isinstance(schema, Raw) else "json"


def _logprobs(asked: _Asked) -> None:
    wanted = asked.members.read("logprobs", bool)
    top = asked.members.read("top_logprobs", int)
    if wanted or top:
        asked.body["logprobs"] = True
    if top:
        asked.body["top_logprobs"] = top
