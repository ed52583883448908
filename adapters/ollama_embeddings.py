"""Ollama's embeddings, as OpenAI's. Sans-IO."""

from adapters.embeddings import Encoding, answer
from adapters.ollama_stream import FaultOf
from adapters.ollama_wire import read_embedding
from adapters.openai_wire import has_items
from adapters.whole_body import WholeBodyDecoder, unreadable
from contracts.errors import UpstreamFault
from contracts.events import Event, Fault, Usage


class EmbeddingDecoder(WholeBodyDecoder):
    """`prompt_tokens` are the gateway's own count, for when Ollama tells none."""

    def __init__(self, fault_of: FaultOf, encoding: Encoding, prompt_tokens: int) -> None:
        super().__init__()
        self._fault_of = fault_of
        self._encoding = encoding
        self._prompt_tokens = prompt_tokens

    def read(self, body: bytes) -> list[Event]:
        told = read_embedding(body)
        if told is None:
            return [unreadable()]
        if has_items(told.error):
            return [Fault(error=self._fault_of(body, None))]
        if told.embeddings is None:
            return [Fault(error=UpstreamFault("the engine's answer has no embeddings"))]
        counted = told.prompt_eval_count
        usage = Usage(
            prompt_tokens=counted or self._prompt_tokens,
            completion_tokens=0,
            estimated=not counted,
        )
        return answer(told.embeddings, self._encoding, usage)
