"""The Ollama dialect as a whole; what it shares with all others is in `conformance`."""

import pytest

from adapters.dialect import AttemptContext, WireHead
from adapters.ollama import MODELS, VERSION, OllamaDialect
from tests.fakes import ollama_words

OLLAMA = OllamaDialect()
pytestmark = pytest.mark.req("RUN-1", "RUN-2")


@pytest.mark.parametrize(
    ("operation", "member", "path", "accept"),
    [
        ("chat", {}, "/api/chat", "application/x-ndjson"),
        ("completion", {"prompt": "a"}, "/api/generate", "application/x-ndjson"),
        ("embedding", {"input": "a"}, "/api/embed", "application/json"),
    ],
)
def test_each_operation_has_a_path(make_request, operation, member, path, accept) -> None:
    context = AttemptContext(upstream_model="m")
    made = OLLAMA.request(make_request(operation, **member), context)
    assert made.path == path
    assert ("accept", accept) in made.headers
    assert "authorization" not in dict(made.headers)


@pytest.mark.parametrize(
    ("status", "body", "ready", "why"),
    [
        (200, ollama_words.model_list("a"), True, "ok"),
        (200, b"not json", True, "ok"),
        (401, b"", False, "it refuses the API key"),
        (500, b"", False, "its model list answers 500"),
    ],
)
def test_readiness_is_what_the_model_list_says(status, body, ready, why) -> None:
    ok = WireHead(status=200, headers={})
    told = {
        VERSION: (ok, b'{"version":"0.21.0"}'),
        MODELS: (WireHead(status=status, headers={}), body),
    }
    state = OLLAMA.state(told)
    assert (state.live, state.ready, state.why) == (True, ready, why)
    assert state.version == ("0.21.0" if ready else None)


@pytest.mark.parametrize("body", [b"", b"[", b"[1]", b"\xff", b'{"models":5}', b"[" * 50_000])
def test_a_model_list_that_is_none_lists_nothing(body) -> None:
    answer = (WireHead(status=200, headers={}), body)
    state = OLLAMA.state({VERSION: answer, MODELS: answer})
    assert (state.ready, state.version, state.models) == (True, None, ())


def test_an_old_one_that_tells_no_version_is_ready_all_the_same() -> None:
    ok = WireHead(status=200, headers={})
    state = OLLAMA.state({MODELS: (ok, ollama_words.model_list("a:latest"))})
    assert (state.ready, state.version, state.models) == (True, None, ("a:latest",))


def test_it_tells_neither_queue_nor_count_and_continues_nothing(make_request) -> None:
    assert OLLAMA.queue_s(WireHead(status=200, headers={})) is None
    assert OLLAMA.counting(make_request(), AttemptContext(upstream_model="m")) is None
    assert OLLAMA.prefill() == "none"
