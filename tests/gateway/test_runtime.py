"""The running gateway: what it learns from its backends, and how its policies are replaced."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from adapters.dialect import EndpointState
from contracts.problems import ProblemsFound
from policies.held import CALM
from tests.fakes.edge import Edge, eventually
from tests.fakes.scripted_engine import ScriptedEngine
from tests.fakes.virtual_gateway import breach

MakeEdge = Callable[..., Awaitable[Edge]]
RULE = "rules: [{name: cap, then: {max_tokens: %d}}]\n"


@pytest.fixture
async def discovering(make_edge: MakeEdge, engine: ScriptedEngine) -> Edge:
    return await make_edge(f"adapter: {{engine: openai, endpoint: '{engine.url}'}}", embedded=True)


@pytest.mark.req("ENG-2")
async def test_a_backend_that_is_gone_for_a_while_has_not_lost_its_models(
    discovering: Edge, engine: ScriptedEngine
) -> None:
    await engine.aclose()
    await discovering.gateway.health.first_look()
    assert not discovering.gateway.ready()
    answer = await discovering.chat()
    assert answer.status in (502, 503)
    assert answer.error["code"] != "model_not_found"
    assert [m["id"] for m in (await discovering.ask("GET", "/v1/models")).json["data"]] == [
        "served"
    ]


async def test_a_model_that_a_backend_no_longer_lists_is_gone(discovering: Edge) -> None:
    gateway = discovering.gateway
    (pool,) = gateway.pools.values()
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok", models=("other",)))
    gateway.discover()
    assert sorted(gateway.catalog.models) == ["other"]


async def test_new_policies_are_counted_and_the_old_version_is_no_longer_in_force(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(policies=RULE % 1)
    gateway = edge.gateway
    old = gateway.policy.version
    await gateway.reload_policies()
    assert await edge.counted("setpoint_policy_reloads_total", outcome="ok") == 0
    gateway.loaded.policies_path.write_text(RULE % 2)
    new = (await gateway.reload_policies()).version
    assert await edge.counted("setpoint_policy_reloads_total", outcome="ok") == 1
    assert await edge.counted("setpoint_policy_info", version=old) == 0
    assert await edge.counted("setpoint_policy_info", version=new) == 1


async def test_broken_policies_are_refused_and_the_old_ones_stay(
    make_edge: MakeEdge, caplog: pytest.LogCaptureFixture
) -> None:
    edge = await make_edge(policies=RULE % 1)
    gateway = edge.gateway
    before = gateway.policy
    gateway.loaded.policies_path.write_text("rules: [{name: x, when: requst.model == 1}]")
    with pytest.raises(ProblemsFound):
        await gateway.reload_policies()
    assert gateway.policy is before
    assert await edge.counted("setpoint_policy_reloads_total", outcome="refused") == 1
    gateway.loaded.policies_path.write_text(RULE % 1)
    with caplog.at_level("INFO"):
        await gateway.reload_policies()
        await gateway.reload_policies()
    assert caplog.messages.count("policies_mended") == 1, "the log's last word is the truth"


class SlowFile:
    """A policy file that is read only as fast as the test feeds it: a named pipe."""

    def __init__(self, path: Path) -> None:
        path.unlink()
        os.mkfifo(path)
        self._path = path
        self._pipe: int | None = None

    async def is_being_read(self) -> None:
        await eventually(self._opened)

    def _opened(self) -> bool:
        try:
            self._pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            return False
        return True

    def feed(self, text: str) -> None:
        assert self._pipe is not None
        os.write(self._pipe, text.encode())
        os.close(self._pipe)


async def test_requests_are_answered_while_policies_are_read(make_edge: MakeEdge) -> None:
    edge = await make_edge(policies=RULE % 1)
    file = SlowFile(edge.gateway.loaded.policies_path)
    async with asyncio.TaskGroup() as group:
        reload = group.create_task(edge.ask("POST", "/admin/reload"))
        await file.is_being_read()
        assert "-> 1" in (await edge.chat()).headers["x-setpoint-decision"]
        assert not reload.done()
        file.feed(RULE % 2)
    assert reload.result().json["version"] == edge.gateway.policy.version
    assert "-> 2" in (await edge.chat()).headers["x-setpoint-decision"]


async def test_an_older_reading_never_replaces_a_newer_one(
    make_edge: MakeEdge, tmp_path: Path
) -> None:
    edge = await make_edge(policies=RULE % 1)
    path = edge.gateway.loaded.policies_path
    old = SlowFile(path)
    async with asyncio.TaskGroup() as group:
        group.create_task(edge.gateway.reload_policies())
        await old.is_being_read()
        (tmp_path / "new").write_text(RULE % 3)
        (tmp_path / "new").rename(path)
        group.create_task(edge.gateway.reload_policies())
        await asyncio.sleep(0.05)  # the second one would be through by now
        old.feed(RULE % 2)
    assert edge.gateway.policy.rules[0].then.max_tokens == 3


async def test_conditions_compiled_in_a_thread_answer_in_the_loop(make_edge: MakeEdge) -> None:
    edge = await make_edge(policies=RULE % 1)
    rule = "rules: [{name: cap, when: request.model == 'served', then: {max_tokens: 2}}]"
    edge.gateway.loaded.policies_path.write_text(rule)
    await edge.gateway.reload_policies()
    assert "-> 2" in (await edge.chat()).headers["x-setpoint-decision"]


async def test_a_request_ends_under_the_policy_it_began_with(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    go_on = asyncio.Event()

    async def waits(call: object) -> None:
        await go_on.wait()
        await call.head()
        await call.piece("x")
        await call.finish()

    engine.plays(waits)
    edge = await make_edge(policies=RULE % 1)
    old = edge.gateway.policy.version

    async def swap() -> None:
        while not engine.asked:  # noqa: ASYNC110 (the engine has no event for it)
            await asyncio.sleep(0.005)
        edge.gateway.loaded.policies_path.write_text(RULE % 2)
        await edge.gateway.reload_policies()
        go_on.set()

    answer, _ = await asyncio.gather(edge.chat(), swap())
    assert answer.status == 200
    assert "max_tokens" in answer.headers["x-setpoint-decision"]
    assert edge.gateway.policy.version != old
    assert msgspec.json.decode(engine.asked[0].body)["max_completion_tokens"] == 1


@pytest.mark.req("INT-3")
async def test_the_loop_steers_within_what_the_ready_endpoints_can_do(make_edge: MakeEdge) -> None:
    edge = await make_edge(pool="max_inflight: 40")
    pool, steering = edge.gateway.pools["main"], edge.gateway.loop.steering
    assert (steering.bounds_of("main").endpoints, steering.bounds_of("main").ceiling) == (1, 40.0)
    ready = EndpointState(live=True, ready=True, why="ok", slots=6)
    pool.learn(pool.endpoints[0], ready)
    assert steering.bounds_of("main").ceiling == 6.0, "slots that were told are hard"
    pool.lost(pool.endpoints[0])
    assert steering.bounds_of("main").endpoints == 0
    pool.learn(pool.endpoints[0], ready)
    assert (await edge.chat()).status == 200


async def test_new_policies_and_models_reach_the_loop(
    make_edge: MakeEdge, discovering: Edge
) -> None:
    gateway = discovering.gateway
    (pool,) = gateway.pools.values()
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok", models=("new",)))
    gateway.discover()
    assert gateway.loop._catalog is gateway.catalog
    edge = await make_edge(policies=RULE % 1)
    assert edge.gateway.loop.statuses(0.0) == []
    edge.gateway.loaded.policies_path.write_text("intents: [{name: chat, match: {default: true}}]")
    await edge.gateway.reload_policies()
    assert [status.intent for status in edge.gateway.loop.statuses(0.0)] == ["chat"]
    assert (await edge.chat()).headers["x-setpoint-intent"] == "chat"


@pytest.mark.req("INT-3")
async def test_what_the_loop_holds_shapes_the_very_next_request(
    make_edge: MakeEdge, engine: ScriptedEngine
) -> None:
    edge = await make_edge(
        policies="intents: [{name: chat, match: {default: true}, "
        "objectives: {ttft_p95: 1s}, ladder: [{cap_tokens: 7}]}]"
    )
    breach(edge.gateway, "chat", pool="main", lane="real")
    for _ in range(4):
        edge.gateway.loop.tick(edge.gateway.clock())
    asked = [await edge.chat(max_tokens=50) for _ in range(10)]
    decisions = [one.headers["x-setpoint-decision"] for one in asked]
    assert all("cap_tokens" in line for line in decisions)
    bodies = [msgspec.json.decode(one.body) for one in engine.asked]
    limits = [body.get("max_completion_tokens", body.get("max_tokens")) for body in bodies]
    spared = sum("spared" in line for line in decisions)
    assert limits.count(7) == 10 - spared
    assert limits.count(50) == spared <= 2, "a few are left alone, to compare with"


async def test_a_request_is_decided_at_the_price_of_a_look_up_while_nothing_is_held(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(policies="intents: [{name: chat, match: {default: true}}]")
    for _ in range(3):
        await edge.chat()
    assert edge.gateway.loop.held_now(edge.gateway.clock()) is CALM
    assert next(edge.gateway._turns) == 1, "no draw was taken"


@pytest.mark.req("INT-8")
async def test_only_backends_that_know_of_intents_are_asked_whether_they_honour_them(
    make_edge: MakeEdge,
) -> None:
    assert (await make_edge()).gateway.honours == {}
    assert list((await make_edge(embedded=True)).gateway.honours) == ["sim"]


@pytest.mark.req("INT-4")
async def test_who_waits_is_let_in_when_a_limit_has_grown_between_two_ticks(
    make_edge: MakeEdge,
) -> None:
    gateway = (await make_edge()).gateway
    ((name, pool),) = gateway.pools.items()
    lane = pool.queue.lane("m")
    lane.limit = 1.0
    pool.enter(lane="m")
    second = pool.enter(lane="m")
    assert second.waits
    lane.limit = 2.0
    gateway.loop.on_opened(name)
    assert not second.waits
