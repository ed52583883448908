"""`/v1/intents`, `/v1/decisions`, and what the loop does to requests, over a real socket."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from contracts.control import LoopDecision
from gateway import control, control_endpoints
from gateway.control import Control
from policies.loop import RECENT_DECISIONS
from tests.fakes.edge import Edge, Line, chat_body, eventually, request
from tests.fakes.scripted_engine import ScriptedEngine, is_silent
from tests.fakes.virtual_gateway import breach

pytestmark = pytest.mark.req("INT-7")
MakeEdge = Callable[..., Awaitable[Edge]]
PROMISES = """
intents:
  - name: interactive
    match: {header: {x-setpoint-intent: interactive}, default: true}
    objectives: {ttft_p95: 60s, error_rate: 1%}
    priority: 10
    late: LATE
    ladder: [shed, {cap_tokens: 7}]
  - {name: batch, match: {header: {x-setpoint-intent: batch}}, priority: -10}
"""
POLICIES = PROMISES.replace("LATE", "serve")
STREAM = "text/event-stream"


def control_of(edge: Edge) -> Control:
    return edge.listener._control


def says(edge: Edge, *intents: str) -> None:
    """As many decisions as there are names, told by one tick."""
    for name in intents:
        edge.gateway.loop.note(
            LoopDecision(seq=0, at_s=0.0, kind="climb", intent=name, words=f"about {name}")
        )
    control_of(edge).tick()


async def sheds(edge: Edge, share: float = 1.0) -> None:
    """The loop has taken `shed`, and turns away that share of the batch work."""
    await edge.ask("POST", "/v1/chat/completions", chat_body(), x_setpoint_intent="batch")
    breach(edge.gateway, "interactive", pool="main", lane="real")
    for _ in range(60):
        control_of(edge).tick()
        (decline,) = edge.gateway.loop.holding.declines or (None,)
        if decline is not None and decline.share >= share:
            return
    raise AssertionError("nothing is shed")


# -- what was decided, on requests -------------------------------------------------------


@pytest.mark.req("INT-3", "INT-5", "ADM-2")
async def test_what_is_shed_is_told_by_whom_and_when_to_come_back(make_edge: MakeEdge) -> None:
    edge = await make_edge(policies=POLICIES)
    await sheds(edge)
    answer = await edge.ask("POST", "/v1/chat/completions", chat_body(), x_setpoint_intent="batch")
    assert (answer.status, answer.error["code"]) == (503, "shed_by_intent")
    assert answer.error["policy_label"] == "rung shed"
    assert answer.error["retriable"] is True
    assert answer.error["source"] == "gateway"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.error["retry_after_ms"] == int(answer.headers["retry-after-ms"])
    assert "rung shed" in answer.headers["x-setpoint-decision"]
    assert (await edge.chat()).status == 200


@pytest.mark.req("INT-3", "ADM-2")
async def test_a_client_that_tightens_its_deadline_is_told_when_it_cannot_be_met(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent)
    edge = await make_edge(
        pool="max_inflight: 1, retries: 0", policies=PROMISES.replace("LATE", "refuse")
    )
    async with await edge.connect() as first, await edge.connect() as patient:
        first.send(request("POST", "/v1/chat/completions", chat_body()))
        await eventually(lambda: len(engine.asked) == 1)
        patient.send(request("POST", "/v1/chat/completions", chat_body()))
        answer = await edge.ask("POST", "/v1/chat/completions", chat_body(), x_slo_ttft_ms="50")
        assert (answer.status, answer.error["code"]) == (429, "deadline_unreachable")
        assert answer.error["policy_label"] == "deadline_unreachable"
        assert answer.error["retriable"] is True
        assert int(answer.headers["retry-after"]) >= 1
        assert len(engine.asked) == 1, "no work is done for what is too late"
        assert edge.gateway.pools["main"].signals().queued == 1, "others have their own deadline"


async def test_late_serve_never_refuses_for_a_deadline(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    go_on = asyncio.Event()

    async def waits(call: object) -> None:
        await go_on.wait()
        await call.head()
        await call.piece("x")
        await call.finish()

    engine.plays(waits)
    edge = await make_edge(pool="max_inflight: 1, retries: 0", policies=POLICIES)
    body = chat_body()
    async with await edge.connect() as first, await edge.connect() as late:
        first.send(request("POST", "/v1/chat/completions", body))
        await eventually(lambda: len(engine.asked) == 1)
        late.send(request("POST", "/v1/chat/completions", body, x_slo_ttft_ms="1"))
        await eventually(lambda: edge.gateway.pools["main"].signals().queued == 1)
        await asyncio.sleep(0.02)
        go_on.set()
        assert (await late.answer()).status == 200


# -- is each promise kept ----------------------------------------------------------------


@pytest.mark.req("INT-1", "OPS-3")
async def test_each_promise_is_shown_with_what_was_measured(make_edge: MakeEdge) -> None:
    edge = await make_edge(policies=POLICIES)
    for _ in range(3):
        await edge.chat()
    control_of(edge).tick()
    answer = await edge.ask("GET", "/v1/intents")
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-request-id"]
    interactive, batch = answer.json["data"]
    assert (interactive["intent"], interactive["standing"]) == ("interactive", "met")
    assert interactive["ladder"] == ["shed", "cap_tokens 7"]
    assert (interactive["rung"], interactive["actions"]) == (0, [])
    ttft, errors = interactive["objectives"]
    assert (ttft["objective"], ttft["target"], ttft["samples"], ttft["bad"]) == (
        "ttft_p95",
        60.0,
        3,
        0,
    )
    assert 0 < ttft["value"] < 60
    assert (errors["objective"], errors["value"]) == ("error_rate", 0.0)
    assert interactive["requests_per_s"] > 0
    assert (interactive["inflight"], interactive["waiting"]) == (0, 0)
    assert interactive["since"].endswith("Z")
    assert (batch["intent"], batch["standing"], batch["objectives"]) == ("batch", "unknown", [])


async def test_a_broken_promise_is_shown_with_the_action_that_is_to_mend_it(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(policies=POLICIES)
    await sheds(edge, share=0.2)
    interactive = (await edge.ask("GET", "/v1/intents")).json["data"][0]
    assert interactive["standing"] == "breached"
    assert interactive["rung"] == 1
    (action,) = interactive["actions"]
    assert (action["rung"], action["id"], action["dry_run"]) == ("shed", 1, False)
    assert action["words"] == "shed sheddable traffic for interactive"
    assert interactive["refused_per_s"] > 0


async def test_requests_under_way_are_shown_where_they_are(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent)
    edge = await make_edge(pool="max_inflight: 1", policies=POLICIES)
    async with await edge.connect() as first, await edge.connect() as second:
        for line in (first, second):
            line.send(request("POST", "/v1/chat/completions", chat_body()))
        await eventually(lambda: edge.gateway.pools["main"].signals().queued == 1)
        shown = (await edge.ask("GET", "/v1/intents")).json["data"][0]
        assert (shown["inflight"], shown["waiting"]) == (1, 1)


@pytest.mark.req("INT-8")
async def test_whether_llmd_honours_an_intent_is_shown_where_there_is_an_llmd(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(embedded=True)
    shown = (await edge.ask("GET", "/v1/intents")).json["data"][0]
    (honour,) = shown["infrastructure"]
    assert honour["verdict"] == "unconfirmed"
    assert honour["why"] == "no answer yet"


@pytest.mark.req("SEC-2")
@pytest.mark.parametrize("path", ["/v1/intents", "/v1/decisions"])
@pytest.mark.parametrize("accept", ["application/json", STREAM])
async def test_who_may_not_call_is_told_nothing(
    make_edge: MakeEdge, path: str, accept: str
) -> None:
    edge = await make_edge("auth: {token: operators-own}", policies=POLICIES)
    assert (await edge.ask("GET", path, accept=accept)).status == 401
    wrong = await edge.ask("GET", path, accept=accept, authorization="Bearer wrong")
    assert wrong.status == 403
    assert control_of(edge).decisions.listeners == 0


# -- what was decided --------------------------------------------------------------------


async def decided(edge: Edge, query: str = "") -> list[int]:
    answer = await edge.ask("GET", f"/v1/decisions{query}")
    assert answer.status == 200, answer
    return [decision["seq"] for decision in answer.json["data"]]


async def test_decisions_are_listed_newest_last(make_edge: MakeEdge) -> None:
    edge = await make_edge(policies=POLICIES)
    assert await decided(edge) == []
    says(edge, *("a", "b") * 75)
    assert await decided(edge) == list(range(51, 151))
    assert await decided(edge, "?limit=3") == [148, 149, 150]
    assert await decided(edge, "?limit=0") == []
    assert await decided(edge, "?after=148") == [149, 150]
    assert await decided(edge, "?after=150") == []
    assert await decided(edge, "?intent=b&limit=2") == [148, 150]
    assert await decided(edge, "?intent=b&after=147") == [148, 150]
    assert await decided(edge, "?intent=nobody") == []
    assert len(await decided(edge, f"?limit={RECENT_DECISIONS}")) == 150
    answer = await edge.ask("GET", "/v1/decisions?limit=1")
    (last,) = answer.json["data"]
    assert (last["words"], last["intent"], last["kind"]) == ("about b", "b", "climb")
    assert last["time"].endswith("Z")


async def test_who_asks_for_what_a_former_gateway_said_last_gets_what_this_one_has_said(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(policies=POLICIES)
    says(edge, "a", "b")
    assert await decided(edge, "?after=900") == [1, 2]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=-1", "limit"),
        ("limit=1001", "limit"),
        ("limit=", "limit"),
        ("limit=ten", "limit"),
        ("limit=1.0", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=1&after=x", "after"),
        ("after=-1", "after"),
        ("after=99999999999999999", "after"),
        ("after=" + "9" * 5000, "after"),
    ],
)
async def test_a_wrong_value_is_a_400_that_names_the_field(
    make_edge: MakeEdge, query: str, field: str
) -> None:
    edge = await make_edge(policies=POLICIES)
    answer = await edge.ask("GET", f"/v1/decisions?{query}")
    assert (answer.status, answer.error["code"]) == (400, "invalid_value")
    assert answer.error["param"] == field
    assert field in answer.error["message"]


# -- ... as it is decided ----------------------------------------------------------------


async def listen(edge: Edge, line: Line, **headers: str) -> None:
    """Ask for the stream, and return once its head is there."""
    line.send(request("GET", "/v1/decisions", accept=STREAM, **headers))
    head = await line.head()
    assert head.status == 200
    assert head.headers["content-type"].startswith(STREAM)
    assert head.headers["cache-control"] == "no-cache"
    assert head.headers["x-request-id"]


async def event(line: Line) -> dict[str, str]:
    """The next event's fields."""
    raw = await line.until(b"\r\n\r\n")  # of the event, inside its chunk
    text = raw.decode().partition("\r\n")[2]  # the chunk's size
    await line.until(b"\r\n")
    return dict(part.split(": ", 1) for part in text.strip().split("\r\n"))


