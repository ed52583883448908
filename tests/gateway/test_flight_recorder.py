"""What the loop hears of each request, over a real socket: however it ends, one fate."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from contracts.errors import StreamBroken
from gateway import dispatch
from tests.fakes.edge import Edge, Line, chat_body, eventually, request
from tests.fakes.fates import Fates
from tests.fakes.scripted import broken
from tests.fakes.scripted_engine import (
    Call,
    ScriptedEngine,
    hangs_up,
    is_silent,
    refuses,
    says,
    streams,
)
from tests.fakes.virtual_gateway import breach
from tests.faults.stage import Stage, begun, healthy

pytestmark = pytest.mark.req("INT-4")
MakeEdge = Callable[..., Awaitable[Edge]]
POLICIES = """
intents:
  - name: interactive
    match: {header: {x-setpoint-intent: interactive}, default: true}
    objectives: {ttft_p95: 60s, tpot_p95: 50ms, e2e_p95: 2m, error_rate: 1%}
    priority: 10
    ladder: [shed]
  - {name: batch, match: {header: {x-setpoint-intent: batch}}, priority: -10}
rules:
  - {name: none of that, when: request.max_tokens == 13, then: {reject: {}}}
"""


async def watched(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch, config: str = "", **settings: Any
) -> tuple[Edge, Fates]:
    edge = await make_edge(config, policies=POLICIES, **settings)
    return edge, Fates(edge.gateway, monkeypatch)


async def breaks_off(call: Call) -> None:
    await call.head()
    await call.piece("Hel")


async def talks_for_ever(call: Call) -> None:
    await call.head()
    await call.piece("a")
    await asyncio.Event().wait()


ENDS = {
    "served": (streams(), "served"),
    "refused by the engine": (refuses(500, b'{"error":{"message":"no"}}'), "failed"),
    "too busy": (refuses(503, b'{"error":{"message":"no"}}'), "failed"),
    "cut before anything": (hangs_up, "failed"),
    "cut after the first token": (breaks_off, "failed"),
    "no answer at all": (says(b"{}"), "failed"),
    "at fault itself": (refuses(400, b'{"error":{"message":"bad"}}'), "cancelled"),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", ENDS)
async def test_however_the_engine_answers_there_is_one_fate(
    make_edge: MakeEdge,
    engine: ScriptedEngine,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    stream: bool,
) -> None:
    script, fate = ENDS[how]
    engine.plays(script)
    edge, fates = await watched(make_edge, monkeypatch)
    await edge.chat(stream=stream)
    assert fates.told == [fate]
    assert fates.all_over
    assert len(fates.offered) == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("stage", ["queue", "engine", "stream"])
async def test_a_client_that_leaves_is_cancelled_wherever_it_was(
    make_edge: MakeEdge,
    engine: ScriptedEngine,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    stream: bool,
) -> None:
    engine.plays(is_silent if stage != "stream" else talks_for_ever)
    edge, fates = await watched(make_edge, monkeypatch, pool="max_inflight: 1")
    sent = request("POST", "/v1/chat/completions", chat_body(stream=stream))
    async with await edge.connect() as first:
        first.send(sent)
        await eventually(lambda: len(engine.asked) == 1)
        if stage == "queue":
            async with await edge.connect() as second:
                second.send(sent)
                await eventually(lambda: edge.gateway.pools["main"].signals().queued == 1)
            await eventually(lambda: fates.told == ["cancelled"])
            assert fates.flights[0].dispatched_s is None
        if stage == "stream":
            await eventually(lambda: "first_token" in fates.steps)
    await eventually(lambda: fates.all_over)
    assert set(fates.told) == {"cancelled"}
    assert len(fates.told) == len(fates.offered) == (2 if stage == "queue" else 1)
    assert (fates.flights[-1].first_token_s is not None) == (stage == "stream")


async def fill(edge: Edge, line: Line, engine: ScriptedEngine) -> None:
    """The pool's one place is taken."""
    line.send(request("POST", "/v1/chat/completions", chat_body()))
    await eventually(lambda: len(engine.asked) == 1)


@pytest.mark.parametrize(
    ("queue", "headers", "code"),
    [
        ("{max_requests: 0}", {}, "queue_full"),
        ("{timeout: 20ms}", {}, "queue_timeout"),
        ("{}", {"x_slo_ttft_ms": "20"}, "deadline_unreachable"),
    ],
)
async def test_who_finds_no_place_is_refused(
    make_edge: MakeEdge,
    engine: ScriptedEngine,
    monkeypatch: pytest.MonkeyPatch,
    queue: str,
    headers: dict[str, str],
    code: str,
) -> None:
    engine.plays(is_silent)
    pool = f"max_inflight: 1, retries: 0, queue: {queue}"
    edge, fates = await watched(make_edge, monkeypatch, pool=pool)
    async with await edge.connect() as line:
        await fill(edge, line, engine)
        told = await edge.ask("POST", "/v1/chat/completions", chat_body(), **headers)
        assert told.error["code"] == code
        assert fates.told == ["refused"]
        assert fates.flights[0] is fates.offered[1]
    await eventually(lambda: fates.all_over)
    assert fates.told == ["refused", "cancelled"]


