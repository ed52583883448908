"""A prompt is counted if that is possible in time, estimated if not, and refused if it cannot fit."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from adapters.dialect import EndpointState
from contracts.catalog import Catalog, ModelCard
from contracts.errors import ContextTooLong
from contracts.inference import InferRequest, RoutingPlan, Target
from gateway.intake import read_request
from gateway.pools import Pool
from gateway.token_count import COUNT_TIMEOUT_S, PromptCount, check_context, count_prompt
from tests.fakes.scripted import Script, ScriptedTransport, data, end, head, refusal, unreachable

pytestmark = [pytest.mark.looptime, pytest.mark.req("ADM-1")]
MakePool = Callable[..., Pool]

ESTIMATE = 5000
PLAN = RoutingPlan(targets=(Target(model="m", pool="a", upstream="m"),))
TWO = RoutingPlan(targets=(*PLAN.targets, Target(model="n", pool="b", upstream="n")))


def says(**answer: Any) -> Script:
    return [head(0.01), data(0.01, json.dumps(answer).encode()), end(0.01)]


def asked(content: Any = "hi", **members: Any) -> InferRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **members}
    infer = read_request(json.dumps(body).encode(), "chat", request_id="r", key="", headers={})
    facts = msgspec.structs.replace(infer.facts, prompt_tokens=ESTIMATE)
    return msgspec.structs.replace(infer, facts=facts)


def catalog(**contexts: int | None) -> Catalog:
    pool_of = {"m": "a", "n": "b"}
    return Catalog(
        models={
            name: ModelCard(name=name, pool=pool_of[name], upstream=name, context=context)
            for name, context in contexts.items()
        }
    )


def know(pool: Pool, context: int | None, *, ready: bool = True) -> None:
    for endpoint in pool.endpoints:
        pool.learn(endpoint, EndpointState(live=True, ready=ready, why="ok", context=context))


async def test_the_backends_count_is_taken_and_not_called_an_estimate(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(says(input_tokens=32)), engine="llamacpp")
    know(pool, 1024)
    found = await count_prompt(asked(), PLAN, catalog(m=None), {"a": pool})
    assert found == PromptCount(tokens=32, estimated=False, context=1024)


@pytest.mark.parametrize(
    "script", [refusal(500), refusal(404), says(), unreachable(), [head(0.01)], []]
)
async def test_what_could_not_be_counted_in_time_is_estimated(
    make_pool: MakePool, script: Script
) -> None:
    transport = ScriptedTransport(script)
    pool = make_pool("a", transport, engine="llamacpp")
    began_s = asyncio.get_running_loop().time()
    found = await count_prompt(asked(), PLAN, catalog(m=9), {"a": pool})
    assert found == PromptCount(tokens=ESTIMATE, estimated=True, context=9)
    assert asyncio.get_running_loop().time() - began_s <= COUNT_TIMEOUT_S + 0.001
    assert all(exchange.cancelled_at_s is not None for exchange in transport.exchanges)


async def test_all_questions_together_have_one_time(make_pool: MakePool) -> None:
    late = [head(1.5, 404), end(1.5)]
    slow = [head(1.5), data(1.5, b'{"prompt":"x"}'), end(1.5)]
    transport = ScriptedTransport(late, slow, slow)
    pool = make_pool("a", transport, engine="llamacpp")
    began_s = asyncio.get_running_loop().time()
    assert (await count_prompt(asked(), PLAN, catalog(), {"a": pool})).estimated
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(COUNT_TIMEOUT_S)


async def test_a_cancelled_caller_takes_its_question_with_it(make_pool: MakePool) -> None:
    transport = ScriptedTransport([])
    pool = make_pool("a", transport, engine="llamacpp")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await count_prompt(asked(), PLAN, catalog(), {"a": pool})
    assert all(exchange.cancelled_at_s is not None for exchange in transport.exchanges)


async def test_a_backend_without_a_tokenizer_is_not_asked(make_pool: MakePool) -> None:
    transport = ScriptedTransport([])
    pool = make_pool("a", transport, engine="openai")
    found = await count_prompt(asked(), PLAN, catalog(m=100), {"a": pool})
    assert found == PromptCount(tokens=ESTIMATE, estimated=True, context=100)
    assert transport.requests == []


async def test_the_first_target_that_could_answer_is_asked_alone(make_pool: MakePool) -> None:
    first, second = ScriptedTransport(says(input_tokens=1)), ScriptedTransport(says(count=2))
    pools = {
        "a": make_pool("a", first, engine="llamacpp"),
        "b": make_pool("b", second, engine="vllm"),
    }
    assert (await count_prompt(asked(), TWO, catalog(), pools)).tokens == 1
    assert second.requests == []
    know(pools["a"], None, ready=False)
    assert (await count_prompt(asked(), TWO, catalog(), pools)).tokens == 2


@pytest.mark.parametrize(
    ("cards", "probed", "context"),
    [
        ({"m": 100, "n": 200}, (None, None), 200),  # the larger one: the executor goes on to it
        ({"m": 100, "n": None}, (None, None), None),  # nothing is refused that might fit
        (
            {"m": 300, "n": 50},
            (80, None),
            80,
        ),  # the operator may say less than the backend, or more
        ({"m": 60, "n": 50}, (80, None), 60),
        ({"m": None, "n": None}, (80, 90), 90),
    ],
)
async def test_the_context_is_that_of_the_target_with_the_most_room(
    make_pool: MakePool,
    cards: dict[str, int | None],
    probed: tuple[int | None, int | None],
    context: int | None,
) -> None:
    pools = {name: make_pool(name, ScriptedTransport(refusal(500))) for name in ("a", "b")}
    for pool, told in zip(pools.values(), probed, strict=True):
        know(pool, told)
    assert (await count_prompt(asked(), TWO, catalog(**cards), pools)).context == context


async def test_a_vllm_tells_its_context_itself(make_pool: MakePool) -> None:
    pool = make_pool("a", ScriptedTransport(says(count=9, max_model_len=77)), engine="vllm")
    found = await count_prompt(asked(), PLAN, catalog(m=None), {"a": pool})
    assert found == PromptCount(tokens=9, estimated=False, context=77)


async def test_the_size_of_an_image_says_nothing_about_its_tokens(make_pool: MakePool) -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:,x"}}]
    pool = make_pool("a", ScriptedTransport(says(input_tokens=3)), engine="llamacpp")
    found = await count_prompt(asked(image), PLAN, catalog(m=10), {"a": pool})
    assert found == PromptCount(tokens=ESTIMATE, estimated=True, context=None)
    check_context(found, asked(image), PLAN)


# -- whether it fits --------------------------------------------------------------------


def refused(
    tokens: int, *, estimated: bool = False, cap: int | None = None, **members: Any
) -> ContextTooLong | None:
    """What a context of 100 makes of it."""
    count = PromptCount(tokens=tokens, estimated=estimated, context=100)
    plan = msgspec.structs.replace(PLAN, max_tokens=cap)
    try:
        check_context(count, asked(**members), plan)
    except ContextTooLong as error:
        return error
    return None


def test_a_prompt_that_leaves_no_room_for_a_token_is_refused() -> None:
    assert refused(99) is None
    error = refused(100)
    assert error is not None
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert error.message == (
        "This model's maximum context length is 100 tokens. However, your messages resulted in "
        "100 tokens. Please reduce the length of the messages."
    )


def test_an_answer_that_does_not_fit_behind_the_prompt_is_refused() -> None:
    assert refused(60, max_tokens=40) is None
    error = refused(60, max_tokens=41)
    assert error is not None
    assert (error.code, error.param) == ("context_length_exceeded", "max_tokens")
    assert "you requested 101 tokens (60 in the messages, 41 in the completion)" in error.message
    named = refused(60, max_completion_tokens=41)
    assert named is not None
    assert named.param == "max_completion_tokens"


def test_a_rules_lower_limit_counts_in_place_of_the_clients() -> None:
    assert refused(60, max_tokens=1000, cap=40) is None
    assert refused(60, max_tokens=1000, cap=41) is not None
    assert refused(60, cap=1000) is None  # the client named none: it gets what room there is


def test_an_estimate_refuses_only_a_prompt_that_alone_is_too_long() -> None:
    assert refused(60, estimated=True, max_tokens=1000) is None
    assert refused(100, estimated=True) is None
    error = refused(101, estimated=True)
    assert error is not None
    assert "101 tokens (estimated from its size)" in error.message


def test_nothing_is_refused_where_the_context_is_not_known() -> None:
    check_context(PromptCount(tokens=10**9, estimated=False, context=None), asked(), PLAN)


def test_a_text_completion_is_told_of_its_prompt() -> None:
    body = b'{"model":"m","prompt":"x"}'
    infer = read_request(body, "completion", request_id="r", key="", headers={})
    with pytest.raises(ContextTooLong) as caught:
        check_context(PromptCount(tokens=11, estimated=False, context=10), infer, PLAN)
    assert caught.value.param == "prompt"
