"""What the loop hears of each request, in virtual time: when, how much, and what it cost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.dialect import EndpointState
from contracts.errors import ConnectFailed, StreamBroken
from gateway import executor
from gateway.flight_recorder import CLIENT_GONE
from gateway.progress import Progress
from gateway.routing_plan import plan
from tests.fakes.fates import Fates
from tests.fakes.scripted import (
    DONE,
    USAGE,
    Script,
    ScriptedTransport,
    answer,
    broken,
    chunk,
    data,
    end,
    head,
    refusal,
    unreachable,
)
from tests.fakes.virtual_gateway import VirtualGateway
from tests.gateway.test_executor import Listening, request

pytestmark = [pytest.mark.looptime, pytest.mark.req("INT-4")]
POLICIES = """
intents:
  - name: interactive
    match: {header: {x-setpoint-intent: interactive}, default: true}
    objectives: {ttft_p95: 60s, tpot_p95: 50ms, e2e_p95: 2m, error_rate: 1%}
    priority: 10
    ladder: [shed]
  - {name: batch, match: {header: {x-setpoint-intent: batch}}, priority: -10}
"""
Scene = Callable[..., Awaitable[VirtualGateway]]
TWO_ENDPOINTS = """
pools:
  - {id: main, engine: openai, endpoints: ['http://127.0.0.1:1', 'http://127.0.0.1:2'], retries: 1}
models: [{name: big, pool: main, upstream: real, price: {input: 1000000, output: 2000000}}]
policies: policies.yaml
"""
"""A token costs 1 and 2 USD."""


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """`await scene(transport, ...)`: a gateway in front of scripted endpoints, within the test: a
    fixture still has real time."""
    made: list[VirtualGateway] = []

    async def begin(
        *transports: ScriptedTransport,
        policies: str = POLICIES,
        engine: str = "openai",
        config: str = TWO_ENDPOINTS,
    ) -> VirtualGateway:
        config = config.replace("engine: openai", f"engine: {engine}")
        virtual = VirtualGateway(tmp_path, policies, config)
        made.append(virtual)
        pool = virtual.gateway.pools["main"]
        for endpoint, transport in zip(pool.endpoints, transports, strict=False):
            endpoint.transport = transport
            pool.learn(endpoint, EndpointState(live=True, ready=True, why="ok"))
        return virtual

    yield begin
    for virtual in made:
        await virtual.aclose()


def pieces(count: int, *, usage: bytes = b"", start_s: float = 0.1, gap_s: float = 0.01) -> Script:
    """A role, then so many pieces of text."""
    steps = [head(0.05), data(0.05, chunk({"role": "assistant", "content": ""}))]
    at_s = start_s
    for _ in range(count):
        steps.append(data(at_s, chunk({"content": "x"})))
        at_s += gap_s
    return [*steps, data(at_s, chunk({}, finish="stop") + usage + DONE), end(at_s)]


def usage(prompt: int, completion: int) -> bytes:
    return USAGE.replace(b":3", b":%d" % prompt).replace(b":2,", b":%d," % completion)


async def test_every_piece_is_counted_once_and_dated_when_it_came(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = await scene(ScriptedTransport(pieces(100)))
    fates = Fates(virtual.gateway, monkeypatch)
    asked = asyncio.get_running_loop().create_task(virtual.ask("interactive"))
    await asyncio.sleep(0.105)
    (flight,) = virtual.gateway.loop.live.values()
    assert (flight.tokens, flight.mark_tokens) == (1, 1), "the first piece is one"
    assert flight.first_token_s == flight.last_s == pytest.approx(0.1)
    await asyncio.sleep(0.4)
    assert flight.tokens == 41
    assert flight.last_s == pytest.approx(0.5)
    await asked
    assert fates.told == ["served"]
    assert flight.tokens == 100, "a backend that tells no usage is counted by its pieces"


async def test_several_pieces_at_once_are_several(scene: Scene) -> None:
    both = [head(0.05), data(0.1, chunk({"content": "a"}) + chunk({"content": "b"}))]
    virtual = await scene(ScriptedTransport([*both, *pieces(3, start_s=0.2)[2:]]))
    asked = asyncio.get_running_loop().create_task(virtual.ask("interactive"))
    await asyncio.sleep(0.15)
    (flight,) = virtual.gateway.loop.live.values()
    assert (flight.tokens, flight.mark_tokens) == (2, 1)
    await asked
    assert flight.tokens == 5


async def test_a_live_streams_pace_is_its_mean_gap(scene: Scene) -> None:
    virtual = await scene(ScriptedTransport(pieces(200, gap_s=0.02)))
    asked = asyncio.get_running_loop().create_task(virtual.ask("interactive"))
    await asyncio.sleep(0.095)
    await virtual.tick(1.0)
    pace_s = virtual.gateway.loop.signals.lane(("main", "real")).tpot_p95_s(virtual.now())
    assert pace_s == pytest.approx(0.02)
    await asked


async def test_what_the_backend_counted_goes_before_what_was_seen(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = await scene(ScriptedTransport(pieces(10, usage=usage(5, 40))))
    fates = Fates(virtual.gateway, monkeypatch)
    await virtual.ask("interactive")
    (flight,) = fates.flights
    assert flight.tokens == 40
    prompt_usd = 1.0 * flight.prompt_tokens
    assert flight.cost_usd == pytest.approx(prompt_usd + 2.0 * 40)
    tpot = virtual.gateway.loop.signals.intent("interactive").tpot
    assert tpot.quantile(virtual.now(), 30, 0.5) == pytest.approx(0.1 / 39, rel=0.02)


async def test_a_request_that_starts_over_is_dated_and_priced_by_what_was_generated(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folded answer whose stream dies after ten pieces: the second attempt's first content counts."""
    dying = [*pieces(10)[:-2], broken(0.3, StreamBroken("cut", fault="stream_broken"))]
    virtual = await scene(ScriptedTransport(dying), ScriptedTransport(pieces(20)))
    fates = Fates(virtual.gateway, monkeypatch)
    asked = await virtual.ask("interactive")
    assert [attempt.fault for attempt in asked.progress.attempts] == [
        "upstream_stream_broken",
        None,
    ]
    assert fates.told == ["served"]
    (flight,) = fates.flights
    assert flight.first_token_s == pytest.approx(0.4)
    assert flight.tokens == 20, "the answer's own"


