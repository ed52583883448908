"""The OpenAI dialect: what is sent to a backend, and what its probes say."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.dialect import AttemptContext, WireHead
from adapters.openai import OpenAIDialect
from adapters.registry import dialect_for

DATA = Path(__file__).parent / "data"
OPENAI = OpenAIDialect()

pytestmark = pytest.mark.req("RUN-1", "RUN-3")


def sent(wire) -> dict[str, Any]:
    return json.loads(wire.body)


def test_a_request_is_always_streamed_with_usage_under_the_upstreams_name(make_request):
    infer = make_request(stream=False, temperature=1.0, stream_options={"include_usage": False})
    wire = OPENAI.request(infer, AttemptContext(upstream_model="real", api_key="k"))
    assert (wire.method, wire.path) == ("POST", "/v1/chat/completions")
    assert sent(wire) == {
        "stream": True,
        "temperature": 1.0,
        "stream_options": {"include_usage": True},
        "model": "real",
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert dict(wire.headers) == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "x-request-id": "req-1",
        "authorization": "Bearer k",
    }


def test_an_embedding_request_is_not_streamed(make_request):
    infer = make_request("embedding", input="x")
    wire = OPENAI.request(infer, AttemptContext(upstream_model="real", max_tokens=5))
    assert wire.path == "/v1/embeddings"
    assert sent(wire) == {"model": "real", "input": "x"}
    assert dict(wire.headers)["accept"] == "application/json"
    assert "authorization" not in dict(wire.headers)


@pytest.mark.parametrize(
    ("operation", "asked", "cap", "limits"),
    [
        ("chat", {}, None, {}),
        ("chat", {"max_tokens": 9}, None, {"max_tokens": 9}),
        ("chat", {}, 5, {"max_completion_tokens": 5}),
        ("chat", {"max_tokens": 9}, 5, {"max_tokens": 5}),
        ("chat", {"max_completion_tokens": 3}, 5, {"max_completion_tokens": 3}),
        ("completion", {"prompt": "x"}, 5, {"max_tokens": 5}),
        (
            "completion",
            {"prompt": "x", "max_completion_tokens": "?"},
            5,
            {"max_completion_tokens": 5},
        ),
    ],
)
def test_a_cap_bounds_what_the_client_asked_for(make_request, operation, asked, cap, limits):
    wire = OPENAI.request(
        make_request(operation, **asked), AttemptContext(upstream_model="m", max_tokens=cap)
    )
    assert {n: v for n, v in sent(wire).items() if n.startswith("max_")} == limits


def test_overrides_are_set_but_never_the_model_or_the_stream(make_request):
    overrides = {n: msgspec.Raw(b'"no"') for n in ("model", "stream", "stream_options")}
    overrides["temperature"] = msgspec.Raw(b"0.5")
    wire = OPENAI.request(
        make_request(), AttemptContext(upstream_model="real", overrides=overrides)
    )
    body = sent(wire)
    assert (body["model"], body["stream"], body["temperature"]) == ("real", True, 0.5)
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("status", "body", "live", "ready", "models"),
    [
        (200, b'{"object":"list","data":[{"id":"b"},{"id":"a"}]}', True, True, ("b", "a")),
        (200, b"not json", True, True, ()),
        (200, b"\xff", True, True, ()),
        (401, b"", True, False, ()),
        (500, b"", True, False, ()),
    ],
)
def test_readiness_is_what_the_model_list_says(status, body, live, ready, models):
    assert OPENAI.probes() == ("/v1/models",)
    state = OPENAI.state({"/v1/models": (WireHead(status=status, headers={}), body)})
    assert (state.live, state.ready, state.models) == (live, ready, models)
    assert state.why


def test_an_endpoint_that_does_not_answer_is_not_live():
    state = OPENAI.state({})
    assert (state.live, state.ready) == (False, False)


def test_stream_options_of_the_client_travel_on_and_usage_is_asked_for(make_request):
    asked = {"continuous_usage_stats": True, "include_usage": False}
    wire = OPENAI.request(
        make_request(stream=True, stream_options=asked), AttemptContext(upstream_model="up")
    )
    assert sent(wire)["stream_options"] == {"continuous_usage_stats": True, "include_usage": True}


@pytest.mark.req("INT-8")
@pytest.mark.parametrize(
    ("engine", "travels"), [("openai", True), ("vllm", False), ("llmd", False)]
)
def test_no_client_can_put_itself_first_in_an_engines_queue(make_request, engine, travels):
    wire = dialect_for(engine).request(
        make_request(priority=-100_000), AttemptContext(upstream_model="up")
    )
    assert ("priority" in sent(wire)) is travels
