"""OpenAI's embedding request and answer, for backends that embed in words of their own. Pure.

Vectors travel as numbers there; OpenAI's SDK for Python asks for base64 by itself, which is float32 in little
endian, so an answer can be told in both.
"""

import base64
import struct
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw

from adapters.chat_request import Members
from contracts.errors import InvalidField
from contracts.events import Document, End, Event, Usage, UsageReport
from contracts.inference import InferRequest

Encoding = Literal["float", "base64"]
Vectors = Sequence[Sequence[float]]
_encode = msgspec.json.Encoder().encode


def texts_of(members: Members) -> list[str]:
    """What is to be embedded. Raises InvalidField: numbers are tokens of OpenAI's own tokenizer."""
    given = members.read("input", str | list[str])  # type: ignore[arg-type]  # a union is a type form
    texts = [given] if isinstance(given, str) else given or []
    if not texts:
        raise InvalidField("input: at least one text", param="input")
    return texts


def encoding_of(infer: InferRequest) -> Encoding:
    """How the client wants its vectors."""
    members = Members({n: v for n, v in infer.members.items() if n == "encoding_format"}, {})
    given = members.read("encoding_format", Encoding)  # type: ignore[arg-type]  # a Literal is one, too
    return given or "float"


def answer(vectors: Vectors, encoding: Encoding, usage: Usage) -> list[Event]:
    """All of the answer's events."""
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(vector, encoding)}
        for index, vector in enumerate(vectors)
    ]
    counts = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
    members: dict[str, Any] = {"object": "list", "data": data, "usage": counts}
    told = {name: Raw(_encode(value)) for name, value in members.items()}
    return [Document(members=told), UsageReport(usage=usage), End()]


def _vector(vector: Sequence[float], encoding: Encoding) -> Sequence[float] | str:
    if encoding == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
