"""Embeddings at Gemini: a list of texts as one batch, and the vectors back. Sans-IO.

Source: `batchEmbedContents`, as the `google-genai` SDK sends and reads it.
"""

from typing import Any

import msgspec

from adapters.dialect import AttemptContext
from adapters.embedding_decoder import VectorsPiece
from adapters.embeddings import texts_of
from adapters.gemini_request import ENGINE
from adapters.gemini_wire import UsagePiece
from adapters.openai_wire import NULL
from adapters.request_members import members_of
from adapters.unsupported import Cannot
from adapters.wire_json import read_piece
from contracts.inference import InferRequest

PASSED_ON = {"task_type": "taskType", "title": "title"}
"""Google's own members, by the names of its SDK."""


class _Vector(msgspec.Struct):
    values: list[float] = []


class _Answer(msgspec.Struct, rename="camel"):
    embeddings: list[_Vector] | None = None
    usage_metadata: UsagePiece | None = None
    error: msgspec.Raw = NULL


_decode = msgspec.json.Decoder(_Answer).decode


def batch_request(
    infer: InferRequest, attempt: AttemptContext, model: str
) -> tuple[bytes, tuple[str, ...]]:
    """The body, and the names of members that were left out. `model` is its resource name.

    Raises InvalidField for what is wrong, UnsupportedParameter for what Gemini cannot do.
    """
    cannot = Cannot(ENGINE, attempt.unsupported)
    members = members_of(infer, attempt)
    texts = texts_of(members)
    members.raw("encoding_format")  # it is about the way back
    common: dict[str, Any] = {"model": model}
    if (dimensions := members.raw("dimensions")) is not None:
        common["outputDimensionality"] = dimensions
    common |= {told: raw for n, told in PASSED_ON.items() if (raw := members.raw(n)) is not None}
    for name in members.left():
        cannot.parameter(name)
    requests = [{**common, "content": {"parts": [{"text": text}]}} for text in texts]
    return msgspec.json.encode({"requests": requests}), cannot.dropped


def read_vectors(body: bytes) -> VectorsPiece | None:
    """A whole answer; None where it is not valid."""
    told = read_piece(_decode, body)
    if told is None:
        return None
    return VectorsPiece(
        vectors=None if told.embeddings is None else [each.values for each in told.embeddings],
        prompt_tokens=told.usage_metadata.prompt_token_count if told.usage_metadata else None,
        error=told.error,
    )
