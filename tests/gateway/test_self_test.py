"""When an endpoint is tested, what the test may take, and where its verdict shows. Virtual time."""

import asyncio
import logging
from collections.abc import Callable, Iterable

import msgspec
import pytest

from adapters.dialect import EndpointState
from contracts.catalog import Catalog, ModelCard
from contracts.errors import GatewayError
from gateway.pools import Pool
from gateway.self_test import AGAIN_S, SelfTests
from tests.fakes.scripted import Script, ScriptedTransport, answer, refusal, unreachable

MakePool = Callable[..., Pool]
pytestmark = [pytest.mark.looptime, pytest.mark.req("ENG-3")]
TOLD = EndpointState(live=True, ready=True, why="ok", slots=1, models=("real",))
LONG = answer(["word "] * 300)
EMBEDS = refusal(400, b'{"error":{"message":"the model does not support chat"}}')
FAILS = refusal(500, b'{"error":{"message":"out of sorts"}}')


def card(name: str, upstream: str, pool: str = "local") -> ModelCard:
    return ModelCard(name=name, pool=pool, upstream=upstream)


class Examined:
    """A pool with self-tests, each endpoint with a transport of its own."""

    def __init__(
        self,
        make_pool: MakePool,
        *scripts: Iterable[Script],
        cards: Iterable[ModelCard] = (card("m", "real"),),
        on: bool = True,
    ) -> None:
        self.transports = [ScriptedTransport(*each) for each in scripts]
        self.pool = make_pool("local", *self.transports)
        self.pool.options = msgspec.structs.replace(self.pool.options, self_test=on)
        self.catalog = Catalog(models={each.name: each for each in cards})
        for endpoint in self.pool.endpoints:
            self.pool.learn(endpoint, TOLD)

        def present(error: GatewayError) -> GatewayError:
            error.message = error.message.replace("secret", "***")
            return error

        self.tests = SelfTests(
            [self.pool], lambda: self.catalog, present=present, new_id=lambda: "1"
        )

    @property
    def verdicts(self) -> list[str]:
        return [endpoint.self_test.outcome for endpoint in self.pool.endpoints]

    @property
    def why(self) -> str | None:
        return self.pool.endpoints[0].self_test.why

    @property
    def asked(self) -> list[int]:
        return [len(transport.requests) for transport in self.transports]


GOOD = (answer(), LONG, answer())


async def test_each_endpoint_of_a_pool_gets_its_own_verdict(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tested = Examined(make_pool, GOOD, [FAILS])
    assert tested.verdicts == ["pending", "pending"]
    await tested.tests.test(tested.pool)
    good, bad = (endpoint.self_test for endpoint in tested.pool.endpoints)
    assert (good.outcome, good.ok, good.failed, good.model) == ("passed", True, [], "real")
    assert good.at is not None
    assert good.took_ms is not None
    assert good.took_ms > 0
    assert (bad.outcome, bad.ok) == ("failed", False)
    assert [(f.check, f.why) for f in bad.failed] == [("decode", "out of sorts")]
    said = {r.fields["replica_id"]: r for r in caplog.records if r.msg == "self_test"}
    assert said["local/1"].levelno == logging.INFO
    assert said["local/2"].levelno == logging.WARNING
    assert said["local/2"].fields["failed"] == ["decode: out of sorts"]


async def test_it_leaves_no_trace_in_what_the_queue_has_learned(make_pool: MakePool) -> None:
    tested = Examined(make_pool, GOOD)
    await tested.tests.test(tested.pool)
    pool, lane = tested.pool, tested.pool.queue.lane("real")
    assert (pool.queue.inflight, pool.endpoints[0].inflight, lane.inflight) == (0, 0, 0)
    assert (lane.prefill.samples, lane.turned_away) == (0, 0)
    assert lane.drain.per_s(pool.now_s()) is None


async def test_a_busy_pool_is_tested_when_it_is_free(make_pool: MakePool) -> None:
    tested = Examined(make_pool, GOOD)
    held = await tested.pool.enter().slot
    running = asyncio.get_running_loop().create_task(tested.tests.run())
    await asyncio.sleep(3 * AGAIN_S)
    assert (tested.verdicts, tested.why, tested.asked) == (["pending"], "no place is free", [0])
    assert tested.pool.queue.lane("real").turned_away == 0
    held.release()
    await asyncio.sleep(3 * AGAIN_S)
    assert tested.verdicts == ["passed"]
    running.cancel()


async def test_whoever_comes_meanwhile_gets_its_place(make_pool: MakePool) -> None:
    tested = Examined(make_pool, [LONG, answer(), LONG, answer()])
    running = asyncio.get_running_loop().create_task(tested.tests.run())
    await asyncio.sleep(1)
    slot = await tested.pool.enter().slot
    assert slot.waited_s <= 0.1
    await asyncio.sleep(0)
    assert tested.why == "it gave way to somebody who waits"
    slot.release()
    await asyncio.sleep(3 * AGAIN_S)
    assert tested.verdicts == ["passed"]
    running.cancel()


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (EndpointState(live=True, why="loading"), "it is not ready"),
        (msgspec.structs.replace(TOLD, sleeping=True), "it sleeps, and a test would wake it"),
    ],
)
async def test_an_endpoint_that_cannot_be_asked_now_is_asked_later(
    make_pool: MakePool, state: EndpointState, why: str
) -> None:
    tested = Examined(make_pool, GOOD)
    tested.pool.learn(tested.pool.endpoints[0], state)
    running = asyncio.get_running_loop().create_task(tested.tests.run())
    await asyncio.sleep(2 * AGAIN_S)
    assert (tested.verdicts, tested.why, tested.asked) == (["pending"], why, [0])
    tested.pool.learn(tested.pool.endpoints[0], TOLD)
    await asyncio.sleep(2 * AGAIN_S)
    assert tested.verdicts == ["passed"]
    running.cancel()


