"""One connection's requests, one after the other, whichever way each of them is answered."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import pytest

from gateway.http_answer import HttpAnswer
from gateway.protocol import EdgeProtocol
from tests.cost.in_memory import Client, MemoryLoop, until
from tests.fakes.edge import Edge, chat_body, request
from tests.fakes.scripted_engine import ScriptedEngine, streams

pytestmark = pytest.mark.req("RUN-1")
MakeEdge = Callable[..., Awaitable[Edge]]
CHAT = "/v1/chat/completions"


async def test_answers_come_in_the_order_of_their_requests_whichever_way_each_goes(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(streams(("one",), gap_s=0.05), streams(("two",)), streams(("three",)))
    edge = await make_edge()
    asked = [
        request("POST", CHAT, chat_body(), x_request_id="r0"),
        request("GET", "/livez", x_request_id="none"),
        request("POST", CHAT, chat_body(stream=True), x_request_id="r2"),
        request("GET", "/nowhere", x_request_id="r3"),
        request("POST", CHAT, b"{", x_request_id="r4"),
        request("POST", "/v1/tasks", b"{", x_request_id="r5"),
        request("POST", f"{CHAT}?beta=true", chat_body(), x_request_id="r6"),
        request("GET", CHAT, x_request_id="r7"),
    ]
    async with await edge.connect() as line:
        line.send(b"".join(asked))
        answers = [await line.answer() for _ in asked]
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 400, 400, 200, 405]
    told = [answer.headers["x-request-id"] for answer in answers]
    assert [told[n] for n in (0, 2, 3, 4, 5, 6, 7)] == ["r0", "r2", "r3", "r4", "r5", "r6", "r7"]
    assert answers[7].headers["allow"] == "POST"


@pytest.mark.parametrize(
    "target", [CHAT, f"{CHAT}?x=1", f"http://a.example{CHAT}", "/v1/chat/%63ompletions"]
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_path_may_be_spelled_and_a_body_framed_and_cut_as_one_likes(
    make_edge: MakeEdge, target: str, chunked: bool
) -> None:
    body = chat_body()
    sent = request("POST", target, body)
    if chunked:
        head = request("POST", target, transfer_encoding="chunked")
        half = len(body) // 2
        pieces = (b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:half], body[half:]))
        sent = head + b"".join(pieces) + b"0\r\n\r\n"
    edge = await make_edge()
    async with await edge.connect() as line:
        for cut in (len(sent), len(sent) - len(body) // 2, 30, 1):
            for start in range(0, len(sent), cut):
                line.send(sent[start : start + cut])
                if cut > 1:
                    await asyncio.sleep(0.01)
            assert (await line.answer()).status == 200


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cut", [1 << 24, 100_000])
async def test_what_comes_behind_a_body_that_was_ahead_of_its_reader_is_answered_too(
    make_edge: MakeEdge, packed: bool, chunked: bool, cut: int
) -> None:
    """The parser holds back what came when a body is paused: also the next request's head."""
    edge = await make_edge("limits: {body: 16MB}")
    body = chat_body(messages=[{"role": "user", "content": "long " * 800_000}])
    more = {"content_encoding": "gzip"} if packed else {}
    body = gzip.compress(body) if packed else body
    if chunked:
        head = request("POST", CHAT, transfer_encoding="chunked", **more)
        pieces = (body[at : at + 5000] for at in range(0, len(body), 5000))
        asked = head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
    else:
        asked = request("POST", CHAT, body, **more)
    sent = asked + request("GET", "/livez") + asked + request("POST", CHAT, chat_body())
    async with await edge.connect() as line:
        for at in range(0, len(sent), cut):
            line.send(sent[at : at + cut])
            await asyncio.sleep(0)
        assert [(await line.answer()).status for _ in range(4)] == [200] * 4


