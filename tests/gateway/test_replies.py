"""The two shapes of an answer on the wire: heartbeats, early heads, late errors, and folds."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from adapters.splice import Splice
from contracts.errors import UpstreamFault
from contracts.events import Delta, End, Finish
from gateway.answers import Identity
from gateway.progress import Progress
from gateway.replies import FoldReply, StreamReply
from tests.fakes.edge import Edge, chat_body, request
from tests.fakes.scripted_engine import Call, ScriptedEngine, is_silent, refuses, streams

pytestmark = pytest.mark.req("RUN-1")
MakeEdge = Callable[..., Awaitable[Edge]]
PING = b": ping\n"
BEAT = "streams: {heartbeat: 50ms}"


async def test_a_long_wait_for_the_first_token_is_not_silent(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    async def late(call: Call) -> None:
        await call.head()
        await asyncio.sleep(0.3)
        await call.piece("late")
        await call.finish()

    engine.plays(late)
    edge = await make_edge(BEAT)
    answer = await edge.chat(stream=True)
    assert answer.body.startswith(PING)
    assert 2 <= answer.body.count(PING) <= 12
    assert answer.events[-1] == "[DONE]"


async def test_silence_in_mid_stream_is_filled_and_events_stay_whole(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(streams(("a", "b"), gap_s=0.2))
    edge = await make_edge(BEAT)
    answer = await edge.chat(stream=True)
    first, rest = answer.body.split(b'"content":"a"', 1)
    assert PING not in first
    assert PING in rest
    lines = answer.body.split(b"\n")
    assert {line[:6] for line in lines} <= {b"", b"data: ", b": ping"}


@pytest.mark.req("OPS-4")
@pytest.mark.parametrize("chat", [True, False])
async def test_a_stream_is_the_same_whether_it_is_spliced_or_not(
    make_edge: MakeEdge, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, chat: bool
) -> None:
    texts = ("Hel", "lo", *('"', "é/", "\\", "\U0001f600", "\x00\x7f\u2028", " ", "the end") * 2)
    spliced, frames = 0, Splice.frames

    def counted(splice: Splice, data: bytes) -> list[bytes]:
        nonlocal spliced
        made = frames(splice, data)
        spliced += len(made)
        return made

    engine.plays(streams(texts, gap_s=0.001))
    edge = await make_edge()
    path, body = "/v1/chat/completions", chat_body(stream=True)
    if not chat:
        path = "/v1/completions"
        body = msgspec.json.encode({"model": "served", "prompt": "Hi", "stream": True})

    def nothing(splice: Splice, data: bytes) -> list[bytes]:
        return []

    answers = []
    for how in (counted, nothing):
        monkeypatch.setattr(Splice, "frames", how)
        answer = await edge.ask("POST", path, body)
        answers.append(re.sub(rb'"(id":"[^"]*|created":\d+)', b"", answer.body))
        choices = [event["choices"][0] for event in answer.events[:-1]]
        said = [c["delta"].get("content", "") if chat else c["text"] for c in choices]
        assert "".join(said) == "".join(texts)
    assert answers[0] == answers[1]
    assert spliced


@pytest.mark.req("OPS-4")
async def test_nothing_is_spliced_before_the_head_is_out_nor_after_a_cut(
    make_edge: MakeEdge, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[object] = []
    opened = StreamReply.open

    async def watched(reply: StreamReply, progress: Progress) -> None:
        found.append(reply.around(0, "content"))
        await opened(reply, progress)
        found.append(reply.around(0, "content") is not None)
        reply._cut = True
        found.append(reply.around(0, "content"))
        reply._cut = False

    monkeypatch.setattr(StreamReply, "open", watched)
    engine.plays(streams())
    await (await make_edge()).chat(stream=True)
    assert found == [None, True, None]


async def test_a_lively_stream_has_no_heartbeats(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    assert PING not in (await edge.chat(stream=True)).body


@pytest.mark.req("RUN-6")
async def test_an_error_after_an_early_head_is_an_event(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    async def fails_late(call: Call) -> None:
        await asyncio.sleep(0.2)
        await refuses(500, b'{"error":{"message":"out of memory"}}')(call)

    engine.plays(fails_late)
    edge = await make_edge(BEAT)
    answer = await edge.ask(
        "POST", "/v1/chat/completions", chat_body(stream=True), x_request_id="mine"
    )
    assert (answer.status, answer.complete) == (200, True)
    (event,) = answer.events
    assert event["error"]["message"] == "pool main, endpoint 1: out of memory"
    assert event["error"]["request_id"] == "mine"
    assert answer.body.endswith(b"}\n\n")


async def test_a_wait_in_the_queue_is_not_silent_either(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent, streams())
    edge = await make_edge(BEAT, pool="max_inflight: 1, retries: 0")
    async with await edge.connect() as waiting:
        async with await edge.connect() as working:
            working.send(request("POST", "/v1/chat/completions", chat_body()))
            await asyncio.sleep(0.05)
            waiting.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
            await waiting.until(PING)
        assert b"[DONE]" in await waiting.until(b"[DONE]")


@pytest.mark.req("RUN-2")
async def test_a_head_that_goes_out_early_names_what_no_chat_can_say(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent)
    edge = await make_edge(BEAT, pool="max_inflight: 1, retries: 0")
    asked = chat_body(stream=True, max_tokens=5, speed="fast")
    async with await edge.connect() as working, await edge.connect() as waiting:
        working.send(request("POST", "/v1/chat/completions", chat_body()))
        await asyncio.sleep(0.05)
        waiting.send(request("POST", "/v1/messages", asked))
        assert b"x-setpoint-dropped: speed\r\n" in await waiting.until(b"ping")


async def test_a_whole_answer_waits_in_silence(make_edge: MakeEdge, engine: ScriptedEngine) -> None:
    engine.plays(streams(gap_s=0.15))
    edge = await make_edge(BEAT)
    answer = await edge.chat()
    assert PING not in answer.body
    assert answer.json["object"] == "chat.completion"


@pytest.mark.req("SEC-5")
async def test_a_whole_answer_that_is_too_large_is_refused_and_cancelled(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    async def endless(call: Call) -> None:
        await call.head()
        while True:
            await call.piece("x" * 1000)

    engine.plays(endless)
    edge = await make_edge("limits: {answer: 64KiB}")
    answer = await edge.chat()
    assert (answer.status, answer.error["code"]) == (502, "answer_too_large")
    async with asyncio.timeout(5):
        await engine.left.wait()


@pytest.mark.req("SEC-5", "RUN-6")
async def test_a_stream_whose_answer_must_be_kept_and_is_too_large_ends_with_an_error(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    async def endless(call: Call) -> None:
        await call.head()
        while True:
            await call.piece("x" * 1000)

    engine.plays(endless)
    edge = await make_edge("limits: {answer: 64KiB}")
    body = msgspec.json.encode({"model": "served", "input": "Hi", "stream": True})
    answer = await edge.ask("POST", "/v1/responses", body)
    assert (answer.status, answer.complete) == (200, True)
    error, failed = answer.events[-2:]
    assert error["error"]["code"] == "answer_too_large"
    assert failed["type"] == "response.failed"
    async with asyncio.timeout(5):
        await engine.left.wait()
    assert edge.gateway.pools["main"].signals().inflight == 0


def test_a_fold_that_passed_its_limit_has_no_body() -> None:
    identity = Identity(operation="chat", id="1", created_s=0, model="m")
    reply = FoldReply(identity, max_bytes=100)
    reply.events([Delta(content="x" * 200)])
    reply.events([Delta(content="more")])
    with pytest.raises(UpstreamFault):
        reply.body()


@pytest.mark.req("ADM-3")
async def test_after_a_cut_no_other_attempt_writes_either(
    make_edge: MakeEdge, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two that run beside each other may have content in the same moment."""
    cut = StreamReply.cut

    def cut_and_late(reply: StreamReply) -> None:
        cut(reply)
        reply.events([Delta(content="late")])

    async def begins(call: Call) -> None:
        await call.head()
        await call.piece("early")
        await asyncio.Event().wait()

    monkeypatch.setattr(StreamReply, "cut", cut_and_late)
    engine.plays(begins)
    edge = await make_edge()
    async with await edge.connect() as line:
        body = chat_body(stream=True)
        line.send(request("POST", "/v1/chat/completions", body, x_request_id="mine"))
        await line.until(b"early")
        await edge.ask("POST", "/v1/tasks/mine/cancel", b"")
        rest = await line.until(b"0\r\n\r\n")
    assert b"late" not in rest
    assert b'"code":"cancelled"' in rest


def test_a_fold_is_over_when_it_is_whole() -> None:
    identity = Identity(operation="chat", id="1", created_s=0, model="m")
    reply = FoldReply(identity, max_bytes=100)
    reply.events([Delta(content="a")])
    assert not reply.over
    reply.events([Finish(reason="stop"), End()])
    assert reply.over


@pytest.mark.req("RUN-6")
async def test_nothing_follows_the_end_of_a_body(
    make_edge: MakeEdge, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes out with the last event: on the wire, whatever came then would begin the next answer."""
    sent: list[bytes] = []
    stopped, send = StreamReply.stop, StreamReply.send

    def late(reply: StreamReply) -> None:
        monkeypatch.setattr(StreamReply, "send", lambda reply, frames: sent.append(frames))
        reply._written_s = 0.0  # it is high time for a heartbeat
        reply._heartbeat()
        reply.fail(UpstreamFault("too late"))
        monkeypatch.setattr(StreamReply, "send", send)
        stopped(reply)

    monkeypatch.setattr(StreamReply, "stop", late)
    answer = await (await make_edge()).chat(stream=True)
    assert (answer.complete, answer.events[-1], sent) == (True, "[DONE]", [])
