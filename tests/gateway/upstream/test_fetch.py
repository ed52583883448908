"""The awaitable form, against a server of another make (aiohttp's)."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from adapters.dialect import WireRequest
from contracts.errors import ConnectFailed, UpstreamFault, UpstreamTimeout
from gateway.upstream import fetch


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read(), status=418, headers={"X-A": "b"})


async def numbers(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(100):
        await response.write(b"%d " % number)
    return response


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/echo", echo)
    app.router.add_get("/numbers", numbers)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def get(path: str) -> WireRequest:
    return WireRequest(method="GET", path=path, headers=())


async def test_any_status_is_an_answer(url, connect):
    request = WireRequest(method="POST", path="/echo", headers=(), body=b"tea")
    head, body = await fetch(connect(url), request, timeout_s=5, max_bytes=3)
    assert (head.status, head.headers["x-a"], body) == (418, "b", b"tea")


async def test_a_streamed_answer_is_gathered_and_its_connection_kept(url, connect):
    transport = connect(url)
    for _ in range(2):
        _, body = await fetch(transport, get("/numbers"), timeout_s=5, max_bytes=10_000)
        assert body.split() == [b"%d" % number for number in range(100)]
    assert (transport.connections, transport.idle_connections) == (1, 1)


@pytest.mark.req("SEC-5")
async def test_an_answer_above_the_limit_is_a_fault(url, connect):
    transport = connect(url)
    with pytest.raises(UpstreamFault, match="larger than 10 bytes"):
        await fetch(transport, get("/numbers"), timeout_s=5, max_bytes=10)


@pytest.mark.req("RUN-5")
async def test_silence_is_a_timeout_that_closes_the_connection(server, connect):
    async def silent(peer):
        await peer.gone()

    transport = connect(await server.listen(silent))
    with pytest.raises(UpstreamTimeout, match=r"no answer within 0\.05 s"):
        await fetch(transport, get("/"), timeout_s=0.05, max_bytes=10)
    assert transport.connections == 0
    await server.finished()


async def test_the_fault_of_the_exchange_is_raised(server, connect):
    with pytest.raises(ConnectFailed, match="could not be resolved"):
        await fetch(connect("http://a..b"), get("/"), timeout_s=5, max_bytes=10)