async def test_decisions_arrive_as_they_are_made(make_edge: MakeEdge) -> None:
    edge = await make_edge(policies=POLICIES)
    says(edge, "before")
    async with await edge.connect() as line:
        await listen(edge, line, x_request_id="mine")
        says(edge, "a", "b")
        for seq, name in ((2, "a"), (3, "b")):
            told = await event(line)
            assert (told["id"], told["event"]) == (str(seq), "decision")
            data = msgspec.json.decode(told["data"])
            assert (data["seq"], data["words"]) == (seq, f"about {name}")
            assert data["time"].endswith("Z")


async def test_a_listener_that_comes_back_takes_up_where_it_ended(make_edge: MakeEdge) -> None:
    edge = await make_edge(policies=POLICIES)
    says(edge, "a", "b", "c")
    async with await edge.connect() as line:
        await listen(edge, line, last_event_id="1")
        says(edge, "d")
        assert [(await event(line))["id"] for _ in range(3)] == ["2", "3", "4"]


async def test_a_quiet_stream_is_kept_alive(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_endpoints, "PING_S", 0.02)
    edge = await make_edge(policies=POLICIES)
    async with await edge.connect() as line:
        await listen(edge, line)
        for _ in range(2):
            await line.until(b": ping\r\n\r\n")


