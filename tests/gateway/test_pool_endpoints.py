"""`/v1/pools` on a real socket: who may ask and act, what is told, and a drain under running streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from adapters.dialect import EndpointState
from gateway import health as health_module
from gateway import pool_endpoints
from gateway.self_test_steps import LONG_TOKENS
from tests.fakes.edge import Edge, chat_body, eventually, request, start_edge
from tests.fakes.scripted import DONE, chunk
from tests.fakes.scripted_engine import Call, ScriptedEngine, refuses, streams
from tests.gateway.conftest import EdgeMaker

pytestmark = pytest.mark.req("ENG-2", "ENG-3")
TOKENS = "auth: {token: op-secret-token, keys: [{name: web, token: web-secret-token}]}"
OPERATOR, WEB = "Bearer op-secret-token", "Bearer web-secret-token"
DRAIN, RELOAD, HEALTH = (f"/v1/pools/main/{what}" for what in ("drain", "reload", "health"))
TESTED = "retries: 0, self_test: true"
ONE = "retries: 0, max_inflight: 1"


async def paused(call: Call) -> None:
    """One piece of an answer, and no more until the client leaves."""
    await call.head()
    await call.piece("Hel")
    await asyncio.Event().wait()


class Gated:
    """A stream whose end is opened by the test."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, call: Call) -> None:
        await call.head()
        await call.piece("Hel")
        await self.gate.wait()
        await call.piece("lo")
        await call.finish()


@pytest.fixture
async def second(tmp_path: Path) -> AsyncIterator[ScriptedEngine]:
    engine = ScriptedEngine()
    await engine.start()
    yield engine
    await engine.aclose()


async def with_fallback(
    tmp_path: Path, engine: ScriptedEngine, second: ScriptedEngine, pool: str = "retries: 0"
) -> Edge:
    """A route from `served` in pool main to `spare` in pool other."""
    config = f"""
pools:
  - {{id: main, engine: openai, endpoint: '{engine.url}', {pool}}}
  - {{id: other, engine: openai, endpoint: '{second.url}'}}
models: [{{name: served, pool: main, quality: 0.9}}, {{name: spare, pool: other, quality: 0.9}}]
routes: {{served: [served, spare]}}
"""
    return await start_edge(tmp_path, config)


# -- who may ---------------------------------------------------------------------------------


async def test_any_caller_may_look_and_only_the_operator_may_act(make_edge: EdgeMaker) -> None:
    edge = await make_edge(TOKENS)
    for path in ("/v1/pools", HEALTH, "/v1/capabilities"):
        assert (await edge.ask("GET", path)).status == 401
        assert (await edge.ask("GET", path, authorization=WEB)).status == 200
    for path in (DRAIN, RELOAD):
        assert (await edge.ask("POST", path)).status == 401
        refused = await edge.ask("POST", path, authorization=WEB)
        assert (refused.status, refused.error["code"]) == (403, "operator_only")
    assert edge.gateway.pools["main"].state == "serving"
    assert (await edge.ask("POST", DRAIN, authorization=OPERATOR)).status == 200


@pytest.mark.parametrize(
    ("method", "what"), [("GET", "health"), ("POST", "drain"), ("POST", "reload")]
)
async def test_a_pool_that_is_not_there_is_a_404_with_the_nearest_name(
    make_edge: EdgeMaker, method: str, what: str
) -> None:
    answer = await (await make_edge()).ask(method, f"/v1/pools/mian/{what}")
    assert (answer.status, answer.error["code"]) == (404, "pool_not_found")
    assert "did you mean 'main'?" in answer.error["message"]


@pytest.mark.parametrize("wait", ["soon", "-1s", "30", "301s", "1h", "nan"])
async def test_a_wait_that_is_none_is_refused_and_drains_nothing(
    make_edge: EdgeMaker, wait: str
) -> None:
    edge = await make_edge()
    answer = await edge.ask("POST", f"{DRAIN}?wait={wait}")
    assert (answer.status, answer.error["param"]) == (400, "wait")
    assert edge.gateway.pools["main"].state == "serving"