async def test_what_comes_behind_another_protocol_is_not_taken_for_a_request(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge()
    asked = request("POST", CHAT, chat_body(), connection="upgrade", upgrade="websocket")
    async with await edge.connect() as line:
        line.send(asked + request("GET", "/livez"))
        answer = await line.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await line.ends() == b""


async def test_who_asks_for_another_protocol_waits_for_its_turn(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    asked = request("POST", CHAT, chat_body())
    async with await edge.connect() as line:
        line.send(asked + request("GET", "/livez", connection="upgrade", upgrade="websocket"))
        assert "connection" not in (await line.answer()).headers
        assert (await line.answer()).json == {"status": "ok"}


@pytest.mark.req("SEC-2")
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/tasks"])
async def test_a_body_that_was_not_asked_for_is_not_waited_for(
    make_edge: MakeEdge, path: str
) -> None:
    """Its client may send it or not, so that nothing more can be read on this connection."""
    edge = await make_edge("limits: {body: 1000}")
    async with await edge.connect() as line:
        line.send(request("POST", path, None, expect="100-continue", content_length="1001"))
        answer = await line.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")


@pytest.mark.req("SEC-2")
async def test_who_may_not_call_is_not_told_to_send_a_body(make_edge: MakeEdge) -> None:
    edge = await make_edge("auth: {token: secret-1}")
    async with await edge.connect() as line:
        line.send(request("POST", CHAT, None, expect="100-continue", content_length="10"))
        answer = await line.answer()
        assert (answer.status, answer.headers["connection"]) == (401, "close")


async def test_an_old_client_is_not_told_to_go_on(make_edge: MakeEdge) -> None:
    """It does not know what that is."""
    edge = await make_edge()
    asked = request("POST", CHAT, chat_body(), expect="100-continue")
    async with await edge.connect() as line:
        line.send(asked.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        assert (await line.answer()).status == 200


@pytest.mark.req("SEC-5")
async def test_a_refused_body_that_turns_out_to_be_nonsense_ends_its_connection(
    make_edge: MakeEdge, caplog: pytest.LogCaptureFixture
) -> None:
    edge = await make_edge("limits: {body: 1000}")
    async with await edge.connect() as line:
        line.send(request("POST", CHAT, None, content_length="2000", content_encoding="gzip"))
        assert (await line.answer()).status == 413
        line.send(b"not packed at all" * 40)
        await line.ends()
    assert not [r for r in caplog.records if r.exc_info]


@pytest.mark.req("SEC-5")
async def test_a_head_that_trickles_in_behind_an_inference_is_cut(make_edge: MakeEdge) -> None:
    edge = await make_edge("limits: {header_timeout: 80ms, idle_timeout: 20s}")
    async with await edge.connect() as line:
        line.send(request("POST", CHAT, chat_body()))
        assert (await line.answer()).status == 200
        line.send(b"POST /v1/chat")
        assert await line.ends() == b""


async def test_an_answer_that_cannot_be_said_ends_the_connection_unsaid(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> bytes:
        raise ValueError("there is no such status")

    edge = await make_edge()
    monkeypatch.setattr(HttpAnswer, "_head", broken)
    async with await edge.connect() as line:
        line.send(request("POST", CHAT, chat_body()))
        assert await line.ends() == b""
    assert [r for r in caplog.records if r.exc_info]
    await edge.listener._connections.quiet()


def test_quiet_is_when_the_last_one_has_ended() -> None:
    from tests.cost.in_memory import gateway, whole_answer
    from tests.cost.in_memory import request as chat

    async def scene() -> None:
        async with gateway() as loop:
            first, leaver = Client(loop), Client(loop)
            assert isinstance(first.protocol, EdgeProtocol)
            connections = first.protocol._connections
            await connections.quiet()
            for client in (first, leaver):
                client.send(chat(stream=False) * 2)
            await until(lambda: len([b for b in loop.backends if b.written]) == 2)
            assert len(connections.serving) == 2
            (kept, _), written = loop.backends, first.transport.written
            async with asyncio.TaskGroup() as group:
                quiet = group.create_task(connections.quiet())
                leaver.protocol.connection_lost(None)
                assert len(connections.serving) == 2  # its handler has to hear of it yet
                await until(lambda: len(connections.serving) == 1)
                kept.receive(whole_answer(2))
                await until(lambda: len(written) == 1)
                assert not quiet.done()  # the second follows on the first without a pause
                await until(lambda: len(kept.written) == 2)
                assert not quiet.done()
                kept.receive(whole_answer(2))
                await until(quiet.done)
            assert not connections.serving

    loop = MemoryLoop()
    try:
        loop.run_until_complete(scene())
    finally:
        loop.close()


@pytest.mark.req("OPS-6")
async def test_a_stream_that_is_out_but_for_its_end_is_not_told_that_it_was_cut(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    lags = asyncio.Event()

    async def never(protocol: EdgeProtocol) -> None:
        lags.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(EdgeProtocol, "drained", never)
    edge = await make_edge("drain_timeout: 50ms")
    async with await edge.connect() as line:
        line.send(request("POST", CHAT, chat_body(stream=True)))
        await lags.wait()
        await edge.listener.drain()
        assert b'"draining"' not in await line.ends()
    assert await edge.counted("setpoint_requests_total", status="200") == 1


@pytest.mark.req("OPS-4")
def test_a_request_makes_no_task_of_its_own() -> None:
    from tests.cost.in_memory import gateway
    from tests.cost.in_memory import request as chat

    async def scene() -> None:
        async with gateway() as loop:
            client = Client(loop)
            await asyncio.sleep(0)
            idle = len(asyncio.all_tasks())
            client.send(chat(stream=False))
            await until(lambda: bool(loop.backends and loop.backends[-1].written))
            assert len(asyncio.all_tasks()) == idle

    loop = MemoryLoop()
    try:
        loop.run_until_complete(scene())
    finally:
        loop.close()
