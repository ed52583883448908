"""Which process answers what: told by path, method and key, with peers that only say who they are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from contracts.errors import Restarting, TaskNotFound
from gateway.http_request import ASKED, Connection, HttpRequest
from gateway.workers import switch as module
from gateway.workers.forwarding import Peer
from gateway.workers.switch import OF_THE_WHOLE, WorkerSwitch

pytestmark = pytest.mark.req("RUN-4")


class Named:
    """A peer whose answer is its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    @asynccontextmanager
    async def ask(self, request: web.Request, **how: object) -> AsyncIterator[str]:
        yield self.name


@pytest.fixture(autouse=True)
def _answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pass_on(request: web.Request, answer: str) -> web.Response:
        return web.Response(text=answer)

    monkeypatch.setattr(module, "pass_on", pass_on)


def peers(*names: str) -> dict[int, Peer]:
    return {number: cast(Peer, Named(name)) for number, name in enumerate(names)}


def switch(me: int = 1, *, durable: bool = False) -> WorkerSwitch:
    others = {number: peer for number, peer in peers("w0", "w1", "w2").items() if number != me}
    return WorkerSwitch(me, 3, cast(Peer, Named("hub")), others, durable=durable)


async def here(request: web.Request) -> web.Response:
    return web.Response(text="here")


def request(method: str, path: str, **headers: str) -> web.Request:
    made = make_mocked_request(
        method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    made[ASKED] = HttpRequest(made._message, made.content, cast(Connection, made.protocol))
    return made


async def asked(made: WorkerSwitch, path: str, method: str = "GET", **headers: str) -> str | None:
    answer = await made(path, here, method)(request(method, path, **headers))
    assert isinstance(answer, web.Response)
    return answer.text


async def test_what_is_about_the_whole_is_the_hubs_and_the_rest_is_answered_here() -> None:
    for path in OF_THE_WHOLE:
        assert await asked(switch(), path) == "hub"
    assert switch()("/v1/chat/completions", here) is here


async def test_a_key_belongs_to_one_worker_wherever_it_comes_in() -> None:
    owners = set()
    for number in range(20):
        key = f"key {number}"
        found = {
            answer
            if (answer := await asked(switch(me), "/v1/tasks", "POST", idempotency_key=key))
            != "here"
            else f"w{me}"
            for me in range(3)
        }
        assert len(found) == 1
        owners |= found
    assert owners == {"w0", "w1", "w2"}


async def test_without_a_key_a_task_stays_where_it_came_in() -> None:
    assert await asked(switch(), "/v1/tasks", "POST") == "here"


async def test_durable_tasks_are_the_first_workers() -> None:
    for me, who in ((0, "here"), (1, "w0"), (2, "w0")):
        made = switch(me, durable=True)
        assert await asked(made, "/v1/tasks", "POST", idempotency_key="k") == who


async def test_a_task_that_is_not_here_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(request: web.Request) -> web.Response:
        raise TaskNotFound("no")

    async def elsewhere(request: web.Request, peers: dict[int, Peer]) -> web.Response | None:
        assert sorted(peers) == [0, 2]
        return found

    monkeypatch.setattr(module, "first_that_knows", elsewhere)
    handler = switch()("/v1/tasks/{id}", unknown)
    found: web.Response | None = web.Response(text="w2")
    assert await handler(request("GET", "/v1/tasks/t")) is found
    found = None
    with pytest.raises(TaskNotFound):
        await handler(request("GET", "/v1/tasks/t"))


async def test_lists_become_one_in_order_and_within_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def listed(*tasks: tuple[str, str]) -> bytes:
        data = [{"id": name, "created": created} for name, created in tasks]
        return msgspec.json.encode({"object": "list", "data": data})

    async def mine(request: web.Request) -> web.Response:
        return web.Response(body=listed(("b", "2"), ("d", "4")))

    async def others(request: web.Request, peers: object) -> dict[int, tuple[int, bytes]]:
        return {0: (200, listed(("a", "1"), ("c", "3"))), 2: (503, b"")}

    monkeypatch.setattr(module, "from_all", others)
    handler = switch()("/v1/tasks", mine)
    answer = await handler(request("GET", "/v1/tasks?limit=3"))
    assert isinstance(answer, web.Response)
    assert isinstance(answer.body, bytes)
    assert [task["id"] for task in msgspec.json.decode(answer.body)["data"]] == ["b", "c", "d"]


async def test_a_list_that_would_lack_a_workers_tasks_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def listed(request: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode({"object": "list", "data": []}))

    async def gather(request: web.Request, peers: dict[int, Peer]) -> dict[int, tuple[int, bytes]]:
        return dict.fromkeys(there, (200, b'{"object":"list","data":[]}'))

    monkeypatch.setattr(module, "from_all", gather)
    handler, there = switch()("/v1/tasks", listed), [0, 2]
    answer = await handler(request("GET", "/v1/tasks"))
    assert isinstance(answer, web.Response)
    assert answer.text == '{"object":"list","data":[]}'
    there = [0]
    with pytest.raises(Restarting):
        await handler(request("GET", "/v1/tasks"))
