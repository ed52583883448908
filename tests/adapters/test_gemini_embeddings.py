"""Texts as one batch, and the vectors back."""

import json
from typing import Any

import pytest

from adapters.dialect import AttemptContext, WireHead
from adapters.gemini import GeminiDialect
from contracts.errors import InvalidField, UnsupportedParameter
from contracts.events import Document, End, Fault, Usage, UsageReport
from tests.fakes import gemini_words

GEMINI = GeminiDialect()
HEAD = WireHead(status=200, headers={"content-type": "application/json"})
pytestmark = pytest.mark.req("RUN-1", "RUN-2")


@pytest.fixture
def made(make_request) -> Any:
    def make(unsupported: Any = "refuse", **members: Any) -> Any:
        context = AttemptContext(upstream_model="gemini-embedding-001", unsupported=unsupported)
        return GEMINI.request(make_request("embedding", **members), context)

    return make


def test_each_text_is_a_request_of_a_batch(made) -> None:
    wire = made(input=["a", "b"], dimensions=2, encoding_format="base64", task_type="CLUSTERING")
    assert wire.path == "/v1/models/gemini-embedding-001:batchEmbedContents"
    common = {
        "model": "models/gemini-embedding-001",
        "outputDimensionality": 2,
        "taskType": "CLUSTERING",
    }
    assert json.loads(wire.body) == {
        "requests": [
            {**common, "content": {"parts": [{"text": "a"}]}},
            {**common, "content": {"parts": [{"text": "b"}]}},
        ]
    }


def test_what_has_no_place_is_refused_or_dropped_by_name(made) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        made(input="a", user="me")
    assert raised.value.param == "user"
    assert made("drop", input="a", user="me").dropped == ("user",)
    with pytest.raises(InvalidField):
        made(input=[1, 2])


def decoded(make_request, body: bytes, **members: Any) -> list[Any]:
    decoder = GEMINI.decoder(
        make_request("embedding", input="a", **members), AttemptContext(upstream_model="m"), HEAD
    )
    return decoder.feed(body) + decoder.close()


def test_the_vectors_come_as_a_document(make_request) -> None:
    document, report, end = decoded(make_request, gemini_words.embeddings([[0.5], [1.0]]))
    assert isinstance(document, Document)
    vectors = [entry["embedding"] for entry in json.loads(bytes(document.members["data"]))]
    assert vectors == [[0.5], [1.0]]
    assert report == UsageReport(usage=Usage(prompt_tokens=7, completion_tokens=0, estimated=True))
    assert end == End()


def test_a_count_that_gemini_tells_counts(make_request) -> None:
    body = b'{"embeddings":[{"values":[1]}],"usageMetadata":{"promptTokenCount":3}}'
    _, report, _ = decoded(make_request, body)
    assert report == UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=0))


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"embeddings":1}', gemini_words.refusal("INTERNAL", "oops").body],
)
def test_what_is_no_answer_is_a_fault(make_request, body: bytes) -> None:
    (fault,) = decoded(make_request, body)
    assert isinstance(fault, Fault)
