"""The load against a server that misbehaves in every way it can: each request meets its one fate."""

import asyncio
import json
import time
from collections.abc import Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.demo import load as demo_load
from gateway.demo.deployment import BIG
from gateway.demo.exchange import Exchange
from gateway.demo.load import Load, body
from gateway.demo.scenario import Arrival

pytestmark = pytest.mark.req("INT-10")


def arrival(at_s: float = 0.0) -> Arrival:
    return Arrival(at_s=at_s, prompt_tokens=25, output_tokens=3)


def event(**members: object) -> bytes:
    return b"data: " + json.dumps({"model": BIG.name, **members}).encode() + b"\n\n"


def text(piece: str, finish: str | None = None) -> bytes:
    return event(choices=[{"delta": {"content": piece}, "finish_reason": finish}])


USAGE = event(choices=[], usage={"prompt_tokens": 25, "completion_tokens": 3})
ROLE = event(choices=[{"delta": {"role": "assistant", "content": ""}}])
DONE = b"data: [DONE]\n\n"


def streams(*parts: bytes) -> Callable[[web.Request], object]:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        return response

    return handle


async def asked(handle: Callable[[web.Request], object], *schedule: Arrival) -> list[Exchange]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)  # type: ignore[arg-type]  # a handler is any coroutine
    async with TestServer(app) as server:  # which cancels handlers whose client has left
        began_s = time.monotonic()
        load = Load(
            f"http://{server.host}:{server.port}",
            schedule or (arrival(),),
            lambda: time.monotonic() - began_s,
        )
        await load.run()
    return load.exchanges


async def test_a_whole_answer_is_read_with_its_times_tokens_and_model() -> None:
    (exchange,) = await asked(
        streams(ROLE, text("a"), text("b"), text("c", "length"), USAGE, b": ping\n\n", DONE)
    )
    assert (exchange.fate, exchange.why, exchange.model) == ("answered", "", BIG.name)
    assert (exchange.prompt_tokens, exchange.output_tokens) == (25, 3)
    assert exchange.sent_s is not None
    assert exchange.first_s is not None
    assert exchange.last_s is not None
    assert exchange.sent_s <= exchange.first_s <= exchange.last_s


def test_the_first_text_is_the_first_and_the_last_the_last() -> None:
    exchange = Exchange(arrival=arrival())
    for at_s, data in ((1.0, ROLE), (2.0, text("a")), (3.0, text("b")), (4.0, USAGE)):
        chunk = demo_load._chunk.decode(data.removeprefix(b"data: "))
        demo_load._note(exchange, chunk, at_s)
    assert (exchange.first_s, exchange.last_s) == (2.0, 3.0)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((text("a"),), "the stream broke off"),
        ((text("a"), DONE), "it ended in the middle"),
        ((text("a"), event(error={"code": "engine_failed"})), "engine_failed"),
        ((b"data: {\n\n",), "DecodeError"),
        ((), "the stream broke off"),
    ],
)
async def test_an_answer_that_is_not_whole_is_a_failure(parts: tuple[bytes, ...], why: str) -> None:
    (exchange,) = await asked(streams(*parts))
    assert exchange.fate == "failed"
    assert exchange.why.startswith(why)


@pytest.mark.parametrize(
    ("status", "answer", "fate", "why"),
    [
        (429, b'{"error": {"code": "queue_full"}}', "refused", "queue_full"),
        (503, b"busy", "refused", "503"),
        (500, b'{"error": {"code": null}}', "failed", "500"),
        (404, b'{"error": {"code": "model_not_found"}}', "failed", "model_not_found"),
    ],
)
async def test_come_back_later_is_a_refusal_and_any_other_error_a_failure(
    status: int, answer: bytes, fate: str, why: str
) -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=status, body=answer)

    (exchange,) = await asked(handle)
    assert (exchange.fate, exchange.why) == (fate, why)
    assert exchange.ttft_s is None


async def test_nobody_waits_for_the_answer_before() -> None:
    everybody = asyncio.Event()
    came = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal came
        came += 1
        if came == 3:
            everybody.set()
        await everybody.wait()
        return await streams(text("a", "stop"), USAGE, DONE)(request)  # type: ignore[no-any-return,misc]  # a handler is any coroutine

    exchanges = await asked(handle, arrival(0.0), arrival(0.01), arrival(0.02))
    assert [exchange.fate for exchange in exchanges] == ["answered"] * 3


async def test_who_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_load, "DRAIN_S", 0.1)

    async def handle(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with asyncio.timeout(20):
        (exchange,) = await asked(handle)
    assert exchange.fate == "failed"
    assert "no end" in exchange.why


async def test_nobody_listening_is_a_failure() -> None:
    load = Load("http://127.0.0.1:9", (arrival(),), lambda: 0.0)
    await load.run()
    assert load.exchanges[0].fate == "failed"


def test_a_request_asks_for_as_many_tokens_as_scheduled() -> None:
    told = body(Arrival(at_s=0.0, prompt_tokens=200, output_tokens=64))
    assert told["max_tokens"] == 64
    (message,) = told["messages"]  # type: ignore[misc]  # a list, as everybody knows
    assert len(message["content"]) == 800
