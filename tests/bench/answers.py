"""The answers that the upstream gives, and how the load generator knows a right one.

Every token is another one, so that a lost, doubled or misplaced token shows in the text.
"""

from typing import Any

import msgspec

MAX_TOKENS = 4096
PROMPT_TOKENS = 9
SHOWN = 100
"""Characters of an error that are shown."""
FIRST = b'" t0"'
"""Stands in the chunk of the first token, however a proxy spaces its JSON, and nowhere else."""


class Usage(msgspec.Struct, frozen=True):
    completion_tokens: int


class Message(msgspec.Struct, frozen=True):
    content: str | None = None


class Choice(msgspec.Struct, frozen=True):
    message: Message = Message()
    delta: Message = Message()
    finish_reason: str | None = None


class Error(msgspec.Struct, frozen=True):
    message: str = ""


class Refused(msgspec.Struct, frozen=True):
    error: Error = Error()


class Answer(msgspec.Struct, frozen=True):
    """A whole answer, or one chunk of a stream: what of it is checked."""

    choices: list[Choice] = []
    usage: Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(Answer).decode


def token(index: int) -> str:
    return f" t{index}"


def text(tokens: int) -> str:
    """The text of an answer with so many tokens."""
    return "".join(map(token, range(tokens)))


def refusal(status: int, body: bytes) -> str:
    """A status that is not 200, and the beginning of what was said with it."""
    try:
        said = msgspec.json.decode(body, type=Refused).error.message
    except msgspec.MsgspecError:
        said = body.decode(errors="replace")
    return f"status {status} {said[:SHOWN]}".strip()


def whole_fault(body: bytes, tokens: int) -> str | None:
    """What is wrong with an answer that is not streamed; None for a right one."""
    try:
        answer = _decode(body)
    except msgspec.MsgspecError as exc:
        return f"not an answer: {exc}"
    if len(answer.choices) != 1:
        return f"{len(answer.choices)} choices instead of 1"
    choice = answer.choices[0]
    return _fault(choice.message.content or "", choice.finish_reason, answer.usage, tokens)


def stream_fault(body: bytes, tokens: int) -> str | None:
    """What is wrong with the events of a stream; None for a right one, which ends with `[DONE]`."""
    said: list[str] = []
    finish: str | None = None
    usage: Usage | None = None
    done = False
    for line in body.splitlines():
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if done:
            return "an event after [DONE]"
        if data == b"[DONE]":
            done = True
            continue
        try:
            chunk = _decode(data)
        except msgspec.MsgspecError as exc:
            return f"not a chunk: {exc}"
        if chunk.error is not None:
            return "an error in the stream"
        usage = chunk.usage or usage
        for choice in chunk.choices:
            said.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    if not done:
        return "no [DONE]"
    return _fault("".join(said), finish, usage, tokens)


def _fault(said: str, finish: str | None, usage: Usage | None, tokens: int) -> str | None:
    if said != text(tokens):
        return f"not the text of {tokens} tokens"
    if finish != "length":
        return f"finish_reason {finish}"
    if usage is None:
        return "no usage"
    if usage.completion_tokens != tokens:
        return f"usage of {usage.completion_tokens} tokens instead of {tokens}"
    return None
