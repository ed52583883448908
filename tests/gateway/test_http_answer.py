"""Good answers as bytes: one write, and what HTTP's versions and `Connection` ask for."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import HttpVersion11

from gateway.http_answer import HttpAnswer
from tests.cost.in_memory import (
    TOKEN,
    Client,
    MemoryLoop,
    chunked,
    closing,
    gateway,
    opening,
    request,
    until,
    whole_answer,
)

pytestmark = pytest.mark.req("RUN-1")
Scene = Callable[[MemoryLoop, Client], Awaitable[None]]


def play(scene: Scene) -> None:
    """`scene` with a gateway whose backend answers each request at once."""

    async def run() -> None:
        async with gateway() as loop:
            loop.on_request = lambda backend: loop.call_soon(backend.receive, whole_answer(2))
            client = Client(loop)
            await scene(loop, client)
            client.transport.close()

    loop = MemoryLoop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def asked_by(client: Client) -> Any:
    """As much of a request as an answer looks at."""
    return SimpleNamespace(
        protocol=SimpleNamespace(transport=client.transport),
        version=HttpVersion11,
        keep_alive=True,
        awaits_word=False,
        answered=False,
    )


def head_of(answer: bytes) -> tuple[str, dict[str, str]]:
    status, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return status, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


def spoken(data: bytes, version: bytes = b"1.1", connection: bytes = b"keep-alive") -> bytes:
    data = data.replace(b"HTTP/1.1", b"HTTP/" + version)
    return data.replace(b"Connection: keep-alive", b"Connection: " + connection)


def test_a_whole_answer_is_one_write_with_all_that_a_head_must_say() -> None:
    async def scene(loop: MemoryLoop, client: Client) -> None:
        client.send(request(stream=False))
        await client.answer_begins()
        (answer,) = client.transport.written
        status, head = head_of(answer)
        assert status == "HTTP/1.1 200 OK"
        assert head["content-type"] == "application/json"
        assert head["server"] == "setpoint"
        assert int(head["content-length"]) == len(answer.partition(b"\r\n\r\n")[2])
        assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT", head["date"])
        assert "connection" not in head
        assert "transfer-encoding" not in head

    play(scene)


@pytest.mark.parametrize(
    ("version", "connection", "told", "stays"),
    [
        (b"1.1", b"keep-alive", None, True),
        (b"1.1", b"close", "close", False),
        (b"1.0", b"keep-alive", "keep-alive", True),
        (b"1.0", b"close", None, False),
    ],
)
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/chat/completions?x=1"])
def test_a_connection_stays_where_both_sides_say_so(
    version: bytes, connection: bytes, told: str | None, stays: bool, path: bytes
) -> None:
    async def scene(loop: MemoryLoop, client: Client) -> None:
        asked = spoken(request(stream=False), version, connection)
        client.send(asked.replace(b"/v1/chat/completions", path))
        await client.answer_begins()
        status, head = head_of(client.transport.written[0])
        assert status == f"HTTP/{version.decode()} 200 OK"
        assert (head.get("connection"), head["server"]) == (told, "setpoint")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert client.transport.is_closing() is not stays

    play(scene)


def test_a_stream_is_chunked_and_its_connection_stays() -> None:
    async def scene(loop: MemoryLoop, client: Client) -> None:
        client.send(request(stream=True))
        answer = await client.answer(until=b"0\r\n\r\n")
        _, head = head_of(answer)
        assert head["transfer-encoding"] == "chunked"
        assert head["content-type"] == "text/event-stream; charset=utf-8"
        assert "content-length" not in head
        client.send(request(stream=True))
        assert b"[DONE]" in await client.answer(until=b"0\r\n\r\n")

    play(scene)


def test_a_stream_to_an_old_client_ends_with_its_connection() -> None:
    async def scene(loop: MemoryLoop, client: Client) -> None:
        client.send(spoken(request(stream=True), b"1.0"))
        answer = await client.answer(until=b"[DONE]")
        _, head = head_of(answer)
        assert "transfer-encoding" not in head
        assert "connection" not in head
        assert answer.endswith(b"data: [DONE]\n\n")
        await until(client.transport.is_closing)

    play(scene)


def test_the_first_content_goes_out_with_the_head() -> None:
    async def scene(loop: MemoryLoop, client: Client) -> None:
        loop.on_request = lambda backend: loop.call_soon(backend.receive, opening())
        client.send(request(stream=True))
        await until(lambda: bool(loop.backends and loop.backends[-1].written))
        await asyncio.sleep(0)
        assert client.transport.written == []
        loop.backends[-1].receive(chunked(TOKEN) + closing(1))
        await client.answer_begins()
        assert b'"content":" token"' in client.transport.written[0]

    play(scene)


def test_pipelined_requests_are_answered_in_turn() -> None:
    async def scene(loop: MemoryLoop, client: Client) -> None:
        asked = [request(stream=False, headers=f"X-Request-Id: r{n}\r\n") for n in range(3)]
        client.send(b"".join(asked))
        await until(lambda: len(client.transport.written) == 3)
        told = [head_of(answer)[1]["x-request-id"] for answer in client.transport.written]
        assert told == ["r0", "r1", "r2"]

    play(scene)


def test_the_next_answer_waits_for_a_reader_that_lags() -> None:
    async def scene(loop: MemoryLoop, client: Client) -> None:
        client.protocol.pause_writing()
        client.send(request(stream=False) * 3)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(client.transport.written) == 1
        client.protocol.resume_writing()
        await until(lambda: len(client.transport.written) == 3)

    play(scene)


def test_nothing_is_sent_to_a_client_that_has_left() -> None:
    async def scene(loop: MemoryLoop, client: Client) -> None:
        client.transport.close()
        with pytest.raises(ConnectionResetError):
            HttpAnswer("", content_type="text/plain", body=b"").begin(asked_by(client))
        assert client.transport.written == []

    play(scene)


def test_a_request_is_answered_once() -> None:
    async def scene(loop: MemoryLoop, client: Client) -> None:
        asked = asked_by(client)
        HttpAnswer("", content_type="text/plain", body=b"").begin(asked)
        with pytest.raises(ConnectionResetError, match="begun"):
            HttpAnswer("", content_type="text/plain", body=b"").begin(asked)
        assert len(client.transport.written) == 1

    play(scene)


def test_an_error_is_an_answer_like_any_other() -> None:
    async def scene(loop: MemoryLoop, client: Client) -> None:
        client.send(request(stream=False, model="nobody"))
        answer = await client.answer()
        status, head = head_of(answer)
        assert status == "HTTP/1.1 404 Not Found"
        assert head["content-type"] == "application/json"
        assert head["server"] == "setpoint"
        assert int(head["content-length"]) == len(answer.partition(b"\r\n\r\n")[2])
        assert "connection" not in head

    play(scene)