async def test_without_a_ready_backend_it_is_refused(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, fates = await watched(make_edge, monkeypatch)
    pool = edge.gateway.pools["main"]
    pool.lost(pool.endpoints[0])
    assert (await edge.chat()).status == 502
    assert (fates.told, fates.all_over) == (["refused"], True)


async def test_who_is_turned_away_by_a_rule_is_no_evidence_of_anything(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, fates = await watched(make_edge, monkeypatch)
    assert (await edge.chat(max_tokens=13)).error["code"] == "rejected_by_policy"
    assert (fates.told, fates.all_over) == (["shed"], True)
    measured = edge.gateway.loop.statuses(edge.gateway.clock())[0].objectives
    assert all(one.samples == 0 for one in measured)


async def test_who_is_shed_by_the_loop_is_no_evidence_of_anything(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, fates = await watched(make_edge, monkeypatch)
    batch = {"x_setpoint_intent": "batch"}
    await edge.ask("POST", "/v1/chat/completions", chat_body(), **batch)
    breach(edge.gateway, "interactive", pool="main", lane="real")
    for _ in range(40):
        edge.listener._control.tick()
    del fates.told[:]
    told = await edge.ask("POST", "/v1/chat/completions", chat_body(), **batch)
    assert told.error["code"] == "shed_by_intent"
    assert (fates.told, fates.all_over) == (["shed"], True)
    assert fates.flights[-1].treated == (1,)


async def test_a_retry_is_part_of_the_same_request(
    make_edge: MakeEdge, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.plays(refuses(500, b'{"error":{"message":"no"}}'), streams())
    edge, fates = await watched(make_edge, monkeypatch, pool="retries: 1")
    assert (await edge.chat()).status == 200
    assert fates.told == ["served"]
    assert fates.steps == ["offered", "dispatched", "attempt_failed", "dispatched", "first_token"]


async def test_an_answer_that_is_too_large_has_failed(
    make_edge: MakeEdge, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.plays(streams(("x" * 4000,)))
    edge, fates = await watched(make_edge, monkeypatch, "limits: {answer: 2kB}")
    assert (await edge.chat()).status == 502
    assert (fates.told, fates.all_over) == (["failed"], True)


async def test_a_bug_of_ours_has_failed(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, fates = await watched(make_edge, monkeypatch)

    def breaks(*given: object, **named: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(dispatch, "attempt_context", breaks)
    assert (await edge.chat()).status == 500
    assert (fates.told, fates.all_over) == (["failed"], True)


async def test_what_is_cut_by_the_way_down_has_one_fate_too(
    make_edge: MakeEdge, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.plays(talks_for_ever)
    edge, fates = await watched(make_edge, monkeypatch, "drain_timeout: 50ms")
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await line.until(b'"a"')
        await edge.listener.drain()
    assert (fates.told, fates.all_over) == (["failed"], True)


async def test_what_nothing_was_decided_about_is_no_business_of_the_loop(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, fates = await watched(make_edge, monkeypatch)
    assert (await edge.chat(model="nobody")).status == 404
    assert (await edge.ask("POST", "/v1/chat/completions", b"{")).status == 400
    assert (fates.offered, fates.told) == ([], [])


async def test_an_embedding_is_served_with_its_tokens_and_its_price(
    make_edge: MakeEdge, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {
        "object": "list",
        "model": "real",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    engine.plays(says(msgspec.json.encode(body)))
    edge, fates = await watched(make_edge, monkeypatch)
    told = await edge.ask(
        "POST", "/v1/embeddings", msgspec.json.encode({"model": "served", "input": "hi"})
    )
    assert told.status == 200
    assert (fates.told, fates.all_over) == (["served"], True)
    (flight,) = fates.flights
    assert flight.first_token_s is not None, "the answer itself is its first content"
    assert flight.tokens == 0
    assert (
        edge.gateway.loop.signals.intent("interactive").tpot.quantile(flight.last_s, 30, 0.5)
        is None
    )


@pytest.mark.looptime
@pytest.mark.req("RUN-5")
async def test_a_stream_that_is_gone_on_with_has_one_fate_and_no_first_token_to_be_in_time_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its client has had the first token, in time; the second attempt comes long after that was due."""
    stage = Stage("shipped", stream=True, main="max_inflight: 1", policies=POLICIES)
    fates = Fates(stage.gateway, monkeypatch)
    gone = StreamBroken("gone", fault="stream_broken")
    stage.main.plays([*begun(5), broken(3.0, gone)], healthy())
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(stage.ask(x_slo_ttft_ms="1000"))
        await asyncio.sleep(1)
        group.create_task(
            stage.ask()
        )  # it gets the place first, and the second attempt has to wait
    asking.result().is_whole(by="main")
    assert [a.target.model for a in asking.result().progress.attempts] == ["main", "main"]
    assert fates.told == ["served", "served"]
    assert fates.all_over
    await stage.aclose()