async def test_an_answer_costs_what_the_model_costs_that_gave_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first model's engine refuses, and one at a tenth of its price takes over."""
    models = (
        "models:\n"
        "  - {name: big, pool: main, upstream: real, price: {input: 1000000, output: 2000000}}\n"
        "  - {name: small, pool: main, price: {input: 100000, output: 200000}}\n"
        "routes: {big: [big, small]}\n"
    )
    config = TWO_ENDPOINTS.replace("retries: 1", "retries: 0")
    first, second = refusal(503), pieces(10, usage=usage(5, 40))
    virtual = await scene(
        ScriptedTransport(first, second),
        config=config[: config.index("models:")] + models + config[config.index("policies:") :],
    )
    fates = Fates(virtual.gateway, monkeypatch)
    asked = await virtual.ask("interactive")
    assert asked.progress.target.model == "small"
    (flight,) = fates.flights
    assert flight.lane == ("main", "small")
    assert flight.cost_usd == pytest.approx(0.1 * flight.prompt_tokens + 0.2 * 40)
    spent = virtual.gateway.loop.signals.intent("interactive").cost
    assert spent.sum(virtual.now(), 30) == pytest.approx(flight.cost_usd)


async def test_the_wait_and_the_dispatch_are_told_as_they_were(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = await scene(ScriptedTransport(answer(start_s=0.5)))
    fates = Fates(virtual.gateway, monkeypatch)
    pool = virtual.gateway.pools["main"]
    pool.queue.lane("real").limit = 1.0
    held = await pool.enter(lane="real").slot
    asked = asyncio.get_running_loop().create_task(virtual.ask("interactive"))
    await asyncio.sleep(1.0)
    held.release()
    await asked
    (flight,) = fates.flights
    assert (flight.arrived_s, flight.dispatched_s) == (0.0, pytest.approx(1.0))
    assert flight.first_token_s == pytest.approx(1.5)
    assert pool.queue.lane("real").prefill.samples == 1, "known by its number in the queue"
    signals = virtual.gateway.loop.signals
    assert signals.intent("interactive").queue.quantile(virtual.now(), 30, 0.5) == pytest.approx(
        1.0, rel=0.02
    )
    assert signals.lane(("main", "real")).upstream_ttft.quantile(
        virtual.now(), 30, 0.5
    ) == pytest.approx(0.5, rel=0.02)


@pytest.mark.req("INT-5")
async def test_a_hedged_request_has_one_fate_and_is_the_winners(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = ScriptedTransport(pieces(50, start_s=9.0)), ScriptedTransport(pieces(30))
    virtual = await scene(slow, quick, policies=POLICIES.replace("[shed]", "[hedge]"))
    plan = executor.Executor.infer

    async def hedged(self: Any, infer: Any, routing: Any, *rest: Any) -> None:
        await plan(self, infer, msgspec.structs.replace(routing, hedge_after_s=1.0), *rest)

    monkeypatch.setattr(executor.Executor, "infer", hedged)
    fates = Fates(virtual.gateway, monkeypatch)
    asked = await virtual.ask("interactive")
    assert [attempt.fault for attempt in asked.progress.attempts] == ["hedge_lost", None]
    await asyncio.sleep(20)
    assert fates.told == ["served"]
    (flight,) = fates.flights
    assert flight.dispatched_s == pytest.approx(1.0)
    assert flight.first_token_s == pytest.approx(1.1)
    assert flight.tokens == 30, "nothing of the loser's is counted"
    assert fates.steps.count("first_token") == 1


@pytest.mark.parametrize(
    ("script", "signal"),
    [(refusal(429), True), (refusal(500), False), (unreachable(), False)],
    ids=["no room", "a bug", "nobody there"],
)
async def test_only_a_lack_of_room_shrinks_the_limit(
    scene: Scene, script: Script, signal: bool
) -> None:
    virtual = await scene(ScriptedTransport(script), engine="llmd")
    lane = virtual.gateway.pools["main"].queue.lane("real")
    virtual.control.tick()
    before = lane.limit
    await virtual.ask("interactive")
    assert (lane.limit < before) == signal


@pytest.mark.req("INT-8")
async def test_what_llmd_says_of_its_queue_is_told_to_who_judges_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"x_llm_d_flow_queue_duration_ms": "250"}
    script = [head(0.05, 200, **headers), *pieces(3)[1:]]
    virtual = await scene(ScriptedTransport(script), engine="llmd")
    heard: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        virtual.gateway.honours["main"],
        "answered",
        lambda *given, sent_s: heard.append((*given, sent_s)),
    )
    await asyncio.sleep(1)
    await virtual.ask("interactive")
    assert heard == [("interactive", 10, 0.25, pytest.approx(1.05), 1.0)]
    waited = virtual.gateway.loop.signals.lane(("main", "real")).flow_queue
    assert waited.quantile(virtual.now(), 30, 0.5) == pytest.approx(0.25, rel=0.02)


