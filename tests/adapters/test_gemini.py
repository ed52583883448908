"""The Gemini dialect as a whole; what it shares with all others is in `conformance`."""

import msgspec
import pytest

from adapters.dialect import AttemptContext, WireHead
from adapters.gemini import MODELS, GeminiDialect, resource_name
from contracts.errors import UnsupportedParameter
from tests.fakes import gemini_words

GEMINI = GeminiDialect()
pytestmark = pytest.mark.req("RUN-1", "RUN-2")


@pytest.mark.parametrize("unsupported", ["refuse", "drop"])
def test_a_text_completion_is_refused(make_request, unsupported) -> None:
    infer = make_request("completion", prompt="x")
    with pytest.raises(UnsupportedParameter) as raised:
        GEMINI.request(infer, AttemptContext(upstream_model="m", unsupported=unsupported))
    assert raised.value.param == "prompt"


def test_the_key_is_googles_own_header() -> None:
    assert GEMINI.access(None) == ()
    assert GEMINI.access("k") == (("x-goog-api-key", "k"),)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gemini-3-flash", "models/gemini-3-flash"),
        ("models/gemini-3-flash", "models/gemini-3-flash"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("a b?c#é", "models/a%20b%3Fc%23%C3%A9"),
    ],
)
def test_a_model_is_named_in_the_path(make_request, model, name) -> None:
    assert resource_name(model) == name
    made = GEMINI.request(make_request(), AttemptContext(upstream_model=model, api_key="k"))
    assert made.path == f"/v1/{name}:streamGenerateContent?alt=sse"
    assert "model" not in msgspec.json.decode(made.body)
    assert ("x-request-id", "req-1") in made.headers


@pytest.mark.parametrize(
    ("status", "body", "ready", "why"),
    [
        (200, gemini_words.model_list("a"), True, "ok"),
        (200, b"not json", True, "ok"),
        (400, gemini_words.wrong_key().body, False, "it refuses the API key"),
        (403, b"", False, "it refuses the API key"),
        (400, b"", False, "its model list answers 400"),
        (503, b"", False, "its model list answers 503"),
    ],
)
def test_readiness_is_what_the_model_list_says(status, body, ready, why) -> None:
    state = GEMINI.state({MODELS: (WireHead(status=status, headers={}), body)})
    assert (state.live, state.ready, state.why) == (True, ready, why)


@pytest.mark.parametrize("body", [b"", b"[", b"[1]", b"\xff", b'{"models":5}', b"[" * 50_000])
def test_a_model_list_that_is_none_lists_nothing(body) -> None:
    state = GEMINI.state({MODELS: (WireHead(status=200, headers={}), body)})
    assert (state.ready, state.models) == (True, ())
    assert not GEMINI.state({MODELS: (WireHead(status=400, headers={}), body)}).ready


def test_models_that_neither_answer_nor_embed_are_not_listed() -> None:
    body = b'{"models":[{"name":"models/e","supportedGenerationMethods":["embedContent"]},'
    body += b'{"name":"models/veo","supportedGenerationMethods":["predictLongRunning"]},{"name":"tunedModels/t"}]}'
    state = GEMINI.state({MODELS: (WireHead(status=200, headers={}), body)})
    assert state.models == ("e", "tunedModels/t")


def test_it_tells_neither_queue_nor_count_and_continues_nothing(make_request) -> None:
    assert GEMINI.queue_s(WireHead(status=200, headers={})) is None
    assert GEMINI.counting(make_request(), AttemptContext(upstream_model="m")) is None
    assert GEMINI.prefill() == "none"
