"""Embeddings at Gemini: a list of texts as one batch, and the vectors back. Sans-IO.

Source: `batchEmbedContents`, as the `google-genai` SDK sends and reads it.
"""

from typing import Any

import msgspec

from adapters.chat_request import Members
from adapters.dialect import AttemptContext
from adapters.embeddings import Encoding, answer, texts_of
from adapters.gemini_request import ENGINE, OUR_OWN
from adapters.gemini_stream import FaultOf
from adapters.gemini_wire import UsagePiece
from adapters.openai_wire import NULL, as_utf8, has_items
from adapters.unsupported import Cannot
from adapters.whole_body import WholeBodyDecoder, unreadable
from contracts.errors import UpstreamFault
from contracts.events import Event, Fault, Usage
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
    given = {n: v for n, v in {**infer.members, **attempt.overrides}.items() if n not in OUR_OWN}
    members = Members(given, {})
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


class EmbeddingDecoder(WholeBodyDecoder):
    """`prompt_tokens` are the gateway's own count, for when Gemini tells none."""

    def __init__(self, fault_of: FaultOf, encoding: Encoding, prompt_tokens: int) -> None:
        super().__init__()
        self._fault_of = fault_of
        self._encoding = encoding
        self._prompt_tokens = prompt_tokens

    def read(self, body: bytes) -> list[Event]:
        try:
            told = _decode(as_utf8(body))
        except (msgspec.MsgspecError, RecursionError):
            return [unreadable()]
        if has_items(told.error):
            return [Fault(error=self._fault_of(body, None))]
        if told.embeddings is None:
            return [Fault(error=UpstreamFault("the engine's answer has no embeddings"))]
        counted = told.usage_metadata.prompt_token_count if told.usage_metadata else None
        usage = Usage(
            prompt_tokens=counted or self._prompt_tokens,
            completion_tokens=0,
            estimated=not counted,
        )
        return answer([vector.values for vector in told.embeddings], self._encoding, usage)
