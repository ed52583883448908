"""Ollama's objects are read as they are; whatever else comes is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ollama_wire import listed_models, read_chunk, read_embedding, told_version
from tests.fakes import ollama_words

pytestmark = pytest.mark.req("RUN-1", "SEC-5")


def test_a_line_of_a_chat_and_one_of_a_completion_are_both_read() -> None:
    chat = read_chunk(b'{"message":{"content":"a","new":1},"done":false,"created_at":"x"}')
    assert chat is not None
    assert chat.message is not None
    assert (chat.message.content, chat.done) == ("a", False)
    completion = read_chunk(b'{"response":"b","done":true,"context":[1]}')
    assert completion is not None
    assert (completion.response, completion.done) == ("b", True)


def test_lists_and_versions_are_read() -> None:
    assert listed_models(ollama_words.model_list("a:latest", "b")) == ("a:latest", "b")
    assert told_version(b'{"version":"0.21.0"}') == "0.21.0"
    found = read_embedding(ollama_words.embeddings([[0.5]], 3))
    assert found is not None
    assert (found.embeddings, found.prompt_eval_count) == ([[0.5]], 3)


@pytest.mark.parametrize("data", [b"", b"[", b"[1]", b"5", b'{"message":5,"models":5,"version":5}'])
def test_what_is_none_is_none(data: bytes) -> None:
    assert read_chunk(data) is None
    assert listed_models(data) == ()
    assert told_version(data) is None


@given(data=st.binary(max_size=40))
def test_no_bytes_raise(data: bytes) -> None:
    read_chunk(data)
    read_embedding(data)
    listed_models(data)
    told_version(data)
