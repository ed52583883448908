"""Listening, and down again in good order."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.listener import Listener
from gateway.logs import JsonLines
from gateway.port import PortInUse
from tests.fakes.edge import Edge, Line, chat_body, eventually, request
from tests.fakes.scripted_engine import Call, ScriptedEngine, is_silent

MakeEdge = Callable[..., Awaitable[Edge]]


async def test_a_taken_port_is_port_in_use(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    with pytest.raises(PortInUse, match="already in use"):
        await Listener.start(edge.gateway, "127.0.0.1", edge.port)


@pytest.mark.req("SEC-2")
async def test_only_a_process_of_this_gateway_says_whose_request_it_hands_on(
    make_edge: MakeEdge, tmp_path: Path
) -> None:
    """Here without a token, which is for who is on this machine."""
    edge = await make_edge("auth: {token: secret-1, optional: true}")
    inner = str(tmp_path / "inner")
    listener = await Listener.start(edge.gateway, "127.0.0.1", 0, inner=inner)

    async def asked(peer: str) -> int:
        async with Line(*await asyncio.open_unix_connection(inner)) as line:
            line.send(request("GET", "/v1/models", x_setpoint_peer=peer))
            return (await line.answer()).status

    assert await asked("127.0.0.1") == 200
    assert await asked("10.0.0.1") == 401
    assert await asked("") == 401
    pretended = await edge.ask("GET", "/v1/models", x_setpoint_peer="10.0.0.1")
    assert pretended.status == 200
    await listener.close()


async def test_draining_lets_a_running_stream_end_and_refuses_what_is_new(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    go_on = asyncio.Event()

    async def waits(call: Call) -> None:
        await call.head()
        await call.piece("a")
        await go_on.wait()
        await call.piece("b")
        await call.finish()

    engine.plays(waits)
    edge = await make_edge()
    async with await edge.connect() as running, await edge.connect() as kept:
        kept.send(request("GET", "/livez"))
        await kept.answer()
        running.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await running.until(b'"a"')
        async with asyncio.TaskGroup() as group:
            draining = group.create_task(edge.listener.drain())
            await asyncio.sleep(0.05)
            kept.send(request("POST", "/v1/chat/completions", chat_body()))
            refused = await kept.answer()
            assert (refused.status, refused.error["code"]) == (503, "draining")
            async with await edge.connect() as late:
                late.send(request("GET", "/readyz"))
                told = await late.answer()
            assert (told.status, told.json["status"]) == (503, "draining")
            assert not draining.done()
            go_on.set()
        assert b"[DONE]" in await running.ends()  # and its connection is not kept
        await edge.listener.close()


async def talks_for_ever(call: Call) -> None:
    await call.head()
    await call.piece("a")
    await asyncio.Event().wait()


@pytest.mark.req("OPS-6")
async def test_what_does_not_end_in_time_is_told_so_and_cut(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(talks_for_ever)
    edge = await make_edge("drain_timeout: 100ms")
    async with await edge.connect() as running:
        running.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await running.until(b'"a"')
        async with asyncio.timeout(10):
            await edge.listener.drain()
            await edge.listener.close()
        rest = await running.ends()
    assert b'"code":"draining"' in rest
    assert b"[DONE]" not in rest
    await eventually(engine.left.is_set)
    assert await edge.counted("setpoint_requests_total") == 1
    assert await edge.counted("setpoint_client_disconnects_total") == 0


async def test_cut_streams_end_as_http_says(make_edge: MakeEdge, engine: ScriptedEngine) -> None:
    engine.plays(talks_for_ever)
    edge = await make_edge("drain_timeout: 50ms")
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await eventually(lambda: bool(engine.asked))
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(line.answer())
            await asyncio.sleep(0.05)
            await edge.listener.drain()
        answer = answering.result()
        assert answer.complete
        assert answer.events[-1]["error"]["code"] == "draining"
        assert await line.ends() == b""


@pytest.mark.req("OPS-6")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stage", ["upload", "queue", "engine"])
async def test_who_waits_when_time_is_up_is_told_to_come_back(
    make_edge: MakeEdge,
    engine: ScriptedEngine,
    caplog: pytest.LogCaptureFixture,
    stage: str,
    stream: bool,
) -> None:
    """Wherever the request was, as long as nothing of its answer was sent."""
    caplog.set_level(logging.INFO)
    engine.plays(is_silent, is_silent)
    edge = await make_edge("drain_timeout: 50ms", pool="max_inflight: 1, retries: 0")
    pool = edge.gateway.pools["main"]
    sent = request("POST", "/v1/chat/completions", chat_body(stream=stream))
    async with await edge.connect() as first, await edge.connect() as line:
        if stage == "queue":
            first.send(sent)
            await eventually(lambda: pool.signals().inflight == 1)
        line.send(sent[:-5] if stage == "upload" else sent)
        if stage == "queue":
            await eventually(lambda: pool.signals().queued == 1)
        await eventually(lambda: bool(edge.listener._connections.serving))
        if stage == "engine":
            await eventually(lambda: bool(engine.asked))
        async with asyncio.timeout(5):  # and the way down is not held up by it
            await edge.listener.drain()
            answer = await line.answer()
            await line.ends()
            await edge.listener.close()
    assert (answer.status, answer.error["code"]) == (503, "draining")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["connection"] == "close"
    told = 2 if stage == "queue" else 1
    logged = [r.fields for r in caplog.records if r.getMessage() == "request"]
    assert [(line["status"], line["error"]) for line in logged] == [(503, "draining")] * told
    assert await edge.counted("setpoint_requests_total", status="503") == told
    assert await edge.counted("setpoint_client_disconnects_total") == 0
    assert pool.signals().inflight == 0


async def test_what_is_logged_of_a_duration_is_a_number_of_seconds(
    make_edge: MakeEdge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    edge = await make_edge("drain_timeout: 2s\nlimits: {header_timeout: 50ms}")
    async with await edge.connect() as line:
        line.send(b"GET / HTTP/1.1\r\n")
        await line.ends()
    await edge.listener.drain()
    form = JsonLines(lambda text: text)
    logged = {r.getMessage(): json.loads(form.format(r)) for r in caplog.records}
    assert logged["draining"]["limit_s"] == 2.0
    assert logged["slow_header"]["seconds"] == 0.05
