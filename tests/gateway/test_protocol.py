"""One client connection and its bounds, against clients that trickle, flood, stall and talk nonsense."""

import asyncio
import gzip
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from tests.fakes.edge import Edge, Line, chat_body, eventually, request, start_edge
from tests.fakes.scripted import chunk
from tests.fakes.scripted_engine import Call, ScriptedEngine, is_silent, streams

pytestmark = pytest.mark.req("SEC-5")
MakeEdge = Callable[..., Awaitable[Edge]]
QUICK = "limits: {header_timeout: 80ms, body_timeout: 80ms, idle_timeout: 2s}"
CHAT = request("POST", "/v1/chat/completions", chat_body())


async def trickle(line: Line, data: bytes, *, gap_s: float = 0.01) -> None:
    """A byte at a time, for as long as the gateway listens."""
    for byte in data:
        if line.reader.at_eof():
            return
        line.send(bytes([byte]))
        await asyncio.sleep(gap_s)


# -- slow heads, slow bodies --------------------------------------------------------------


async def test_a_header_that_trickles_in_is_cut(make_edge: MakeEdge) -> None:
    edge = await make_edge(QUICK)
    async with await edge.connect() as line:
        started_s = time.monotonic()
        await trickle(line, b"GET /livez HTTP/1.1\r\nx-slow: " + b"a" * 2000)
        assert await line.ends() == b""
        assert time.monotonic() - started_s < 5


