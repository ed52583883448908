"""The load generator against the upstream itself: it asks what it is told to ask, and knows a wrong answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.bench.load import generating
from tests.bench.plan import Plan, Run
from tests.bench.upstream import Connection, Wheels


async def generate(plan: Plan) -> Run:
    async with generating(plan) as run:
        return run


async def closed() -> None:
    """Until both ends of what was closed have heard of it."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The upstream's, in this process."""
    wheels = Wheels()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(wheels), "127.0.0.1", 0
    )
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await closed()


async def test_every_request_is_asked_and_answered(url: str) -> None:
    run = await generate(Plan(url=url, model="instant", requests=20, concurrency=3, tokens=16))
    assert (run.done, run.wrong) == (20, {})
    assert len(run.whole_s) == 20


async def test_streams_run_side_by_side_at_the_upstreams_pace(url: str) -> None:
    plan = Plan(url=url, model="paced-50", requests=4, concurrency=4, tokens=4, stream=True)
    run = await generate(plan)
    assert (run.done, run.wrong, run.most_at_once) == (4, {}, 4)
    assert len(run.first_s) == 4
    assert run.largest_gap_s > 0


async def test_a_held_stream_has_begun_and_does_not_end(url: str) -> None:
    plan = Plan(
        url=url, model="paced-50", requests=3, concurrency=3, tokens=2, stream=True, hold=True
    )
    run = await generate(plan)
    assert (run.done, run.wrong, run.whole_s) == (3, {}, [])


async def test_what_a_server_breaks_is_counted() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error":{"message":"the queue is full"}}'
        writer.write(b"HTTP/1.1 429 -\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        run = await generate(Plan(url=url, model="instant", requests=3, concurrency=1, tokens=1))
        await closed()
    assert run.done == 0
    assert run.wrong["status 429 the queue is full"] == 1
    assert sum(run.wrong.values()) == 3
    assert run.complaint().startswith("3 of 3 answers were wrong: ")
