"""A request handed on to another process: as its client sent it, once, and its answer as it comes."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from contracts.errors import Restarting
from gateway.protocol import HOP, PEER
from gateway.workers import forwarding
from gateway.workers.forwarding import Peer, first_that_knows, from_all, pass_on

pytestmark = pytest.mark.req("RUN-4")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def peer(path: Path, handler: Handler) -> AsyncIterator[Peer]:
    """Another process, which answers with `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    made = Peer("other", str(path))
    yield made
    await made.aclose()
    await runner.cleanup()


@asynccontextmanager
async def front(handler: Handler) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handler)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_the_other_sees_the_request_and_where_it_came_from(tmp_path: Path) -> None:
    async def echo(request: web.Request) -> web.Response:
        told = {name.lower(): value for name, value in request.headers.items()}
        body = (await request.read()).decode()
        path = request.raw_path
        return web.json_response(
            {"headers": told, "body": body, "path": path}, status=202, headers={"x-a": "b"}
        )

    async def hand_on(request: web.Request) -> web.StreamResponse:
        async with other.ask(request) as answer:
            return await pass_on(request, answer)

    async with peer(tmp_path / "s", echo) as other, front(hand_on) as client:
        sent = {"authorization": "Bearer t", PEER: "10.0.0.1", HOP: "9", "idempotency-key": "k"}
        answer = await client.post(
            URL("/v1/a%2Fb?x=%2F", encoded=True), data=b"a body", headers=sent
        )
        told = await answer.json()
        assert (answer.status, answer.headers["x-a"]) == (202, "b")
        assert (told["body"], told["path"]) == ("a body", "/v1/a%2Fb?x=%2F")
        headers = told["headers"]
        assert (headers["authorization"], headers["idempotency-key"]) == ("Bearer t", "k")
        assert (headers[PEER], headers[HOP]) == ("127.0.0.1", "1")


async def test_a_body_that_came_compressed_is_handed_on_as_it_was_before(tmp_path: Path) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def hand_on(request: web.Request) -> web.StreamResponse:
        async with other.ask(request) as answer:
            return await pass_on(request, answer)

    async with peer(tmp_path / "s", echo) as other, front(hand_on) as client:
        answer = await client.post(
            "/", data=gzip.compress(b"a body"), headers={"content-encoding": "gzip"}
        )
        assert await answer.read() == b"a body"


async def test_a_stream_is_passed_on_as_it_comes_and_ends_when_its_client_leaves(
    tmp_path: Path,
) -> None:
    left = asyncio.Event()

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return response

    async def hand_on(request: web.Request) -> web.StreamResponse:
        async with other.ask(request) as answer:
            return await pass_on(request, answer)

    async with peer(tmp_path / "s", events) as other:
        app = web.Application()
        app.router.add_get("/", hand_on)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.UnixSite(runner, str(tmp_path / "front")).start()
        connector = aiohttp.UnixConnector(str(tmp_path / "front"))
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.get("http://x/") as answer:
                assert await answer.content.readany() == b"data: 1\n\n"
            await asyncio.wait_for(left.wait(), 10)
        await runner.cleanup()


async def test_one_that_is_being_started_again_says_so(tmp_path: Path) -> None:
    other = Peer("worker 1", str(tmp_path / "nobody"))
    seen: list[Restarting] = []

    async def hand_on(request: web.Request) -> web.StreamResponse:
        try:
            async with other.ask(request):
                raise AssertionError
        except Restarting as exc:
            seen.append(exc)
        return web.Response()

    async with front(hand_on) as client:
        await client.get("/")
    assert "worker 1" in seen[0].message
    assert seen[0].retriable
    await other.aclose()


async def test_of_several_the_one_that_knows_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def knows(request: web.Request) -> web.Response:
        return web.Response(text="me", status=409)

    async def does_not(request: web.Request) -> web.Response:
        return web.Response(status=404)

    async def ask(request: web.Request) -> web.StreamResponse:
        if request.path == "/all":
            answers = await from_all(request, peers)
            return web.json_response({n: status for n, (status, _) in answers.items()})
        asked = {"/no": (0,), "/away": (0, 2), "/slow": (0, 3), "/": (0, 1, 2, 3)}[request.path]
        try:
            found = await first_that_knows(request, {n: peers[n] for n in asked})
        except Restarting as exc:
            return web.Response(text=exc.message)
        return found or web.Response(text="nobody")

    async def stands_still(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(forwarding, "GATHER_S", 0.2)

    async with (
        peer(tmp_path / "a", does_not) as a,
        peer(tmp_path / "b", knows) as b,
        peer(tmp_path / "c", stands_still) as c,
        front(ask) as client,
    ):
        gone = Peer("gone", str(tmp_path / "gone"))
        peers = {0: a, 1: b, 2: gone, 3: c}
        answer = await client.get("/")
        assert (answer.status, await answer.text()) == (409, "me")
        assert await (await client.get("/no")).text() == "nobody"
        # One that cannot say may be the one that knows.
        assert "gone of this gateway is being started" in await (await client.get("/away")).text()
        assert "does not answer" in await (await client.get("/slow")).text()
        assert await (await client.get("/all")).json() == {"0": 404, "1": 409}
        await gone.aclose()
