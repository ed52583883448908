"""What is heard of the gateway: standings twice a second, decisions as they fall, over broken connections."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from contracts.control import LoggedDecision
from gateway.demo import watcher as demo_watcher
from gateway.demo.watcher import Sight, Watcher

pytestmark = pytest.mark.req("INT-10", "INT-7")


class Told:
    """A gateway's two interfaces. The decision stream breaks after every event."""

    def __init__(self, decision: LoggedDecision, status: object) -> None:
        self._decision = decision
        fields = msgspec.to_builtins(status)
        self._intents = [
            {**fields, "intent": name, "since": "2026-01-01T00:00:00Z"}
            for name in ("interactive", "batch")
        ]
        self.asked_after: list[str] = []
        self.failing = False
        self.asked = asyncio.Event()
        """Set whenever something is asked: what was answered before that has been taken down."""

    async def intents(self, request: web.Request) -> web.Response:
        self.asked.set()
        if self.failing:
            return web.Response(status=500)
        return web.json_response({"object": "list", "data": self._intents})

    async def decisions(self, request: web.Request) -> web.StreamResponse:
        after = request.headers["last-event-id"]
        self.asked_after.append(after)
        self.asked.set()
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        seq = int(after) + 1
        told = msgspec.structs.replace(
            self._decision, seq=seq, time=f"2026-01-01T00:00:{seq:02}.500Z"
        )
        data = msgspec.json.encode(told).decode()
        await response.write(f"id: {seq}\nevent: decision\ndata: {data}\n\n".encode())
        return response


@pytest.fixture
def told(make_decision: Callable[..., LoggedDecision], make_sight: Callable[..., Sight]) -> Told:
    return Told(make_decision(1, "climb", "switched model"), make_sight(0.0, waiting=4).status)


@pytest.fixture
async def url(told: Told, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setattr(demo_watcher, "POLL_S", 0.01)
    app = web.Application()
    app.router.add_get("/v1/intents", told.intents)
    app.router.add_get("/v1/decisions", told.decisions)
    async with TestServer(app) as server:
        yield f"http://{server.host}:{server.port}"


async def watched(watcher: Watcher, told: Told, enough: Callable[[], bool]) -> None:
    """Run it until there is enough."""
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        watching = group.create_task(watcher.run())
        while not enough():
            await told.asked.wait()
            told.asked.clear()
        watching.cancel()


BEGAN_AT = 1767225600.0
"""2026-01-01T00:00:00Z."""


async def test_standings_of_the_demos_intent_are_kept_with_their_time(url: str, told: Told) -> None:
    watcher = Watcher(url, lambda: 7.0, BEGAN_AT)
    await watched(watcher, told, lambda: len(watcher.sights) >= 2)
    assert {(s.at_s, s.status.intent, s.status.waiting) for s in watcher.sights} == {
        (7.0, "interactive", 4)
    }


async def test_decisions_are_taken_up_where_the_stream_broke(url: str, told: Told) -> None:
    watcher = Watcher(url, lambda: 7.0, BEGAN_AT)
    await watched(watcher, told, lambda: len(watcher.heard) >= 3)
    assert told.asked_after[:3] == ["0", "1", "2"]
    assert [heard.decision.seq for heard in watcher.heard[:3]] == [1, 2, 3]
    assert [heard.at_s for heard in watcher.heard[:3]] == pytest.approx([1.5, 2.5, 3.5])


async def test_a_gateway_that_is_in_trouble_is_asked_again(url: str, told: Told) -> None:
    watcher = Watcher(url, lambda: 7.0, BEGAN_AT)
    told.failing = True
    await watched(watcher, told, lambda: len(watcher.heard) >= 2)
    assert watcher.sights == []
    told.failing = False
    await watched(watcher, told, lambda: bool(watcher.sights))


def test_a_rung_that_is_only_rehearsed_does_not_count(make_sight: Callable[..., Sight]) -> None:
    assert make_sight(0.0, rungs=2).rung == 2
    assert make_sight(0.0, rungs=2, dry_run=True).rung == 0