# -- what a place is asked for with --------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "headers", "deadline_s"),
    [
        ("refuse", {}, 62.0),
        ("refuse", {"x-slo-ttft-ms": "1500"}, 3.5),
        ("refuse", {"x-llm-d-slo-ttft-ms": "1500"}, 3.5),
        ("refuse", {"x-slo-ttft-ms": "90000"}, 62.0),
        ("serve", {}, None),
        ("serve", {"x-slo-ttft-ms": "1500"}, None),
        ("refuse\n    dry_run: true", {}, None),
        ("refuse\n    dry_run: true", {"x-slo-ttft-ms": "1500"}, None),
    ],
)
async def test_a_request_is_due_when_its_intent_or_its_client_says(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    late: str,
    headers: dict[str, str],
    deadline_s: float | None,
) -> None:
    policies = POLICIES.replace("priority: 10", f"priority: 10\n    late: {late}")
    virtual = await scene(ScriptedTransport(answer()), policies=policies)
    pool = virtual.gateway.pools["main"]
    wanted: list[float | None] = []
    enter = pool.enter

    def noting(*given: Any, **named: Any) -> Any:
        wanted.append(named["deadline_s"])
        return enter(*given, **named)

    monkeypatch.setattr(pool, "enter", noting)
    await asyncio.sleep(2)
    await virtual.ask("interactive", headers=headers)
    assert wanted == [deadline_s]


