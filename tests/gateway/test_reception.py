"""What every door does first: who calls, is it open, the body within its bounds. Both doors, on a real socket."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from multidict import MultiMapping

from gateway.auth import Authenticator, Visitor
from gateway.http_request import HttpRequest
from gateway.reception import Arrival, Reception
from tests.fakes.edge import Edge, request
from tests.fakes.scripted_engine import Call, ScriptedEngine, is_silent

MakeEdge = Callable[..., Awaitable[Edge]]
DOORS = ("/v1/chat/completions", "/v1/tasks")
pytestmark = [pytest.mark.req("OPS-6", "SEC-2"), pytest.mark.parametrize("door", DOORS)]


async def test_who_may_not_call_is_told_before_anything_is_read(
    make_edge: MakeEdge, door: str
) -> None:
    edge = await make_edge("auth: {token: secret-1}")
    async with await edge.connect() as line:
        line.send(request("POST", door, None, content_length="1000"))
        assert (await line.answer()).status == 401


async def test_a_body_that_says_it_is_too_large_is_not_asked_for(
    make_edge: MakeEdge, door: str
) -> None:
    edge = await make_edge("limits: {body: 1KiB}")
    async with await edge.connect() as line:
        line.send(request("POST", door, None, content_length="2000", expect="100-continue"))
        assert (await line.answer()).status == 413


async def test_a_body_that_never_comes_is_not_waited_for_for_ever(
    make_edge: MakeEdge, door: str
) -> None:
    edge = await make_edge("limits: {body_timeout: 50ms}")
    async with await edge.connect() as line:
        line.send(request("POST", door, None, content_length="10"))
        assert (await line.answer()).status == 408


async def test_nothing_is_taken_while_it_shuts_down(make_edge: MakeEdge, door: str) -> None:
    edge = await make_edge()
    edge.gateway.draining = True
    answer = await edge.ask("POST", door, b"{}")
    assert (answer.status, answer.error["code"]) == (503, "draining")
    assert answer.headers["connection"] == "close"


@pytest.mark.req("SEC-3")
async def test_a_token_in_a_header_of_another_name_is_shown_to_nobody(
    make_edge: MakeEdge, engine: ScriptedEngine, door: str
) -> None:
    arrived = asyncio.Event()

    async def arrives(call: Call) -> None:
        arrived.set()
        await is_silent(call)

    engine.plays(arrives)
    edge = await make_edge("auth: {token: secret-1}")
    body = b'{"model":"served","messages":[{"role":"user","content":"x"}]}'
    named = {"authorization": "Bearer secret-1", "x_session_id": "secret-1"}
    async with await edge.connect() as line:
        line.send(request("POST", door, body, **named))
        await arrived.wait()
        tasks = await edge.ask("GET", "/v1/tasks", authorization="Bearer secret-1")
    (task,) = tasks.json["data"]
    assert task["session_id"] is None
    assert b"secret-1" not in tasks.body


@pytest.mark.req("SEC-3")
async def test_what_may_be_a_credential_is_taken_neither_for_rules_nor_for_records(
    make_edge: MakeEdge, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrivals: list[Arrival] = []
    receive = Reception.receive

    def received(reception: Reception, request: HttpRequest) -> Arrival | Awaitable[Arrival]:
        arrival = receive(reception, request)
        assert isinstance(arrival, Arrival)  # it came with its head
        arrivals.append(arrival)
        return arrival

    monkeypatch.setattr(Reception, "receive", received)
    edge = await make_edge()
    told = {
        "api_key": "s-1",
        "X_Goog_Api_Key": "s-2",
        "x_auth_token": "s-3",
        "x_client_secret": "s-4",
    }
    await edge.ask("POST", door, b"{}", **told, cookie="s-5", X_Team="red", idempotency_key="k")
    (arrival,) = arrivals
    assert "s-" not in str(list(arrival.headers.values()))
    assert (arrival.headers["x-team"], arrival.headers["idempotency-key"]) == ("red", "k")


async def test_credentials_do_not_reach_the_engine(
    make_edge: MakeEdge, engine: ScriptedEngine, door: str
) -> None:
    engine.plays(is_silent)
    edge = await make_edge("auth: {token: secret-1}")
    body = b'{"model":"served","messages":[{"role":"user","content":"x"}]}'
    async with await edge.connect() as line:
        line.send(request("POST", door, body, authorization="Bearer secret-1", cookie="c=secret-2"))
        async with asyncio.timeout(10):
            while not engine.asked:  # noqa: ASYNC110 (what is waited for has no event)
                await asyncio.sleep(0.005)
    assert "secret" not in str(engine.asked[0].headers)


async def test_who_calls_is_looked_up_once_for_all_that_an_answer_says(
    make_edge: MakeEdge, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    look_up = Authenticator.visitor

    def counted(auth: Authenticator, headers: MultiMapping[str], remote: str | None) -> Visitor:
        asked.append(remote)
        return look_up(auth, headers, remote)

    monkeypatch.setattr(Authenticator, "visitor", counted)
    edge = await make_edge(
        "auth: {token: secret-1, keys: [{name: web, token: secret-2, budget: [{requests: 5, per: 1m}]}]}"
    )
    answer = await edge.ask("POST", door, b"{}", authorization="Bearer secret-2")
    assert (answer.status, answer.headers["x-ratelimit-limit-requests"]) == (400, "5")
    assert len(asked) == 1