# -- what is told ------------------------------------------------------------------------------


async def test_health_tells_the_endpoint_and_no_address(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge = await make_edge(pool="max_inflight: 3")
    assert (await edge.chat()).status == 200
    answer = await edge.ask("GET", HEALTH)
    (endpoint,) = answer.json["endpoints"]
    assert endpoint.pop("probed").endswith("Z")
    assert endpoint.pop("probe_ms") >= 0
    assert endpoint == {
        "endpoint": 1,
        "live": True,
        "ready": True,
        "why": "ok",
        "version": None,
        "model_digest": None,
        "models": ["served"],
        "slots": None,
        "context": None,
        "inflight": 0,
        "load": None,
        "rate_limits": None,
        "self_test": {
            "outcome": "off",
            "ok": None,
            "failed": [],
            "why": "self_test is false",
            "model": None,
            "at": None,
            "took_ms": None,
        },
    }
    assert answer.json["lanes"] == [{"model": "real", "limit": 3, "inflight": 0, "queued": 0}]
    assert {name: answer.json[name] for name in ("id", "state", "engine", "limit")} == {
        "id": "main",
        "state": "serving",
        "engine": "openai",
        "limit": 3,
    }
    listed = await edge.ask("GET", "/v1/pools")
    assert [pool["id"] for pool in listed.json["data"]] == ["main"]
    assert engine.address.encode() not in answer.body + listed.body
    assert b"127.0.0.1" not in answer.body + listed.body


async def test_health_tells_what_the_provider_says_is_left(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    async def limited(call: Call) -> None:
        tokens = "x-ratelimit-remaining-tokens: 7\r\nx-ratelimit-reset-tokens: 1h0m0s\r\n"
        await call.head(extra=f"{tokens}x-ratelimit-limit-tokens: 90\r\n")
        await call.piece("Hello")
        await call.finish()

    engine.plays(limited)
    edge = await make_edge()
    assert (await edge.chat()).status == 200
    (endpoint,) = (await edge.ask("GET", HEALTH)).json["endpoints"]
    tokens = endpoint["rate_limits"].pop("tokens")
    assert endpoint["rate_limits"] == {"requests": None}
    assert 0 < tokens.pop("reset_ms") <= 3_600_000
    assert tokens == {"remaining": 7, "limit": 90}
    of = {"pool": "main", "endpoint": "1"}
    assert await edge.counted("setpoint_endpoint_ratelimit_remaining_tokens", **of) == 7
    page = edge.gateway.metrics.exposition()
    assert b"setpoint_endpoint_ratelimit_remaining_requests{" not in page


async def test_health_counts_what_runs_and_what_waits(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge = await make_edge(pool="max_inflight: 1")
    engine.plays(paused)
    async with await edge.connect() as running, await edge.connect() as waiting:
        for line in (running, waiting):
            line.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await running.until(b"Hel")
        pool = edge.gateway.pools["main"]
        await eventually(lambda: pool.queue.waiting == 1)
        told = (await edge.ask("GET", HEALTH)).json
    assert (told["inflight"], told["queued"], told["queued_tasks"]) == (1, 1, 0)
    assert told["lanes"] == [{"model": "real", "limit": 1, "inflight": 1, "queued": 1}]
    assert told["endpoints"][0]["inflight"] == 1


async def test_health_says_why_no_endpoint_is_ready(make_edge: EdgeMaker) -> None:
    edge = await make_edge()
    pool = edge.gateway.pools["main"]
    pool.learn(pool.endpoints[0], EndpointState(live=True, why="it is loading its model"))
    told = (await edge.ask("GET", HEALTH)).json
    assert (told["state"], told["limit"]) == ("no_ready_endpoint", 0)
    assert told["endpoints"][0]["why"] == "it is loading its model"


# -- drain ---------------------------------------------------------------------------------------


async def test_a_running_stream_ends_well_and_then_the_pool_is_drained(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge, play = await make_edge(), Gated()
    engine.plays(play)
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await line.until(b"Hel")
        answer = await edge.ask("POST", DRAIN)
        assert answer.json == {"id": "main", "state": "draining", "inflight": 1, "queued_tasks": 0}
        refused = await edge.chat()
        assert (refused.status, refused.error["code"]) == (503, "pool_draining")
        assert refused.error["retriable"] is True
        assert int(refused.headers["retry-after"]) >= 1
        waiting = asyncio.get_running_loop().create_task(edge.ask("POST", f"{DRAIN}?wait=30s"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        play.gate.set()
        assert b"[DONE]" in await line.until(b"[DONE]")
        assert (await waiting).json["state"] == "drained"
    assert (await edge.ask("GET", HEALTH)).json["state"] == "drained"
    assert await edge.counted("setpoint_pool_in_service", pool="main") == 0


async def test_a_wait_ends_in_time_and_says_what_is_left(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge = await make_edge()
    engine.plays(paused)
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await line.until(b"Hel")
        answer = await edge.ask("POST", f"{DRAIN}?wait=20ms")
        assert (answer.json["state"], answer.json["inflight"]) == ("draining", 1)


async def test_a_gateway_whose_only_pool_is_drained_is_not_ready_and_probes_do_not_change_it(
    make_edge: EdgeMaker,
) -> None:
    edge = await make_edge()
    await edge.ask("POST", DRAIN)
    await edge.gateway.health.first_look()
    answer = await edge.ask("GET", "/readyz")
    assert (answer.status, answer.json["status"]) == (503, "no ready backend")
    assert answer.json["pools"]["main"] == [
        {"endpoint": 1, "ready": False, "why": "its pool is out of service"}
    ]
    await edge.ask("POST", RELOAD)
    assert (await edge.ask("GET", "/readyz")).status == 200
    assert (await edge.chat()).status == 200


async def test_who_waits_in_a_pool_that_is_drained_is_served_by_the_next_of_its_route(
    tmp_path: Path, engine: ScriptedEngine, second: ScriptedEngine
) -> None:
    async with aclosing(await with_fallback(tmp_path, engine, second, ONE)) as edge:
        engine.plays(paused)
        async with await edge.connect() as running, await edge.connect() as waiting:
            running.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
            await running.until(b"Hel")
            waiting.send(request("POST", "/v1/chat/completions", chat_body()))
            pool = edge.gateway.pools["main"]
            await eventually(lambda: pool.queue.waiting == 1)
            await edge.ask("POST", DRAIN)
            handed_on = await waiting.answer()
            assert handed_on.status == 200
            assert handed_on.headers["x-setpoint-model"] == "spare"
            fresh = await edge.chat()
            assert (fresh.status, fresh.headers["x-setpoint-model"]) == (200, "spare")
        assert len(second.asked) == 2
        assert (await edge.ask("GET", "/readyz")).status == 200, "the other pool serves"


async def test_whoever_has_waited_and_has_no_other_target_is_told_to_come_back(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge = await make_edge(pool=ONE)
    engine.plays(paused)
    async with await edge.connect() as running, await edge.connect() as waiting:
        running.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await running.until(b"Hel")
        waiting.send(request("POST", "/v1/chat/completions", chat_body()))
        pool = edge.gateway.pools["main"]
        await eventually(lambda: pool.queue.waiting == 1)
        await edge.ask("POST", DRAIN)
        refused = await waiting.answer()
    assert (refused.status, refused.error["code"]) == (503, "pool_draining")
    assert "retry-after" in refused.headers


@pytest.mark.req("ADM-1")
async def test_a_task_that_waits_in_a_pool_that_is_drained_runs_after_its_reload(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge, play = await make_edge(pool=ONE), Gated()
    engine.plays(play, streams())
    async with await edge.connect() as running:
        running.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await running.until(b"Hel")
        accepted = await edge.ask("POST", "/v1/tasks", chat_body())
        assert accepted.status == 202
        left = (await edge.ask("POST", DRAIN)).json
        assert (left["inflight"], left["queued_tasks"]) == (1, 1)
        refused = await edge.ask("POST", "/v1/tasks", chat_body())
        assert (refused.status, refused.error["code"]) == (503, "pool_draining")
        play.gate.set()
        assert (await edge.ask("POST", f"{DRAIN}?wait=5s")).json["state"] == "drained"
    task = f"/v1/tasks/{accepted.json['task_id']}"
    assert (await edge.ask("GET", task)).json["state"] == "queued"
    await edge.ask("POST", RELOAD)
    stream = await edge.ask("GET", f"{task}/stream")
    assert b"event: end" in stream.body
    assert (await edge.ask("GET", task)).json["state"] == "succeeded"


# -- reload ------------------------------------------------------------------------------------


async def test_a_reload_tests_the_pool_and_answers_with_its_health(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge = await make_edge(pool=TESTED)
    await edge.ask("POST", DRAIN)
    engine.plays(streams())
    answer = await edge.ask("POST", RELOAD)
    assert (answer.status, answer.json["state"]) == (200, "serving")
    tested = answer.json["endpoints"][0]["self_test"]
    assert (tested["outcome"], tested["ok"], tested["model"]) == ("passed", True, "real")
    assert len(engine.asked) == 3
    assert await edge.counted("setpoint_endpoint_self_test", pool="main") == 1
    await edge.ask("POST", RELOAD)
    assert len(engine.asked) == 6, "a verdict of before says nothing"


async def test_a_test_is_no_request_of_anybody(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge = await make_edge(pool=TESTED)
    await edge.ask("POST", RELOAD)
    assert len(engine.asked) == 3
    assert await edge.counted("setpoint_requests_total") == 0
    assert await edge.counted("setpoint_tokens_total") == 0
    assert not edge.gateway.loop.live
    (status,) = [
        s for s in edge.gateway.loop.statuses(edge.gateway.clock()) if s.intent == "interactive"
    ]
    assert all(objective.samples == 0 for objective in status.objectives)


async def test_an_engine_that_counts_nothing_fails_and_still_serves(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    async def uncounted(call: Call) -> None:
        await call.head()
        await call.piece("1")
        await call.send(chunk({}, finish="stop") + DONE)

    engine.plays(uncounted)
    edge = await make_edge(pool=TESTED)
    tested = (await edge.ask("POST", RELOAD)).json["endpoints"][0]["self_test"]
    assert tested["ok"] is False
    assert tested["failed"] == [
        {"check": "telemetry", "why": "it reports no usage, so tokens are estimated"}
    ]
    assert await edge.counted("setpoint_endpoint_self_test", pool="main") == 0
    assert (await edge.chat()).status == 200


async def test_an_engine_that_is_stuck_after_a_cancel_fails(
    make_edge: EdgeMaker, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that works on for a client that has left, and has no second place."""
    monkeypatch.setattr("gateway.self_test_steps.FREE_S", 0.2)
    stuck = asyncio.Event()

    async def one_at_a_time(call: Call) -> None:
        await call.head()
        if stuck.is_set():
            await asyncio.Event().wait()
        await call.piece("1")
        if msgspec.json.decode(call.asked.body)["max_completion_tokens"] == LONG_TOKENS:
            stuck.set()
            await asyncio.Event().wait()
        await call.finish()

    engine.plays(one_at_a_time)
    edge = await make_edge(pool=TESTED)
    tested = (await edge.ask("POST", RELOAD)).json["endpoints"][0]["self_test"]
    assert tested["failed"] == [
        {"check": "cancel", "why": "after a cancelled answer it did not answer within 0.2 s"}
    ]
    await eventually(lambda: edge.gateway.pools["main"].queue.inflight == 0)


async def test_an_engines_words_are_told_without_its_address(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    body = f'{{"error": {{"message": "no GPU at {engine.address}"}}}}'
    engine.plays(refuses(500, body.encode()))
    answer = await (await make_edge(pool=TESTED)).ask("POST", RELOAD)
    assert answer.json["endpoints"][0]["self_test"]["failed"][0]["why"] == "no GPU at [backend]"
    assert engine.address.encode() not in answer.body


async def test_a_reload_of_a_pool_in_service_finds_the_models_of_another_backend(
    tmp_path: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = f"pools: [{{id: main, engine: openai, endpoint: '{engine.url}', retries: 0}}]"
    async with aclosing(await start_edge(tmp_path, config)) as edge:
        gateway = edge.gateway
        assert (await edge.chat()).status == 200
        lane = gateway.pools["main"].queue.lane("served")
        for _ in range(50):
            lane.prefill.learn(10, 0.5)

        monkeypatch.setattr("tests.fakes.scripted_engine.MODELS", ("another",))
        answer = await edge.ask("POST", RELOAD)
        assert answer.json["endpoints"][0]["models"] == ["another"]
        assert answer.json["lanes"] == [], "what was measured was of a model that is not there"
        listed = (await edge.ask("GET", "/v1/models")).json
        assert [model["id"] for model in listed["data"]] == ["another"]
        assert (await edge.chat(model="served")).status == 404
        assert (await edge.chat(model="another")).status == 200


async def test_streams_go_on_while_their_pool_is_reloaded(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge, play = await make_edge(), Gated()
    engine.plays(play)
    async with await edge.connect() as line:
        line.send(request("POST", "/v1/chat/completions", chat_body(stream=True)))
        await line.until(b"Hel")
        told = (await edge.ask("POST", RELOAD)).json
        assert (told["state"], told["inflight"]) == ("serving", 1)
        play.gate.set()
        await line.until(b"[DONE]")
    await eventually(lambda: edge.gateway.pools["main"].queue.inflight == 0)


async def test_a_drain_during_a_reload_has_the_last_word(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge = await make_edge(pool=TESTED)
    engine.plays(paused)
    async with asyncio.TaskGroup() as group:
        reload = group.create_task(edge.ask("POST", RELOAD))
        await eventually(lambda: len(engine.asked) > 0)
        assert (await edge.ask("POST", f"{DRAIN}?wait=5s")).json["state"] == "drained"
    told = reload.result().json
    assert told["state"] == "drained"
    assert told["endpoints"][0]["self_test"]["outcome"] == "pending"


async def test_two_reloads_at_once_are_one_after_the_other(
    make_edge: EdgeMaker, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = await make_edge()
    at_once, most = 0, 0
    real = health_module.Health.look_again

    async def counted(self: health_module.Health, pool: object) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await real(self, pool)  # type: ignore[arg-type]
        at_once -= 1

    monkeypatch.setattr(health_module.Health, "look_again", counted)
    answers = await asyncio.gather(*(edge.ask("POST", RELOAD) for _ in range(3)))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert most == 1


async def test_a_reload_that_its_client_leaves_leaves_the_pool_in_service(
    make_edge: EdgeMaker, engine: ScriptedEngine
) -> None:
    edge = await make_edge(pool=TESTED)
    await edge.ask("POST", DRAIN)
    engine.plays(paused)
    async with await edge.connect() as line:
        line.send(request("POST", RELOAD))
        await eventually(lambda: len(engine.asked) > 0)
    pool = edge.gateway.pools["main"]
    await eventually(lambda: pool.queue.inflight == 0)
    assert pool.state == "serving"


def test_a_wait_is_bounded() -> None:
    assert pool_endpoints._wait_s(None) == 0
    assert pool_endpoints._wait_s("5m") == pool_endpoints.WAIT_MAX_S
    assert pool_endpoints._wait_s("250ms") == 0.25