async def test_an_intent_on_trial_is_measured_by_what_its_client_asks(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = await scene(
        ScriptedTransport(answer()),
        policies=POLICIES.replace("priority: 10", "priority: 10\n    dry_run: true"),
    )
    fates = Fates(virtual.gateway, monkeypatch)
    await virtual.ask("interactive", headers={"x-slo-ttft-ms": "1"})
    assert fates.told == ["served"]
    assert fates.flights[0].ttft_objective_s == 0.001
    (ttft, *_) = virtual.gateway.loop.statuses(virtual.now())[0].objectives
    assert (ttft.samples, ttft.bad) == (1, 1)


@pytest.mark.req("ADM-5")
async def test_the_queue_orders_by_caller_weight_prompt_and_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = "auth: {token: op-0123456789, keys: [{name: web, token: web-0123456789, weight: 3}]}\n"
    virtual = VirtualGateway(tmp_path, POLICIES, keys + TWO_ENDPOINTS)
    pool = virtual.gateway.pools["main"]
    pool.endpoints[0].transport = ScriptedTransport(answer())
    pool.learn(pool.endpoints[0], EndpointState(live=True, ready=True, why="ok"))
    offered: list[Any] = []
    admits = pool.queue.admits

    def noting(ticket: Any, now_s: float) -> bool:
        offered.append(ticket)
        return admits(ticket, now_s)

    monkeypatch.setattr(pool.queue, "admits", noting)
    long = [{"role": "user", "content": "x" * 4000}]
    await virtual.ask("interactive", key="web", messages=long)
    await virtual.ask("batch")
    web, nobody = offered
    assert (web.caller, web.weight, web.priority, web.lane) == ("web", 3.0, 10, "real")
    assert web.prompt_tokens >= 1000
    assert (nobody.caller, nobody.weight, nobody.priority) == ("", 1.0, -10)
    await virtual.aclose()


@pytest.mark.req("INT-8")
async def test_how_long_a_first_token_takes_is_said_once_it_was_measured(scene: Scene) -> None:
    transport = ScriptedTransport(answer(start_s=0.5))
    virtual = await scene(transport, engine="llmd, inference_ttl: true")
    for _ in range(40):
        await virtual.ask("interactive")
    told = [dict(wire.headers)["x-llm-d-inference-ttl"] for wire in transport.requests]
    assert told[0] == "60000ms"
    assert int(told[-1].removesuffix("ms")) == pytest.approx(59_500, abs=25)


# -- tasks --------------------------------------------------------------------------------

BUSY = "max_inflight: 1, queue: {timeout: 5s}, retries: 1"


@pytest.mark.req("ADM-1", "ADM-2")
async def test_a_task_waits_until_its_ttl_is_over_and_a_chat_as_long_as_the_queue_says(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TWO_ENDPOINTS.replace("retries: 1", BUSY)
    virtual = await scene(ScriptedTransport(answer()), config=config)
    fates = Fates(virtual.gateway, monkeypatch)
    pool = virtual.gateway.pools["main"]
    held = await pool.enter(9).slot
    began_s = virtual.now()
    async with asyncio.TaskGroup() as group:
        chat = group.create_task(virtual.ask("interactive"))
        task = group.create_task(virtual.ask(facts={"task": True, "wait_s": 30.0}))
        patient = group.create_task(virtual.ask(facts={"task": True, "wait_s": 3600.0}))
        await asyncio.sleep(1)
        assert (pool.signals().queued, pool.signals().queued_tasks) == (1, 2)
        late = await chat
        assert late.error is not None
        assert (late.error.code, virtual.now() - began_s) == ("queue_timeout", pytest.approx(5))
        expired = await task
        assert expired.error is not None
        assert (expired.error.code, expired.error.status) == ("ttl_expired", 503)
        assert virtual.now() - began_s == pytest.approx(30)
        assert waits_judged(virtual) == [1, 1], "the chat's"
        await virtual.tick(105)
        assert waits_judged(virtual) == [0, 0], "and none of one that waits past what is promised"
        held.release()
    assert patient.result().error is None
    assert fates.told == ["refused", "refused", "served"]
    assert waits_judged(virtual) == [0, 0]


def waits_judged(virtual: VirtualGateway) -> list[int]:
    """How many requests count for the first token and for the whole answer now."""
    measured = virtual.gateway.loop.statuses(virtual.now())[0].objectives
    return [one.samples for one in measured if one.objective.startswith(("ttft", "e2e"))]


@pytest.mark.req("ADM-2")
async def test_a_task_that_has_started_in_time_is_tried_again_after_its_ttl(scene: Scene) -> None:
    lost = ConnectFailed("cannot connect", fault="unavailable")
    broken_late = ScriptedTransport([broken(2.0, lost)])
    virtual = await scene(broken_late, ScriptedTransport(answer()))
    told = await virtual.ask(facts={"task": True, "wait_s": 1.0})
    assert told.error is None
    assert len(told.progress.attempts) == 2


@pytest.mark.req("ADM-2")
async def test_a_task_that_has_started_waits_for_its_next_attempt_as_any_request(
    scene: Scene,
) -> None:
    lost = ConnectFailed("cannot connect", fault="unavailable")
    transport = ScriptedTransport([broken(2.0, lost)])
    config = TWO_ENDPOINTS.replace("retries: 1", BUSY)
    virtual = await scene(transport, ScriptedTransport(answer()), config=config)
    pool = virtual.gateway.pools["main"]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(virtual.ask(facts={"task": True, "wait_s": 1.0}))
        await asyncio.sleep(1)
        held = await pool.enter(9).slot
        await asyncio.sleep(3)
        assert pool.signals().queued_tasks == 1
        held.release()
    assert task.result().error is None


@pytest.mark.req("ADM-2")
async def test_a_task_whose_time_to_start_has_passed_asks_for_no_place(scene: Scene) -> None:
    transport = ScriptedTransport(answer())
    virtual = await scene(transport)
    told = await virtual.ask(facts={"task": True, "wait_s": 0.0})
    assert told.error is not None
    assert told.error.code == "ttl_expired"
    assert not transport.requests


@pytest.mark.req("INT-8", "ADM-1")
@pytest.mark.parametrize(
    ("late", "headers", "code"),
    [
        ("refuse", {}, "ttl_expired"),
        ("refuse", {"x-slo-ttft-ms": "2000"}, "deadline_unreachable"),
        ("serve", {"x-slo-ttft-ms": "2000"}, "ttl_expired"),
    ],
)
async def test_a_task_is_late_only_for_a_first_token_that_it_asked_for(
    scene: Scene, late: str, headers: dict[str, str], code: str
) -> None:
    policies = POLICIES.replace("ttft_p95: 60s", "ttft_p95: 1s").replace(
        "priority: 10", f"priority: 10\n    late: {late}"
    )
    config = TWO_ENDPOINTS.replace("retries: 1", BUSY)
    virtual = await scene(ScriptedTransport(answer()), policies=policies, config=config)
    await virtual.gateway.pools["main"].enter(9).slot
    told = await virtual.ask(headers=headers, facts={"task": True, "wait_s": 600.0})
    assert told.error is not None
    assert told.error.code == code


HEDGED = """
pools:
  - {id: main, engine: openai, endpoint: 'http://127.0.0.1:1'}
  - {id: other, engine: openai, endpoint: 'http://127.0.0.1:2'}
models:
  - {name: big, pool: main, upstream: real, price: {input: 1000000, output: 2000000}}
  - {name: small, pool: other, upstream: real, price: {input: 100000, output: 200000}}
routes: {big: {targets: [big, small], hedge: {after: 1s}}}
policies: policies.yaml
"""


@pytest.mark.req("INT-5")
async def test_a_hedge_that_the_first_wins_costs_what_the_first_costs(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = ScriptedTransport(pieces(30, start_s=3.0, usage=usage(5, 30)))
    virtual = await scene(late, config=HEDGED)
    (endpoint,) = virtual.gateway.pools["other"].endpoints
    endpoint.transport = ScriptedTransport(pieces(30, start_s=9.0))
    virtual.gateway.pools["other"].learn(endpoint, EndpointState(live=True, ready=True, why="ok"))
    fates = Fates(virtual.gateway, monkeypatch)
    asked = await virtual.ask("interactive")
    assert [attempt.fault for attempt in asked.progress.attempts] == [None, "hedge_lost"]
    (flight,) = fates.flights
    assert flight.lane == ("main", "real")
    assert flight.dispatched_s == pytest.approx(0.0)
    assert flight.cost_usd == pytest.approx(1.0 * flight.prompt_tokens + 2.0 * 30)


@pytest.mark.req("ADM-2")
async def test_a_task_that_was_accepted_finds_room_for_its_next_attempt(scene: Scene) -> None:
    lost = ConnectFailed("cannot connect", fault="unavailable")
    full = "max_inflight: 1, queue: {timeout: 5s, max_tasks: 1}, retries: 1"
    config = TWO_ENDPOINTS.replace("retries: 1", full)
    virtual = await scene(
        ScriptedTransport([broken(2.0, lost)]), ScriptedTransport(answer()), config=config
    )
    pool = virtual.gateway.pools["main"]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(virtual.ask(facts={"task": True, "wait_s": 60.0}))
        await asyncio.sleep(1)
        chat, other_task = pool.enter(9), pool.enter(patient=True, timeout_s=60.0)
        await asyncio.sleep(2)
        (await chat.slot).release()
        (await other_task.slot).release()
    assert task.result().error is None


@pytest.mark.req("RUN-5")
@pytest.mark.parametrize(("leaves_s", "had"), [(0.45, 10), (1.55, 15)])
async def test_a_client_that_leaves_a_stream_that_was_gone_on_with_has_had_what_it_read(
    scene: Scene, leaves_s: float, had: int
) -> None:
    """Ten pieces, then another attempt says them again, and more."""
    dying = [*pieces(10)[:-2], broken(0.3, StreamBroken("cut", fault="stream_broken"))]
    again = pieces(10)[:-2] + pieces(20, start_s=0.8, gap_s=0.1)[2:]
    virtual = await scene(ScriptedTransport(dying), ScriptedTransport(again))
    gateway, sink = virtual.gateway, Listening()
    infer = request(model="big")
    decision = gateway.decide(infer.facts, gateway.policy, gateway.catalog)
    recorder = gateway.recorder(infer, decision, gateway.policy, gateway.catalog, virtual.now())
    routing = msgspec.structs.replace(plan(decision, gateway.catalog), resume="replay")
    progress = Progress(accepted_s=virtual.now())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(leaves_s):
            await gateway.executor.infer(infer, routing, gateway.catalog, sink, progress, recorder)
    assert sink.text == "x" * had
    assert (recorder.flight.tokens, progress.usage) == (had, None)
    recorder.close(CLIENT_GONE, None, progress, virtual.now())
    tokens = gateway.loop.signals.lane(("main", "real")).tokens
    assert tokens.sum(virtual.now(), 30) == had, "each is charged once"
