"""What a real llama.cpp server (b10434) said, and what becomes of it."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.dialect import AttemptContext, EndpointState, WireHead
from adapters.llamacpp import UNNAMED_CONTEXT, LlamaCppDialect
from contracts.events import Delta, End, Fault, Finish, Opened, Usage

DATA = Path(__file__).parent / "data" / "transcripts"
LLAMACPP = LlamaCppDialect()
OK = WireHead(status=200, headers={})
HEALTHY = {
    "/health": (OK, b'{"status":"ok"}'),
    "/props": (OK, (DATA / "llamacpp_props.json").read_bytes()),
    "/v1/models": (OK, (DATA / "llamacpp_models.json").read_bytes()),
}

pytestmark = pytest.mark.req("ENG-1")


def answer(status: int, **error: Any) -> tuple[WireHead, bytes]:
    return WireHead(status=status, headers={}), json.dumps({"error": error}).encode()


LOADING = answer(503, message="Loading model", type="unavailable_error", code=503)

# -- streams ----------------------------------------------------------------------------


@pytest.mark.req("RUN-3")
@pytest.mark.parametrize(
    ("name", "operation", "text", "usage"),
    [
        (
            "llamacpp_chat_usage.sse",
            "chat",
            "Say hi<",
            Usage(prompt_tokens=26, completion_tokens=3, cached_tokens=21),
        ),
        (
            "llamacpp_chat.sse",
            "chat",
            "Say hi<",
            Usage(prompt_tokens=7, completion_tokens=3, estimated=True),
        ),
        (
            "llamacpp_completion_usage.sse",
            "completion",
            ", there",
            Usage(prompt_tokens=5, completion_tokens=2, cached_tokens=1),
        ),
    ],
)
def test_a_stream_of_the_real_server_is_complete(decode, normalise, name, operation, text, usage):
    events = normalise(decode(LLAMACPP, [(DATA / name).read_bytes()], operation))
    opened, *deltas, finish, report, end = events
    assert opened == Opened(system_fingerprint="b1-7e4c0a9")
    assert "".join(delta.content for delta in deltas) == text
    assert (finish, report.usage, end) == (Finish(reason="length"), usage, End())


@pytest.mark.req("RUN-3")
def test_parallel_tool_calls_of_the_real_server_stay_apart(decode, normalise):
    events = normalise(decode(LLAMACPP, [(DATA / "llamacpp_tools.sse").read_bytes()]))
    pieces = [p for e in events if isinstance(e, Delta) for p in e.tool_calls]
    for index, call_id in enumerate(
        ("14gSym8gMvzE6YFeN5G0GANvGEYf3OEb", "mFdHiLxDCAT22CUoUSHdepU5ANbxggE4")
    ):
        mine = [piece for piece in pieces if piece.index == index]
        assert [piece.id for piece in mine if piece.id] == [call_id]
        assert [piece.name for piece in mine if piece.name] == ["get_weather"]
        assert json.loads("".join(piece.arguments for piece in mine)) == {"city": "Paris"}
    assert Finish(reason="tool_calls") in events


# -- errors -----------------------------------------------------------------------------


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize(
    ("status", "message", "kind", "fault", "shown", "code"),
    [
        (
            500,
            "[json.exception.parse_error.101] parse error at line 1, column 15: syntax error",
            "server_error",
            "client",
            400,
            "invalid_request",
        ),
        (
            500,
            'Failed to parse messages: Missing \'role\' in message: {"content":"hi"}',
            "server_error",
            "client",
            400,
            "invalid_request",
        ),
        (
            500,
            "image input is not supported - hint: ...",
            "server_error",
            "client",
            400,
            "invalid_request",
        ),
        (
            500,
            "audio input is not supported - hint: ...",
            "server_error",
            "client",
            400,
            "invalid_request",
        ),
        (500, "Failed to parse tools: ...", "server_error", "client", 400, "invalid_request"),
        (500, "Compute error.", "server_error", "upstream_bug", 502, "upstream_error"),
        (400, "'messages' is required", "invalid_request_error", "client", 400, "invalid_request"),
        (
            400,
            "request (3024 tokens) exceeds the available context size (1024 tokens), try increasing it",
            "exceed_context_size_error",
            "context_length",
            400,
            "context_length_exceeded",
        ),
        (401, "Invalid API Key", "authentication_error", "auth", 502, "upstream_auth"),
        (404, "File Not Found", "not_found_error", "not_found", 502, "upstream_not_found"),
        (
            501,
            "This server does not support embeddings. Start it with `--embeddings`",
            "not_supported_error",
            "client",
            400,
            "invalid_request",
        ),
        (503, "Loading model", "unavailable_error", "unavailable", 503, "upstream_unavailable"),
    ],
)
def test_an_error_is_classified_by_message_and_not_by_status_alone(
    decode, status, message, kind, fault, shown, code
):
    head, body = answer(status, message=message, type=kind, code=status)
    found = LLAMACPP.fault(head, body)
    assert (found.fault, found.status, found.code) == (fault, shown, code)
    assert found.upstream_status == status
    assert found.retriable == (fault in ("upstream_bug", "unavailable"))
    assert found.message == message or fault == "auth"

    # The same object inside a stream, after a 200, before the first token.
    (last,) = decode(LLAMACPP, [b"data: " + body + b"\n\n"])
    assert isinstance(last, Fault)
    assert (last.error.fault, last.error.status, last.error.code) == (fault, shown, code)


# -- state ------------------------------------------------------------------------------


def test_probes_wake_no_sleeping_server():
    # /slots and /metrics load the model of a server that had put it away.
    assert LLAMACPP.probes() == ("/health", "/props", "/v1/models")


def test_a_healthy_server_tells_slots_context_version_and_model():
    state = LLAMACPP.state(HEALTHY)
    assert state.model_digest is not None
    assert msgspec.structs.replace(state, model_digest=None) == EndpointState(
        live=True,
        ready=True,
        why="ok",
        version="b1-7e4c0a9",
        models=("gemma-3-270m-q4_k_m.gguf",),
        slots=4,
        context=1024,
        tools=False,
    )


def test_a_server_that_loads_its_model_is_live_and_not_ready():
    state = LLAMACPP.state({"/health": LOADING, "/props": LOADING, "/v1/models": LOADING})
    assert state == EndpointState(live=True, ready=False, why="it is loading its model")


def test_a_server_that_does_not_answer_is_not_live():
    assert LLAMACPP.state({}) == EndpointState(why="no answer")
    assert not LLAMACPP.state({"/props": HEALTHY["/props"]}).live


def test_a_failing_health_check_is_not_ready():
    state = LLAMACPP.state(HEALTHY | {"/health": answer(500, message="x")})
    assert (state.live, state.ready) == (True, False)


def test_a_sleeping_server_is_ready_and_says_so():
    props = HEALTHY["/props"][1].replace(b'"is_sleeping":false', b'"is_sleeping":true')
    state = LLAMACPP.state(HEALTHY | {"/props": (OK, props)})
    assert state.ready
    assert "sleeping" in state.why


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"5", b"\xff", b"[" * 5000, b'{"total_slots":"4"}', b'{"data":5}']
)
def test_odd_probe_answers_leave_out_what_they_do_not_tell(body):
    state = LLAMACPP.state({"/health": (OK, body), "/props": (OK, body), "/v1/models": (OK, body)})
    assert state == EndpointState(live=True, ready=True, why="ok")


def changed(find: bytes, replace: bytes) -> str | None:
    answers = {path: (head, body.replace(find, replace)) for path, (head, body) in HEALTHY.items()}
    return LLAMACPP.state(answers).model_digest


def test_the_digest_tells_models_apart_and_not_their_settings():
    same = changed(b"", b"")
    assert same is not None
    assert same.startswith("told-sha256:")
    assert changed(b'"created":1795237543', b'"created":1') == same
    assert changed(b'"n_ctx":1024', b'"n_ctx":2048') == same
    assert changed(b'"total_slots":4', b'"total_slots":8') == same
    for find, replace in [
        (b'"n_params":268098176', b'"n_params":1'),
        (b"Q4_K - Medium", b"Q8_0"),
        (b'"id":"gemma', b'"id":"gamma'),
        (b"<|im_start|>", b"<start>"),
    ]:
        assert changed(find, replace) != same


# -- token limits -----------------------------------------------------------------------


def limits(make_request, asked: dict[str, Any], **context: Any) -> dict[str, Any]:
    attempt = AttemptContext(upstream_model="m", **context)
    body = json.loads(LLAMACPP.request(make_request(**asked), attempt).body)
    return {name: body[name] for name in LLAMACPP.limit_names if name in body}


@pytest.mark.parametrize(
    ("asked", "context", "told"),
    [
        ({}, {"context": 1024}, {"max_tokens": 1024}),
        ({}, {}, {"max_tokens": UNNAMED_CONTEXT}),
        ({"max_tokens": None}, {"context": 1024}, {"max_tokens": 1024}),
        ({}, {"context": 1024, "max_tokens": 9}, {"max_tokens": 9}),
        ({"max_tokens": 5}, {"context": 1024}, {"max_tokens": 5}),
        ({"max_tokens": 5000}, {"context": 1024}, {"max_tokens": 5000}),
        ({"max_tokens": 50}, {"max_tokens": 9}, {"max_tokens": 9}),
        (
            {"max_tokens": 5, "n_predict": -1},
            {"context": 1024},
            {"max_tokens": 5, "n_predict": 1024},
        ),
        ({"n_predict": -1}, {"max_tokens": 9}, {"n_predict": 9}),
        ({"n_predict": 3}, {"context": 1024}, {"n_predict": 3}),
    ],
)
def test_nothing_generates_without_end(make_request, asked, context, told):
    # Without a limit some prompts generate until the client leaves; `n_predict` overrules the others.
    assert limits(make_request, asked, **context) == told


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    ("listed", "shown"),
    [
        ("/srv/models/tiny.Q4_1.gguf", "tiny.Q4_1.gguf"),
        ("tiny.Q4_1.gguf", "tiny.Q4_1.gguf"),
        ("ggml-org/gemma-3-270m-GGUF", "ggml-org/gemma-3-270m-GGUF"),
    ],
)
def test_a_model_that_was_started_by_its_path_is_known_by_its_file(listed, shown):
    models = json.dumps({"data": [{"id": listed}]}).encode()
    answers = {"/health": (OK, b'{"status":"ok"}'), "/v1/models": (OK, models)}
    assert LLAMACPP.state(answers).models == (shown,)


def test_its_template_tells_whether_it_has_a_place_for_tools():
    assert LLAMACPP.state(HEALTHY).tools is False
    props = HEALTHY["/props"][1].replace(b'"supports_tools":false', b'"supports_tools":true')
    assert LLAMACPP.state(HEALTHY | {"/props": (OK, props)}).tools is True
    assert LLAMACPP.state(HEALTHY | {"/props": (OK, b"{}")}).tools is None


@pytest.mark.req("RUN-3")
def test_of_several_answers_all_tokens_count(make_request, normalise):
    """Seen at b10434: the usage of each choice is of that choice alone."""

    def chunk(**told: Any) -> bytes:
        return b"data: %b\n\n" % msgspec.json.encode(told)

    usage = {"prompt_tokens": 36, "completion_tokens": 5, "total_tokens": 41}
    stream = b"".join(
        chunk(choices=[{"index": n, "delta": {"content": "a"}}])
        + chunk(choices=[{"index": n, "delta": {}, "finish_reason": "length"}])
        + chunk(choices=[], usage=usage)
        for n in (1, 0)
    )
    head = WireHead(status=200, headers={"content-type": "text/event-stream"})
    decoder = LLAMACPP.decoder(make_request(n=2), AttemptContext(upstream_model="m"), head)
    *_, told, _ = normalise(decoder.feed(stream + b"data: [DONE]\n\n"), choices=2)
    assert told.usage == Usage(prompt_tokens=36, completion_tokens=10)