async def test_an_endpoint_that_goes_away_meanwhile_has_not_failed(make_pool: MakePool) -> None:
    tested = Examined(make_pool, [unreachable()])
    await tested.tests.test(tested.pool)
    assert (tested.verdicts, tested.why) == (["pending"], "it cannot be reached")


async def test_a_pool_out_of_service_is_not_tested(make_pool: MakePool) -> None:
    tested = Examined(make_pool, GOOD)
    tested.pool.drain()
    await tested.tests.test(tested.pool)
    assert (tested.verdicts, tested.asked) == (["pending"], [0])


async def test_of_several_models_the_first_that_generates_is_tested(make_pool: MakePool) -> None:
    cards = [card("e", "bge"), card("m", "real"), card("other", "aaa", pool="elsewhere")]
    tested = Examined(make_pool, [EMBEDS, *GOOD], cards=cards)
    await tested.tests.test(tested.pool)
    report = tested.pool.endpoints[0].self_test
    assert (report.outcome, report.model) == ("passed", "real")


async def test_a_pool_that_only_embeds_is_skipped_and_says_why(make_pool: MakePool) -> None:
    tested = Examined(make_pool, [EMBEDS])
    await tested.tests.test(tested.pool)
    report = tested.pool.endpoints[0].self_test
    assert (report.outcome, report.ok) == ("skipped", None)
    assert report.why == "the model does not support chat"


async def test_without_a_known_model_there_is_nothing_to_ask_for(make_pool: MakePool) -> None:
    tested = Examined(make_pool, GOOD, cards=())
    await tested.tests.test(tested.pool)
    assert (tested.verdicts, tested.asked) == (["skipped"], [0])
    assert tested.why == "no model of it is known"


async def test_a_verdict_stands_until_another_engine_or_another_model_is_there(
    make_pool: MakePool,
) -> None:
    tested = Examined(make_pool, [*GOOD, FAILS])
    running = asyncio.get_running_loop().create_task(tested.tests.run())
    await asyncio.sleep(10 * AGAIN_S)
    assert (tested.verdicts, tested.asked) == (["passed"], [3])
    tested.pool.learn(tested.pool.endpoints[0], msgspec.structs.replace(TOLD, version="b2"))
    await asyncio.sleep(2 * AGAIN_S)
    assert (tested.verdicts, tested.asked) == (["failed"], [4])
    running.cancel()


async def test_a_pool_without_self_test_is_never_asked(make_pool: MakePool) -> None:
    tested = Examined(make_pool, GOOD, on=False)
    await tested.tests.run()
    await tested.tests.test(tested.pool)
    tested.tests.forget(tested.pool)
    assert (tested.verdicts, tested.asked) == (["off"], [0])


async def test_a_verdict_tells_no_secret(make_pool: MakePool) -> None:
    tested = Examined(make_pool, [refusal(500, b'{"error":{"message":"at secret:1"}}')])
    await tested.tests.test(tested.pool)
    assert [f.why for f in tested.pool.endpoints[0].self_test.failed] == ["at ***:1"]
