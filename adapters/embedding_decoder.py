"""A backend's vectors, as OpenAI's answer: for backends that answer in words of their own. Sans-IO."""

from collections.abc import Callable

import msgspec
from msgspec import Raw

from adapters.embeddings import Encoding, Vectors, answer
from adapters.openai_wire import NULL, has_items
from adapters.whole_body import WholeBodyDecoder, unreadable
from contracts.errors import UpstreamFault
from contracts.events import Event, Fault, Usage


class VectorsPiece(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend's answer says. `prompt_tokens` None: nothing of what it cost."""

    vectors: Vectors | None = None
    prompt_tokens: int | None = None
    error: Raw = NULL


class EmbeddingDecoder(WholeBodyDecoder):
    """`read_vectors` reads a body, None where it is not valid; `fault_of` says what an error's body means; the
    `prompt_tokens` are the gateway's own count, for when the backend tells none."""

    def __init__(
        self,
        read_vectors: Callable[[bytes], VectorsPiece | None],
        fault_of: Callable[[bytes, None], UpstreamFault],
        encoding: Encoding,
        prompt_tokens: int,
    ) -> None:
        super().__init__()
        self._read_vectors = read_vectors
        self._fault_of = fault_of
        self._encoding = encoding
        self._prompt_tokens = prompt_tokens

    def read(self, body: bytes) -> list[Event]:
        told = self._read_vectors(body)
        if told is None:
            return [unreadable()]
        if has_items(told.error):
            return [Fault(error=self._fault_of(body, None))]
        if told.vectors is None:
            return [Fault(error=UpstreamFault("the engine's answer has no embeddings"))]
        usage = Usage(
            prompt_tokens=told.prompt_tokens or self._prompt_tokens,
            completion_tokens=0,
            estimated=not told.prompt_tokens,
        )
        return answer(told.vectors, self._encoding, usage)
