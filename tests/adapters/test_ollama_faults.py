"""What an Ollama error means: a text, and sometimes another engine's error inside of it."""

import msgspec
import pytest

from adapters.ollama_faults import fault_of
from contracts.errors import FaultClass
from tests.fakes import ollama_words

pytestmark = pytest.mark.req("RUN-6")


@pytest.mark.parametrize(
    ("status", "text", "fault"),
    [
        (400, "invalid options", "client"),
        (400, '"gemma:2b" does not support tools', "client"),
        (500, '"gemma:2b" does not support thinking', "client"),
        (401, "unauthorized", "auth"),
        (403, "ollama cloud is disabled: remote model is unavailable", "auth"),
        (404, "model 'x' not found", "not_found"),
        (400, "the input length exceeds the context length", "context_length"),
        (
            400,
            "the prompt is longer than the context length currently available to the model",
            "context_length",
        ),
        (429, "too many requests", "rate_limit"),
        (503, "server busy, please try again.  maximum pending requests exceeded", "overload"),
        (503, "something else", "unavailable"),
        (500, "llama runner process has terminated: exit status 2", "upstream_bug"),
        (502, "remote model is unavailable", "unavailable"),
        (None, "an error was encountered while running the model: CUDA error", "upstream_bug"),
        (None, "the input length exceeds the context length", "context_length"),
    ],
)
def test_an_error_is_of_a_class(status: int | None, text: str, fault: FaultClass) -> None:
    found = fault_of(ollama_words.refusal(status or 500, text).body, status)
    assert (found.fault, found.upstream_status) == (fault, status)
    if fault != "auth":
        assert found.message == text


def test_the_error_of_the_engine_inside_is_the_one_that_is_told() -> None:
    found = fault_of(ollama_words.too_long(8889, 4096).body, 400)
    assert (found.fault, found.status, found.code) == (
        "context_length",
        400,
        "context_length_exceeded",
    )
    assert found.message.startswith("request (8889 tokens) exceeds the available context size")


def test_errors_in_errors_have_an_end() -> None:
    text = "innermost"
    for _ in range(9):
        text = msgspec.json.encode({"error": text}).decode()
    assert fault_of(text.encode(), 500).fault == "upstream_bug"


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"error":{}}', b'{"error":"{oops"}'])
def test_what_nobody_can_read_counts_by_its_status(body: bytes) -> None:
    assert fault_of(body, 404).fault == "not_found"


def test_when_to_come_back_is_the_headers() -> None:
    assert fault_of(b"{}", 429, 3.0).retry_after_s == 3.0
