"""The fake in process: vLLM's wire, exact times on a virtual clock, errors, cancels, faults."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import uvloop

from adapters.dialect import WireRequest
from adapters.fakellmd.service import FakeLlmd
from adapters.fakellmd.settings import Latency, LlmdSettings, ServedModel

pytestmark = [pytest.mark.req("INT-9"), pytest.mark.looptime]
Build = Callable[..., LlmdSettings]
Make = Callable[..., WireRequest]
Ask = Callable[..., Any]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture
def fake(exact: Build) -> FakeLlmd:
    return FakeLlmd(exact(), wall_clock=lambda: 1_700_000_000.0)


async def test_a_stream_is_vllms(fake: FakeLlmd, chat: Make, ask: Ask) -> None:
    got = await ask(fake, chat(max_tokens=3, stream=True, stream_options={"include_usage": True}))
    assert got.calls == ["head", "data", "end"]
    assert got.status == 200
    assert got.head.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert got.head.headers["x-inference-pod"] == "m-0"
    role, first, second, last, usage, done = got.events
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(chunk["id"] == role["id"] for chunk in (first, last, usage))
    assert role["id"].startswith("chatcmpl-")
    assert role["object"] == "chat.completion.chunk"
    assert role["model"] == "m"
    assert [c["choices"][0]["finish_reason"] for c in (first, second)] == [None, None]
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["choices"][0]["delta"]["content"]
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 7, "total_tokens": 10, "completion_tokens": 3}
    assert done == "[DONE]"


async def test_no_usage_chunk_unless_it_was_asked_for(fake: FakeLlmd, chat: Make, ask: Ask) -> None:
    got = await ask(fake, chat(max_tokens=3, stream=True))
    assert all("usage" not in event for event in got.events)


async def test_tokens_come_at_exactly_the_laws_times(fake: FakeLlmd, chat: Make, ask: Ask) -> None:
    start_s = asyncio.get_running_loop().time()
    got = await ask(fake, chat(max_tokens=3, stream=True))
    # The end of the stream is told with the last token.
    assert [at_s - start_s for at_s in got.times] == pytest.approx([0.5, 0.5625, 0.625, 0.625])


async def test_a_document_says_what_the_stream_says(fake: FakeLlmd, chat: Make, ask: Ask) -> None:
    stream = await ask(fake, chat(seed=3, stream=True))
    whole = (await ask(fake, chat(seed=3))).json
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"]["content"] == stream.text
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert stream.events[-2]["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"]["completion_tokens"] > 20


@pytest.mark.req("ENG-4")
async def test_the_same_seed_gives_the_same_bytes(exact: Build, chat: Make, ask: Ask) -> None:
    async def stream(seed: int) -> bytes:
        fake = FakeLlmd(exact(), wall_clock=lambda: 0.0)
        body: bytes = (await ask(fake, chat(seed=seed, temperature=0.8, stream=True))).body
        return body

    first = [await stream(seed) for seed in range(8)]
    assert first == [await stream(seed) for seed in range(8)]
    assert len(set(first)) == 8


async def test_greedy_text_does_not_depend_on_the_seed(
    fake: FakeLlmd, chat: Make, ask: Ask
) -> None:
    texts = {(await ask(fake, chat(seed=s, temperature=0, stream=True))).text for s in range(3)}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("told", "shown"), [("req_1", "req_1"), ("caf\u00e9", "caf\u00e9"), ("\udcff", "?")]
)
async def test_an_answer_bears_its_requests_id_whatever_bytes_that_is(
    fake: FakeLlmd, chat: Make, make_post: Make, ask: Ask, told: str, shown: str
) -> None:
    """Bytes that are not UTF-8 used to leave the request without an answer."""
    for stream in (True, False):
        body = json.loads(chat(max_tokens=1, stream=stream).body)
        async with asyncio.timeout(60):
            got = await ask(fake, make_post("/v1/chat/completions", body, X_Request_Id=told))
        whole = got.events[0] if stream else got.json
        assert whole["id"] == f"chatcmpl-{shown}"


async def test_choices_are_sequences_of_their_own(fake: FakeLlmd, chat: Make, ask: Ask) -> None:
    whole = (await ask(fake, chat(n=3, max_tokens=9))).json
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in whole["choices"]}) == 3
    assert whole["usage"]["completion_tokens"] == 27
    assert whole["usage"]["prompt_tokens"] == 7
    stream = await ask(fake, chat(n=2, max_tokens=4, stream=True))
    chunks = [event["choices"][0] for event in stream.events[:-1]]
    assert sum("role" in chunk["delta"] for chunk in chunks) == 2
    assert [c["index"] for c in chunks if c["finish_reason"]] == [0, 1]


async def test_a_tool_call_streams_as_fragments(fake: FakeLlmd, chat: Make, ask: Ask) -> None:
    got = await ask(fake, chat(tools=[WEATHER], tool_choice="required", stream=True))
    deltas = [event["choices"][0]["delta"] for event in got.events[:-1]]
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert calls[0]["function"] == {"name": "get_weather"}
    assert calls[0]["id"]
    arguments = [call["function"]["arguments"] for call in calls[1:]]
    assert len(arguments) > 2
    jsonschema.validate(json.loads("".join(arguments)), WEATHER["function"]["parameters"])
    assert got.events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    named = {"type": "function", "function": {"name": "get_weather"}}
    whole = (await ask(fake, chat(tools=[WEATHER], tool_choice=named))).json["choices"][0]
    assert whole["message"]["tool_calls"][0]["function"]["arguments"] == "".join(arguments)
    assert whole["message"]["content"] is None
    assert whole["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("content", "choice", "called"),
    [
        ("Use get_weather for Rome", None, True),
        ("Which tool fits?", "auto", True),
        ("Tell me a story", "auto", False),
        ("Use get_weather for Rome", "none", False),
    ],
)
async def test_auto_calls_a_tool_when_the_user_speaks_of_one(
    fake: FakeLlmd, chat: Make, ask: Ask, content: str, choice: str | None, called: bool
) -> None:
    got = await ask(fake, chat(content, tools=[WEATHER], tool_choice=choice))
    assert ("tool_calls" in got.json["choices"][0]["message"]) is called


async def test_a_tools_result_is_answered_in_words(
    fake: FakeLlmd, make_post: Make, ask: Ask
) -> None:
    messages = [
        {"role": "user", "content": "Use get_weather"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
        {"role": "tool", "content": "sunny", "tool_call_id": "1"},
    ]
    body = {"model": "m", "messages": messages, "tools": [WEATHER]}
    got = await ask(fake, make_post("/v1/chat/completions", body))
    assert got.json["choices"][0]["finish_reason"] == "stop"


async def test_a_response_format_makes_json(fake: FakeLlmd, chat: Make, ask: Ask) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    got = (await ask(fake, chat(response_format=wanted))).json
    jsonschema.validate(json.loads(got["choices"][0]["message"]["content"]), schema)
    got = (await ask(fake, chat(response_format={"type": "json_object"}))).json
    assert isinstance(json.loads(got["choices"][0]["message"]["content"]), dict)


async def test_completions_of_several_prompts_are_numbered_through(
    fake: FakeLlmd, make_post: Make, ask: Ask
) -> None:
    body = {"model": "m", "prompt": ["one", "two"], "n": 2, "max_tokens": 3, "stream": True}
    got = await ask(fake, make_post("/v1/completions", body))
    choices = [event["choices"][0] for event in got.events[:-1]]
    assert {choice["index"] for choice in choices} == {0, 1, 2, 3}
    assert got.events[0]["object"] == "text_completion"
    whole = (await ask(fake, make_post("/v1/completions", body | {"stream": False}))).json
    for choice in whole["choices"]:
        pieces = [c["text"] for c in choices if c["index"] == choice["index"]]
        assert choice["text"] == "".join(pieces)
    ids = await ask(fake, make_post("/v1/completions", {"prompt": [1, 2, 3], "max_tokens": 1}))
    assert ids.json["usage"]["prompt_tokens"] == 3


async def test_embeddings_honour_dimensions_and_encoding(
    fake: FakeLlmd, make_post: Make, ask: Ask
) -> None:
    body = {"model": "m", "input": ["a", "b"], "dimensions": 8}
    got = (await ask(fake, make_post("/v1/embeddings", body))).json
    assert [len(item["embedding"]) for item in got["data"]] == [8, 8]
    assert got["usage"]["prompt_tokens"] == 2
    body |= {"encoding_format": "base64", "input": "a"}
    got = (await ask(fake, make_post("/v1/embeddings", body))).json
    assert isinstance(got["data"][0]["embedding"], str)


async def test_tokenize_counts_what_usage_counts(
    fake: FakeLlmd, chat: Make, make_post: Make, ask: Ask
) -> None:
    messages = [{"role": "user", "content": "héllo wörld"}]
    got = (await ask(fake, make_post("/tokenize", {"messages": messages}))).json
    body = {"messages": messages, "max_tokens": 1}
    answer = (await ask(fake, make_post("/v1/chat/completions", body))).json
    assert got["count"] == len(got["tokens"]) == answer["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("members", "status", "kind", "param"),
    [
        ({"model": "nope"}, 404, "NotFoundError", "model"),
        ({"max_tokens": "two"}, 400, "Bad Request", "body.max_tokens"),
        ({"max_tokens": 0}, 400, "BadRequestError", "max_tokens"),
        ({"max_tokens": 10**6}, 400, "BadRequestError", "max_tokens"),
        ({"temperature": 9}, 400, "BadRequestError", "temperature"),
        ({"temperature": -1}, 400, "BadRequestError", "temperature"),
        ({"top_p": 0}, 400, "BadRequestError", "top_p"),
        ({"n": 0}, 400, "BadRequestError", "n"),
        ({"messages": []}, 400, "BadRequestError", None),
        ({"messages": "hi"}, 400, "Bad Request", "body.messages"),
        ({"messages": [{"content": "hi"}]}, 400, "Bad Request", "body.messages.0.role"),
        ({"stream_options": {}}, 400, "BadRequestError", "stream_options"),
        ({"tool_choice": "required"}, 400, "BadRequestError", "tool_choice"),
        ({"seed": 2**70}, 400, "Bad Request", "body.seed"),
        ({"min_tokens": 9, "max_tokens": 3}, 400, "BadRequestError", "min_tokens"),
        ({"response_format": {"type": "xml"}}, 400, "BadRequestError", "response_format"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            400,
            "BadRequestError",
            "tool_choice",
        ),
    ],
)
async def test_a_wrong_request_gets_vllms_error(
    fake: FakeLlmd,
    chat: Make,
    ask: Ask,
    members: dict[str, Any],
    status: int,
    kind: str,
    param: str | None,
) -> None:
    got = await ask(fake, chat(**members))
    error = got.json["error"]
    assert got.status == status
    assert (error["type"], error["param"], error["code"]) == (kind, param, status)


async def test_a_prompt_too_long_is_refused(exact: Build, chat: Make, ask: Ask) -> None:
    fake = FakeLlmd(exact(max_model_len=64))
    got = await ask(fake, chat("x" * 500))
    assert got.status == 400
    assert "maximum context length is 64 tokens" in got.json["error"]["message"]
    got = await ask(fake, chat(max_tokens=60))
    assert got.json["error"]["param"] == "max_tokens"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b'{"messages":[{"role":"user","content":"\\ud800"}]}']
)
async def test_a_body_that_is_no_request_is_a_400(
    fake: FakeLlmd, make_post: Make, ask: Ask, body: bytes
) -> None:
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize"):
        assert (await ask(fake, make_post(path, body))).status == 400


async def test_a_body_nested_too_deeply_is_a_400(fake: FakeLlmd, make_post: Make, ask: Ask) -> None:
    body = b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for path in ("/v1/chat/completions", "/admin/config"):
        assert (await ask(fake, make_post(path, body))).status == 400


async def test_limits_and_routes(fake: FakeLlmd, exact: Build, make_post: Make, ask: Ask) -> None:
    small = FakeLlmd(exact(max_body_bytes=1024))
    assert (await ask(small, make_post("/tokenize", {"prompt": "x" * 2000}))).status == 413
    plain = WireRequest(method="POST", path="/tokenize", headers=(), body=b"{}")
    assert (await ask(fake, plain)).status == 400
    assert (await ask(fake, "/nowhere")).status == 404
    wrong = await ask(fake, "/v1/chat/completions")
    assert (wrong.status, wrong.head.headers["allow"]) == (405, "POST")
    models = (await ask(fake, "/v1/models?x=1")).json["data"]
    assert [(model["id"], model["max_model_len"]) for model in models] == [("m", 32_768)]
    assert "fake" in (await ask(fake, "/version")).json["version"]


# -- queue, cancel, pause ---------------------------------------------------------------


async def test_a_full_queue_is_a_429_with_the_simulators_words(
    exact: Build, chat: Make, ask: Ask, recorder: Any
) -> None:
    fake = FakeLlmd(exact(max_num_seqs=1, max_waiting_queue_length=1))
    waiting = [recorder(), recorder()]
    for sink in waiting:
        fake.start(chat(max_tokens=2), sink)
    got = await ask(fake, chat())
    assert got.status == 429
    assert got.json == {
        "error": {
            "message": "Failed to enqueue request, waiting requests queue is full",
            "type": "RateLimitError",
            "param": None,
            "code": 429,
        }
    }
    for sink in waiting:
        await sink.over.wait()
    assert [sink.status for sink in waiting] == [200, 200]


async def test_choices_are_queued_all_or_none(exact: Build, chat: Make, ask: Ask) -> None:
    fake = FakeLlmd(exact(max_num_seqs=1, max_waiting_queue_length=1))
    assert (await ask(fake, chat(n=3))).status == 429
    (engine,) = fake._fleet.engines["m"]
    assert (engine.running, engine.waiting) == (0, 0)


async def test_a_cancel_frees_the_place_at_once_and_is_silent(
    exact: Build, chat: Make, recorder: Any
) -> None:
    fake = FakeLlmd(exact(max_num_seqs=1))
    running, queued, heir = recorder(), recorder(), recorder()
    exchanges = [
        fake.start(chat(stream=True, max_tokens=50), sink) for sink in (running, queued, heir)
    ]
    await asyncio.sleep(0.6)
    assert (running.calls, queued.calls) == (["head", "data"], ["head"])
    exchanges[1].cancel()
    exchanges[0].cancel()
    exchanges[0].cancel()
    (engine,) = fake._fleet.engines["m"]
    assert (engine.running, engine.waiting) == (1, 0)
    seen = len(running.chunks)
    started_s = asyncio.get_running_loop().time()
    await heir.over.wait()
    assert heir.times[0] - started_s == pytest.approx(0.5)
    assert len(running.chunks) == seen
    assert queued.calls == ["head"]
    assert not fake._live
    assert not fake._exchanges


async def test_a_cancel_before_anything_happened_leaves_nothing(
    fake: FakeLlmd, chat: Make, recorder: Any
) -> None:
    sink = recorder()
    fake.start(chat(), sink).cancel()
    await asyncio.sleep(9)
    assert sink.calls == []
    assert not fake._exchanges


async def test_start_never_calls_back_itself(fake: FakeLlmd, recorder: Any) -> None:
    sink = recorder()
    fake.start(WireRequest(method="GET", path="/health", headers=()), sink)
    assert sink.calls == []
    await sink.over.wait()
    assert sink.calls == ["head", "end"]


async def test_a_paused_reader_gets_everything_after_it_resumes(
    fake: FakeLlmd, chat: Make, ask: Ask, recorder: Any
) -> None:
    sink = recorder()
    exchange = fake.start(chat(stream=True, max_tokens=9), sink)
    await asyncio.sleep(0.6)
    before = len(sink.chunks)
    exchange.pause()
    await asyncio.sleep(9)
    assert len(sink.chunks) == before
    exchange.resume()
    await sink.over.wait()
    assert sink.text == (await ask(fake, chat(stream=True, max_tokens=9))).text


async def test_closing_breaks_off_what_runs_and_refuses_what_comes(
    fake: FakeLlmd, chat: Make, ask: Ask, recorder: Any
) -> None:
    sink = recorder()
    fake.start(chat(stream=True), sink)
    await asyncio.sleep(0.6)
    await fake.aclose()
    assert sink.calls == ["head", "data", "error"]
    late = await ask(fake, chat())
    assert (late.calls, late.error.code) == (["error"], "upstream_unreachable")


async def test_lower_priority_numbers_overtake(exact: Build, chat: Make, recorder: Any) -> None:
    fake = FakeLlmd(exact(max_num_seqs=1))
    sinks = [recorder() for _ in range(3)]
    for sink, priority in zip(sinks, (0, 0, -1), strict=True):
        fake.start(chat(max_tokens=1, priority=priority, stream=True), sink)
    for sink in sinks:
        await sink.over.wait()
    assert sinks[2].times[-1] < sinks[1].times[0]


# -- faults and operations --------------------------------------------------------------


async def test_a_header_asks_for_an_error(fake: FakeLlmd, make_post: Make, ask: Ask) -> None:
    for status in (400, 401, 418, 429, 500, 503):
        request = make_post("/v1/chat/completions", {}, X_Return_Error=str(status))
        got = await ask(fake, request)
        assert (got.status, got.json["error"]["code"]) == (status, status)
    got = await ask(fake, make_post("/v1/chat/completions", {}, X_Return_Error="200"))
    assert (got.status, "X-Return-Error" in got.json["error"]["message"]) == (400, True)


async def test_failures_are_injected_at_their_rate_and_repeatably(
    exact: Build, chat: Make, ask: Ask
) -> None:
    async def statuses(rate: float) -> list[int]:
        types = ("rate_limit", "server_error")
        fake = FakeLlmd(exact(failure_injection_rate=rate, failure_types=types))
        return [(await ask(fake, chat(max_tokens=1))).status for _ in range(60)]

    some = await statuses(50)
    assert set(some) == {200, 429, 503}
    assert 15 < some.count(200) < 45
    assert some == await statuses(50)
    assert 200 not in await statuses(100)


async def test_a_lost_pod_ends_streams_with_an_error_event(
    exact: Build, chat: Make, ask: Ask, recorder: Any
) -> None:
    fake = FakeLlmd(exact(replicas=2))
    stream, whole = recorder(), recorder()
    fake.start(chat(stream=True), stream)
    await asyncio.sleep(0.6)
    fake.start(chat(), whole)
    await asyncio.sleep(0.1)
    fake.fail("m", 0)
    fake.fail("m", 1)
    await stream.over.wait()
    await whole.over.wait()
    assert stream.events[-2]["error"]["code"] == 500
    assert stream.events[-1] == "[DONE]"
    assert whole.status == 500
    assert (await ask(fake, chat())).status == 503
    assert (await ask(fake, "/health")).status == 503
    fake.recover("m", 1)
    got = await ask(fake, chat(max_tokens=1))
    assert (got.status, got.head.headers["x-inference-pod"]) == (200, "m-1")


async def test_it_is_not_ready_during_start_up(exact: Build, ask: Ask) -> None:
    fake = FakeLlmd(exact(startup_duration_s=5.0))
    assert (await ask(fake, "/health/ready")).status == 503
    assert (await ask(fake, "/health")).status == 200
    await asyncio.sleep(5)
    assert (await ask(fake, "/health/ready")).status == 200


async def test_the_configuration_changes_whole_or_not_at_all(
    fake: FakeLlmd, chat: Make, make_post: Make, ask: Ask, recorder: Any
) -> None:
    before = (await ask(fake, "/admin/config")).json
    bad = {"max_num_seqs": 2, "typo": 1}
    got = await ask(fake, make_post("/admin/config", bad))
    assert got.status == 400
    assert "typo" in got.json["error"]["message"]
    assert (await ask(fake, "/admin/config")).json == before
    sink = recorder()
    fake.start(chat(stream=True, max_tokens=4), sink)
    await asyncio.sleep(0.51)
    slower = {"latency": {"inter_token_latency_s": 0.25}}
    got = await ask(fake, make_post("/admin/config", slower))
    assert got.json["latency"] == before["latency"] | slower["latency"]
    await sink.over.wait()
    gaps = [b - a for a, b in zip(sink.times[:3], sink.times[1:4], strict=True)]
    assert gaps == pytest.approx([0.0625, 0.25, 0.25])


async def test_metrics_have_vllms_names_and_move(
    exact: Build, chat: Make, ask: Ask, recorder: Any
) -> None:
    fake = FakeLlmd(exact(max_num_seqs=1, max_waiting_queue_length=1, kv_cache_tokens=70))
    sinks = [recorder(), recorder(), recorder()]
    for sink in sinks:
        fake.start(chat(max_tokens=3), sink)
    await asyncio.sleep(0.1)
    labels = 'engine="0",model_name="m"'
    text = (await ask(fake, "/metrics")).body.decode()
    for line in (
        f"vllm:num_requests_running{{{labels}}} 1.0",
        f"vllm:num_requests_waiting{{{labels}}} 1.0",
        f"vllm:kv_cache_usage_perc{{{labels}}} 0.1",
        f'vllm:admission_rejections_total{{{labels},reason="queue_full"}} 1.0',
    ):
        assert line in text.splitlines()
    for sink in sinks:
        await sink.over.wait()
    got = await ask(fake, "/metrics")
    lines = got.body.decode().splitlines()
    for line in (
        f"vllm:num_requests_running{{{labels}}} 0.0",
        'vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 2.0',
        f"vllm:generation_tokens_total{{{labels}}} 6.0",
        f"vllm:prompt_tokens_total{{{labels}}} 14.0",
        f"vllm:time_to_first_token_seconds_count{{{labels}}} 2.0",
        f"vllm:inter_token_latency_seconds_sum{{{labels}}} 0.25",
        f"vllm:time_per_output_token_seconds_sum{{{labels}}} 0.25",
        f"vllm:request_queue_time_seconds_sum{{{labels}}} 0.625",
        f"vllm:e2e_request_latency_seconds_count{{{labels}}} 2.0",
        f'vllm:cache_config_info{{block_size="16",{labels},num_gpu_blocks="4"}} 1.0',
    ):
        assert line in lines
    assert got.head.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_two_fakes_share_nothing(exact: Build, chat: Make, ask: Ask) -> None:
    one, two = FakeLlmd(exact()), FakeLlmd(exact())
    await ask(one, chat(max_tokens=1))
    zero = 'vllm:generation_tokens_total{engine="0",model_name="m"} 0.0'
    assert zero not in (await ask(one, "/metrics")).body.decode()
    assert zero in (await ask(two, "/metrics")).body.decode()


async def test_the_default_demo_is_pleasant(make_post: Make, ask: Ask) -> None:
    fake = FakeLlmd()

    async def times(model: str) -> list[float]:
        start_s = asyncio.get_running_loop().time()
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": True}
        got = await ask(fake, make_post("/v1/chat/completions", body))
        return [at_s - start_s for at_s in got.times]

    large, small = await times("sim-large"), await times("sim-small")
    assert large[0] == pytest.approx(0.1, abs=0.03)
    assert (large[-1] - large[0]) / (len(large) - 2) == pytest.approx(0.015, rel=0.15)
    assert small[0] < large[0]


async def test_a_slow_model_and_a_fast_one_have_their_own_queues(
    make_post: Make, ask: Ask, recorder: Any
) -> None:
    models = (ServedModel(name="a"), ServedModel(name="b", latency=Latency()))
    fake = FakeLlmd(LlmdSettings(models=models, max_num_seqs=1, max_waiting_queue_length=0))
    body = {"prompt": "x", "max_tokens": 2}
    first = recorder()
    fake.start(make_post("/v1/completions", {"model": "a", **body}), first)
    assert (await ask(fake, make_post("/v1/completions", {"model": "b", **body}))).status == 200
    await first.over.wait()


def test_a_burst_on_uvloop_is_answered_side_by_side(
    chat: Make, recorder: Callable[[], Any]
) -> None:
    """uvloop's handle for a timer that is due at once has no `when`: a burst used to trip over it."""

    async def burst() -> list[Any]:
        fake = FakeLlmd()
        fake.boot()
        await asyncio.sleep(0.005)
        sinks = [recorder() for _ in range(8)]
        for sink in sinks:
            fake.start(chat(model="sim-small", stream=True, max_tokens=3), sink)
        async with asyncio.timeout(10):
            for sink in sinks:
                await sink.over.wait()
        return sinks

    sinks = uvloop.run(burst())
    assert [sink.status for sink in sinks] == [200] * 8
