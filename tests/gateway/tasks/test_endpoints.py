"""`/v1/tasks` on a real socket: what is told in heads, lists and refusals. Scenarios are test_scenarios'."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from gateway.logs import JsonLines
from tests.fakes.edge import RULES, Edge
from tests.fakes.scripted_engine import Call, ScriptedEngine, is_silent, streams
from tests.fakes.task_client import Tasks

MakeEdge = Callable[..., Awaitable[Edge]]
pytestmark = pytest.mark.req("ADM-1", "RUN-4")


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    form = JsonLines(lambda text: text)
    found = [msgspec.json.decode(form.format(record)) for record in caplog.records]
    return [line for line in found if line["event"] == "request"]


@pytest.mark.req("ADM-2")
async def test_five_hundred_at_once_over_the_wire(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    go = asyncio.Event()

    async def waits(call: Call) -> None:
        await go.wait()
        await streams(("a", "b"))(call)

    engine.plays(waits)
    edge = await make_edge(pool="retries: 0, max_inflight: 2, queue: {max_tasks: 100}")
    tasks = Tasks(edge)
    answers = await asyncio.gather(*(tasks.submit() for _ in range(500)))
    assert Counter(answer.status for answer in answers) == {202: 102, 429: 398}
    for answer in answers:
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) >= 1
            told = answer.error
            assert told["policy_label"] == "queue_full"
            assert told["retriable"] is True
            assert told["retry_after_ms"] > 0
    go.set()
    ids = [answer.json["task_id"] for answer in answers if answer.status == 202]
    ends = await asyncio.gather(*(tasks.ended(task_id) for task_id in ids))
    assert Counter(view["state"] for view in ends) == {"succeeded": 102}
    assert len(engine.asked) == 102


async def test_a_refusal_by_rule_says_which(make_edge: MakeEdge) -> None:
    policies = RULES.replace("REJECT", "message: not now, retry_after: 30s")
    edge = await make_edge(policies=policies)
    body = b'{"model":"served","prompt":"a"}'
    answer = await edge.ask("POST", "/v1/tasks", body, x_setpoint_intent="batch")
    assert answer.status == 429
    assert answer.headers["retry-after"] == "30"
    assert answer.headers["x-setpoint-intent"] == "batch"
    assert answer.error["policy_label"] == "no batch at noon"


async def test_an_acceptance_says_what_was_decided(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent)
    edge = await make_edge()
    answer = await edge.ask(
        "POST", "/v1/tasks", b'{"model":"served","prompt":"a"}', x_request_id="mine"
    )
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["x-setpoint-attempts"] == "1"
    assert answer.headers["x-setpoint-model"] == "served"


@pytest.mark.req("OPS-1")
async def test_what_is_refused_undecided_is_logged_and_counted_as_a_task(
    make_edge: MakeEdge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="setpoint")
    edge = await make_edge()
    assert (await edge.ask("POST", "/v1/tasks", b"{")).status == 400
    (line,) = lines(caplog)
    assert (line["operation"], line["status"], line["error"]) == ("task", 400, "invalid_json")
    assert await edge.counted("setpoint_requests_total", operation="task", status="400") == 1
    assert await edge.counted("setpoint_tasks_submitted_total", outcome="refused") == 1


async def test_a_body_that_is_too_large_is_refused(make_edge: MakeEdge) -> None:
    edge = await make_edge("limits: {body: 1KiB}")
    assert (await edge.ask("POST", "/v1/tasks", b"x" * 2000)).status == 413


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?state=ended", "state"),
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=a", "limit"),
    ],
)
async def test_a_wrong_question_is_told_what_is_wrong(
    make_edge: MakeEdge, query: str, param: str
) -> None:
    answer = await Tasks(await make_edge()).get(query)
    assert (answer.status, answer.error["param"]) == (400, param)


async def test_a_stream_is_asked_for_metrics_by_a_number(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent)
    tasks = Tasks(await make_edge())
    task_id = await tasks.accepted()
    assert (await tasks.get(f"/{task_id}/stream?metrics=yes")).error["param"] == "metrics"


async def test_the_answer_to_a_chat_is_nobody_elses_to_read(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    engine.plays(is_silent)
    edge = await make_edge()
    tasks = Tasks(edge)
    async with asyncio.TaskGroup() as group:
        chat = group.create_task(edge.chat())
        while not (listed := (await tasks.get()).json["data"]):
            pass
        assert listed[0]["kind"] == "chat"
        chat_id = listed[0]["id"]
        assert (await tasks.get(f"/{chat_id}/stream")).status == 404
        view = await tasks.look(chat_id)
        assert (view["result"], view["last_event_id"]) == (None, None)
        assert (await tasks.cancel(chat_id)).json["state"] == "cancelled"
        assert (await chat).status == 499


async def test_everybody_must_say_who_they_are(make_edge: MakeEdge) -> None:
    edge = await make_edge("auth: {token: secret-1}")
    for method, path in (
        ("GET", "/v1/tasks"),
        ("POST", "/v1/tasks"),
        ("GET", "/v1/tasks/t"),
        ("GET", "/v1/tasks/t/stream"),
        ("POST", "/v1/tasks/t/cancel"),
    ):
        body = b"{}" if method == "POST" else None
        assert (await edge.ask(method, path, body)).status == 401
