"""Gemini's objects are read as they are; whatever else comes is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.gemini_wire import read_chunk, read_chunks, read_gemini_error

pytestmark = pytest.mark.req("RUN-1", "SEC-5")


def test_names_are_in_camel_case_and_unknown_ones_are_passed_over() -> None:
    chunk = read_chunk(
        b'{"candidates":[{"finishReason":"STOP","content":{"parts":[{"text":"a","new":1}]}}],'
        b'"usageMetadata":{"promptTokenCount":3},"modelVersion":"m","responseId":"r"}'
    )
    assert chunk is not None
    assert chunk.candidates is not None
    (candidate,) = chunk.candidates
    assert candidate.finish_reason == "STOP"
    assert candidate.content is not None
    assert [part.text for part in candidate.content.parts or ()] == ["a"]
    assert chunk.usage_metadata is not None
    assert (chunk.usage_metadata.prompt_token_count, chunk.response_id) == (3, "r")


def test_an_answer_is_one_object_or_a_list_of_pieces() -> None:
    assert len(read_chunks(b"{}") or ()) == 1
    assert len(read_chunks(b" [{},{}]") or ()) == 2
    assert read_chunk(b"[{}]") is not None
    assert read_chunk(b"[{},{}]") is None


@pytest.mark.parametrize("data", [b"", b"{", b"1", b'"a"', b'{"candidates":1}', b"[1]"])
def test_what_is_none_is_none(data: bytes) -> None:
    assert read_chunks(data) is None


def test_half_a_character_is_replaced() -> None:
    chunk = read_chunk(b'{"responseId":"\xe2\x82"}')
    assert chunk is not None
    assert chunk.response_id == "\ufffd"


def test_an_error_may_be_in_a_list() -> None:
    for body in (b'{"error":{"code":429,"status":"S"}}', b'[{"error":{"code":429,"status":"S"}}]'):
        found = read_gemini_error(body)
        assert found is not None
        assert (found.code, found.status) == (429, "S")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error":"text"}', b"{}", b"<html>"])
def test_what_is_no_error_of_googles_is_none(body: bytes) -> None:
    assert read_gemini_error(body) is None


@given(data=st.binary(max_size=40))
def test_no_bytes_raise(data: bytes) -> None:
    read_chunk(data)
    read_gemini_error(data)