async def test_a_header_that_trickles_in_is_cut_on_a_kept_connection_too(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(QUICK)
    async with await edge.connect() as line:
        line.send(request("GET", "/livez"))
        assert (await line.answer()).status == 200
        await trickle(line, b"GET /livez HTTP/1.1\r\nx-slow: " + b"a" * 2000)
        assert await line.ends() == b""


async def test_a_second_head_that_stops_behind_the_first_request_is_cut(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge("limits: {header_timeout: 80ms, idle_timeout: 300ms}")
    async with await edge.connect() as line:
        line.send(request("GET", "/livez") + b"GET /livez HT")
        assert (await line.answer()).status == 200
        assert await line.ends() == b""


async def test_the_clock_of_the_head_does_not_run_while_an_answer_is_awaited(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(streams(("slow", "ly"), gap_s=0.2))
    edge = await make_edge(QUICK)
    assert (await edge.chat()).json["choices"][0]["message"]["content"] == "slowly"


async def test_the_rest_of_a_refused_body_is_not_taken_for_a_slow_head(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge("limits: {header_timeout: 80ms, body: 1000}")
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", b"x" * 500, content_length="2000"))
        assert (await line.answer()).status == 413
        line.send(b"x" * 1500)
        await asyncio.sleep(0.2)
        line.send(request("GET", "/livez"))
        assert (await line.answer()).status == 200


async def test_a_body_that_trickles_in_gets_a_408(make_edge: MakeEdge) -> None:
    edge = await make_edge(QUICK)
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", b"", content_length="2000"))
        sending = asyncio.create_task(trickle(line, b"{" * 100))  # noqa: TID251 (awaited below)
        answer = await line.answer()
        await sending
    assert answer.status == 408
    assert answer.error["code"] == "request_timeout"


async def test_an_idle_connection_is_closed(make_edge: MakeEdge) -> None:
    edge = await make_edge("limits: {idle_timeout: 100ms}")
    async with await edge.connect() as silent, await edge.connect() as used:
        used.send(request("GET", "/livez"))
        assert (await used.answer()).status == 200
        assert await used.ends() == b""
        assert await silent.ends() == b""


# -- too much -----------------------------------------------------------------------------


async def test_a_body_over_the_limit_gets_a_413_before_it_is_read(make_edge: MakeEdge) -> None:
    edge = await make_edge("limits: {body: 1000}")
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", b"", content_length="1001"))
        answer = await line.answer()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


async def test_a_chunked_body_over_the_limit_gets_a_413(make_edge: MakeEdge) -> None:
    edge = await make_edge("limits: {body: 1000}")
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", transfer_encoding="chunked"))
        for _ in range(3):
            line.send(b"1f4\r\n" + b"x" * 500 + b"\r\n")
        answer = await line.answer()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


async def test_a_small_body_that_unpacks_to_a_large_one_gets_a_413(make_edge: MakeEdge) -> None:
    edge = await make_edge("limits: {body: 1000}")
    packed = gzip.compress(b" " * 500_000)
    assert len(packed) < 1000
    answer = await edge.ask("POST", "/v1/chat/completions", packed, content_encoding="gzip")
    assert answer.status == 413


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: a\r\n" + b"x: 1\r\n" * 100 + b"\r\n",
    ],
    ids=["header", "request line", "number of headers"],
)
async def test_a_head_over_the_limit_gets_a_431(make_edge: MakeEdge, head: bytes) -> None:
    edge = await make_edge("limits: {header: 4KiB, headers: 50}")
    async with await edge.connect() as line:
        line.send(head)
        answer = await line.answer()
        assert (answer.status, answer.error["code"]) == (431, "headers_too_large")
        assert await line.ends() == b""


async def test_connections_over_the_cap_get_a_503_and_leave_room_when_they_close(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge("limits: {connections: 2}")
    async with await edge.connect() as first, await edge.connect() as second:
        for line in (first, second):
            line.send(request("GET", "/livez"))
            assert (await line.answer()).status == 200
        async with await edge.connect() as third:
            answer = await third.answer()
            assert (answer.status, answer.error["code"]) == (503, "too_many_connections")
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["x-request-id"] == answer.error["request_id"]
            assert await third.ends() == b""
    await eventually(lambda: edge.listener._connections.open == 0)
    assert (await edge.ask("GET", "/livez")).status == 200


# -- nonsense -----------------------------------------------------------------------------

NONSENSE = {
    "garbage": b"\x00\x01\x02garbage\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": bytes.fromhex("1603010200010001fc0303") + b"a" * 200,
    "http9": b"GET /livez HTTP/9.9\r\nhost: a\r\n\r\n",
    "relative": b"GET livez HTTP/1.1\r\nhost: a\r\n\r\n",
    "port": b"GET http://a.example:99999999/ HTTP/1.1\r\nhost: a\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length and chunks": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size": b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n"
    b"transfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
    "chunk extension": b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n"
    b"transfer-encoding: chunked\r\n\r\n2;" + b"e" * 100_000 + b"\r\n{]\r\n0\r\n\r\n",
    "not gzip": request("POST", "/v1/chat/completions", b"x" * 40, content_encoding="gzip"),
    "space in name": b"GET /livez HTTP/1.1\r\nhost: a\r\nbad name: 1\r\n\r\n",
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_gets_a_400_and_never_a_500(make_edge: MakeEdge, name: str) -> None:
    edge = await make_edge()
    async with await edge.connect() as line:
        line.send(NONSENSE[name])
        answer = await line.answer()
    assert answer.status == 400
    assert answer.error["source"] == "gateway"
    assert answer.headers["x-request-id"]
    assert answer.headers["server"] == "setpoint"


async def test_a_malformed_request_is_logged_without_a_traceback(
    make_edge: MakeEdge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    edge = await make_edge()
    async with await edge.connect() as line:
        line.send(NONSENSE["garbage"])
        await line.answer()
    assert [r.getMessage() for r in caplog.records if "malformed" in r.getMessage()]
    assert not [r for r in caplog.records if r.exc_info]


async def test_an_expectation_that_cannot_be_met_gets_a_417(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    for path in ("/v1/chat/completions", "/livez", "/nowhere"):
        answer = await edge.ask("POST", path, b"{}", expect="tea")
        assert (answer.status, answer.error["code"]) == (417, "expectation_failed")


async def test_a_client_that_asks_first_is_told_to_go_on(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    body = chat_body()
    async with await edge.connect() as line:
        line.send(
            request(
                "POST",
                "/v1/chat/completions",
                b"",
                expect="100-continue",
                content_length=str(len(body)),
            )
        )
        assert (await line.head()).status == 100
        line.send(body)
        assert (await line.answer()).status == 200


async def test_a_client_that_asks_first_is_told_at_once_that_its_body_is_too_large(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge("limits: {body: 1000}")
    async with await edge.connect() as line:
        line.send(
            request(
                "POST",
                "/v1/chat/completions",
                b"",
                expect="100-continue",
                content_length="1001",
            )
        )
        assert (await line.answer()).status == 413


# -- what HTTP/1.1 allows -----------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(streams(("one",), gap_s=0.05), streams(("two",)), streams(("three",)))
    edge = await make_edge()
    async with await edge.connect() as line:
        line.send(CHAT * 3)
        said = [(await line.answer()).json["choices"][0]["message"]["content"] for _ in range(3)]
    assert said == ["one", "two", "three"]


async def test_an_http_1_0_client_gets_a_stream_that_ends_with_the_connection(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge()
    async with await edge.connect() as line:
        line.send(
            request("POST", "/v1/chat/completions", chat_body(stream=True)).replace(
                b"HTTP/1.1", b"HTTP/1.0", 1
            )
        )
        answer = await line.answer()
        assert "transfer-encoding" not in answer.headers
        assert answer.events[-1] == "[DONE]"
        assert await line.ends() == b""


async def test_one_connection_carries_many_requests(make_edge: MakeEdge) -> None:
    edge = await make_edge()
    async with await edge.connect() as line:
        for stream in (True, False, True):
            line.send(request("POST", "/v1/chat/completions", chat_body(stream=stream)))
            assert (await line.answer()).status == 200


@pytest.mark.req("RUN-5")
async def test_a_client_that_closes_its_side_has_left(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    """A half-closed connection cannot be told from a closed one, and an engine must not work for
    nobody."""
    engine.plays(is_silent)
    edge = await make_edge()
    async with await edge.connect() as line:
        line.send(CHAT)
        line.writer.write_eof()
        assert await line.ends() == b""
    async with asyncio.timeout(5):
        await engine.left.wait()


# -- slow readers -------------------------------------------------------------------------

BUFFER = 64 * 1024
ONE_READ = 256 * 1024
FRAMING = 8
"""How much larger a chunk of ours can be than the engine's."""


def flooding(sent: list[int]) -> Callable[[Call], Awaitable[None]]:
    """An engine that sends as fast as it is let."""

    async def play(call: Call) -> None:
        await call.head()
        piece = chunk({"content": "x" * 1000}) * 16
        while True:
            await call.send(piece)
            sent[0] += len(piece)

    return play


async def slow_reader_scene(folder: Path, slow_reader: str, body: bytes) -> None:
    """A client asks and never reads: the engine pauses, memory stays bounded, the client is cut."""
    engine = ScriptedEngine()
    await engine.start()
    sent = [0]
    engine.plays(flooding(sent))
    edge = await start_edge(
        folder,
        f"limits: {{write_buffer: {BUFFER}, slow_reader_timeout: {slow_reader}}}\n"
        f"pools: [{{id: main, engine: openai, endpoint: '{engine.url}', retries: 0}}]\n"
        "models: [{name: served, pool: main}]\n",
    )
    try:
        async with await edge.connect() as line:
            line.writer.transport.pause_reading()
            line.send(request("POST", "/v1/chat/completions", body))
            largest, before = 0, -1
            async with asyncio.timeout(20):
                while not engine.left.is_set():
                    largest = max(largest, *[buffered(p) for p in protocols(edge)], 0)
                    before = sent[0]
                    await asyncio.sleep(0.01)
            assert before > BUFFER
            assert BUFFER < largest < BUFFER + ONE_READ * FRAMING
    finally:
        await edge.aclose()
        await engine.aclose()


def protocols(edge: Edge) -> list[object]:
    server = edge.listener._runner.server
    assert server is not None
    return list(server.connections)


def buffered(protocol: object) -> int:
    transport = getattr(protocol, "transport", None)
    return 0 if transport is None else transport.get_write_buffer_size()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_reader_that_never_reads_pauses_the_engine_and_is_cut(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(slow_reader_scene(tmp_path, "300ms", chat_body(stream=True)))


async def test_a_reader_that_pauses_and_goes_on_loses_nothing(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(streams(["y" * 4000] * 1000))
    edge = await make_edge(f"limits: {{write_buffer: {BUFFER}, slow_reader_timeout: 5s}}")
    async with await edge.connect() as line:
        line.writer.transport.pause_reading()
        line.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await asyncio.sleep(0.2)
        line.writer.transport.resume_reading()
        answer = await line.answer()
    text = "".join(
        e["choices"][0]["delta"].get("content", "") for e in answer.events if e != "[DONE]"
    )
    assert text == "y" * 4_000_000
    assert answer.events[-1] == "[DONE]"


async def test_a_whole_answer_that_nobody_reads_is_given_up(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(streams(["z" * 100_000] * 200))
    edge = await make_edge(f"limits: {{write_buffer: {BUFFER}, slow_reader_timeout: 200ms}}")
    async with await edge.connect() as line:
        line.writer.transport.pause_reading()
        line.send(CHAT)
        await gone(edge)


async def test_an_answer_left_in_the_buffer_of_a_closed_connection_is_given_up(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    """Below the limit nobody is told that the reader is slow; the idle clock closes the connection,
    and a closed connection would wait for its reader for ever."""
    engine.plays(streams(["z" * 100_000] * 100))
    edge = await make_edge(
        "limits: {write_buffer: 32MiB, slow_reader_timeout: 200ms, idle_timeout: 200ms}"
    )
    async with await edge.connect() as line:
        line.writer.transport.pause_reading()
        line.send(CHAT)
        await gone(edge)


async def gone(edge: Edge) -> None:
    """All connections are closed, and were open."""
    connections = edge.listener._connections
    await eventually(lambda: connections.open > 0)
    await eventually(lambda: connections.open == 0)
