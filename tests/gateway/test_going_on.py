"""Who is asked to go on with a broken stream, after how long, and how often. Virtual time."""

import asyncio

import msgspec
import pytest

from contracts.errors import StreamBroken
from contracts.events import End, Fault
from contracts.inference import Timeouts
from policies.retry_budget import RESERVE
from tests.fakes.scripted import (
    ScriptedTransport,
    answer,
    broken,
    chunk,
    data,
    head,
    refusal,
)
from tests.gateway.conftest import MakePool
from tests.gateway.test_resumable import WORDS, dies_after, run

pytestmark = [pytest.mark.looptime, pytest.mark.req("RUN-5", "RUN-7")]
TEXT = "".join(WORDS)
BROKE_S = 0.5
"""When `dies_after(3)` breaks off."""


async def test_an_endpoint_that_broke_a_stream_is_given_a_moment(make_pool: MakePool) -> None:
    transport = ScriptedTransport(dies_after(3), answer(WORDS))
    sink, progress = await run(make_pool("a", transport))
    assert sink.text == TEXT
    assert transport.started_s[1] == pytest.approx(BROKE_S + 0.1)
    assert progress.backoff_s == pytest.approx(0.1)


async def test_another_endpoint_goes_on_at_once(make_pool: MakePool) -> None:
    other = ScriptedTransport(answer(WORDS))
    sink, progress = await run(make_pool("a", ScriptedTransport(dies_after(3)), other))
    assert sink.text == TEXT
    assert other.started_s == [pytest.approx(BROKE_S)]
    assert progress.backoff_s == 0.0


async def test_what_a_backend_asks_for_is_waited_for_before_it_is_asked_again(
    make_pool: MakePool,
) -> None:
    transport = ScriptedTransport(dies_after(3), refusal(429, retry_after="2"), answer(WORDS))
    sink, progress = await run(make_pool("a", transport), resume="continue", prefill=(True,))
    assert sink.text == TEXT
    assert transport.started_s[2] - transport.started_s[1] >= 2.0
    assert progress.backoff_s >= 2.0


async def test_a_backend_that_asks_for_too_much_patience_is_not_asked_again(
    make_pool: MakePool,
) -> None:
    transport = ScriptedTransport(dies_after(3), refusal(429, retry_after="60"))
    sink, _ = await run(make_pool("a", transport), resume="continue", prefill=(True,))
    assert len(transport.requests) == 2
    assert isinstance(sink.seen[-1], Fault)
    assert asyncio.get_running_loop().time() < 2.0


async def test_each_replica_may_say_it_again(make_pool: MakePool) -> None:
    replicas = (dies_after(3), refusal(500), dies_after(4), answer(WORDS))
    sink, progress = await run(make_pool("a", *map(ScriptedTransport, replicas)))
    assert sink.text == TEXT
    assert [r.replica for r in progress.attempts] == ["a/1", "a/2", "a/3", "a/4"]


async def test_what_a_replica_refuses_or_contradicts_is_not_asked_of_the_next(
    make_pool: MakePool,
) -> None:
    for said in (refusal(400), answer(("The ", "slow "))):
        third = ScriptedTransport(answer(WORDS))
        first, second = ScriptedTransport(dies_after(3)), ScriptedTransport(said)
        sink, _ = await run(make_pool("a", first, second, third))
        assert sink.text == "The quick brown "
        assert third.requests == []


async def test_a_slow_one_is_waited_for_where_the_budget_allows_no_other(
    make_pool: MakePool,
) -> None:
    limits = Timeouts(first_token_s=5.0, idle_s=60.0)
    first = make_pool("a", ScriptedTransport(dies_after(3)), retry_budget=0.0)
    slow = ScriptedTransport(answer((" fox ", "jumps."), start_s=20.0))
    second = make_pool("b", slow, engine="vllm", timeouts=limits)
    for _ in range(int(RESERVE) - 1):
        second.retry_budget.take(0.0)
    sink, _ = await run(first, second, resume="continue", prefill=(False, True))
    assert sink.text == TEXT


async def test_what_can_no_longer_be_compared_is_not_said_again(make_pool: MakePool) -> None:
    """The second attempt goes beyond what was sent, in a way that a third could not be held against."""
    odd = msgspec.json.decode(chunk({"content": "fox "}).removeprefix(b"data: "))
    odd["choices"][0]["logprobs"] = {"content": []}
    told = b"data: %b\n\n" % msgspec.json.encode(odd)
    again = [
        head(0.1),
        *(data(0.2, chunk({"content": word})) for word in WORDS[:3]),
        data(0.3, told),
        broken(0.4, StreamBroken("gone", fault="stream_broken")),
    ]
    sink, _ = await run(
        make_pool("a", ScriptedTransport(dies_after(3))),
        make_pool("b", ScriptedTransport(again)),
        make_pool("c", ScriptedTransport(answer(WORDS))),
        make_pool("d", ScriptedTransport(answer(WORDS))),
    )
    assert TEXT.startswith(sink.text)
    assert sum(isinstance(event, End | Fault) for event in sink.seen) == 1
