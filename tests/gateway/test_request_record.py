"""What is said of a request in headers, log and metrics."""

import logging
from collections.abc import Awaitable, Callable

import pytest

from contracts.decision import Decision
from gateway import runtime
from tests.fakes.edge import RULES, Edge, chat_body, eventually, request
from tests.fakes.scripted import DONE, USAGE, chunk
from tests.fakes.scripted_engine import Call, Script, ScriptedEngine, refuses

MakeEdge = Callable[..., Awaitable[Edge]]
KEY = "sk-upstream-0123456789"


@pytest.mark.req("INT-3")
async def test_an_answer_tells_how_it_came_to_be(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    for stream in (False, True):
        answer = await edge.chat(stream=stream)
        told = answer.headers
        assert answer.status == 200
        assert told["x-setpoint-intent"] == "interactive"
        assert told["x-setpoint-decision"].startswith("intent=interactive")
        assert told["x-setpoint-model"] == "served"
        assert told["x-setpoint-attempts"] == "1"
        assert float(told["x-setpoint-queue-ms"]) >= 0
        assert float(told["x-setpoint-overhead-ms"]) >= 0
        assert told["server"] == "setpoint"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_would_begin_a_header_of_its_own_is_a_bug_and_not_said(
    make_edge: MakeEdge, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(Decision, "summary", lambda decision: "a\r\nSet-Cookie: b")
    edge = await make_edge()
    answer = await edge.chat(stream=stream)
    assert (answer.status, "set-cookie" in answer.headers) == (500, False)
    engine.plays(refuses(400, b"{}"))
    async with await edge.connect() as line:  # where there is an error already, nothing is said
        line.send(request("POST", "/v1/chat/completions", chat_body(stream=stream)))
        assert await line.ends() == b""
    for status in ("500", "400"):
        assert await edge.counted("setpoint_requests_total", status=status) == 1


async def test_models_that_do_not_exist_never_become_metric_labels(make_edge: MakeEdge) -> None:
    edge = await make_edge(policies=RULES.replace("REJECT", ""))
    for n in range(3):
        body = chat_body(model=f"invented-{n}")
        await edge.ask("POST", "/v1/chat/completions", body, x_setpoint_intent="batch")
        await edge.ask("POST", "/v1/chat/completions", body)
    assert b"invented" not in edge.gateway.metrics.exposition()
    assert await edge.counted("setpoint_requests_total", model="unknown", status="429") == 3
    assert await edge.counted("setpoint_requests_total", model="none", status="404") == 3


# -- what the log says --------------------------------------------------------------------


@pytest.mark.req("OPS-1")
async def test_a_request_is_one_log_line_with_what_is_known(
    make_edge: MakeEdge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    edge = await make_edge()
    await edge.ask("POST", "/v1/chat/completions", chat_body(), x_request_id="mine")
    (line,) = [r.fields for r in caplog.records if r.getMessage() == "request"]
    assert line["request_id"] == "mine"
    assert (line["status"], line["model"], line["served_by"]) == (200, "served", "served")
    assert (line["engine"], line["pool_id"], line["replica_id"]) == ("openai", "main", "main/1")
    assert (line["tokens_in"], line["tokens_out"]) == (3, 2)
    assert line["attempts"] == ["ok"]
    assert (line["operation"], line["intent"], line["stream"]) == ("chat", "interactive", False)
    assert line["decision"].startswith("intent=interactive")
    assert line["policy"] == edge.gateway.policy.version
    assert line["finish_reason"] == "stop"
    assert line["e2e_ms"] >= line["ttft_ms"] >= line["upstream_ttft_ms"] >= 0
    assert line["e2e_ms"] - line["ttft_ms"] >= line["tpot_ms"] >= 0
    assert 0 <= line["queue_ms"] <= line["ttft_ms"]
    unsaid = {"job_id", "model_digest", "dropped", "error", "error_message", "where"}
    assert {name for name in unsaid if line[name] is not None} == set()


@pytest.mark.req("OPS-1")
async def test_a_refused_request_is_one_log_line_too(
    make_edge: MakeEdge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    edge = await make_edge()
    await edge.ask("POST", "/v1/chat/completions", b"{", x_request_id="mine")
    (line,) = [r.fields for r in caplog.records if r.getMessage() == "request"]
    assert (line["request_id"], line["status"], line["error"]) == ("mine", 400, "invalid_json")


@pytest.mark.req("OPS-1", "OPS-2")
@pytest.mark.parametrize("framing", [{"content_length": "99"}, {"transfer_encoding": "chunked"}])
async def test_a_client_that_leaves_during_its_upload_is_logged_and_counted(
    make_edge: MakeEdge, caplog: pytest.LogCaptureFixture, framing: dict[str, str]
) -> None:
    caplog.set_level(logging.INFO)
    edge = await make_edge()
    connections = edge.listener._connections
    async with await edge.connect() as line:
        body = request("POST", "/v1/chat/completions", x_request_id="mine", **framing)
        line.send(body + b"6\r\n{")
        await eventually(lambda: bool(connections.serving))
    await eventually(lambda: not connections.serving)
    (said,) = [r.fields for r in caplog.records if r.getMessage() == "request"]
    assert (said["request_id"], said["status"], said["error"]) == ("mine", 499, None)
    assert await edge.counted("setpoint_requests_total", status="499") == 1
    assert await edge.counted("setpoint_client_disconnects_total", operation="chat") == 1


async def test_a_bug_before_anything_was_decided_is_counted(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError

    edge = await make_edge()
    monkeypatch.setattr(runtime, "decide", broken)
    assert (await edge.chat()).status == 500
    assert await edge.counted("setpoint_requests_total", status="500") == 1


PRICED = """
pools:
  - {{id: main, engine: openai, endpoint: '{url}', retries: 0}}
models:
  - {{name: served, pool: main, upstream: real, price: {{input: 1, output: 2{cached}}}}}
  - {{name: unpriced, pool: main, upstream: real}}
"""


def counted(usage: bytes) -> Script:
    async def play(call: Call) -> None:
        await call.head()
        await call.piece("Hi")
        await call.send(chunk({}, finish="stop") + usage + DONE)

    return play


@pytest.mark.req("RUN-7")
async def test_what_an_answer_cost_is_told_where_it_is_known(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    cached = USAGE.replace(b'"total_tokens":5', b'"prompt_tokens_details":{"cached_tokens":2}')
    for price, usage, usd in (
        ("", USAGE, "0.000007"),
        (", cached_input: 0.5", USAGE, "0.000007"),
        (", cached_input: 0.5", cached, "0.000006"),
        ("", b"", None),  # an estimate is no count
    ):
        edge = await make_edge(PRICED.format(url=engine.url, cached=price), embedded=True)
        engine.plays(counted(usage))
        whole = await edge.chat()
        assert whole.headers.get("x-setpoint-cost-usd") == usd
        streamed = await edge.chat(stream=True, stream_options={"include_usage": True})
        assert "x-setpoint-cost-usd" not in streamed.headers, "nobody knows it yet"
        (told,) = [e["usage"] for e in streamed.events[:-1] if e.get("usage")]
        assert told.get("cost") == (None if usd is None else float(usd))
        assert "cost" not in whole.json["usage"]
        unknown = await edge.chat(model="unpriced")
        assert "x-setpoint-cost-usd" not in unknown.headers, "and never zero"


@pytest.mark.req("RUN-7")
async def test_an_error_costs_nothing_and_says_nothing_of_it(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    edge = await make_edge(PRICED.format(url=engine.url, cached=""), embedded=True)
    engine.plays(refuses(503, b"{}"))
    answer = await edge.chat()
    assert answer.status == 503
    assert "x-setpoint-cost-usd" not in answer.headers
