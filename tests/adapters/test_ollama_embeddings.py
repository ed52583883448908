"""Ollama's vectors, as OpenAI's."""

import json
from typing import Any

import pytest

from adapters.dialect import AttemptContext, WireHead
from adapters.ollama import OllamaDialect
from contracts.events import Document, End, Fault, Usage, UsageReport
from tests.fakes import ollama_words

OLLAMA = OllamaDialect()
HEAD = WireHead(status=200, headers={"content-type": "application/json; charset=utf-8"})
pytestmark = pytest.mark.req("RUN-1", "RUN-3")


def decoded(make_request, body: bytes) -> list[Any]:
    decoder = OLLAMA.decoder(
        make_request("embedding", input="a"), AttemptContext(upstream_model="m"), HEAD
    )
    return decoder.feed(body) + decoder.close()


def test_the_vectors_come_as_a_document(make_request) -> None:
    document, report, end = decoded(make_request, ollama_words.embeddings([[0.5], [1.0]], 3))
    assert isinstance(document, Document)
    vectors = [entry["embedding"] for entry in json.loads(bytes(document.members["data"]))]
    assert vectors == [[0.5], [1.0]]
    assert report == UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=0))
    assert end == End()


def test_without_a_count_it_is_the_gateways(make_request) -> None:
    _, report, _ = decoded(make_request, b'{"embeddings":[[1]]}')
    assert report == UsageReport(usage=Usage(prompt_tokens=7, completion_tokens=0, estimated=True))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"embeddings":1}', b'{"error":"oops"}'])
def test_what_is_no_answer_is_a_fault(make_request, body: bytes) -> None:
    (fault,) = decoded(make_request, body)
    assert isinstance(fault, Fault)
