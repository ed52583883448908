"""A backend's vectors become a document, whatever its own words are."""

import json

import msgspec
import pytest

from adapters.embedding_decoder import EmbeddingDecoder, VectorsPiece
from contracts.errors import UpstreamFault
from contracts.events import Document, End, Event, Fault, Usage, UsageReport

pytestmark = pytest.mark.req("RUN-1", "RUN-3")


def decoded(piece: VectorsPiece | None) -> list[Event]:
    def fault_of(body: bytes, status: None) -> UpstreamFault:
        return UpstreamFault(f"said {body.decode()}")

    decoder = EmbeddingDecoder(lambda _: piece, fault_of, "float", 7)
    return decoder.feed(b"a bo") + decoder.feed(b"dy") + decoder.close()


def test_vectors_come_with_what_they_cost() -> None:
    document, report, end = decoded(VectorsPiece(vectors=[[0.5], [1.0]], prompt_tokens=3))
    assert isinstance(document, Document)
    data = json.loads(bytes(document.members["data"]))
    assert [entry["embedding"] for entry in data] == [[0.5], [1.0]]
    assert report == UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=0))
    assert end == End()


@pytest.mark.parametrize("told", [None, 0])
def test_where_no_cost_is_told_the_gateways_own_count_stands(told: int | None) -> None:
    _, report, _ = decoded(VectorsPiece(vectors=[[1.0]], prompt_tokens=told))
    assert report == UsageReport(usage=Usage(prompt_tokens=7, completion_tokens=0, estimated=True))


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        (None, "the engine's answer is not valid JSON"),
        (VectorsPiece(), "the engine's answer has no embeddings"),
        (VectorsPiece(error=msgspec.Raw(b'{"code":5}')), "said a body"),
    ],
)
def test_what_has_no_vectors_is_a_fault(piece: VectorsPiece | None, said: str) -> None:
    (fault,) = decoded(piece)
    assert isinstance(fault, Fault)
    assert fault.error.message == said
