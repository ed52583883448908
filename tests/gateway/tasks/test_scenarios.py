"""Tasks as their users meet them, in plain words: a whole gateway on a real socket, in front of an engine that says
what the test tells it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from gateway.logs import JsonLines
from tests.fakes.edge import Edge, eventually
from tests.fakes.scripted_engine import ScriptedEngine, refuses
from tests.fakes.task_client import Puppet, Tasks, names, text

MakeEdge = Callable[..., Awaitable[Edge]]
pytestmark = pytest.mark.req("RUN-4", "ADM-1")
ONE_AT_A_TIME = "retries: 0, max_inflight: 1, queue: {max_tasks: 2}"
KEYS = """
auth:
  token: op-secret-1
  keys: [{name: ada, token: ada-secret-1}, {name: bob, token: bob-secret-1}]
"""


@pytest.fixture
def puppet(engine: ScriptedEngine) -> Puppet:
    puppet = Puppet()
    engine.plays(puppet)
    return puppet


@pytest.fixture
async def edge(make_edge: MakeEdge) -> Edge:
    return await make_edge(pool=ONE_AT_A_TIME)


@pytest.fixture
def tasks(edge: Edge) -> Tasks:
    return Tasks(edge)


# -- from admission to the end ------------------------------------------------------------


@pytest.mark.req("ADM-4")
async def test_a_task_is_taken_streamed_and_remembered(tasks: Tasks, puppet: Puppet) -> None:
    answer = await tasks.submit(seed=7)
    assert answer.status == 202
    accepted = answer.json
    assert accepted["task_id"].startswith("task_")
    assert answer.headers["location"] == f"/v1/tasks/{accepted['task_id']}"
    assert accepted["queue_position"] == 0
    assert accepted["prompt_tokens"] > 0
    assert accepted["prompt_tokens_estimated"] is True

    async with tasks.read(accepted["task_id"]) as reader:
        assert reader.head.headers["content-type"].startswith("text/event-stream")
        await puppet.answer("Hel", "lo")
        events = await reader.all()
    assert names(events) == ["started", "token", "token", "end"]
    assert [told.id for told in events] == [1, 2, 3, 4]
    assert events[0].data == {"queue_position": 0, "predicted_start_ms": 0}
    assert [told.data for told in events[1:3]] == [{"t": "Hel", "i": 0}, {"t": "lo", "i": 1}]
    assert events[3].data["tokens_out"] == 2
    assert events[3].data["decode_time_ms"] >= 0

    view = await tasks.look(accepted["task_id"])
    assert view["state"] == "succeeded"
    assert view["result"]["choices"][0]["message"]["content"] == "Hello"
    assert view["usage"]["completion_tokens"] == 2
    assert view["pool_id"] == "main"
    assert view["replica_id"] == "main/1"
    assert view["decision"].startswith("intent=")
    assert view["attempts"] == ["ok"]
    assert view["last_event_id"] == 4
    assert view["created"] <= view["started"] <= view["ended"]


async def test_a_text_completion_is_a_task_too_and_its_model_may_be_left_out(
    tasks: Tasks, puppet: Puppet, engine: ScriptedEngine
) -> None:
    task_id = await tasks.accepted(prompt="Once", messages=..., model=..., max_tokens=3)
    call = await puppet.call()
    sent = msgspec.json.decode(call.asked.body)
    assert sent["prompt"] == "Once"
    assert sent["model"] == "real"
    assert sent["max_tokens"] == 3
    assert not {"ttl", "priority", "session_id"} & set(sent)
    await puppet.finish(call)
    view = await tasks.ended(task_id)
    assert view["kind"] == "task"
    assert view["result"]["object"] == "text_completion"


async def test_a_task_that_nobody_reads_runs_all_the_same(tasks: Tasks, puppet: Puppet) -> None:
    task_id = await tasks.accepted()
    await puppet.answer("un", "heard")
    view = await tasks.ended(task_id)
    assert view["result"]["choices"][0]["message"]["content"] == "unheard"


async def test_one_that_waits_knows_its_place_and_moves_up(tasks: Tasks, puppet: Puppet) -> None:
    first, second, third = [await tasks.accepted() for _ in range(3)]
    assert (await tasks.look(first))["queue_position"] == 0
    assert (await tasks.look(second))["queue_position"] == 1
    waiting = await tasks.look(third)
    assert (waiting["state"], waiting["queue_position"]) == ("queued", 2)
    await puppet.answer("a")
    await tasks.ended(first)
    await eventually(lambda: puppet.asked == 2)
    assert (await tasks.look(third))["queue_position"] == 1
    await puppet.answer("b")
    await puppet.answer("c")
    assert (await tasks.ended(third))["state"] == "succeeded"


async def test_the_list_has_tasks_and_chats_that_run_and_on_request_what_has_ended(
    edge: Edge, tasks: Tasks, puppet: Puppet
) -> None:
    ended = await tasks.accepted()
    await puppet.answer("a")
    await tasks.ended(ended)
    chat = asyncio.get_running_loop().create_task(edge.chat(stream=True))
    call = await puppet.call()
    running = await tasks.accepted(priority=-3, session_id="s1")
    listed = (await tasks.get()).json["data"]
    assert [(one["kind"], one["state"]) for one in listed] == [
        ("chat", "starting"),
        ("task", "queued"),
    ]
    assert listed[1]["id"] == running
    assert listed[1]["session_id"] == "s1"
    everything = (await tasks.get("?state=all")).json["data"]
    assert everything[0]["id"] == ended
    assert len(everything) == 3
    assert len((await tasks.get("?state=all&limit=1")).json["data"]) == 1
    await puppet.finish(call)
    assert (await chat).status == 200
    assert (await tasks.cancel(running)).json["state"] in ("cancelled",)


# -- cancel -------------------------------------------------------------------------------


@pytest.mark.req("ADM-3")
async def test_one_that_waits_is_cancelled_and_never_reaches_the_engine(
    tasks: Tasks, puppet: Puppet, edge: Edge
) -> None:
    first = await tasks.accepted()
    call = await puppet.call()
    second = await tasks.accepted()
    async with tasks.read(second) as reader:
        assert (await reader.next()) is not None
        answer = await tasks.cancel(second)
        assert answer.json == {"task_id": second, "state": "cancelled"}
        rest = await reader.all()
    assert names(rest) == ["error"]
    assert rest[0].data["code"] == "cancelled"
    assert rest[0].data["retriable"] is False
    await puppet.finish(call)
    await tasks.ended(first)
    assert puppet.asked == 1
    assert (await tasks.look(second))["state"] == "cancelled"
    assert edge.gateway.pools["main"].signals().queued_tasks == 0


@pytest.mark.req("ADM-3")
async def test_one_that_streams_is_cancelled_and_its_engine_stops(
    tasks: Tasks, puppet: Puppet, engine: ScriptedEngine, edge: Edge
) -> None:
    task_id = await tasks.accepted()
    call = await puppet.call()
    async with tasks.read(task_id) as reader:
        await call.piece("one")
        assert text(await reader.until("token")) == "one"
        answer = await tasks.cancel(task_id)
        assert answer.json["state"] == "cancelled"
        assert edge.gateway.pools["main"].signals().inflight == 0, "its place is free by then"
        rest = await reader.all()
    assert names(rest) == ["error"]
    assert rest[0].data["code"] == "cancelled"
    await asyncio.wait_for(engine.left.wait(), 10)
    again = await tasks.cancel(task_id)
    assert (again.status, again.json["state"]) == (200, "cancelled")
    view = await tasks.look(task_id)
    assert view["result"]["choices"][0]["message"]["content"] == "one", "what came is kept"
    async with tasks.read(task_id) as late:
        assert names(await late.all()) == ["started", "error"], "nobody reads it as tokens again"


@pytest.mark.req("ADM-3")
async def test_what_has_ended_stays_what_it_is(tasks: Tasks, puppet: Puppet) -> None:
    task_id = await tasks.accepted()
    await puppet.answer("done")
    await tasks.ended(task_id)
    assert (await tasks.cancel(task_id)).json["state"] == "succeeded"


@pytest.mark.req("ADM-3")
async def test_a_chat_stream_is_cancelled_by_its_request_id(
    edge: Edge, tasks: Tasks, puppet: Puppet, engine: ScriptedEngine
) -> None:
    body = msgspec.json.encode(
        {"model": "served", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    )
    chat = asyncio.get_running_loop().create_task(
        edge.ask("POST", "/v1/chat/completions", body, x_request_id="my-own-id")
    )
    call = await puppet.call()
    await call.piece("one")
    async with asyncio.timeout(10):
        while (await tasks.look("my-own-id"))["state"] != "streaming":
            pass
    assert (await tasks.cancel("my-own-id")).json["state"] == "cancelled"
    answer = await chat
    assert answer.complete
    assert answer.events[-1]["error"]["code"] == "cancelled"
    assert [e["choices"][0]["delta"].get("content") for e in answer.events[:-1]][-1] == "one"
    await asyncio.wait_for(engine.left.wait(), 10)
    assert (await tasks.get("/my-own-id")).status == 404, "a chat is not remembered"


@pytest.mark.req("ADM-3")
async def test_a_folded_answer_that_is_cancelled_is_a_499(
    edge: Edge, tasks: Tasks, puppet: Puppet
) -> None:
    chat = asyncio.get_running_loop().create_task(edge.chat(stream=False))
    await puppet.call()
    (listed,) = (await tasks.get()).json["data"]
    assert (await tasks.cancel(listed["id"])).json["state"] == "cancelled"
    answer = await chat
    assert answer.status == 499
    assert answer.error["code"] == "cancelled"
    assert "retry-after" not in answer.headers
    assert await edge.counted("setpoint_client_disconnects_total") == 0


# -- who is told no -----------------------------------------------------------------------


@pytest.mark.req("ADM-2")
async def test_a_full_queue_is_a_429_that_says_when_to_come_back(
    tasks: Tasks, puppet: Puppet, edge: Edge
) -> None:
    for _ in range(3):
        await tasks.accepted()
    answer = await tasks.submit()
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.error["policy_label"] == "queue_full"
    assert answer.error["retriable"] is True
    assert answer.error["retry_after_ms"] > 0
    assert len((await tasks.get("?state=all")).json["data"]) == 3, "nothing is kept of it"
    assert await edge.counted("setpoint_tasks_submitted_total", outcome="refused") == 1
    assert await edge.counted("setpoint_tasks_submitted_total", outcome="accepted") == 3


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": ...}, "messages"),
        ({"prompt": "both"}, "prompt"),
        ({"n": 2}, "n"),
        ({"messages": ..., "prompt": ["a", "b"]}, "prompt"),
        ({"ttl": "soon"}, "ttl"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": "48h"}, "ttl"),
        ({"priority": "high"}, "priority"),
        ({"session_id": ""}, "session_id"),
        ({"temperature": 3}, "temperature"),
    ],
)
async def test_a_wrong_request_is_told_which_field_is_wrong(
    tasks: Tasks, members: dict[str, object], param: str
) -> None:
    answer = await tasks.submit(**members)
    assert answer.status == 400
    assert answer.error["param"] == param


async def test_no_such_model(tasks: Tasks) -> None:
    answer = await tasks.submit(model="absent")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


async def test_an_engine_that_fails_ends_the_task_with_an_error(
    tasks: Tasks, engine: ScriptedEngine
) -> None:
    engine.plays(refuses(500, b'{"error":{"message":"broken"}}'))
    task_id = await tasks.accepted()
    async with tasks.read(task_id) as reader:
        events = await reader.all()
    assert names(events) == ["started", "error"]
    view = await tasks.look(task_id)
    assert view["state"] == "failed"
    assert view["error"]["message"] == events[1].data["message"]
    assert view["result"] is None


@pytest.mark.req("RUN-4")
async def test_somebody_elses_task_does_not_exist(make_edge: MakeEdge, puppet: Puppet) -> None:
    edge = await make_edge(KEYS, pool=ONE_AT_A_TIME)
    ada, bob, operator = (Tasks(edge, f"{who}-secret-1") for who in ("ada", "bob", "op"))
    task_id = await ada.accepted()
    call = await puppet.call()
    for path in (f"/{task_id}", f"/{task_id}/stream", "/task_none"):
        answer = await bob.get(path)
        assert (answer.status, answer.error["code"]) == (404, "task_not_found")
    assert (await bob.cancel(task_id)).status == 404
    assert (await bob.get()).json["data"] == []
    assert (await ada.get()).json["data"][0]["key"] == "ada"
    assert (await operator.look(task_id))["state"] == "starting"
    assert (await operator.cancel(task_id)).json["state"] == "cancelled"
    await call.send(b"")


# -- readers ------------------------------------------------------------------------------


@pytest.mark.req("ADM-4")
async def test_two_readers_read_the_same(tasks: Tasks, puppet: Puppet) -> None:
    task_id = await tasks.accepted()
    call = await puppet.call()
    async with tasks.read(task_id) as first, tasks.read(task_id) as second:
        for piece in ("a", "b", "c"):
            await call.piece(piece)
        await puppet.finish(call)
        assert await first.all() == await second.all()


@pytest.mark.req("ADM-4")
async def test_a_reader_that_lost_its_connection_goes_on_where_it_was(
    tasks: Tasks, puppet: Puppet
) -> None:
    task_id = await tasks.accepted()
    call = await puppet.call()
    async with tasks.read(task_id) as reader:
        await call.piece("a")
        before = await reader.until("token")
    await call.piece("b")
    async with tasks.read(task_id, last_event_id=str(before[-1].id)) as reader:
        await puppet.finish(call)
        after = await reader.all()
    assert text(before + after) == "ab"
    assert [told.id for told in before + after] == [1, 2, 3, 4]
    async with tasks.read(task_id, f"?last_event_id={before[-1].id}") as reader:
        assert await reader.all() == after, "a browser's first request has no such header"


@pytest.mark.req("ADM-4")
async def test_a_late_reader_is_told_of_the_gap(make_edge: MakeEdge, puppet: Puppet) -> None:
    tasks = Tasks(await make_edge("tasks: {buffer_events: 2}", pool=ONE_AT_A_TIME))
    task_id = await tasks.accepted()
    await puppet.answer("a", "b", "c", "d")
    view = await tasks.ended(task_id)
    async with tasks.read(task_id) as reader:
        events = await reader.all()
    assert names(events) == ["started", "gap", "token", "token", "end"]
    assert events[1].data == {"from": 0, "to": 1}
    assert [told.id for told in events] == [1, 3, 4, 5, 6]
    assert view["result"]["choices"][0]["message"]["content"] == "abcd"


async def test_whoever_has_had_the_end_is_told_not_to_come_back(
    tasks: Tasks, puppet: Puppet
) -> None:
    task_id = await tasks.accepted()
    call = await puppet.call()
    async with tasks.read(task_id, last_event_id="99") as reader:
        assert reader.head.status == 400, "no such event has come yet"
    await puppet.finish(call)
    async with tasks.read(task_id) as reader:
        last = (await reader.all())[-1]
    async with tasks.read(task_id, last_event_id=str(last.id)) as reader:
        assert reader.head.status == 204


async def test_only_so_many_read_one_task(make_edge: MakeEdge, puppet: Puppet) -> None:
    tasks = Tasks(await make_edge("tasks: {readers: 1}", pool=ONE_AT_A_TIME))
    task_id = await tasks.accepted()
    async with tasks.read(task_id), tasks.read(task_id) as second:
        assert second.head.status == 429


async def test_a_silent_task_keeps_its_reader_awake(make_edge: MakeEdge, puppet: Puppet) -> None:
    tasks = Tasks(await make_edge("streams: {heartbeat: 20ms}", pool=ONE_AT_A_TIME))
    task_id = await tasks.accepted()
    call = await puppet.call()
    async with tasks.read(task_id) as reader:
        await reader.until("started")
        read = asyncio.get_running_loop().create_task(reader.next())
        await eventually(lambda: reader.pings >= 2)
        await call.piece("at last")
        told = await read
    assert told is not None
    assert told.data["t"] == "at last"


@pytest.mark.req("ADM-4")
async def test_metrics_come_between_tokens_when_asked_for(
    make_edge: MakeEdge, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.tasks.stream.METRICS_EVERY_S", 0.01)
    tasks = Tasks(await make_edge(pool=ONE_AT_A_TIME))
    task_id = await tasks.accepted()
    call = await puppet.call()
    async with tasks.read(task_id, "?metrics=1") as reader:
        await call.piece("a")
        seen = await reader.until("token")
        seen += await reader.until("metrics")
        await puppet.finish(call)
        seen += await reader.all()
    last = next(told for told in reversed(seen) if told.name == "metrics")
    assert last.data["tokens_out"] >= 1
    assert last.data["queue_position"] == 0
    assert last.data["budget"] is None
    assert last.id == 2, "it has the id of the event before it"
    assert seen[-1].name == "end"


# -- the same task again ------------------------------------------------------------------


@pytest.mark.req("ADM-1")
async def test_the_same_key_is_the_same_task(tasks: Tasks, puppet: Puppet) -> None:
    first = await tasks.submit(key="k1")
    again = await tasks.submit(key="k1")
    assert (again.status, again.json["task_id"]) == (202, first.json["task_id"])
    other = await tasks.submit(key="k1", seed=5)
    assert (other.status, other.error["code"]) == (422, "idempotency_key_reused")
    await puppet.answer("a")
    await tasks.ended(first.json["task_id"])
    assert (await tasks.submit(key="k1")).json["task_id"] == first.json["task_id"]
    assert puppet.asked == 1


async def test_of_ten_at_once_with_one_key_one_is_submitted(tasks: Tasks, puppet: Puppet) -> None:
    answers = await asyncio.gather(*(tasks.submit(key="k1") for _ in range(10)))
    assert len({answer.json["task_id"] for answer in answers}) == 1
    assert len((await tasks.get()).json["data"]) == 1


async def test_a_refused_submission_frees_its_key(tasks: Tasks, puppet: Puppet) -> None:
    for _ in range(3):
        await tasks.accepted()
    assert (await tasks.submit(key="k1")).status == 429
    await puppet.answer("a")
    await eventually(lambda: puppet.asked == 2)
    assert (await tasks.submit(key="k1")).status == 202


# -- the gateway goes down ----------------------------------------------------------------


@pytest.mark.req("OPS-6")
async def test_a_drain_hands_back_who_waits_and_lets_who_runs_end(
    edge: Edge, tasks: Tasks, puppet: Puppet
) -> None:
    running = await tasks.accepted()
    waiting = await tasks.accepted()
    call = await puppet.call()
    async with tasks.read(running) as runs, tasks.read(waiting) as waits:
        await call.piece("a")
        seen = await runs.until("token")
        down = asyncio.get_running_loop().create_task(edge.listener.drain())
        told = await waits.all()
        assert names(told) == ["started", "error"]
        assert told[1].data["code"] == "draining"
        assert told[1].data["retriable"] is True
        assert told[1].data["retry_after_ms"] > 0
        refused = await tasks.submit()
        assert (refused.status, refused.error["code"]) == (503, "draining")
        assert "retry-after" in refused.headers
        await call.piece("b")
        await puppet.finish(call)
        assert text(seen + await runs.all()) == "ab"
    await down


@pytest.mark.req("OPS-6")
async def test_a_task_that_runs_for_too_long_ends_with_an_error_event(
    make_edge: MakeEdge, puppet: Puppet
) -> None:
    edge = await make_edge("drain_timeout: 50ms", pool=ONE_AT_A_TIME)
    tasks = Tasks(edge)
    task_id = await tasks.accepted()
    call = await puppet.call()
    async with tasks.read(task_id) as reader:
        await call.piece("a")
        await reader.until("token")
        await edge.listener.drain()
        rest = await reader.all()
    assert names(rest) == ["error"]
    assert (rest[0].data["code"], rest[0].data["retriable"]) == ("draining", True)


# -- the log ------------------------------------------------------------------------------


@pytest.mark.req("OPS-1")
async def test_a_task_has_a_line_in_the_log_like_any_request(
    tasks: Tasks, puppet: Puppet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="setpoint")
    task_id = await tasks.accepted()
    await puppet.answer("Hel", "lo")
    await tasks.ended(task_id)
    form = JsonLines(lambda text: text)
    lines = [msgspec.json.decode(form.format(record)) for record in caplog.records]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["job_id"] == task_id
    assert (line["engine"], line["pool_id"], line["replica_id"]) == ("openai", "main", "main/1")
    assert (line["tokens_in"], line["tokens_out"]) == (3, 2)
    assert line["status"] == 200
