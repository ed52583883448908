"""One inference request through the gateway: what its client and its engine get, whatever happens."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import runtime
from gateway.http_answer import HttpAnswer
from gateway.logs import JsonLines
from tests.fakes.edge import RULES, Edge, chat_body, eventually, request, start_edge
from tests.fakes.scripted import chunk
from tests.fakes.scripted_engine import (
    Call,
    ScriptedEngine,
    hangs_up,
    is_silent,
    refuses,
    says,
    streams,
)

MakeEdge = Callable[..., Awaitable[Edge]]
KEY = "sk-upstream-0123456789"


async def test_a_stream_ends_with_done_and_a_whole_answer_is_one_object(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge()
    streamed = await edge.chat(stream=True)
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert streamed.events[-1] == "[DONE]"
    whole = (await edge.chat()).json
    assert whole["choices"][0]["message"]["content"] == "Hello"
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@pytest.mark.req("ADM-6")
async def test_a_whole_answer_tells_its_budget_as_it_stands_once_it_was_used(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(
        "auth: {keys: [{name: web, token: web-0123456789, budget: [{tokens: 1000, per: 1h}]}]}"
    )
    answer = await edge.ask(
        "POST",
        "/v1/chat/completions",
        chat_body(max_tokens=500),
        authorization="Bearer web-0123456789",
    )
    assert answer.json["usage"]["total_tokens"] == 5
    assert answer.headers["x-ratelimit-remaining-tokens"] == "995"


@pytest.mark.req("RUN-6")
async def test_an_unknown_model_is_a_404_that_names_those_there_are(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    answer = await edge.chat(model="serve")
    assert (answer.status, answer.error["param"]) == (404, "model")
    assert "'served'" in answer.error["message"]


HOSTILE = {
    "empty": b"",
    "cut": b'{"model": "served"',
    "not an object": b"[1]",
    "bom": b"\xef\xbb\xbf" + chat_body(),
    "not utf-8": chat_body()[:-1] + b',"x":"\xff"}',
    "deep": chat_body()[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nan": chat_body()[:-1] + b',"x":NaN}',
    "trailing": chat_body() + b" x",
    "huge temperature": chat_body()[:-1] + b',"temperature":1e99999}',
    "lone surrogate": chat_body()[:-1] + b',"user":"\\ud800"}',
    "nul model": chat_body(model="\x00"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_body_is_the_clients_fault(
    make_edge: MakeEdge, engine: ScriptedEngine, name: str
) -> None:
    edge = await make_edge()
    answer = await edge.ask("POST", "/v1/chat/completions", HOSTILE[name])
    assert answer.status in (400, 404)
    assert answer.error["type"] == "invalid_request_error"
    assert engine.asked == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
named_members = st.sampled_from(
    ["messages", "stream", "max_tokens", "n", "tools", "user", "stop", "stream_options", "x"]
)


@pytest.mark.req("OPS-4")
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(members=st.dictionaries(named_members, json_values, max_size=4))
def test_no_body_makes_a_500(tmp_path_factory: pytest.TempPathFactory, members: object) -> None:
    async def scene() -> None:
        edge = await start_edge(tmp_path_factory.mktemp("edge"))
        try:
            body = msgspec.json.encode({"model": "nothing", **members})
            answer = await edge.ask("POST", "/v1/chat/completions", body)
            assert answer.status in (400, 404), answer
            assert answer.error["message"]
        finally:
            await edge.aclose()

    asyncio.run(scene())


# -- the gateway declines -----------------------------------------------------------------


async def test_a_rules_refusal_carries_its_name_and_when_to_come_back(
    make_edge: MakeEdge,
) -> None:
    rules = RULES.replace("REJECT", "retry_after: 1500ms, message: not now")
    edge = await make_edge(policies=rules)
    answer = await edge.ask("POST", "/v1/chat/completions", chat_body(), x_setpoint_intent="batch")
    assert answer.status == 429
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["retry-after-ms"] == "1500"
    assert answer.headers["x-setpoint-intent"] == "batch"
    assert answer.error | {"message": "not now", "policy_label": "no batch at noon"} == answer.error
    assert answer.error["retriable"] is True
    assert answer.error["retry_after_ms"] == 1500


async def test_a_refusal_without_an_estimate_says_a_second_everywhere(make_edge: MakeEdge) -> None:
    edge = await make_edge(policies=RULES.replace("REJECT", "status: 503"))
    answer = await edge.ask("POST", "/v1/chat/completions", chat_body(), x_setpoint_intent="batch")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["retry-after-ms"] == "1000"
    assert answer.error["retry_after_ms"] == 1000


async def test_a_full_queue_is_a_429_and_a_wait_that_is_too_long_a_503(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent)
    edge = await make_edge(
        pool="max_inflight: 1, queue: {max_requests: 1, timeout: 100ms}, retries: 0"
    )
    async with await edge.connect() as working, await edge.connect() as waiting:
        working.send(request("POST", "/v1/chat/completions", chat_body()))
        await eventually(lambda: bool(engine.asked))
        waiting.send(request("POST", "/v1/chat/completions", chat_body()))
        await eventually(lambda: edge.gateway.pools["main"].signals().queued == 1)
        full = await edge.chat()
        assert (full.status, full.error["code"]) == (429, "queue_full")
        late = await waiting.answer()
        assert (late.status, late.error["code"]) == (503, "queue_timeout")
    for answer in (full, late):
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.error["policy_label"] == answer.error["code"]


# -- the engine fails ---------------------------------------------------------------------


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_before_the_first_token_is_a_status(
    make_edge: MakeEdge, engine: ScriptedEngine, stream: bool
) -> None:
    engine.plays(refuses(500, b'{"error":{"message":"CUDA out of memory"}}'))
    edge = await make_edge()
    answer = await edge.chat(stream=stream)
    assert answer.status == 502
    assert answer.error["source"] == "engine"
    assert answer.error["message"] == "pool main, endpoint 1: CUDA out of memory"
    assert answer.error["retriable"] is True
    assert "x-should-retry" not in answer.headers, "nothing was repeated here"


@pytest.mark.parametrize(
    ("refusal", "retry_after"),
    [
        (refuses(500, b"{}"), None),
        (refuses(503, b"busy"), None),
        (refuses(429, b"{}"), None),
        (refuses(503, b"busy", "retry-after-ms: 20\r\n"), "1"),
    ],
)
async def test_what_was_repeated_in_vain_is_not_for_the_sdk_to_triple(
    make_edge: MakeEdge, engine: ScriptedEngine, refusal: object, retry_after: str | None
) -> None:
    """Header and body say so alike; when to come back, only where the engine has told."""
    engine.plays(refusal)
    edge = await make_edge(pool="retries: 1")
    answer = await edge.chat()
    assert answer.headers["x-setpoint-attempts"] == "2"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.error["retriable"] is False
    assert answer.headers.get("retry-after") == retry_after
    assert ("retry_after_ms" in answer.error) == (retry_after is not None)


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (hangs_up, 502, None),
        (refuses(503, b"busy", "retry-after: 7\r\n"), 503, "upstream_unavailable"),
        (refuses(503, b"busy"), 503, "upstream_unavailable"),
        (refuses(429, b'{"error":{"message":"slow down"}}'), 429, "upstream_rate_limited"),
        (refuses(401, b'{"error":{"message":"bad key"}}'), 502, "upstream_auth"),
        (refuses(404, b'{"error":{"message":"no model real"}}'), 502, "upstream_not_found"),
        (refuses(400, b'{"error":{"message":"bad top_k"}}'), 400, "invalid_request"),
        (says(b"<html>"), 502, None),
        (says(b"data: <html>\n\n", "text/event-stream"), 502, None),
    ],
)
async def test_an_engines_failure_is_classified(
    make_edge: MakeEdge, engine: ScriptedEngine, script: object, status: int, code: str | None
) -> None:
    engine.plays(script)
    edge = await make_edge()
    answer = await edge.chat()
    assert answer.status == status
    assert code is None or answer.error["code"] == code
    assert (status in (429, 503)) == ("retry-after" in answer.headers)
    if status >= 500:
        assert "pool main, endpoint 1" in answer.error["message"]


@pytest.mark.req("RUN-5")
async def test_a_silent_engine_is_a_504(make_edge: MakeEdge, engine: ScriptedEngine) -> None:
    engine.plays(is_silent)
    edge = await make_edge(pool="retries: 0, timeouts: {idle: 100ms}")
    answer = await edge.chat()
    assert (answer.status, answer.error["code"]) == (504, "upstream_idle_timeout")
    assert answer.error["message"].startswith("pool main, endpoint 1: ")


@pytest.mark.req("RUN-6")
async def test_an_error_after_the_first_token_is_one_last_event(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    async def breaks(call: Call) -> None:
        await call.head()
        await call.piece("Hel")
        await call.send(b'data: {"error":{"message":"GPU fell off","code":"xid_79"}}\n\n')
        await call.piece("never seen")

    engine.plays(breaks)
    edge = await make_edge()
    answer = await edge.ask(
        "POST", "/v1/chat/completions", chat_body(stream=True), x_request_id="mine"
    )
    assert answer.status == 200
    assert answer.complete
    assert [("error" in e) for e in answer.events[-2:]] == [False, True]
    error = answer.events[-1]["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    assert error["message"].endswith("GPU fell off")
    assert error["request_id"] == "mine"
    assert b"[DONE]" not in answer.body
    assert b"never seen" not in answer.body


@pytest.mark.req("RUN-6")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_stream_that_just_ends_is_never_a_short_success(
    make_edge: MakeEdge, engine: ScriptedEngine, stream: bool
) -> None:
    async def stops(call: Call) -> None:
        await call.head()
        await call.piece("Hel")

    engine.plays(stops)
    edge = await make_edge()
    answer = await edge.chat(stream=stream)
    if stream:
        assert answer.events[-1]["error"]["code"] == "upstream_stream_broken"
        assert b"[DONE]" not in answer.body
    else:
        assert (answer.status, answer.error["code"]) == (502, "upstream_stream_broken")


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_tells_its_key_or_its_address_does_not_tell_the_client(
    make_edge: MakeEdge,
    engine: ScriptedEngine,
    caplog: pytest.LogCaptureFixture,
    stream: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    told = f"Bearer {KEY} was refused by {engine.url}/v1 ({engine.address})"
    error = msgspec.json.encode({"error": {"message": told, "code": KEY}})

    async def breaks(call: Call) -> None:
        await call.head()
        await call.piece("Hel")
        await call.send(b"data: " + error + b"\n\n")

    engine.plays(breaks if stream else refuses(400, error))
    edge = await make_edge(pool=f"retries: 0, api_key: {KEY}")
    answer = await edge.chat(stream=stream)
    assert engine.asked[0].headers["authorization"] == f"Bearer {KEY}"
    shown = answer.body + repr(answer.headers).encode() + edge.gateway.metrics.exposition()
    for secret in (KEY.encode(), engine.address.encode(), b"127.0.0.1"):
        assert secret not in shown
    form = JsonLines(edge.gateway.loaded.redactor().redact)
    assert caplog.records
    assert KEY not in "".join(map(form.format, caplog.records))
    assert b"was refused by [backend]" in answer.body


async def test_an_unreachable_backend_is_named_by_pool_and_number_only(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    edge = await make_edge()
    await engine.aclose()
    for _ in range(3):
        answer = await edge.chat()
        assert answer.status in (502, 503)
        assert b"127.0.0.1" not in answer.body
        assert b"pool main, endpoint 1" in answer.body or b"'main'" in answer.body
        ready = await edge.ask("GET", "/readyz")
        assert b"127.0.0.1" not in ready.body


async def test_a_bug_is_a_500_without_its_text(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("inner secret")

    edge = await make_edge()
    monkeypatch.setattr(runtime, "decide", broken)
    answer = await edge.chat()
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert b"inner secret" not in answer.body
    assert [r for r in caplog.records if r.exc_info and "inner secret" in str(r.exc_info[1])]


async def test_a_bug_during_a_stream_is_its_last_event(
    make_edge: MakeEdge, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.plays(is_silent)
    edge = await make_edge("streams: {heartbeat: 50ms}")

    async def broken(future: object, sink: object, progress: object) -> None:
        await sink.open(progress)
        raise RuntimeError("inner secret")

    monkeypatch.setattr("gateway.dispatch.patiently", broken)
    answer = await edge.chat(stream=True)
    assert answer.complete
    assert answer.events[-1]["error"]["code"] == "internal_error"
    assert b"inner secret" not in answer.body
    assert await edge.counted("setpoint_requests_total") == 1


@pytest.mark.req("RUN-3")
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_names_the_model_that_gave_it(
    make_edge: MakeEdge, engine: ScriptedEngine, tmp_path: Path, stream: bool
) -> None:
    pools = f"""