@pytest.mark.parametrize("last", ["x", "-1", "1.5"])
async def test_a_last_event_id_that_is_no_number_is_a_400(make_edge: MakeEdge, last: str) -> None:
    edge = await make_edge(policies=POLICIES)
    answer = await edge.ask("GET", "/v1/decisions", accept=STREAM, last_event_id=last)
    assert answer.status == 400
    assert answer.error["param"] == "last-event-id"


async def test_a_listener_that_leaves_is_forgotten(
    make_edge: MakeEdge, caplog: pytest.LogCaptureFixture
) -> None:
    edge = await make_edge(policies=POLICIES)
    decisions = control_of(edge).decisions
    async with await edge.connect() as line:
        await listen(edge, line)
        assert decisions.listeners == 1
    await eventually(lambda: decisions.listeners == 0)
    says(edge, "a")
    await eventually(lambda: not edge.listener._connections.serving)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.req("SEC-5")
async def test_too_many_listeners_are_sent_away(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "MAX_LISTENERS", 1)
    edge = await make_edge(policies=POLICIES)
    async with await edge.connect() as line:
        await listen(edge, line)
        refused = await edge.ask("GET", "/v1/decisions", accept=STREAM)
        assert (refused.status, refused.error["code"]) == (503, "too_many_connections")
        assert int(refused.headers["retry-after"]) >= 1
        assert await decided(edge) == []
    await eventually(lambda: control_of(edge).decisions.listeners == 0)
    async with await edge.connect() as line:
        await listen(edge, line)


