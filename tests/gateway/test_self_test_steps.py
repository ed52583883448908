"""What an endpoint must do to pass: answer, stop when told, answer again, and count. Virtual time."""

import asyncio
import json
from collections.abc import Callable

import pytest

from adapters.dialect import EndpointState
from contracts.catalog import ModelCard
from contracts.errors import ConnectFailed, GatewayError
from gateway.pools import Pool
from gateway.self_test_steps import (
    CANCEL_S,
    DECODE_S,
    FREE_S,
    LONG_TOKENS,
    SHORT_TOKENS,
    GaveWay,
    GeneratesNot,
    Trial,
)
from tests.fakes.scripted import (
    DONE,
    Script,
    ScriptedTransport,
    answer,
    chunk,
    data,
    end,
    head,
    refusal,
    unreachable,
)

MakePool = Callable[..., Pool]
pytestmark = [pytest.mark.looptime, pytest.mark.req("ENG-3")]
CARD = ModelCard(name="m", pool="local", upstream="real")
SILENT: Script = [head(0.01)]
LONG = answer(["word "] * 300)
TOLD = EndpointState(live=True, ready=True, why="ok", slots=1, models=("real",))


def without_usage() -> Script:
    return [
        head(0.01),
        data(0.02, chunk({"content": "1"}) + chunk({}, finish="stop") + DONE),
        end(0.03),
    ]


async def trial(make_pool: MakePool, *scripts: Script, **members: object) -> tuple[Trial, Pool]:
    pool = make_pool("local", ScriptedTransport(*scripts), **members)
    pool.learn(pool.endpoints[0], TOLD)
    slot = await pool.enter().slot

    def plain(error: GatewayError) -> str:
        return error.message

    return Trial(pool, slot, CARD, plain=plain, new_id=lambda: "1"), pool


async def failures(make_pool: MakePool, *scripts: Script, **members: object) -> list[str]:
    tested, _ = await trial(make_pool, *scripts, **members)
    return [f"{failure.check}: {failure.why}" for failure in await tested.run()]


async def test_an_endpoint_that_does_it_all_has_nothing_to_answer_for(make_pool: MakePool) -> None:
    tested, pool = await trial(make_pool, answer(), LONG, answer())
    assert await tested.run() == []
    transport = pool.endpoints[0].transport
    assert isinstance(transport, ScriptedTransport)
    asked = [json.loads(request.body) for request in transport.requests]
    assert [body["model"] for body in asked] == ["real"] * 3
    assert [body["max_completion_tokens"] for body in asked] == [SHORT_TOKENS, LONG_TOKENS, 1]
    assert {body["temperature"] for body in asked} == {0}
    assert [e.cancelled_at_s is not None for e in transport.exchanges] == [False, True, False]
    assert pool.queue.inflight == 1, "the place is the caller's for all of it"


async def test_tokens_that_never_come_fail_the_decode_in_time(make_pool: MakePool) -> None:
    began_s = asyncio.get_running_loop().time()
    told = await failures(make_pool, SILENT)
    assert told == [f"decode: it was not done within {DECODE_S:g} s"]
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(DECODE_S)


async def test_an_engine_that_fails_is_told_in_its_own_words(make_pool: MakePool) -> None:
    broken = refusal(500, b'{"error":{"message":"CUDA is out of sorts"}}')
    assert await failures(make_pool, broken) == ["decode: CUDA is out of sorts"]


async def test_a_stream_that_breaks_fails_the_decode(make_pool: MakePool) -> None:
    cut = [head(0.01), data(0.02, chunk({"content": "1"})), end(0.03)]
    (told,) = await failures(make_pool, cut)
    assert told.startswith("decode: ")


async def test_an_engine_without_usage_fails_telemetry_and_is_tested_on(
    make_pool: MakePool,
) -> None:
    told = await failures(make_pool, without_usage(), LONG, answer())
    assert told == ["telemetry: it reports no usage, so tokens are estimated"]


async def test_probes_must_tell_what_the_engine_can_tell(make_pool: MakePool) -> None:
    told = await failures(make_pool, answer(), LONG, answer(), engine="llamacpp")
    assert told == [
        "telemetry: it does not tell its version",
        "telemetry: it does not tell its model digest",
    ]


async def test_an_engine_that_never_frees_its_place_fails_the_cancel(make_pool: MakePool) -> None:
    told = await failures(make_pool, answer(), LONG, SILENT)
    assert told == [f"cancel: after a cancelled answer it did not answer within {FREE_S:g} s"]


async def test_a_long_answer_that_does_not_begin_fails_the_cancel(make_pool: MakePool) -> None:
    told = await failures(make_pool, answer(), SILENT)
    assert told == [f"cancel: no token came within {CANCEL_S:g} s"]


async def test_an_answer_that_ends_before_it_can_be_cancelled_is_no_failure(
    make_pool: MakePool,
) -> None:
    assert await failures(make_pool, answer(["1"]), answer(["1"]), answer(["1"])) == []


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (501, "This server does not support completions. Start it without `--embeddings`"),
        (400, "The model does not support Chat Completions API"),
        (404, "Not Found"),
    ],
)
async def test_a_model_that_only_embeds_is_not_judged(
    make_pool: MakePool, status: int, text: str
) -> None:
    body = json.dumps({"error": {"message": text}} if status != 404 else {"detail": text}).encode()
    tested, _ = await trial(make_pool, refusal(status, body))
    with pytest.raises(GeneratesNot) as caught:
        await tested.run()
    assert caught.value.why == text


async def test_a_model_that_the_engine_does_not_know_is_a_failure(make_pool: MakePool) -> None:
    missing = refusal(404, b'{"error":{"message":"The model `real` does not exist."}}')
    assert await failures(make_pool, missing) == ["decode: The model `real` does not exist."]


async def test_an_endpoint_that_has_gone_gets_no_verdict(make_pool: MakePool) -> None:
    tested, _ = await trial(make_pool, unreachable())
    with pytest.raises(ConnectFailed):
        await tested.run()


async def test_it_ends_as_soon_as_somebody_waits(make_pool: MakePool) -> None:
    tested, pool = await trial(make_pool, LONG)
    running = asyncio.get_running_loop().create_task(tested.run())
    await asyncio.sleep(1)
    waiting = pool.enter()
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(GaveWay):
        await running
    assert asyncio.get_running_loop().time() - began_s <= 0.1
    transport = pool.endpoints[0].transport
    assert isinstance(transport, ScriptedTransport)
    assert all(exchange.cancelled_at_s is not None for exchange in transport.exchanges)
    waiting.leave()


async def test_it_ends_when_the_pool_is_drained(make_pool: MakePool) -> None:
    tested, pool = await trial(make_pool, LONG)
    running = asyncio.get_running_loop().create_task(tested.run())
    await asyncio.sleep(1)
    pool.drain()
    with pytest.raises(GaveWay):
        await running
