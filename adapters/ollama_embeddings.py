"""Ollama's answer to an embedding request, read. Only for reading."""

from adapters.embedding_decoder import VectorsPiece
from adapters.ollama_wire import read_embedding


def read_vectors(body: bytes) -> VectorsPiece | None:
    """A whole answer; None where it is not valid."""
    told = read_embedding(body)
    if told is None:
        return None
    return VectorsPiece(
        vectors=told.embeddings, prompt_tokens=told.prompt_eval_count, error=told.error
    )
