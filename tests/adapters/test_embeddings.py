"""Embeddings asked and told as OpenAI does, for backends that do otherwise."""

import base64
import json
import struct
from typing import Any

import msgspec
import pytest

from adapters.chat_request import Members
from adapters.embeddings import answer, encoding_of, texts_of
from contracts.errors import InvalidField
from contracts.events import Document, End, Usage, UsageReport

pytestmark = pytest.mark.req("RUN-1", "RUN-3")
USAGE = Usage(prompt_tokens=5, completion_tokens=0)


def members(**given: Any) -> Members:
    return Members({n: msgspec.Raw(msgspec.json.encode(v)) for n, v in given.items()}, {})


def test_one_text_is_a_list_of_one() -> None:
    assert texts_of(members(input="a")) == ["a"]
    assert texts_of(members(input=["a", ""])) == ["a", ""]


@pytest.mark.parametrize("given", [[], [1, 2], [[1]], {"a": 1}])
def test_what_is_no_text_is_refused(given: Any) -> None:
    with pytest.raises(InvalidField) as raised:
        texts_of(members(input=given))
    assert raised.value.param == "input"


def test_the_encoding_is_the_clients(make_request) -> None:
    assert encoding_of(make_request("embedding", input="a")) == "float"
    assert encoding_of(make_request("embedding", input="a", encoding_format="base64")) == "base64"


def test_vectors_are_told_in_their_order_with_what_they_cost() -> None:
    document, report, end = answer([[0.5, -1.0], [0.25]], "float", USAGE)
    assert isinstance(document, Document)
    told = {name: json.loads(bytes(raw)) for name, raw in document.members.items()}
    assert told["data"] == [
        {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
        {"object": "embedding", "index": 1, "embedding": [0.25]},
    ]
    assert told["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert (report, end) == (UsageReport(usage=USAGE), End())


def test_base64_is_float32_in_little_endian() -> None:
    document, *_ = answer([[0.5, -1.0]], "base64", USAGE)
    assert isinstance(document, Document)
    (entry,) = json.loads(bytes(document.members["data"]))
    assert struct.unpack("<2f", base64.b64decode(entry["embedding"])) == (0.5, -1.0)
