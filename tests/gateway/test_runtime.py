"""The running gateway: what it learns from its backends, and how its policies are replaced."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from adapters.dialect import EndpointState
from contracts.catalog import Catalog
from contracts.decision import Decision, Shaping
from contracts.errors import NoReadyBackend
from contracts.inference import Constraints
from contracts.problems import ProblemsFound
from gateway.runtime import plan
from tests.fakes.edge import Edge, eventually
from tests.fakes.scripted_engine import ScriptedEngine

MakeEdge = Callable[..., Awaitable[Edge]]
RULE = "rules: [{name: cap, then: {max_tokens: %d}}]\n"


@pytest.fixture
async def discovering(make_edge: MakeEdge, engine: ScriptedEngine) -> Edge:
    return await make_edge(f"adapter: {{engine: openai, endpoint: '{engine.url}'}}", embedded=True)


async def test_models_that_a_backend_lists_can_be_asked_for(discovering: Edge) -> None:
    listed = (await discovering.ask("GET", "/v1/models")).json
    assert [m["id"] for m in listed["data"]] == ["served"]
    assert (await discovering.chat()).status == 200


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
    gateway._discover()
    assert sorted(gateway.catalog.models) == ["other"]


async def test_names_that_no_header_could_carry_are_not_taken_over(discovering: Edge) -> None:
    gateway = discovering.gateway
    (pool,) = gateway.pools.values()
    names = ("ok", "", "a\r\nset-cookie: x", "x" * 300)
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok", models=names))
    gateway._discover()
    assert sorted(gateway.catalog.models) == ["ok"]


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


def test_a_plan_without_a_model_that_is_left_is_a_503() -> None:
    decision = Decision(
        intent="", shaping=Shaping(model="m"), models=("m",), constraints=Constraints()
    )
    with pytest.raises(NoReadyBackend):
        plan(decision, Catalog())