@pytest.mark.req("SEC-5")
async def test_a_listener_that_reads_nothing_holds_nobody_up_and_is_cut(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(control_endpoints, "SLOW_S", 0.3)
    monkeypatch.setattr(control, "LISTENER_BACKLOG", 4)
    edge = await make_edge("limits: {write_buffer: 4kB}", policies=POLICIES)
    decisions = control_of(edge).decisions
    async with await edge.connect() as stalled, await edge.connect() as quick:
        await listen(edge, stalled)
        stalled.reader._transport.pause_reading()  # what a stalled process does
        await listen(edge, quick)
        said = 0
        while decisions.listeners == 2:
            said += 1
            long = LoopDecision(seq=0, at_s=0.0, kind="climb", intent="a", words="x" * 50_000)
            edge.gateway.loop.note(long)
            control_of(edge).tick()
            assert (await event(quick))["id"] == str(said)
        assert decisions.listeners == 1
    assert "slow_reader" in caplog.messages
    assert "bug" not in caplog.messages


# -- on the way down ---------------------------------------------------------------------


@pytest.mark.req("OPS-6")
async def test_listeners_do_not_hold_up_the_way_down(make_edge: MakeEdge) -> None:
    edge = await make_edge("drain_timeout: 10m", policies=POLICIES)
    async with await edge.connect() as line, await edge.connect() as idle:
        await listen(edge, line)
        await listen(edge, idle)
        says(edge, "a")
        async with asyncio.timeout(5):
            await edge.listener.drain()
            await edge.listener.close()
        assert (await event(line))["id"] == "1", "what was decided before is still told"
        assert await line.until(b"0\r\n\r\n"), "and then the stream ends as HTTP says"
        await idle.ends()
    assert control_of(edge).decisions.listeners == 0


@pytest.mark.req("OPS-6")
async def test_who_begins_to_listen_on_the_way_down_does_not_hold_it_up_either(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent)
    edge = await make_edge("drain_timeout: 100ms", policies=POLICIES)
    says(edge, "a")
    async with await edge.connect() as running, await edge.connect() as line:
        running.send(request("POST", "/v1/chat/completions", chat_body()))
        await eventually(lambda: bool(engine.asked))
        async with asyncio.TaskGroup() as group:
            draining = group.create_task(edge.listener.drain())
            await eventually(lambda: edge.gateway.draining)
            line.send(request("GET", "/v1/decisions", accept=STREAM, last_event_id="0"))
            answer = await line.answer()
            assert answer.complete
            assert b"about a" in answer.body
            assert not draining.done()