pools:
  - {{id: main, engine: openai, endpoint: '{engine.url}', retries: 0}}
  - {{id: sim, engine: embedded}}
models:
  - {{name: served, pool: main}}
  - {{name: spare, pool: sim, upstream: sim-small, quality: 0.9}}
routes: {{served: [served, spare]}}
"""
    edge = await start_edge(tmp_path, pools)
    try:
        engine.plays(refuses(503, b"{}"))
        answer = await edge.chat(stream=stream, max_tokens=2)
        assert answer.status == 200
        told = [e for e in answer.events if e != "[DONE]"] if stream else [answer.json]
        assert {chunk["model"] for chunk in told} == {"spare"}
        assert answer.headers["x-setpoint-model"] == "spare"
        assert answer.headers["x-setpoint-attempts"] == "2"
    finally:
        await edge.aclose()


# -- the client leaves --------------------------------------------------------------------


@pytest.mark.req("OPS-4")
async def test_a_client_that_leaves_at_the_end_marker_has_had_its_answer(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def left(answer: HttpAnswer, data: bytes = b"") -> None:
        raise ConnectionResetError("the client has left")

    monkeypatch.setattr(HttpAnswer, "write_eof", left)
    edge = await make_edge()
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await line.until(b"[DONE]")
    assert await edge.counted("setpoint_requests_total", status="200") == 1
    assert await edge.counted("setpoint_client_disconnects_total", operation="chat") == 0


@pytest.mark.req("RUN-5", "OPS-2")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_cancels_the_engine(
    make_edge: MakeEdge, engine: ScriptedEngine, stream: bool, begun: bool
) -> None:
    async def talks_on(call: Call) -> None:
        if begun:
            await call.head()
            await call.piece("Hel")
        await asyncio.Event().wait()

    engine.plays(talks_on)
    edge = await make_edge()
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", chat_body(stream=stream)))
        await eventually(lambda: bool(engine.asked))
        if begun and stream:
            await line.until(b"Hel")
        left_s = asyncio.get_running_loop().time()
    async with asyncio.timeout(5):
        await engine.left.wait()
    assert asyncio.get_running_loop().time() - left_s < 2
    await eventually(lambda: edge.gateway.pools["main"].signals().inflight == 0)
    assert await edge.counted("setpoint_client_disconnects_total", operation="chat") == 1
    assert await edge.counted("setpoint_requests_total", status="499") == 1


# -- what the engine gets -----------------------------------------------------------------


async def test_untouched_fields_reach_the_engine_byte_for_byte(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    untouched = (
        b'"messages":[ {"role":"user" ,"content":"caf\\u00e9 \\/ \xf0\x9f\x98\x80"} ]',
        b'"temperature":0.70e0',
        b'"seed":123456789012345678901234567890',
        b'"x_own":{"b":1.000,"a":[1E400,-0.0, "\\u0000"]}',
        b'"logit_bias":{ "1" : -100 }',
    )
    body = b'{"model":"served","max_tokens":5,%b,"stream":false}' % b",".join(untouched)
    edge = await make_edge(policies=RULES.replace("REJECT", ""))
    assert (await edge.ask("POST", "/v1/chat/completions", body)).status == 200
    got = engine.asked[0].body
    for part in untouched:
        assert part in got
    changed = {"model": "real", "stream": True, "stream_options": {"include_usage": True}}
    decoded = msgspec.json.decode(got.replace(b"1E400", b"0"))
    assert decoded | changed == decoded
    assert set(decoded) - set(changed) == {
        "max_tokens",
        "messages",
        "temperature",
        "seed",
        "x_own",
        "logit_bias",
    }


@pytest.mark.req("INT-3")
async def test_a_rules_cap_is_in_the_body_that_the_engine_gets(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    edge = await make_edge(policies=RULES.replace("REJECT", ""))
    for asked, sent in ((100, 7), (5, 5)):
        answer = await edge.chat(max_tokens=asked)
        assert msgspec.json.decode(engine.asked[-1].body)["max_tokens"] == sent
        assert "short" in answer.headers["x-setpoint-decision"]


@pytest.mark.req("SEC-2")
@pytest.mark.parametrize("dialect", ["openai", "llmd", "vllm", "llamacpp"])
async def test_a_clients_own_headers_never_reach_the_engine(
    make_edge: MakeEdge, engine: ScriptedEngine, dialect: str
) -> None:
    edge = await make_edge(
        f"pools: [{{id: main, engine: {dialect}, endpoint: '{engine.url}'}}]\n"
        "models: [{name: served, pool: main}]",
        embedded=True,
    )
    pool = edge.gateway.pools["main"]
    pool.learn(pool.endpoints[0], msgspec.structs.replace(pool.endpoints[0].state, ready=True))
    await edge.ask(
        "POST",
        "/v1/chat/completions",
        chat_body(),
        authorization="Bearer client-token",
        x_api_key="client-key",
        cookie="session=1",
        x_stainless_lang="python",
        openai_organization="org",
        connection="x-hop",
        x_hop="1",
        te="trailers",
        forwarded="for=1.2.3.4",
    )
    allowed = {
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "x-request-id",
        "x-llm-d-inference-objective",
        "x-llm-d-inference-fairness-id",
        "x-llm-d-slo-ttft-ms",
        "x-llm-d-slo-tpot-ms",
        "x-gateway-inference-objective",
        "x-gateway-inference-fairness-id",
    }
    asked = next(a for a in engine.asked if a.method == "POST")
    assert set(asked.headers) <= allowed
    assert "client" not in repr(asked.headers)


async def test_the_tightened_objective_reaches_llmd(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    edge = await make_edge(
        f"pools: [{{id: main, engine: llmd, endpoint: '{engine.url}'}}]\n"
        "models: [{name: served, pool: main}]",
        embedded=True,
    )
    pool = edge.gateway.pools["main"]
    pool.learn(pool.endpoints[0], msgspec.structs.replace(pool.endpoints[0].state, ready=True))
    await edge.ask("POST", "/v1/chat/completions", chat_body(), x_slo_ttft_ms="500")
    asked = next(a for a in engine.asked if a.method == "POST")
    sent = next(int(v) for k, v in asked.headers.items() if "ttft" in k)
    assert 0 < sent <= 500


async def test_an_answer_in_one_piece_from_an_engine_that_cannot_stream_is_streamed(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(
        says(
            msgspec.json.encode(
                {
                    "choices": [
                        {
                            "index": 0,
                            "message": {"role": "assistant", "content": "Hi"},
                            "finish_reason": "stop",
                        }
                    ]
                }
            )
        )
    )
    edge = await make_edge()
    answer = await edge.chat(stream=True)
    assert answer.events[-1] == "[DONE]"
    assert "Hi" in answer.body.decode()


async def test_unhurried_heartbeats_do_not_break_events(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    async def slow(call: Call) -> None:
        await call.head()
        await call.send(chunk({"content": "a"}))
        await asyncio.sleep(0.3)
        await call.piece("b")
        await call.finish()

    engine.plays(slow, streams())
    edge = await make_edge("streams: {heartbeat: 50ms}")
    answer = await edge.chat(stream=True)
    assert answer.body.count(b": ping\n") >= 2
    text = [e["choices"][0]["delta"].get("content") for e in answer.events[:-1] if e["choices"]]
    assert "".join(filter(None, text)) == "ab"
